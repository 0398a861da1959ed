"""Novelty: familiar inputs are refused as often as was asked, others nearly always."""

import numpy as np
import pytest

from viae.errors import BundleError, UsageError
from viae.trust import Unfamiliar, fit_unfamiliar
from viae.trust.unfamiliar import METHODS


def embeddings(n, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)) * [1, 1, 1, 1, 10, 0.1] + shift


@pytest.mark.parametrize("method", METHODS)
def test_familiar_inputs_are_refused_at_the_asked_rate(method: str):
    rates = []
    for seed in range(60):
        known = fit_unfamiliar(embeddings(80, seed), embeddings(39, 1000 + seed), method=method)
        rates.append(known.abstain(embeddings(50, 2000 + seed), alpha=0.1).mean())
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / 60**0.5
    assert np.mean(rates) > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_unlike_inputs_are_refused(method: str, tmp_path):
    known = fit_unfamiliar(embeddings(200, 0), embeddings(99, 1), method=method)
    strange = embeddings(50, 2, shift=[0, 0, 0, 0, 0, 1.0])  # ten deviations, in one dimension
    assert known.abstain(strange).all()
    assert (known.p_value(strange) == 1 / 100).all()
    known.save(tmp_path / "known.safetensors")
    again = Unfamiliar.load(tmp_path / "known.safetensors")
    np.testing.assert_array_equal(again.p_value(strange), known.p_value(strange))


def test_bad_input_is_refused(tmp_path):
    known = fit_unfamiliar(embeddings(20, 0), embeddings(10, 1))
    with pytest.raises(UsageError, match=r"10 held-out inputs are too few .* 9 more are needed"):
        known.abstain(embeddings(1, 2), alpha=0.05)
    with pytest.raises(UsageError, match=r"shape \[1, 2\]; expected \[N, 6\]"):
        known.p_value(np.zeros((1, 2)))
    with pytest.raises(UsageError, match="embedding 1 holds a number that is not finite"):
        known.p_value(np.array([np.zeros(6), np.full(6, np.nan)]))
    with pytest.raises(UsageError, match="no measure 'vibes'"):
        fit_unfamiliar(embeddings(20, 0), embeddings(10, 1), method="vibes")
    with pytest.raises(UsageError, match="too few"):
        fit_unfamiliar(embeddings(3, 0), embeddings(10, 1))
    with pytest.raises(BundleError, match="nope"):
        Unfamiliar.load(tmp_path / "nope")
