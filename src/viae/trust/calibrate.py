"""From a score to a probability: isotonic or Venn-Abers, per group as far as its cases allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.curves import Curve, curve_from_json, fit_curve
from viae.trust.folds import Ints
from viae.trust.measures import Bools, Floats

Names: TypeAlias = npt.NDArray[Any]

SHRINK = 20.0
"""Cases of the rarer outcome at which a group's own curve weighs as much as the pooled one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """Probabilities of success, with what Venn-Abers leaves open.

    Args:
        probability: float64 [N].
        low: float64 [N], the lower of the two probabilities; the same under isotonic.
        high: float64 [N], the upper.
    """

    probability: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrator:
    """One curve for all cases, and one for each group that has both outcomes.

    A group's probability is ``w · own + (1 - w) · pooled`` with ``w = m / (m + SHRINK)``, where m
    is the number of its cases with the rarer outcome: the m-estimate of Cestnik (1990). A group
    that was never seen, or that has one outcome only, is given the pooled one.

    Args:
        pooled: fitted on all.
        groups: fitted on each group alone, by name.
        weights: w of each group, by name; 0 where there is no curve.
    """

    pooled: Curve
    groups: Mapping[str, Curve]
    weights: Mapping[str, float]

    def apply(self, score: Floats, groups: Names) -> Calibrated:
        """Probabilities.

        Args:
            score: float64 [N]; higher is likelier to succeed.
            groups: [N], strings.
        """
        parts = np.stack(self.pooled.apply(score))
        for name, curve in self.groups.items():
            here = groups == name
            if here.any():
                weight, own = self.weights[name], np.stack(curve.apply(score[here]))
                parts[:, here] = weight * own + (1 - weight) * parts[:, here]
        return Calibrated(probability=parts[0], low=parts[1], high=parts[2])

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "pooled": self.pooled.to_json(),
            "groups": {name: curve.to_json() for name, curve in self.groups.items()},
            "weights": dict(self.weights),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibrator:
        """The inverse of `to_json`."""
        return cls(
            pooled=curve_from_json(plain["pooled"]),
            groups={name: curve_from_json(curve) for name, curve in plain["groups"].items()},
            weights={name: float(weight) for name, weight in plain["weights"].items()},
        )


def fit_calibrator(
    score: Floats, outcome: Bools, groups: Names, units: Names, *, method: str = "venn-abers"
) -> Calibrator:
    """Fit on held-out cases: those that the model behind the score was not trained on.

    Args:
        score: float64 [N]; higher is likelier to succeed; any range.
        outcome: bool [N].
        groups: [N], strings: the task of each case.
        units: [N], equal for cases that depend on each other.
        method: ``isotonic``, ``venn-abers`` (inductive) or ``cross-venn-abers``.

    Raises:
        UsageError: one outcome only, a score that is not finite, or no such method.
    """
    if not np.isfinite(score).all():
        raise UsageError(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are no number")
    if outcome.all() or not outcome.any():
        raise UsageError(
            f"all {len(outcome)} outcomes are {'successes' if outcome.any() else 'failures'}: a "
            "probability is calibrated on cases of both kinds"
        )
    curves, weights = {}, {}
    for name in np.unique(groups).tolist():
        here = groups == name
        rarer = int(min(outcome[here].sum(), (~outcome[here]).sum()))
        weights[name] = 0.0
        if rarer:
            curves[name] = fit_curve(score[here], outcome[here], units[here], method=method)
            weights[name] = rarer / (rarer + SHRINK)
    pooled = fit_curve(score, outcome, units, method=method)
    return Calibrator(pooled=pooled, groups=curves, weights=weights)


def cross_calibrated(
    score: Floats,
    outcome: Bools,
    groups: Names,
    units: Names,
    fold: Ints,
    *,
    method: str = "venn-abers",
) -> Calibrated:
    """Each case's probability by a calibrator fitted on the other folds only.

    Args:
        score: float64 [N].
        outcome: bool [N].
        groups: [N], strings.
        units: [N].
        fold: int64 [N], of `viae.trust.folds.folds`.
        method: as for `fit_calibrator`.

    Raises:
        UsageError: the cases outside some fold have one outcome only.
    """
    parts = np.empty((3, len(score)))
    for number in np.unique(fold):
        fit, rest = fold != number, fold == number
        calibrator = fit_calibrator(
            score[fit], outcome[fit], groups[fit], units[fit], method=method
        )
        said = calibrator.apply(score[rest], groups[rest])
        parts[:, rest] = said.probability, said.low, said.high
    return Calibrated(probability=parts[0], low=parts[1], high=parts[2])
