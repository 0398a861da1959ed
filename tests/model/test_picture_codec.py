"""Pictures as tokens: the dense grid, and what has changed of it."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import TokenError, UsageError
from viae.model.tokens.codec import SILENT, codec_from_json
from viae.model.tokens.grid import UNKNOWN, GridCodec, Painter
from viae.model.tokens.picture import PictureConfig, PictureNet, as_input, reconstruction_loss
from viae.model.tokens.runs import Alphabet, PictureCodec, fitting, tokens_of, worth_sending
from viae.model.tokens.show import GAP, OUTLINE, show
from viae.model.tokens.spending import Spent, coded, dense_errors, look_at, psnr, spend

CONFIG = PictureConfig(size=(16, 24), patch=4, levels=(4, 3, 3), width=8, depth=1)
PATCHES = 24


def film(pictures: int, seed: int = 0, noise: float = 1.5) -> np.ndarray:
    """A square that moves over a shaded ground, seen with noise: uint8 [N, 3, 16, 24]."""
    random = np.random.default_rng(seed)
    ground = np.linspace(40, 120, 24)[None, None, None] + np.zeros((pictures, 3, 16, 1))
    y, x = random.integers(0, 12), random.integers(0, 10)
    for number in range(pictures):
        left = min(19, x + number)
        ground[number, :, y : y + 4, left : left + 5] = np.array([220, 60, 20])[:, None, None]
    return np.clip(ground + random.normal(0, noise, ground.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def painter() -> Painter:
    """A little trained: enough for what moves to matter."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = PictureNet(CONFIG)
    shown = as_input(torch.from_numpy(np.concatenate([film(10, seed) for seed in range(8)])))
    descent = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(120):
        descent.zero_grad()
        reconstruction_loss(net, shown[torch.randperm(len(shown))[:32]]).backward()
        descent.step()
    return Painter(net)


@pytest.fixture(scope="module")
def codec(painter: Painter) -> PictureCodec:
    return PictureCodec(painter, threshold=20.0, room=30)


def spent_on(codec: PictureCodec, pictures: np.ndarray) -> Spent:
    return spend(codec, pictures, look_at(codec.painter, pictures))


def test_a_code_is_one_of_the_levels(painter: Painter):
    net = painter.net
    every = torch.arange(CONFIG.codes).reshape(1, 4, 9)
    assert torch.equal(net.codes(net.of_codes(every)), every)
    latents = net.latents(as_input(torch.from_numpy(film(3))))
    assert latents.abs().max() <= 1
    assert torch.equal(net.of_codes(net.codes(latents)), latents)
    assert CONFIG.codes == 36


def test_gradients_go_through_the_rounding():
    net = PictureNet(CONFIG)
    net(as_input(torch.from_numpy(film(2)))).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.encoder[1].weight.grad.abs().max() > 0


def test_every_patch_comes_back_as_it_was_painted(painter: Painter):
    grid, pictures = GridCodec(painter), film(4)
    tokens = grid.encode(pictures, None)
    assert tokens.shape == (4, PATCHES)
    assert (tokens >= 0).all()
    assert (tokens < CONFIG.codes).all()
    assert np.array_equal(grid.decode(tokens, None)[2], painter.paint(painter.codes(pictures[2])))
    assert grid.describe(pictures, None).shape == (4, grid.features)
    assert psnr(dense_errors(look_at(painter, pictures))) > 18


def test_what_the_encoder_keeps_is_what_the_decoder_has(codec: PictureCodec):
    """Decoded one after another from tokens alone."""
    pictures = film(10)
    first, later = coded(codec, pictures)
    state = codec.first.after(first.tokens, None)
    for tokens, before, features in zip(later.tokens, later.before, later.features, strict=True):
        assert np.array_equal(state[0], before)
        shown = codec.decode(tokens[None], state)
        state = codec.after(tokens[None], state)
        assert np.array_equal(shown[0], codec.painter.paint(state[0]))
        assert np.array_equal(features, codec.painter.features(state)[0])
    assert np.array_equal(state, later.after)
    assert 0 < (later.tokens != SILENT).sum(1).mean() < PATCHES / 2


def test_coding_picture_by_picture_is_the_same(codec: PictureCodec):
    pictures = film(6)
    whole = codec.code(pictures)
    assert np.array_equal(codec.encode(pictures, whole.before), whole.tokens)
    assert np.array_equal(codec.describe(pictures, whole.before), whole.features)
    state = None
    for number, picture in enumerate(pictures):
        one = codec.code(picture[None], state)
        assert np.array_equal(one.tokens[0], whole.tokens[number])
        assert np.array_equal(one.features[0], whole.features[number])
        state = one.after


@pytest.mark.parametrize("cut", range(1, 8, 2))
def test_what_comes_later_changes_nothing(codec: PictureCodec, cut: int):
    pictures = film(8)
    other = pictures.copy()
    other[cut:] = film(8, seed=5)[cut:]
    assert np.array_equal(codec.code(pictures).tokens[:cut], codec.code(other).tokens[:cut])


def test_a_picture_that_did_not_change_costs_an_end(codec: PictureCodec):
    pictures = np.repeat(film(1), 5, axis=0)
    _, later = coded(codec, pictures)
    assert (later.tokens[:, 0] == codec.alphabet.end).all()
    assert (later.tokens[:, 1:] == SILENT).all()


def test_noise_costs_nothing(codec: PictureCodec):
    """The codes of some patches do change; sending them would gain nothing."""
    random = np.random.default_rng(0)
    pictures = np.repeat(film(1), 12, axis=0)
    noisy = np.clip(pictures + random.normal(0, 6, pictures.shape), 0, 255).astype(np.uint8)
    codes = GridCodec(codec.painter).encode(noisy, None)
    assert (codes[1:] != codes[:-1]).sum() > 0
    assert spent_on(codec, noisy).tokens[1:].mean() < 2


