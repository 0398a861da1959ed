"""What alarms earn, by hand; and what the clock alone would."""

import numpy as np
import pytest

from viae.errors import UsageError
from viae.trust import (
    Runs,
    Threshold,
    alarm_times,
    credit,
    elapsed_alone,
    estimate_by_unit,
    refuse_leak,
    report_alarms,
    time_weighted_accuracy,
    wilson,
)

NEVER = np.inf


def test_time_weighted_accuracy_by_hand():
    outcome = np.array([True, True, True, False, False])
    alarm_at = np.array([NEVER, NEVER, 0.2, 0.25, NEVER])
    earned = credit(outcome, alarm_at)
    assert earned.tolist() == [1, 1, 0, 0.75, 0]
    assert time_weighted_accuracy(outcome, earned) == pytest.approx((2 / 3 + 0.375) / 2)
    report = report_alarms(outcome, alarm_at, np.arange(5))
    assert report.twa.value == pytest.approx((2 / 3 + 0.375) / 2)
    assert report.twa_of_attempts.value == pytest.approx(2.75 / 5)
    assert (report.false_alarms.value, report.detected.value) == (1 / 3, 1 / 2)
    assert (report.detected_at, report.detected_quartiles) == (0.25, (0.25, 0.25))


@pytest.mark.parametrize("at", [NEVER, 0.0])
def test_silence_and_panic_earn_a_half(at: float):
    outcome = np.array([True] * 9 + [False])
    assert time_weighted_accuracy(outcome, credit(outcome, np.full(10, at))) == 0.5


def test_without_both_outcomes_there_is_no_accuracy():
    report = report_alarms(np.ones(3, bool), np.full(3, NEVER), np.arange(3))
    assert np.isnan(report.twa.value)
    assert np.isnan(report.detected.value)
    assert report.detected_at is None


def test_an_alarm_rises_when_danger_first_exceeds_its_level():
    runs = Runs(
        danger=np.array([0, 3, 9, 1, 1.0]), elapsed=np.array([0, 0.5, 0.9, 0, 0.5]),
        attempt=np.array([0, 0, 0, 1, 1]), count=2,
    )  # fmt: skip
    level = Threshold(starts=np.zeros(1), level=np.array([2.0]), n=9)
    assert alarm_times(runs, level).tolist() == [0.5, NEVER]
    assert alarm_times(runs.part(np.array([False, True])), level).tolist() == [NEVER]


def test_lengths_that_tell_the_outcome_are_refused():
    outcome = np.arange(40) % 2 == 0
    lengths = np.where(outcome, 0.5, 1.0)
    units = np.arange(40)
    assert elapsed_alone(outcome, lengths, units).value == 1
    with pytest.raises(UsageError, match=r"here: elapsed time alone tells .*AUROC 1.00"):
        refuse_leak(outcome, lengths, units, "here")
    assert refuse_leak(outcome, np.full(40, 0.1), units, "here").value == 0.5


def test_units_widen_the_interval():
    """Ten copies of a case say no more than one."""
    rng = np.random.default_rng(0)
    outcome = np.repeat(rng.random(40) < 0.5, 10)

    def share(o, _):
        return float(o.mean())

    alone = estimate_by_unit(share, outcome, outcome.astype(float), np.arange(400))
    together = estimate_by_unit(share, outcome, outcome.astype(float), np.repeat(np.arange(40), 10))
    assert alone.value == together.value
    assert together.high - together.low > 2 * (alone.high - alone.low)
    one = estimate_by_unit(share, outcome, outcome.astype(float), np.zeros(400))
    assert np.isnan(one.low)


def test_blocks_agree_with_resamples_on_many_cases():
    rng = np.random.default_rng(0)
    outcome = rng.random(6000) < 0.3
    found = estimate_by_unit(
        lambda o, _: float(o.mean()), outcome, outcome.astype(float), np.arange(6000)
    )
    exact = wilson(int(outcome.sum()), 6000)
    assert found.high - found.low == pytest.approx(exact.high - exact.low, rel=0.3)
