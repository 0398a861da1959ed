"""The base model: causal, exact, and the same however its history is read."""

import itertools

import numpy as np
import pytest
import torch

from base_events import made, network
from viae.model import BaseBundle, BaseConfig, BaseModel, Provenance
from viae.model.base import PADDED, EventBatch
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import START, asked_of, event_batch, first_shown, lay

torch.set_num_threads(1)
EPISODES = [made(seed) for seed in range(6)]
VOCABULARY = Vocabulary.fit(EPISODES, chunk=3, bins=16)
MODEL = network(VOCABULARY)
ENCODED = VOCABULARY.encode(EPISODES[0])
TYPES = len(VOCABULARY.types)


def batch_of(encoded, where, hide=False):
    where = np.atleast_2d(where)
    hidden = (where >= 0) & encoded.action[np.maximum(where, 0)] & hide
    return event_batch([encoded] * len(where), where, hidden, TYPES)


def whole(encoded):
    return lay(encoded, 0, len(encoded) + 1, np.empty(0, np.int64))


def states(batch, model=MODEL):
    with torch.inference_mode():
        return model.states(batch)


def changed(batch, at, rng):
    """The same with other types, times and features from a place on."""
    features = {}
    length = batch.types.shape[1]
    for stream, (places, values) in batch.features.items():
        late = (places % length) >= at
        other = values.clone()
        other[late] = torch.from_numpy(rng.normal(0, 9, values[late].shape).astype(np.float32))
        features[stream] = places, other
    types, times = batch.types.clone(), batch.times.clone()
    types[:, at:] = torch.from_numpy(rng.integers(0, TYPES, types[:, at:].shape))
    times[:, at:] = 3.0
    return EventBatch(types=types, times=times, hidden=batch.hidden, features=features)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_later_events_change_no_state_and_no_loss(bf16, attention):
    model = network(VOCABULARY)
    model.trunk.set_attn_implementation(attention)
    where = whole(ENCODED)
    batch, asked = batch_of(ENCODED, where), asked_of([ENCODED], where[None])
    rng = np.random.default_rng(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), torch.inference_mode():
        before = model.states(batch)[0]
        for at in (1, 7, 20, len(where) - 1):
            after = model.states(changed(batch, at, rng))[0]
            assert torch.equal(after[:at], before[:at])
            assert not torch.equal(after[at], before[at])
            for group, (places, tokens) in asked.groups.items():
                own = places < at
                one = model.log_p(before[places[own]], group, tokens[own])
                other = model.log_p(after[places[own]], group, tokens[own])
                assert torch.equal(one, other)


def test_attention_of_training_in_bfloat16_is_that_of_acting():
    eager = network(VOCABULARY)
    eager.trunk.set_attn_implementation("eager")
    batch = batch_of(ENCODED, whole(ENCODED))
    assert (states(batch, eager) - states(batch)).abs().max() < 1e-5
    where = whole(ENCODED)
    asked = asked_of([ENCODED], where[None])
    with torch.inference_mode():
        exact = MODEL([(batch, asked.types, asked.groups)], {})[0]
        with torch.autocast("cpu", torch.bfloat16):
            rough = MODEL([(batch, asked.types, asked.groups)], {})[0]
    for group, log_p in exact.log_p.items():
        assert (rough.log_p[group] - log_p).abs().max() < 0.15


def test_padding_changes_nothing():
    tight = lay(ENCODED, 9, 20, np.array([0]))
    loose = lay(ENCODED, 9, 20 + len(ENCODED), np.array([0]))
    loose[20:] = PADDED
    one, other = states(batch_of(ENCODED, tight)), states(batch_of(ENCODED, loose))
    assert (one - other[:, :20]).abs().max() < 1e-6
    few, many = asked_of([ENCODED], tight[None]), asked_of([ENCODED], loose[None])
    assert torch.equal(few.types[0], many.types[0])
    assert few.groups.keys() == many.groups.keys()
    for group, (at, tokens) in few.groups.items():
        assert torch.equal(many.groups[group][0], at)
        assert torch.equal(many.groups[group][1], tokens)


def test_windows_of_a_batch_do_not_see_each_other():
    where = np.stack([lay(ENCODED, s, 16, np.array([0])) for s in (0, 5, 30)])
    together = states(batch_of(ENCODED, where))
    for row in range(3):
        assert (states(batch_of(ENCODED, where[row])) - together[row]).abs().max() < 1e-6


def test_hidden_actions_leave_no_trace():
    where = whole(ENCODED)
    stream = [s.name for s in VOCABULARY.streams].index("action")
    one, other = batch_of(ENCODED, where, hide=True), batch_of(ENCODED, where, hide=True)
    places, values = other.features[stream]
    other.features = {**other.features, stream: (places, values + 7)}
    assert torch.equal(states(one), states(other))
    shown = batch_of(ENCODED, where)
    assert not torch.equal(states(shown), states(one))


