"""How good a probability is: ranking, skill and calibration, each with an interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.schema import JsonValue

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Measure: TypeAlias = Callable[[Bools, Floats], float]

BINS = 10
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95% bootstrap interval.

    Args:
        value: on all cases.
        low: lower end.
        high: upper end.
        n: cases.
    """

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def auroc(outcome: Bools, probability: Floats) -> float:
    """Chance that a success is given a higher probability than a failure; NaN without both."""
    from scipy.stats import rankdata

    successes = int(outcome.sum())
    failures = len(outcome) - successes
    if not successes or not failures:
        return float("nan")
    above = rankdata(probability)[outcome].sum() - successes * (successes + 1) / 2
    return float(above / (successes * failures))


def brier_skill(outcome: Bools, probability: Floats) -> float:
    """1 - Brier score ÷ that of always saying the base rate; 0 is no skill, NaN without both."""
    base = np.mean((outcome - outcome.mean()) ** 2)
    return float(1 - np.mean((outcome - probability) ** 2) / base) if base else float("nan")


def calibration_error(outcome: Bools, probability: Floats) -> float:
    """Expected calibration error over `BINS` bins of equal mass (Nixon et al. 2019)."""
    gaps = [
        len(part) * abs(outcome[part].mean() - probability[part].mean())
        for part in _bins(probability, BINS)
    ]
    return float(sum(gaps) / len(outcome))


def estimate(measure: Measure, outcome: Bools, probability: Floats, *, seed: int = 0) -> Estimate:
    """A measure with its bootstrap interval: bias-corrected and accelerated (Efron 1987).

    The correction matters for calibration error, which every resample exaggerates. Where it cannot
    be computed (some resample has one outcome only) the percentile interval of the resamples that
    can be measured stands in.

    Args:
        measure: of outcomes and probabilities.
        outcome: bool [N].
        probability: float64 [N] of success.
        seed: of the resamples.

    Raises:
        UsageError: no cases.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    n = len(outcome)
    if not n:
        raise UsageError("there are no cases to measure a probability on")
    value = measure(outcome, probability)
    if not np.isfinite(value):
        return Estimate(value=value, low=float("nan"), high=float("nan"), n=n)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            (outcome, probability),
            lambda o, p: measure(o.astype(np.bool_), p),
            paired=True,
            vectorized=False,
            n_resamples=RESAMPLES,
            method="BCa",
            rng=seed,
        )
    low, high = result.confidence_interval
    if not np.isfinite([low, high]).all():
        low, high = np.nanpercentile(result.bootstrap_distribution, [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def reliability_bins(outcome: Bools, probability: Floats) -> list[dict[str, JsonValue]]:
    """Predicted against observed, over at most `BINS` bins of equal mass and at least ten cases.

    Returns:
        Per bin ``predicted`` (mean), ``observed`` (share), ``low`` and ``high`` (its 95% Wilson
        interval) and ``n``.
    """
    from scipy.stats import binomtest

    rows: list[dict[str, JsonValue]] = []
    for part in _bins(probability, min(BINS, max(1, len(outcome) // 10))):
        successes = int(outcome[part].sum())
        interval = binomtest(successes, len(part)).proportion_ci(method="wilson")
        rows.append(
            {
                "predicted": float(probability[part].mean()),
                "observed": successes / len(part),
                "low": float(interval.low),
                "high": float(interval.high),
                "n": len(part),
            }
        )
    return rows


def _bins(probability: Floats, count: int) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, count) if len(part)]
