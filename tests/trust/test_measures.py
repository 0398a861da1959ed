"""Measures of a probability on cases whose answer is known."""

import numpy as np
import pytest

from viae.errors import UsageError
from viae.trust import auroc, brier_skill, calibration_error, estimate, reliability_bins

MEASURES = [auroc, brier_skill, calibration_error]


def calibrated(n=2000, seed=0):
    """Outcomes drawn with exactly the probabilities said."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0, 1, n)
    return rng.uniform(0, 1, n) < probability, probability


def test_saying_the_base_rate_has_no_skill_and_no_error():
    outcome = np.arange(100) % 4 == 0
    constant = np.full(100, 0.25)
    assert auroc(outcome, constant) == 0.5
    assert brier_skill(outcome, constant) == pytest.approx(0)
    spread = np.array([True, False, False, False] * 25)
    assert calibration_error(spread, constant) == pytest.approx(0, abs=0.06)


def test_a_prophet():
    outcome = np.arange(100) % 3 == 0
    said = outcome.astype(float)
    assert (auroc(outcome, said), brier_skill(outcome, said)) == (1, 1)
    assert calibration_error(outcome, said) == pytest.approx(0, abs=0.05)
    assert auroc(outcome, 1 - said) == 0
    assert brier_skill(outcome, 1 - said) < 0


def test_perfect_calibration_is_recognised():
    outcome, probability = calibrated()
    assert calibration_error(outcome, probability) < 0.03
    assert brier_skill(outcome, probability) == pytest.approx(1 / 3, abs=0.05)
    assert auroc(outcome, probability) == pytest.approx(5 / 6, abs=0.03)


def test_overconfidence_is_recognised():
    outcome, probability = calibrated()
    bold = np.where(probability > 0.5, 0.99, 0.01)
    assert calibration_error(outcome, bold) == pytest.approx(0.24, abs=0.04)
    constant = np.full(len(outcome), 0.9)
    gap = 0.9 - outcome.mean()
    assert calibration_error(outcome, constant) == pytest.approx(gap)


def test_the_order_of_the_cases_does_not_matter():
    outcome, probability = calibrated(200)
    order = np.random.default_rng(1).permutation(200)
    for measure in MEASURES:
        assert measure(outcome[order], probability[order]) == pytest.approx(
            measure(outcome, probability)
        )


def test_one_outcome_alone_gives_no_number():
    for outcome in (np.ones(5, bool), np.zeros(5, bool)):
        probability = np.linspace(0, 1, 5)
        assert np.isnan(auroc(outcome, probability))
        assert np.isnan(brier_skill(outcome, probability))
        found = estimate(auroc, outcome, probability)
        assert np.isnan([found.value, found.low, found.high]).all()


def test_an_estimate_is_repeatable_and_its_interval_holds_the_truth():
    outcome, probability = calibrated(150)
    found = estimate(brier_skill, outcome, probability, seed=3)
    assert found == estimate(brier_skill, outcome, probability, seed=3)
    assert found.value == brier_skill(outcome, probability)
    assert found.low < 1 / 3 < found.high
    assert found.low < found.value < found.high
    assert found.n == 150
    assert found.to_json() == {
        "value": found.value, "low": found.low, "high": found.high, "n": 150
    }  # fmt: skip


@pytest.mark.parametrize("measure", MEASURES)
def test_few_cases_have_an_interval_too(measure):
    """Some resamples then hold no failure at all, and say nothing."""
    outcome = np.arange(20) >= 3
    probability = np.random.default_rng(0).uniform(size=20)
    found = estimate(measure, outcome, probability)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low <= found.high


def test_a_constant_has_an_interval_or_none_but_never_warns():
    outcome = np.arange(20) >= 3
    for measure in MEASURES:
        found = estimate(measure, outcome, np.full(20, 0.15))
        assert np.isnan(found.low) == np.isnan(found.high)


def test_no_cases():
    with pytest.raises(UsageError, match="there are no cases to measure a probability on"):
        estimate(auroc, np.zeros(0, bool), np.zeros(0))


def test_reliability_bins_hold_every_case_once():
    outcome, probability = calibrated(205)
    rows = reliability_bins(outcome, probability)
    assert len(rows) == 10
    assert sum(row["n"] for row in rows) == 205
    assert min(row["n"] for row in rows) >= 20
    assert [row["predicted"] for row in rows] == sorted(row["predicted"] for row in rows)
    for row in rows:
        assert row["low"] <= row["observed"] <= row["high"]
    assert sum(row["n"] * row["observed"] for row in rows) == pytest.approx(outcome.sum())


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (19, 1), (20, 2), (55, 5)])
def test_few_cases_make_few_bins(n, bins):
    outcome, probability = calibrated(n)
    assert len(reliability_bins(outcome, probability)) == bins