def test_what_finds_no_room_comes_later(painter: Painter):
    narrow = PictureCodec(painter, threshold=1.0, room=6)
    pictures = np.repeat(film(1), 20, axis=0)
    found = narrow.code(pictures)
    counts = (found.tokens != SILENT).sum(1)
    assert counts.max() <= 6
    assert counts[0] >= 5
    assert counts[-1] == 1
    known = (found.before != UNKNOWN).sum(1)
    assert (np.diff(known) >= 0).all()
    shown = narrow.decode(found.tokens, found.before)
    errors = [((a.astype(float) - b) ** 2).mean() for a, b in zip(pictures, shown, strict=True)]
    assert errors[-1] < errors[0] / 2


def test_fewer_tokens_for_little(codec: PictureCodec):
    pictures = film(12)
    spent = spent_on(codec, pictures)
    _, later = coded(codec, pictures)
    assert np.array_equal(spent.tokens[1:], (later.tokens != SILENT).sum(1))
    assert np.array_equal(spent.shown[1:], codec.decode(later.tokens, later.before))
    dense = psnr(dense_errors(look_at(codec.painter, pictures)))
    assert spent.tokens[0] == PATCHES
    assert spent.tokens[1:].mean() < PATCHES / 2
    assert psnr(spent.errors) > dense - 1
    assert np.array_equal(spent.sent.sum(1) > 0, spent.tokens > 1)


def test_a_saved_codec_is_the_same(codec: PictureCodec, tmp_path: Path):
    pictures = film(5)
    for number, one in enumerate((codec, codec.first)):
        folder = tmp_path / str(number)
        folder.mkdir()
        one.save_arrays(folder)
        again = codec_from_json(one.to_json(), folder)
        assert type(again) is type(one)
        assert again.slots == one.slots
        assert np.array_equal(again.code(pictures).tokens, one.code(pictures).tokens)


@pytest.mark.parametrize(
    "pictures",
    [np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 3, 16, 24)), np.zeros((3, 16, 24), np.uint8)],
)
def test_pictures_of_another_shape(codec: PictureCodec, pictures: np.ndarray):
    with pytest.raises(TokenError, match=r"this tokenizer knows uint8 \[N, 3, 16, 24\]"):
        codec.code(pictures)


def test_a_picture_is_nothing_to_go_on(codec: PictureCodec):
    with pytest.raises(TokenError, match="given codes"):
        codec.encode(film(2), film(2))


@pytest.mark.parametrize(
    "wrong", [{"size": (15, 24)}, {"patch": 5}, {"levels": ()}, {"levels": (1,)}, {"depth": 0}]
)
def test_a_network_that_cannot_be(wrong: dict):
    with pytest.raises(UsageError):
        PictureConfig(**{"size": (16, 24), "patch": 4} | wrong)


masks = st.lists(st.booleans(), min_size=2, max_size=9).map(np.array)


@given(masks, st.randoms())
def test_any_patches_can_be_spelled(sent: np.ndarray, random):
    letters = Alphabet(7, len(sent))
    codes = np.array([random.randrange(7) for _ in sent], np.int32)
    state = np.array([random.randrange(7) for _ in sent], np.int32)
    tokens = letters.spell(sent, codes, 2 * len(sent) + 1)
    assert np.array_equal(letters.read(tokens, state), np.where(sent, codes, state))
    said = tokens[tokens != SILENT]
    assert ((said >= 0) & (said < letters.values)).all()
    assert len(said) == tokens_of(sent) + (not sent[-1])
    no_end = letters.spell(sent, codes, max(1, tokens_of(sent)))
    assert np.array_equal(letters.read(no_end, state), np.where(sent, codes, state))


@given(st.lists(st.integers(-1, 15), max_size=12))
def test_any_tokens_mean_something(tokens: list[int]):
    letters = Alphabet(7, 9)
    state = np.arange(9, dtype=np.int32) % 7
    after = letters.read(np.array(tokens, np.int32), state)
    assert ((after >= 0) & (after < 7)).all()


@given(st.lists(st.sampled_from([-np.inf, -1, 0.3, 0.6, 1.5, 2.5, 9]), min_size=2, max_size=8))
def test_no_choice_of_patches_is_better(gains: list[float]):
    gain = np.array(gains)

    def total(sent: np.ndarray) -> float:
        return float(gain[sent].sum() - tokens_of(sent))

    every = (np.array(choice) for choice in itertools.product([False, True], repeat=len(gain)))
    assert total(worth_sending(gain, 1.0)) == pytest.approx(max(map(total, every)))


@given(masks, st.integers(1, 9), st.randoms())
def test_what_gains_least_waits(sent: np.ndarray, room: int, random):
    gain = np.array([random.random() for _ in sent])
    kept = fitting(sent, gain, room)
    assert tokens_of(kept) <= room
    assert not (kept & ~sent).any()
    left = sent & ~kept
    if left.any() and kept.any():
        assert gain[left].max() <= gain[kept].min()


def test_a_look(codec: PictureCodec):
    pictures = film(6)
    looked = show(codec, pictures, 4, scale=2)
    assert looked.shape == (32, 3 * 48 + 2 * GAP, 3)
    assert np.array_equal(looked[::2, :48:2], pictures[4].transpose(1, 2, 0))
    spent = spent_on(codec, pictures)
    outlined = (looked == OUTLINE).all(2)
    assert outlined[:, -48:].any() == spent.sent[4].any()
    assert not outlined[:, :-48].any()
    assert np.array_equal(show(codec, pictures, 4, scale=2, spent=spent), looked)