def test_the_distribution_of_the_depth_decoder_sums_to_one():
    torch.manual_seed(1)
    slots = ((3, 2, 4), (2,), ())
    model = BaseModel(
        BaseConfig(
            features=(2,), stream_of=(0, 0), slots=slots, width=8, depth=1, heads=2,
            depth_width=8, depth_layers=2, depth_heads=2,
        )
    ).eval()  # fmt: skip
    state_PD = torch.randn(2, 8)
    with torch.inference_mode():
        for group, sizes in enumerate(slots):
            total = torch.zeros(2)
            for each in itertools.product(*map(range, sizes)):
                tokens = torch.tensor([each, each], dtype=torch.int64).reshape(2, len(sizes))
                total += model.log_p(state_PD, group, tokens).sum(1).exp()
            assert torch.allclose(total, torch.ones(2), atol=1e-5)
        kinds = torch.arange(2)
        assert model.log_p_type(state_PD[:1].expand(2, 8), kinds).exp().sum() == pytest.approx(1)
        said = model.say(state_PD, 2)
        assert said.tokens.shape == said.log_p.shape == (2, 0)


def test_bits_of_an_episode_are_the_sum_over_its_events_and_slots():
    from viae.foresee import bits

    bundle = bundled(MODEL, length=64)
    found = bits(bundle, EPISODES[0])
    where = whole(ENCODED)
    state_PD = states(batch_of(ENCODED, where))[0]
    nats = 0.0
    with torch.inference_mode():
        for place in range(len(where) - 1):
            event = int(where[place + 1])
            kind = int(ENCODED.types[event])
            tokens = torch.from_numpy(ENCODED.tokens[kind][ENCODED.place[event]].astype(np.int64))
            nats -= float(MODEL.log_p_type(state_PD[place, None], torch.tensor([kind])))
            nats -= float(MODEL.log_p(state_PD[place, None], kind, tokens[None]).sum())
    assert found.bits.sum() == pytest.approx(nats / np.log(2), rel=1e-5)


def bundled(model, length):
    provenance = Provenance(
        store="", snapshot={}, episodes={}, initial_states=(), training={}, metrics={}
    )
    return BaseBundle(model=model, vocabulary=VOCABULARY, length=length, provenance=provenance)


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("length", [64, 13, 6])
def test_a_history_read_event_by_event_is_one_forward_pass(hide, length):
    """Also where the window is full, moves on, and begins with the instruction again."""
    events = EPISODES[0]
    context = bundled(MODEL, length).context(hide_actions=hide)
    seen, moved = set(), 0
    for at in range(len(events)):
        name = events.streams[events.stream[at]].name
        row = events.row[at]
        context.add(
            name, events.values[name][row : row + 1],
            capture_ns=int(events.capture_ns[at]), arrival_ns=int(events.arrival_ns[at]),
        )  # fmt: skip
        state = context.state()
        start = int(first_shown(at + 1, length, 1))
        head = [START] if start == 0 else [0]
        where = np.array([*head, *range(start, at + 1)])
        assert len(where) <= length
        full = states(batch_of(ENCODED, where, hide))[0, -1]
        assert (state[0] - full).abs().max() < 1e-4
        moved += start not in seen
        seen.add(start)
    assert moved > 2 or length > len(events)


def test_a_bundle_comes_back_as_it_was(tmp_path):
    bundle = bundled(MODEL, length=32)
    bundle.save(tmp_path / "b")
    again = BaseBundle.load(tmp_path / "b")
    assert again.bundle_id == bundle.bundle_id
    batch = batch_of(ENCODED, whole(ENCODED))
    assert torch.equal(states(batch, again.model), states(batch))


def test_a_pretrained_trunk(tmp_path):
    from transformers import LlamaConfig, LlamaModel

    shape = LlamaConfig(
        vocab_size=3, hidden_size=24, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    torch.manual_seed(5)
    trunk = LlamaModel(shape)
    trunk.save_pretrained(tmp_path / "llama")
    config = BaseConfig(
        features=VOCABULARY.features, stream_of=VOCABULARY.stream_of, slots=VOCABULARY.slots,
        width=24, depth_width=8, depth_layers=1, depth_heads=2, trunk=str(tmp_path / "llama"),
    )  # fmt: skip
    model = BaseModel(config).eval()
    own = dict(model.trunk.named_parameters())
    for name, weight in trunk.named_parameters():
        if "embed_tokens" not in name:
            assert torch.equal(own[name], weight)
    before = states(batch_of(ENCODED, whole(ENCODED)), model)
    assert before.shape[-1] == 24
    bundle = bundled(model, length=32)
    bundle.save(tmp_path / "bundle")
    (tmp_path / "llama").rename(tmp_path / "gone")
    again = BaseBundle.load(tmp_path / "bundle")
    assert torch.equal(states(batch_of(ENCODED, whole(ENCODED)), again.model), before)
    assert again.bundle_id == bundle.bundle_id
