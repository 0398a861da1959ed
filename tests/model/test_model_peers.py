"""Persistence as a likelihood: exact, and better than knowing nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest

from viae.model.tokens.codec import previous
from viae.model.tokens.vector import VectorCodec
from viae.schema import StreamSpec

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def peers(monkeypatch, request):
    monkeypatch.syspath_prepend(str(Path(request.config.rootpath) / "benchmarks"))
    import model_peers

    yield model_peers
    sys.modules.pop("model_peers", None)


def stream(kind, n=600):
    rng = np.random.default_rng(0)
    if kind == "walk":
        return np.cumsum(rng.normal(0, 0.1, (n, 1)), axis=0)
    if kind == "levels":
        return np.round(np.cumsum(rng.normal(0, 0.3, (n, 1)), axis=0))
    return rng.normal(0, 1, (n, 1))


@pytest.mark.parametrize("noise", ["gaussian", "laplace", "differences"])
@pytest.mark.parametrize("kind", ["walk", "levels", "noise"])
def test_probabilities_of_all_tokens_sum_to_one(peers, kind, noise):
    values = stream(kind)
    spec = StreamSpec(name="s", shape=(1,))
    codec = VectorCodec.fit(values[1:], previous(values)[1:], spec, bins=32, first=False)
    train = peers.columns(codec, values[1:], values[:-1])
    slot = peers.Persistence(codec, train, noise)._slots[0]
    every = np.arange(slot.size)
    [given] = peers.columns(codec, values[301:302], values[300:301])
    asked = peers.Column(
        token=every, stay=np.repeat(given.stay, slot.size), last=np.repeat(given.last, slot.size),
        x=every.astype(float),
    )  # fmt: skip
    assert (2.0 ** -slot.bits(asked)).sum() == pytest.approx(1, abs=2e-3)


def test_persistence_of_a_walk_needs_fewer_bits_than_what_is_usual(peers):
    values = stream("levels")
    spec = StreamSpec(name="s", shape=(1,))
    codec = VectorCodec.fit(values[1:], previous(values)[1:], spec, bins=32, first=True)
    learnt, tested = slice(1, 400), slice(400, 600)
    train = peers.columns(codec, values[learnt], previous(values)[learnt])
    test = peers.columns(codec, values[tested], previous(values)[tested])
    usual = np.bincount(train[0].token, minlength=codec.slots[0]) + 0.5
    cost = -np.log2(usual / usual.sum())[test[0].token]
    assert peers.best_persistence(codec, train, test).sum() < 0.8 * cost.sum()
