"""A tokenizer of pictures: from a store to a folder, resumed, refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import STATE, png, samples, write
from viae.errors import BundleError, UsageError
from viae.model.tokens.tokenizer import PictureTokenizer
from viae.schema import Kind, StreamSpec
from viae.store import Store
from viae.train.loop import LoopConfig
from viae.train.tokenizer import TokenizerRecipe
from viae.verbs.tokenizer import train_tokenizer

FILM = StreamSpec(name="film", kind=Kind.IMAGE, dtype="uint8", shape=(16, 24, 3), encoding="png")
LOOP = LoopConfig(steps=40, check_every=10, warmup=5, lr=5e-3, ema=0.9)
RECIPE = TokenizerRecipe(
    patch=4, levels=(4, 3, 3), width=8, depth=1, batch_size=8, loss_db=0.5, tried_on=12,
    held_out_share=0.3, loop=LOOP,
)  # fmt: skip


class Killed(BaseException):
    pass


def filmed(path: Path, *, episodes: int = 3, pictures: int = 8) -> Store:
    """A bright square that moves."""
    torch.set_num_threads(1)
    store = Store.create(path)
    for number in range(episodes):
        frames = np.full((pictures, 16, 24, 3), 60, np.uint8)
        for step in range(pictures):
            frames[step, 4 * number : 4 * number + 4, step : step + 6] = (230, 40, 90)
        write(store, f"e{number}", [samples(FILM, [png(frame) for frame in frames])], task="t")
    return store


def test_it_learns_and_says_where_it_comes_from(tmp_path: Path):
    store = filmed(tmp_path / "store")
    found = train_tokenizer(store, tmp_path / "out", RECIPE)
    assert found.stream == "film"
    assert found.size == (16, 24)
    assert found.codec.painter.config.patches == 24
    came = found.provenance
    assert sorted(e for ids in came.episodes.values() for e in ids) == ["e0", "e1", "e2"]
    assert len(came.episodes["held_out"]) == 1
    assert came.snapshot
    tried = came.metrics["tried"]
    assert tried["psnr"] >= tried["dense_psnr"] - 0.6
    assert tried["tokens"] < 24
    [run] = store.runs("tokenizer")
    assert run["config"]["recipe"] == RECIPE.to_json()
    curve = came.metrics["curve"]
    assert curve[-1][1] < curve[0][1]


def test_saved_is_loaded(tmp_path: Path):
    store = filmed(tmp_path / "store")
    found = train_tokenizer(store, tmp_path / "out", RECIPE)
    again = PictureTokenizer.load(tmp_path / "out")
    assert again.tokenizer_id == found.tokenizer_id
    assert again.provenance == found.provenance
    assert train_tokenizer(store, tmp_path / "out", RECIPE).tokenizer_id == found.tokenizer_id
    with pytest.raises(UsageError, match="other options"):
        train_tokenizer(store, tmp_path / "out", replace(RECIPE, batch_size=9))


@pytest.mark.parametrize("moment", [0, 1, 3])
def test_interrupted_it_ends_the_same(tmp_path: Path, moment: int):
    store = filmed(tmp_path / "store")
    whole = train_tokenizer(store, tmp_path / "whole", RECIPE)
    told = []

    def interrupt(progress: object) -> None:
        told.append(progress)
        if len(told) > moment:
            raise Killed

    with pytest.raises(Killed):
        train_tokenizer(store, tmp_path / "again", RECIPE, tell=interrupt)
    assert not (tmp_path / "again").exists()
    again = train_tokenizer(store, tmp_path / "again", RECIPE)
    assert again.tokenizer_id == whole.tokenizer_id
    assert not (tmp_path / "again.training").exists()


def test_a_size_is_scaled_to_and_refused(tmp_path: Path):
    store = filmed(tmp_path / "store")
    small = replace(RECIPE, size=(8, 12), loop=replace(LOOP, steps=2, check_every=2))
    assert train_tokenizer(store, tmp_path / "small", small).size == (8, 12)
    with pytest.raises(UsageError, match="such as 8x12"):
        train_tokenizer(store, tmp_path / "odd", replace(RECIPE, size=(9, 13)))


def test_there_must_be_pictures(tmp_path: Path):
    store = filmed(tmp_path / "store")
    with pytest.raises(UsageError, match=r"no stream of pictures 'nope'.*film"):
        train_tokenizer(store, tmp_path / "out", replace(RECIPE, stream="nope"))
    other = Store.create(tmp_path / "other")
    write(other, "e", [samples(STATE, [(0, 0), (1, 1)])])
    with pytest.raises(UsageError, match="no stream of pictures"):
        train_tokenizer(other, tmp_path / "out", RECIPE)


@pytest.mark.parametrize("text", ["", "{}", "no"])
def test_a_damaged_tokenizer(tmp_path: Path, text: str):
    with pytest.raises(BundleError, match="viae train tokenizer"):
        PictureTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(BundleError, match="rain"):
        PictureTokenizer.load(tmp_path)


def test_by_command(viae, tmp_path: Path):
    store = filmed(tmp_path / "store")
    words = (
        "train", "tokenizer", store.uri, "--stream", "film", "--out", tmp_path / "out",
        "--size", "16x16", "--patch", "4", "--steps", "4", "--batch", "4",
    )  # fmt: skip
    said = viae(*words, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["size"] == [16, 16]
    assert found["patches"] == 16
    assert viae(*words).out.count("tokens") >= 2
    assert viae(*words[:-5], "--size", "big").code == 2
