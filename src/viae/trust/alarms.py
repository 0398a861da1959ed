"""Alarms during attempts: when they rise, what they earn, and what elapsed time alone would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.conformal import Runs, Threshold
from viae.trust.intervals import estimate_by_unit, wilson
from viae.trust.measures import Bools, Estimate, Floats, auroc

LEAK = 0.6
"""AUROC of elapsed time from which the rows of a figure are refused, if its interval agrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReport:
    """What alarms did on attempts that their threshold was not calibrated on.

    Args:
        false_alarms: share of the successes with any alarm.
        detected: share of the failures with an alarm.
        twa: time-weighted accuracy, successes and failures weighing the same (FIPER's).
        twa_of_attempts: the same with each attempt weighing the same.
        detected_at: of the failures with an alarm, the median elapsed time of the first, as a
            share of the horizon; None without any.
        detected_quartiles: its first and third quartile.
    """

    false_alarms: Estimate
    detected: Estimate
    twa: Estimate
    twa_of_attempts: Estimate
    detected_at: float | None
    detected_quartiles: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        names = ("false_alarms", "detected", "twa", "twa_of_attempts")
        return {name: getattr(self, name).to_json() for name in names} | {
            "detected_at": self.detected_at, "detected_quartiles": self.detected_quartiles,
        }  # fmt: skip


def alarm_times(runs: Runs, threshold: Threshold) -> Floats:
    """When danger first exceeds the threshold: float64 [N], shares of the horizon; inf if never."""
    over = runs.danger > threshold.at(runs.elapsed)
    first = np.full(runs.count, np.inf)
    np.minimum.at(first, runs.attempt[over], runs.elapsed[over])
    return first


def credit(outcome: Bools, alarm_at: Floats) -> Floats:
    """What each attempt earns: float64 [N].

    A true alarm earns 1 - its time ÷ horizon, a correct silence 1; a false alarm and a missed
    failure earn nothing.

    Args:
        outcome: bool [N], True for success.
        alarm_at: float64 [N], shares of the horizon; inf for no alarm.
    """
    silent = np.isinf(alarm_at)
    return np.where(outcome, silent, np.where(silent, 0.0, 1 - np.where(silent, 0, alarm_at)))


def time_weighted_accuracy(outcome: Bools, earned: Floats) -> float:
    """Half the mean credit of failures plus half that of successes; NaN without both.

    The timestep-wise accuracy of FIPER (Römer et al. 2025, arXiv:2510.09459): balanced accuracy in
    which a true alarm counts 1 - its time instead of 1, so that neither waiting for the end nor
    alarming at once pays. Silence always, and an alarm always at once, earn 0.5.

    Args:
        outcome: bool [N].
        earned: float64 [N], of `credit`.
    """
    if outcome.all() or not outcome.any():
        return float("nan")
    return float((earned[outcome].mean() + earned[~outcome].mean()) / 2)


def report_alarms(
    outcome: Bools, alarm_at: Floats, units: npt.NDArray[Any], *, seed: int = 0
) -> AlarmReport:
    """Measure alarms.

    Args:
        outcome: bool [N].
        alarm_at: float64 [N], by thresholds that were calibrated on other attempts.
        units: [N], equal for attempts that depend on each other.
        seed: of the intervals.
    """
    raised = np.isfinite(alarm_at)
    earned = credit(outcome, alarm_at)
    times = alarm_at[raised & ~outcome]
    quartiles = np.quantile(times, [0.25, 0.5, 0.75]).tolist() if len(times) else None
    return AlarmReport(
        false_alarms=wilson(int(raised[outcome].sum()), int(outcome.sum())),
        detected=wilson(len(times), int((~outcome).sum())),
        twa=estimate_by_unit(time_weighted_accuracy, outcome, earned, units, seed=seed),
        twa_of_attempts=estimate_by_unit(
            lambda _, c: float(c.mean()), outcome, earned, units, seed=seed
        ),
        detected_at=quartiles[1] if quartiles else None,
        detected_quartiles=(quartiles[0], quartiles[2]) if quartiles else None,
    )


def elapsed_alone(outcome: Bools, elapsed: Floats, units: npt.NDArray[Any]) -> Estimate:
    """AUROC of saying nothing but how long it has been: what any figure has to be held against.

    Failures run longer, so over whole attempts it is often near 1; at one elapsed time it is 0.5.
    """
    return estimate_by_unit(auroc, outcome, -elapsed, units)


def refuse_leak(outcome: Bools, elapsed: Floats, units: npt.NDArray[Any], where: str) -> Estimate:
    """Refuse to measure rows whose elapsed times tell the outcome.

    Args:
        outcome: bool [N].
        elapsed: float64 [N], the elapsed time at which each score was said.
        units: [N].
        where: which rows, for the error.

    Returns:
        AUROC of elapsed time alone, to be reported beside the figure.

    Raises:
        UsageError: elapsed time alone has an AUROC of `LEAK` or more (or 1 - `LEAK` or less), and
            its interval excludes 0.5.
    """
    alone = elapsed_alone(outcome, elapsed, units)
    if abs(alone.value - 0.5) >= LEAK - 0.5 and not alone.low <= 0.5 <= alone.high:
        raise UsageError(
            f"{where}: elapsed time alone tells the outcome (AUROC {alone.value:.2f}), so a score "
            "measured on these rows would be credited with what the clock says. Write scores at "
            "the same elapsed times in every attempt"
        )
    return alone
