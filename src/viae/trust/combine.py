"""Several sources of trust as one score: cross-fitted logistic stacking, each source beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.folds import Ints
from viae.trust.intervals import estimate_by_unit
from viae.trust.measures import Bools, Estimate, Floats, auroc, brier_skill, calibration_error

STRENGTH = 1.0
"""Inverse of the L2 penalty, scikit-learn's default."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Combiner:
    """Logistic regression over standardised sources: plain numbers (stacking, Wolpert 1992).

    Args:
        sources: the S names, in order.
        mean: float64 [S].
        scale: float64 [S].
        weight: float64 [S], per standard deviation.
        bias: of the log odds.
    """

    sources: tuple[str, ...]
    mean: Floats
    scale: Floats
    weight: Floats
    bias: float

    def apply(self, scores_NS: Floats) -> Floats:
        """Probability of success: float64 [N]."""
        from scipy.special import expit

        odds = (scores_NS - self.mean) / self.scale @ self.weight + self.bias
        probability: Floats = expit(odds)
        return probability

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "scale", "weight")}
        return {"sources": list(self.sources), "bias": self.bias} | arrays

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Combiner:
        """The inverse of `to_json`."""
        return cls(
            sources=tuple(plain["sources"]), bias=float(plain["bias"]),
            **{name: np.array(plain[name], np.float64) for name in ("mean", "scale", "weight")},
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How good one source is, or all together; each as a cross-fitted logistic probability.

    Args:
        name: of the source; ``combined`` for all.
        auroc: ranking.
        brier_skill: improvement over the base rate.
        ece: calibration error.
    """

    name: str
    auroc: Estimate
    brier_skill: Estimate
    ece: Estimate

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        measures = {m: getattr(self, m).to_json() for m in ("auroc", "brier_skill", "ece")}
        return {"name": self.name} | measures


def fit_combiner(scores_NS: Floats, outcome: Bools, sources: tuple[str, ...]) -> Combiner:
    """Fit on held-out cases.

    Args:
        scores_NS: float64 [N, S], finite.
        outcome: bool [N].
        sources: S names.

    Raises:
        UsageError: one outcome only, a shape that does not fit, or numbers not finite.
    """
    from sklearn.linear_model import LogisticRegression

    if scores_NS.shape != (len(outcome), len(sources)):
        raise UsageError(
            f"scores of shape {list(scores_NS.shape)} do not fit {len(outcome)} outcomes and "
            f"{len(sources)} sources"
        )
    bad = [name for name, s in zip(sources, scores_NS.T, strict=True) if not np.isfinite(s).all()]
    if bad:
        raise UsageError(f"source '{bad[0]}' holds a score that is no number")
    if outcome.all() or not outcome.any():
        raise UsageError(f"all {len(outcome)} outcomes are alike: sources are combined on both")
    mean, scale = scores_NS.mean(0), np.maximum(scores_NS.std(0), 1e-12)
    fitted = LogisticRegression(C=STRENGTH).fit((scores_NS - mean) / scale, outcome)
    return Combiner(
        sources=sources, mean=mean, scale=scale, weight=fitted.coef_[0],
        bias=float(fitted.intercept_[0]),
    )  # fmt: skip


def cross_combined(
    scores_NS: Floats, outcome: Bools, sources: tuple[str, ...], fold: Ints
) -> Floats:
    """Each case's probability by a combiner fitted on the other folds only: float64 [N].

    Args:
        scores_NS: float64 [N, S].
        outcome: bool [N].
        sources: S names.
        fold: int64 [N], of `viae.trust.folds.folds`.
    """
    said = np.empty(len(outcome))
    for number in np.unique(fold):
        fit, rest = fold != number, fold == number
        said[rest] = fit_combiner(scores_NS[fit], outcome[fit], sources).apply(scores_NS[rest])
    return said


def compare_sources(
    scores_NS: Floats,
    outcome: Bools,
    sources: tuple[str, ...],
    fold: Ints,
    units: npt.NDArray[Any],
) -> list[Source]:
    """Each source alone, and all combined, on cases that none of them was fitted on.

    Args:
        scores_NS: float64 [N, S].
        outcome: bool [N].
        sources: S names.
        fold: int64 [N].
        units: [N], equal for cases that depend on each other.
    """
    parts: list[tuple[str, Floats, tuple[str, ...]]] = [
        (name, scores_NS[:, [s]], (name,)) for s, name in enumerate(sources)
    ]
    if len(sources) > 1:
        parts.append(("combined", scores_NS, sources))
    rows = []
    for name, scores, names in parts:
        said = cross_combined(scores, outcome, names, fold)
        rows.append(
            Source(
                name=name,
                auroc=estimate_by_unit(auroc, outcome, said, units),
                brier_skill=estimate_by_unit(brier_skill, outcome, said, units),
                ece=estimate_by_unit(calibration_error, outcome, said, units),
            )
        )
    return rows
