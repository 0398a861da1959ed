"""Tokens of values that are counted from the token of the sample before."""

import numpy as np
import pytest

from viae.errors import TokenError
from viae.model.tokens.codec import codec_from_json, previous
from viae.model.tokens.vector import VectorCodec
from viae.schema import StreamSpec


def walk(n=2000, levels=40, seed=0):
    """Levels that mostly stay, else go anywhere: differences resolve no finer than values."""
    rng = np.random.default_rng(seed)
    level = np.sqrt(np.arange(levels)) + 0.1 * np.arange(levels)
    at = rng.integers(0, levels, n)
    stays = rng.random(n) < 0.8
    newest = np.maximum.accumulate(np.where(stays, 0, np.arange(n)))
    return level[at[newest]][:, None]


def fitted(values, **options):
    spec = StreamSpec(name="s", dtype=values.dtype.name, shape=values.shape[1:])
    return VectorCodec.fit(values[1:], previous(values)[1:], spec, first=False, **options)


def bits(column):
    share = np.bincount(column) / len(column)
    share = share[share > 0]
    return -(share * np.log2(share)).sum()


def test_a_value_that_stays_near_is_counted_and_takes_few_bits():
    values = walk()
    codec = fitted(values)
    [coding] = codec.codings.values()
    assert coding.counted and not coding.difference
    tokens = codec.encode(values[1:], values[:-1])
    assert bits(tokens[:, 0]) < 2.5
    assert bits(codec.binned(values[1:], values[:-1])[:, 0]) > 4
    stayed = (values[1:] == values[:-1]).ravel()
    assert ((tokens[:, 0] == coding.bins.size // 2) == stayed).all()


def test_counted_tokens_come_back_also_from_what_was_decoded():
    values = walk(seed=1)
    codec = fitted(values)
    tokens = codec.encode(values[1:], values[:-1])
    again = codec_from_json(codec.to_json())
    assert (again.decode(tokens, values[:-1]) == values[1:]).all()
    last = values[:1]
    for row in range(50):
        last = codec.decode(tokens[row : row + 1], last)
        assert (last == values[row + 1]).all()


def test_noise_is_not_counted():
    values = np.random.default_rng(0).choice([0.0, 0.3, 0.4, 2.0], (1000, 1))
    assert not any(coding.counted for coding in fitted(values).codings.values())


def test_what_is_not_finite_can_be_counted_from_if_it_was_fitted():
    values = walk()
    values[100:200] = np.nan
    codec = fitted(values)
    [coding] = codec.codings.values()
    assert coding.counted
    tokens = codec.encode(values[1:], values[:-1])
    back = codec.decode(tokens, values[:-1])
    assert np.array_equal(back, values[1:], equal_nan=True)
    with pytest.raises(TokenError, match=r"is inf in the sample before row 0"):
        codec.encode(values[1:2], np.array([[np.inf]]))


def test_counted_tokens_need_the_sample_before():
    codec = fitted(walk())
    with pytest.raises(TokenError, match="there is none"):
        codec.encode(walk()[:1], None)
    with pytest.raises(TokenError, match="there is none"):
        codec.log_width(np.zeros((1, 1), np.int32))
