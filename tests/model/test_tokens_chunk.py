"""Chunks of actions as tokens: binned, and as FAST codes them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from viae.errors import TokenError
from viae.model.tokens import SILENT, BinnedChunk, FastChunk, codec_from_json
from viae.schema import Role, StreamSpec

ACTION = StreamSpec(name="action", dtype="float32", shape=(4,), role=Role.ACTION)


def chunks(count=400, steps=8, seed=0):
    rng = np.random.default_rng(seed)
    found = np.cumsum(rng.standard_normal((count, steps, 4)), axis=1) * 0.1
    found[:, :, 2] = 0.5
    found[:, :, 3] = rng.integers(0, 2, (count, 1))
    return found.astype(np.float32)


def cut(found, *lengths):
    found = found.copy()
    for row, length in enumerate(lengths):
        found[row, length:] = np.nan
    return found


def saved(codec):
    return codec_from_json(json.loads(json.dumps(codec.to_json())))


@pytest.mark.parametrize("kind", [BinnedChunk, FastChunk])
def test_a_chunk_comes_back_and_what_is_missing_stays_missing(kind):
    values = cut(chunks(), 1, 3, 8)
    codec = kind.fit(values, ACTION)
    tokens = codec.encode(values)
    assert tokens.dtype == np.int32 and tokens.shape == (400, len(codec.slots))
    assert tokens[:3, 0].tolist() == [0, 2, 7]
    back = codec.decode(tokens)
    assert back.dtype == np.float32 and (np.isnan(back) == np.isnan(values)).all()
    assert np.nanmax(np.abs(back - values)) < 0.2
    assert (back[:, :, 2] == values[:, :, 2])[~np.isnan(values[:, :, 2])].all()
    shown = codec.describe(values)
    assert shown.shape == (400, codec.features) and np.isfinite(shown).all()
    again = saved(codec)
    assert (again.encode(values) == tokens).all() and again.slots == codec.slots
    assert (again.describe(values) == shown).all()
    assert np.array_equal(again.decode(tokens), back, equal_nan=True)
    assert codec.check(values) == []
    assert dict(codec.check(values + 1))["2"].startswith("was always 0.5 and is 1.5 in row 0")


def test_missing_steps_of_a_binned_chunk_are_silent():
    values = cut(chunks(), 2)
    codec = BinnedChunk.fit(values, ACTION)
    tokens = codec.encode(values)
    assert (tokens[0, 1 + 2 * 3 :] == SILENT).all() and (tokens[1:] != SILENT).all()
    assert np.isfinite(codec.log_width(tokens)).all()


@pytest.mark.parametrize("kind", [BinnedChunk, FastChunk])
def test_chunks_that_cannot_be(kind):
    codec = kind.fit(chunks(), ACTION)
    with pytest.raises(TokenError, match="chunk 0 has no step"):
        codec.encode(cut(chunks(), 0))
    with pytest.raises(TokenError, match=r"\['N', 8, 4\]"):
        codec.encode(chunks(steps=5))
    hole = chunks()
    hole[4, 2, 1] = np.nan
    with pytest.raises(TokenError, match="'1' is nan"):
        codec.encode(hole)
    with pytest.raises(TokenError, match="slots"):
        codec.decode(np.zeros((1, 2), np.int32))
    long = codec.encode(chunks())[:1]
    long[0, 0] = 99
    with pytest.raises(TokenError, match="1 to 8 steps"):
        codec.decode(long)


def test_rounded_coefficients_come_back_exactly():
    values = cut(chunks(), 5)
    codec = FastChunk.fit(values, ACTION, most=8 * 3 + 1)  # as many as coefficients, and the end
    tokens = codec.encode(values)
    assert (codec.read(tokens) == codec.coefficients(values)).all()
    other = chunks(seed=9) * 3
    other[:, :, 2] = 0.5
    assert (codec.read(codec.encode(other)) == codec.coefficients(other)).all()
    ends = (tokens[:, 1:] == codec.end).argmax(axis=1)
    for row, end in enumerate(ends):
        assert (tokens[row, end + 2 :] == SILENT).all()


def test_smooth_chunks_take_fewer_tokens_than_bins():
    t = np.linspace(0, 1, 16)
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (500, 1, 4)) + rng.uniform(-1, 1, (500, 1, 4)) * t[:, None]
    fast = FastChunk.fit(values, ACTION)
    used = (fast.encode(values) != SILENT).sum(axis=1).mean()
    assert used < len(BinnedChunk.fit(values, ACTION).slots) / 2
    finer = FastChunk.fit(values, ACTION, scale=100)
    errors = [np.abs(c.decode(c.encode(values)) - values).mean() for c in (fast, finer)]
    assert errors[1] < errors[0] / 5


def test_a_chunk_that_needs_more_slots_loses_its_highest_frequencies():
    values = chunks()
    codec = FastChunk.fit(values, ACTION, most=6)
    tokens = codec.encode(values)
    assert tokens.shape == (400, 7) and (tokens == codec.end).sum(axis=1).tolist() == [1] * 400
    kept, whole = codec.read(tokens), codec.coefficients(values)
    same = kept == whole
    for row in range(400):
        first = same[row].argmin() if not same[row].all() else whole.shape[1]
        assert (kept[row, first:] == 0).all()
    assert np.abs(codec.decode(tokens) - values).mean() < 0.5
    short = int((~same.all(axis=1)).sum())
    assert f"({short} of 400 chunks)" in dict(codec.check(values))["all"]


def test_what_a_model_says_too_much_or_too_little_still_decodes():
    codec = FastChunk.fit(chunks(), ACTION)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, codec.end, (50, len(codec.slots))).astype(np.int32)
    tokens[:, 0] = 7
    tokens[0, 1] = codec.end
    assert np.isfinite(codec.decode(tokens)).all()
    assert (codec.read(tokens)[0] == 0).all()


def test_dead_actions_take_no_slots():
    values = np.full((50, 8, 4), 0.25, np.float32)
    for kind in (BinnedChunk, FastChunk):
        codec = kind.fit(values, ACTION)
        assert (codec.decode(codec.encode(values)) == values).all()
    assert BinnedChunk.fit(values, ACTION).slots == (8,)


@given(
    values=some.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.just(6), st.just(4)),
        elements=st.floats(-1e3, 1e3, width=32),
    ),
    data=st.data(),
)  # fmt: skip
def test_fast_and_binned_chunks_round_trip(values, data):
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=len(values), max_size=len(values)))
    values = cut(values, *lengths)
    fast = FastChunk.fit(values, ACTION, scale=2)
    assert (fast.read(fast.encode(values)) == fast.coefficients(values)).all()
    assert (np.isnan(fast.decode(fast.encode(values))) == np.isnan(values)).all()
    binned = BinnedChunk.fit(values, ACTION)
    back = binned.decode(binned.encode(values))
    assert (np.isnan(back) == np.isnan(values)).all()
    again = binned.decode(binned.encode(back))
    assert np.array_equal(again, back, equal_nan=True)
