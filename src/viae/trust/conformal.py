"""Alarm thresholds with a guaranteed rate of false alarms: split conformal prediction.

A false alarm is any alarm, at any time, in an attempt that succeeds. If attempts to come are
exchangeable with the successes that a threshold was calibrated on, at most a share alpha of those
that succeed is disturbed, averaged over calibrations; whatever the score (Vovk, Gammerman and
Shafer 2005; Angelopoulos and Bates 2021, arXiv:2107.07511). Calibrated group by group it holds in
each group (Mondrian conformal prediction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viae.errors import UsageError
from viae.trust.folds import Ints
from viae.trust.measures import Bools, Floats

BINS = 50
"""Steps of a band over the horizon."""
SLACK = 1e-9
"""Against the rounding of (n + 1)(1 - alpha)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """The danger score of attempts as it went, R rows of N attempts.

    Args:
        danger: float64 [R]; higher is likelier to fail.
        elapsed: float64 [R], since the attempt's start, as a share of its horizon.
        attempt: int64 [R], 0 … N - 1; in each attempt rows are in order of time.
        count: N.
    """

    danger: Floats
    elapsed: Floats
    attempt: Ints
    count: int

    def part(self, chosen: Bools) -> Runs:
        """Only the chosen attempts, in the same order.

        Args:
            chosen: bool [N].
        """
        rows = chosen[self.attempt]
        number = np.cumsum(chosen) - 1
        return Runs(
            danger=self.danger[rows], elapsed=self.elapsed[rows],
            attempt=number[self.attempt[rows]], count=int(chosen.sum()),
        )  # fmt: skip

    def greatest(self, value: Floats) -> Floats:
        """The greatest value in each attempt: float64 [N]."""
        most = np.full(self.count, -np.inf)
        np.maximum.at(most, self.attempt, value)
        return most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Threshold:
    """The danger above which there is an alarm, over elapsed time.

    Args:
        starts: float64 [T], rising, from 0: since when each level holds, as a share of the horizon.
        level: float64 [T].
        n: successes that it is calibrated on.
    """

    starts: Floats
    level: Floats
    n: int

    def at(self, elapsed: Floats) -> Floats:
        """The level at each elapsed time: float64 like ``elapsed``."""
        place = np.searchsorted(self.starts, elapsed, "right") - 1
        level: Floats = self.level[np.maximum(place, 0)]
        return level

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"starts": self.starts.tolist(), "level": self.level.tolist(), "n": self.n}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Threshold:
        """The inverse of `to_json`."""
        return cls(
            starts=np.array(plain["starts"]), level=np.array(plain["level"]), n=int(plain["n"])
        )


def cases_needed(alpha: float) -> int:
    """The fewest successes on which a false-alarm rate can be guaranteed: ceil(1 / alpha) - 1.

    Raises:
        UsageError: alpha is no share between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"a false-alarm rate lies between 0 and 1, not at {alpha:g}")
    return math.ceil(1 / alpha - SLACK) - 1


def conformal_quantile(value: Floats, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest value.

    Invariant: of one more, exchangeable value, P(value > quantile) <= alpha.

    Args:
        value: float64 [n], in any order.
        alpha: between 0 and 1.

    Raises:
        UsageError: n is too small for alpha; the text says how many more are needed.
    """
    needed = cases_needed(alpha)
    if len(value) < needed:
        raise UsageError(
            f"{len(value)} successes are too few for a false-alarm rate of {alpha:g}: "
            f"{needed - len(value)} more are needed ({needed} in all), or a greater alpha"
        )
    rank = math.ceil((len(value) + 1) * (1 - alpha) - SLACK)
    return float(np.partition(value, rank - 1)[rank - 1])


def constant_threshold(successes: Runs, alpha: float) -> Threshold:
    """One level for all times: the conformal quantile of each attempt's greatest danger.

    Args:
        successes: attempts that succeeded, and that the score was not fitted on.
        alpha: the share of successes that may be disturbed.

    Raises:
        UsageError: too few attempts.
    """
    level = conformal_quantile(successes.greatest(successes.danger), alpha)
    return Threshold(starts=np.zeros(1), level=np.array([level]), n=successes.count)


def band_threshold(successes: Runs, alpha: float, *, seed: int = 0) -> Threshold:
    """A level that varies in time: mean danger plus a modulated margin.

    A random half of the attempts gives the mean and the modulation (the greatest deviation among
    those that deviate least), the other half the margin, by the conformal quantile of the greatest
    modulated deviation (Diquigiovanni, Fontana and Vantini 2022; used for failures by FAIL-Detect,
    arXiv:2503.08558, and FIPER, arXiv:2510.09459). It takes twice the attempts of a constant
    threshold, and pays where danger rises and falls with time in attempts that succeed. Where no
    attempt of the first half is as long, its last level goes on.

    Args:
        successes: attempts that succeeded, and that the score was not fitted on.
        alpha: the share of successes that may be disturbed.
        seed: of the halves.

    Raises:
        UsageError: too few attempts.
    """
    if successes.count < 2 * cases_needed(alpha):
        more = 2 * cases_needed(alpha) - successes.count
        raise UsageError(
            f"{successes.count} successes are too few for a band with a false-alarm rate of "
            f"{alpha:g}: {more} more are needed, since half of them shape it"
        )
    order = np.random.default_rng(seed).permutation(successes.count)
    for_shape = np.zeros(successes.count, np.bool_)
    for_shape[order[: successes.count // 2]] = True
    mean, spread = _shape(successes.part(for_shape), alpha)
    rest = successes.part(~for_shape)
    place = _bin(rest.elapsed)
    deviation = rest.greatest((rest.danger - mean[place]) / spread[place])
    margin = conformal_quantile(deviation, alpha)
    return Threshold(starts=np.arange(BINS) / BINS, level=mean + margin * spread, n=successes.count)


def _shape(shapers: Runs, alpha: float) -> tuple[Floats, Floats]:
    """Mean danger and its modulation: float64 [BINS] each."""
    place = _bin(shapers.elapsed)
    rows = np.bincount(place, minlength=BINS)
    filled = np.flatnonzero(rows)
    newest = filled[np.maximum(np.searchsorted(filled, np.arange(BINS), "right") - 1, 0)]
    mean = np.bincount(place, shapers.danger, minlength=BINS) / np.maximum(rows, 1)
    deviation = np.abs(shapers.danger - mean[place])
    worst = shapers.greatest(deviation)
    rank = math.ceil((shapers.count + 1) * (1 - alpha) - SLACK)
    usual = worst <= (np.sort(worst)[rank - 1] if rank <= shapers.count else np.inf)
    spread = np.zeros(BINS)
    kept = usual[shapers.attempt]
    np.maximum.at(spread, place[kept], deviation[kept])
    spread = np.maximum(spread[newest], max(1e-3 * float(np.ptp(shapers.danger)), 1e-12))
    return mean[newest], spread


def _bin(elapsed: Floats) -> Ints:
    """Which step of a band, so that `Threshold.at` finds the same."""
    starts = np.arange(BINS) / BINS
    return np.maximum(np.searchsorted(starts, elapsed, "right") - 1, 0)
