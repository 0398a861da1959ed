"""A measure's interval where cases come in units: attempts from one initial state, one question."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.measures import Bools, Estimate, Floats, Measure

RESAMPLES = 400
MANY = 5000
"""Cases above which blocks stand in for resamples."""
BLOCKS = 50


def estimate_by_unit(
    measure: Measure, outcome: Bools, said: Floats, units: npt.NDArray[Any], *, seed: int = 0
) -> Estimate:
    """A measure with its 95% interval, whole units being drawn, not cases.

    Up to `MANY` cases: the bias-corrected bootstrap over units (Efron 1981), widened to hold the
    value itself. Above: the measure's spread over `BLOCKS` disjoint blocks of units (batch means),
    which costs one pass.

    Args:
        measure: of outcomes and what was said.
        outcome: bool [N].
        said: float64 [N].
        units: [N], equal for cases that depend on each other.
        seed: of the draws.

    Returns:
        The estimate; its ends are NaN where they cannot be known, as with a single unit.

    Raises:
        UsageError: no cases.
    """
    if not len(outcome):
        raise UsageError("there are no cases to measure a probability on")
    value = measure(outcome, said)
    low = high = float("nan")
    names, which = np.unique(units, return_inverse=True)
    if np.isfinite(value) and len(names) > 1:
        rng = np.random.default_rng(seed)
        if len(outcome) > MANY and len(names) > 4 * BLOCKS:
            low, high = _blocks(measure, outcome, said, which, value, rng)
        else:
            low, high = _bootstrap(measure, outcome, said, which, value, rng)
    return Estimate(value=value, low=low, high=high, n=len(outcome))


def wilson(count: int, n: int) -> Estimate:
    """A share with its 95% Wilson interval; NaN of none."""
    from scipy.stats import binomtest

    if not n:
        return Estimate(value=float("nan"), low=float("nan"), high=float("nan"), n=0)
    ends = binomtest(count, n).proportion_ci(method="wilson")
    return Estimate(value=count / n, low=float(ends.low), high=float(ends.high), n=n)


def _bootstrap(
    measure: Measure,
    outcome: Bools,
    said: Floats,
    which: npt.NDArray[np.int64],
    value: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    from scipy.stats import norm

    order, sizes = np.argsort(which, kind="stable"), np.bincount(which)
    rows = np.split(order, np.cumsum(sizes)[:-1])
    drawn = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        chosen = rng.integers(0, len(rows), len(rows))
        alone = len(rows) == len(order)
        cases = order[chosen] if alone else np.concatenate([rows[unit] for unit in chosen])
        drawn[number] = measure(outcome[cases], said[cases])
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < RESAMPLES // 2:  # nearly every resample has one outcome only
        return float("nan"), float("nan")
    below = (drawn < value).mean() + (drawn == value).mean() / 2
    bias = norm.ppf(np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
    low, high = np.quantile(drawn, norm.cdf(2 * bias + norm.ppf([0.025, 0.975])))
    return min(float(low), value), max(float(high), value)


def _blocks(
    measure: Measure,
    outcome: Bools,
    said: Floats,
    which: npt.NDArray[np.int64],
    value: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    block = (rng.permutation(which.max() + 1) % BLOCKS)[which]
    values = np.array([measure(outcome[block == b], said[block == b]) for b in range(BLOCKS)])
    values = values[np.isfinite(values)]
    if len(values) < BLOCKS // 2:
        return float("nan"), float("nan")
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return value - half, value + half
