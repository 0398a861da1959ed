"""Success rates with intervals, and paired differences between two policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viae.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A success rate with its interval.

    Args:
        successes: of n attempts.
        n: attempts.
        low: lower end of the 95% interval.
        high: upper end.
    """

    successes: int
    n: int
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The share of successes."""
        return self.successes / self.n

    def __str__(self) -> str:
        return f"{self.mean:.0%} [{self.low:.0%}, {self.high:.0%}] n={self.n}"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "mean": self.mean, "low": self.low, "high": self.high,
            "successes": self.successes, "n": self.n,
        }  # fmt: skip


def success_rate(outcomes: Sequence[bool]) -> Rate:
    """The success rate with its Wilson 95% interval (Wilson 1927).

    Raises:
        UsageError: no outcomes.
    """
    from scipy.stats import binomtest

    if not outcomes:
        raise UsageError("a success rate needs at least one attempt")
    successes = int(sum(outcomes))
    interval = binomtest(successes, len(outcomes)).proportion_ci(0.95, method="wilson")
    return Rate(
        successes=successes, n=len(outcomes), low=float(interval.low), high=float(interval.high)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How much more often a succeeds than b on the same initial states.

    Args:
        mean: rate of a - rate of b.
        low: lower end of the 95% interval.
        high: upper end.
        n: pairs.
        only_a: pairs in which only a succeeds.
        only_b: pairs in which only b succeeds.
        p_value: exact two-sided McNemar test.
    """

    mean: float
    low: float
    high: float
    n: int
    only_a: int
    only_b: int
    p_value: float

    def __str__(self) -> str:
        return f"{self.mean:+.0%} [{self.low:+.0%}, {self.high:+.0%}] n={self.n} pairs"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def paired_difference(a: Sequence[bool], b: Sequence[bool]) -> PairedDifference:
    """Compare two policies on the same initial states.

    The interval is Agresti and Min's (2005, doi:10.1002/sim.1781): Wald's with half a pair added to
    each cell, which keeps its coverage at small n. SciPy has McNemar's test, but no such interval.

    Args:
        a: outcomes of one policy.
        b: outcomes of the other, in the same order of initial states.

    Raises:
        UsageError: no pairs, or unequal numbers.
    """
    from scipy.stats import binomtest, norm

    if not a or len(a) != len(b):
        raise UsageError(f"{len(a)} and {len(b)} outcomes do not make pairs")
    first, second = np.asarray(a, np.bool_), np.asarray(b, np.bool_)
    n = len(first)
    only_a, only_b = int((first & ~second).sum()), int((~first & second).sum())
    added_n = n + 2
    more, less = (only_a + 0.5) / added_n, (only_b + 0.5) / added_n
    centre = more - less
    half = float(norm.ppf(0.975)) * float(np.sqrt((more + less - centre**2) / added_n))
    discordant = only_a + only_b
    return PairedDifference(
        mean=(only_a - only_b) / n,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        n=n,
        only_a=only_a,
        only_b=only_b,
        p_value=float(binomtest(only_a, discordant).pvalue) if discordant else 1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its 95% t interval.

    Args:
        value: the mean.
        low: lower end; NaN for a single case.
        high: upper end.
        n: cases.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def mean(values: Sequence[float]) -> Mean:
    """The mean of independent cases, such as seeds or episodes, with its 95% t interval.

    Raises:
        UsageError: no cases.
    """
    from scipy.stats import t

    n = len(values)
    if not n:
        raise UsageError("a mean needs at least one case")
    centre = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) / n**0.5 if n > 1 else float("nan")
    half = float(t.ppf(0.975, n - 1)) * spread if n > 1 else float("nan")
    return Mean(value=centre, low=centre - half, high=centre + half, n=n)
