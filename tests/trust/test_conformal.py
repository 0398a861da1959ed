"""Alarm thresholds: the guarantee over many draws, and the finite-sample correction."""

import json
from dataclasses import replace

import numpy as np
import pytest

from viae.errors import UsageError
from viae.trust import (
    RULES,
    Rule,
    Runs,
    Threshold,
    alarm_times,
    cases_needed,
    conformal_quantile,
    constant_threshold,
    fit_rule,
)


def attempts(count, seed, *, steps=20):
    """Successes of random length whose danger drifts, each with a level of its own."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, steps + 1, count)
    attempt = np.repeat(np.arange(count), lengths)
    step = np.concatenate([np.arange(n) for n in lengths])
    danger = rng.normal(size=count)[attempt] + rng.normal(size=len(step)) + np.sin(step / 3)
    return Runs(danger=danger, elapsed=step / steps, attempt=attempt, count=count)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(("alpha", "n"), [(0.05, 60), (0.1, 45), (0.2, 30)])
def test_false_alarms_stay_below_alpha(kind: str, alpha: float, n: int):
    """Over 300 calibrations; one fresh draw of 50 successes for each."""
    rates = []
    for seed in range(300):
        threshold = RULES[kind](attempts(n, seed), alpha)
        rates.append(np.isfinite(alarm_times(attempts(50, 10_000 + seed), threshold)).mean())
    tolerance = 3 * np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) <= alpha + tolerance
    assert np.mean(rates) >= alpha / 3  # and it is not silent for safety


def test_groups_have_the_guarantee_of_their_own():
    """Pooled thresholds disturb the harder group too often; its own do not."""
    own, pooled = [], []
    for seed in range(200):
        runs = attempts(80, seed)
        group = np.where(np.arange(80) % 4 == 0, "hard", "easy")
        level = np.where(group == "hard", 3.0, 0.0)
        runs = replace(runs, danger=runs.danger + level[runs.attempt])
        rule = fit_rule("constant", runs, np.ones(80, bool), group, alpha=0.1)
        assert sorted(rule.groups) == ["easy", "hard"]
        fresh = attempts(20, 10_000 + seed)
        fresh = Runs(
            danger=fresh.danger + 3, elapsed=fresh.elapsed, attempt=fresh.attempt, count=20
        )
        own.append(np.isfinite(rule.times(fresh, np.full(20, "hard"))).mean())
        pooled.append(np.isfinite(alarm_times(fresh, rule.pooled)).mean())
    assert np.mean(own) <= 0.1 + 3 * np.std(own) / len(own) ** 0.5
    assert np.mean(pooled) > 0.2


def test_a_group_with_too_few_successes_shares_the_pooled_threshold():
    runs = attempts(60, 0)
    group = np.where(np.arange(60) < 5, "few", "many")
    rule = fit_rule("constant", runs, np.ones(60, bool), group, alpha=0.05)
    assert list(rule.groups) == ["many"]
    few = runs.part(group == "few")
    np.testing.assert_array_equal(rule.times(few, np.full(5, "few")), alarm_times(few, rule.pooled))
    again = Rule.from_json(json.loads(json.dumps(rule.to_json())))
    np.testing.assert_array_equal(again.times(runs, group), rule.times(runs, group))


def test_the_quantile_by_hand():
    values = np.arange(1.0, 20.0)  # 19 of them: the least for one in twenty
    assert conformal_quantile(values, 0.05) == 19
    assert conformal_quantile(values, 0.1) == 18
    assert conformal_quantile(values[::-1], 0.5) == 10
    assert conformal_quantile(np.arange(1.0, 10.0), 0.1) == 9


@pytest.mark.parametrize("n", [20, 47, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_the_quantile_is_mapies(n: int, alpha: float):
    from mapie.regression import SplitConformalRegressor
    from sklearn.dummy import DummyRegressor

    values = np.random.default_rng(n).exponential(size=n)
    nothing = DummyRegressor(strategy="constant", constant=0.0).fit(np.zeros((2, 1)), [0, 0])
    peer = SplitConformalRegressor(nothing, confidence_level=1 - alpha, prefit=True)
    _, interval = peer.conformalize(np.zeros((n, 1)), values).predict_interval(np.zeros((1, 1)))
    assert conformal_quantile(values, alpha) == pytest.approx(interval[0, 1, 0])


@pytest.mark.parametrize(
    ("alpha", "needed"), [(0.5, 1), (0.2, 4), (0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3)]
)
def test_too_few_successes_are_refused_with_how_many_more(alpha: float, needed: int):
    assert cases_needed(alpha) == needed
    conformal_quantile(np.zeros(needed), alpha)
    with pytest.raises(UsageError, match=r"1 more are needed"):
        conformal_quantile(np.zeros(needed - 1), alpha)
    runs = attempts(2 * needed - 1, 0)
    with pytest.raises(UsageError, match=r"for a band .* 1 more are needed"):
        RULES["band"](runs, alpha)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(alpha: float):
    with pytest.raises(UsageError, match="between 0 and 1"):
        cases_needed(alpha)


def test_ties_never_alarm():
    runs = Runs(danger=np.ones(30), elapsed=np.zeros(30), attempt=np.arange(30), count=30)
    threshold = constant_threshold(runs, 0.05)
    assert np.isinf(alarm_times(runs, threshold)).all()
    above = Runs(danger=np.array([1.1]), elapsed=np.zeros(1), attempt=np.zeros(1, int), count=1)
    assert alarm_times(above, threshold).tolist() == [0]


def test_a_band_follows_danger_that_rises_in_every_success():
    """Danger rises with time in all: a band sees an early rise that a constant level misses."""
    rng = np.random.default_rng(0)
    step = np.tile(np.arange(20), 100)
    attempt = np.repeat(np.arange(100), 20)
    danger = step / 2 + rng.normal(size=2000)
    runs = Runs(danger=danger, elapsed=step / 20, attempt=attempt, count=100)
    early = Runs(
        danger=np.arange(20) / 2 + 6.0, elapsed=np.arange(20) / 20, attempt=np.zeros(20, int),
        count=1,
    )  # fmt: skip
    band, constant = RULES["band"](runs, 0.1), RULES["constant"](runs, 0.1)
    assert alarm_times(early, band)[0] == 0
    assert alarm_times(early, constant)[0] > 0.4


def test_a_threshold_holds_from_its_start():
    threshold = Threshold(starts=np.array([0, 0.5]), level=np.array([1.0, 2.0]), n=9)
    assert threshold.at(np.array([0, 0.49, 0.5, 1.0])).tolist() == [1, 1, 2, 2]
