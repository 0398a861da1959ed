"""Calibration: Venn-Abers against its definition, and never by the case itself."""

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from viae.errors import UsageError
from viae.trust import (
    Calibrator,
    calibration_error,
    cross_calibrated,
    fit_calibrator,
    folds,
)
from viae.trust.curves import METHODS, fit_curve


def overconfident(n, seed=0, groups=("a", "b")):
    """Scores far too bold: score, outcome, group and each case's own unit."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    outcome = rng.random(n) < 1 / (1 + np.exp(-z))
    group = rng.choice(groups, n).astype("U9")
    return 1 / (1 + np.exp(-4 * z)), outcome, group, np.arange(n).astype(str)


@pytest.mark.parametrize("seed", range(12))
def test_venn_abers_is_two_isotonic_regressions_with_the_case_added(seed: int):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    score = np.round(rng.normal(size=n), int(rng.integers(0, 3)))  # with ties
    outcome = rng.random(n) < 1 / (1 + np.exp(-score))
    outcome[:2] = True, False
    asked = np.concatenate([score, rng.normal(size=10) * 2, [-99.0, 99.0]])
    curve = fit_curve(score, outcome, np.arange(n), method="venn-abers")
    pair = curve.members[0].pair(asked)
    for case, x in enumerate(asked):
        for label in (0, 1):
            fitted = IsotonicRegression().fit(np.append(score, x), np.append(outcome, label))
            assert pair[label][case] == pytest.approx(fitted.predict([x])[0])


def test_fitting_leaves_numpys_error_state_alone():
    before = np.geterr()
    fit_calibrator(*overconfident(50))
    assert np.geterr() == before


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_probabilities_lie_in_their_interval_and_keep_the_order(method: str):
    score, outcome, group, unit = overconfident(300)
    calibrator = fit_calibrator(score, outcome, group, unit, method=method)
    asked = np.linspace(-1, 2, 200)
    said = calibrator.apply(asked, np.full(200, "a"))
    assert ((said.low <= said.probability) & (said.probability <= said.high)).all()
    assert ((said.low >= 0) & (said.high <= 1)).all()
    assert (np.diff(said.probability) >= -1e-12).all()
    again = Calibrator.from_json(json.loads(json.dumps(calibrator.to_json())))
    np.testing.assert_array_equal(again.apply(asked, np.full(200, "a")).low, said.low)


def test_one_of_the_two_probabilities_is_calibrated():
    """The guarantee of Venn-Abers, over many draws: chosen by the outcome, on average right."""
    gap = []
    for seed in range(300):
        score, outcome, _, unit = overconfident(31, seed)
        if outcome[:30].all() or not outcome[:30].any():
            continue
        curve = fit_curve(score[:30], outcome[:30], unit[:30], method="venn-abers")
        p0, p1 = curve.members[0].pair(score[30:])
        gap.append((p1 if outcome[30] else p0)[0] - outcome[30])
    assert abs(np.mean(gap)) < 3 * np.std(gap) / len(gap) ** 0.5


@pytest.mark.parametrize("method", METHODS)
def test_calibration_helps(method: str):
    score, outcome, group, unit = overconfident(1500)
    fold = folds(outcome, unit)
    said = cross_calibrated(score, outcome, group, unit, fold, method=method)
    assert calibration_error(outcome, score) > 0.15
    assert calibration_error(outcome, said.probability) < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_no_case_is_calibrated_by_itself_or_its_unit(method: str):
    score, outcome, group, unit = overconfident(120)
    unit = (np.arange(120) // 3).astype(str)
    fold = folds(outcome, unit)
    assert all(len(np.unique(fold[unit == name])) == 1 for name in unit)
    said = cross_calibrated(score, outcome, group, unit, fold, method=method)
    for number in np.unique(fold):
        here = fold == number
        flipped = np.where(here, ~outcome, outcome)
        after = cross_calibrated(score, flipped, group, unit, fold, method=method)
        np.testing.assert_array_equal(after.probability[here], said.probability[here])


def test_a_group_weighs_as_much_as_its_rarer_outcome():
    score, outcome, group, unit = overconfident(400)
    group[:3] = "tiny"
    outcome[:3] = True, False, True
    group[3:6] = "won"
    outcome[3:6] = True
    calibrator = fit_calibrator(score, outcome, group, unit)
    assert calibrator.weights["tiny"] == pytest.approx(1 / 21)
    assert calibrator.weights["won"] == 0
    asked = np.linspace(0, 1, 9)
    pooled = calibrator.pooled.apply(asked)[0]
    for name in ("won", "never seen"):
        np.testing.assert_allclose(calibrator.apply(asked, np.full(9, name)).probability, pooled)
    own = calibrator.groups["tiny"].apply(asked)[0]
    np.testing.assert_allclose(
        calibrator.apply(asked, np.full(9, "tiny")).probability, own / 21 + pooled * 20 / 21
    )


def test_what_cannot_be_calibrated_is_refused():
    score, outcome, group, unit = overconfident(20)
    with pytest.raises(UsageError, match="all 20 outcomes are successes"):
        fit_calibrator(score, np.ones(20, bool), group, unit)
    with pytest.raises(UsageError, match="1 of 20 scores are no number"):
        fit_calibrator(np.append(score[1:], np.nan), outcome, group, unit)
    with pytest.raises(UsageError, match="no calibration 'platt'"):
        fit_calibrator(score, outcome, group, unit, method="platt")
    with pytest.raises(UsageError, match="at least two of either"):
        folds(np.arange(20) == 0, unit)
