"""Calibration curves: rising functions from a score to a probability, kept as plain numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.measures import Bools, Floats

METHODS = ("venn-abers", "cross-venn-abers", "isotonic")
FOLDS = 5

Parts: TypeAlias = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Isotonic:
    """Isotonic regression (Zadrozny and Elkan 2002), linear between its knots.

    Args:
        score: float64 [K], rising.
        probability: float64 [K], never falling.
    """

    score: Floats
    probability: Floats

    def apply(self, score: Floats) -> Parts:
        """Probability three times over: isotonic regression gives no interval."""
        probability = np.interp(score, self.score, self.probability)
        return probability, probability, probability

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": "isotonic", "score": self.score.tolist(),
            "probability": self.probability.tolist(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Isotonic regressions with the case itself counted as a failure, and as a success.

    Args:
        score: float64 [K], rising.
        as_failure: float64 [K + 1], below, between and above the scores.
        as_success: float64 [K + 1].
    """

    score: Floats
    as_failure: Floats
    as_success: Floats

    def pair(self, score: Floats) -> tuple[Floats, Floats]:
        """The two probabilities, p0 and p1: float64 [N] each; p0 <= p1."""
        return (
            self.as_failure[np.searchsorted(self.score, score, "right")],
            self.as_success[np.searchsorted(self.score, score, "left")],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VennAbers:
    """Venn-Abers predictors: of the two probabilities one is calibrated, whatever the scores.

    One member is the inductive form, several the cross form, whose members are combined so that
    the greatest regret in log loss is least (Vovk, Petej and Fedorova 2015, arXiv:1511.00213).

    Args:
        members: one or more.
    """

    members: tuple[Steps, ...]

    def apply(self, score: Floats) -> Parts:
        """Probability, lower and upper: float64 [N] each."""
        pairs = np.array([member.pair(score) for member in self.members])  # [members, 2, N]
        success = np.exp(np.log(pairs[:, 1]).mean(0))
        failure = np.exp(np.log1p(-pairs[:, 0]).mean(0))
        probability = success / (success + failure)
        low, high = pairs.mean(0)
        return probability, np.minimum(low, probability), np.maximum(high, probability)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        members = [
            {name: getattr(m, name).tolist() for name in ("score", "as_failure", "as_success")}
            for m in self.members
        ]
        return {"kind": "venn-abers", "members": members}


Curve: TypeAlias = Isotonic | VennAbers


def curve_from_json(plain: Mapping[str, Any]) -> Curve:
    """The inverse of a curve's ``to_json``."""
    if plain["kind"] == "isotonic":
        return Isotonic(score=np.array(plain["score"]), probability=np.array(plain["probability"]))
    return VennAbers(
        members=tuple(
            Steps(**{name: np.array(values, np.float64) for name, values in member.items()})
            for member in plain["members"]
        )
    )


def fit_curve(score: Floats, outcome: Bools, units: npt.NDArray[Any], *, method: str) -> Curve:
    """Fit one curve.

    Args:
        score: float64 [N].
        outcome: bool [N].
        units: [N]; the cross form keeps them together.
        method: one of `METHODS`.

    Raises:
        UsageError: no such method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no calibration '{method}'; there are {', '.join(METHODS)}")
    if method == "isotonic":
        return _isotonic(score, outcome)
    if method == "venn-abers":
        return VennAbers(members=(_steps(score, outcome),))
    which = np.unique(units, return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(which.max() + 1)[which] % FOLDS
    return VennAbers(
        members=tuple(_steps(score[fold == f], outcome[fold == f]) for f in np.unique(fold))
    )


def _isotonic(score: Floats, outcome: Bools) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, outcome)
    return Isotonic(score=fitted.X_thresholds_, probability=fitted.y_thresholds_)


def _steps(score: Floats, outcome: Bools) -> Steps:
    with np.errstate():  # importing venn_abers silences NumPy's floating-point errors for good
        from venn_abers import calc_p0p1

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of slopes over nothing, which are skipped
        p0, p1, scores = calc_p0p1(np.stack([-score, score], 1), outcome.astype(np.float64))
    as_failure, as_success = p0[:, 1], p1[:, 1]
    changes = (np.diff(as_failure) != 0) | (np.diff(as_success) != 0)
    after = np.append(True, changes)
    return Steps(score=scores[changes], as_failure=as_failure[after], as_success=as_success[after])
