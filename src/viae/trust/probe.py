"""A small probe: the probability of success, calibrated, from the start of an attempt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError, UsageError
from viae.trust.measures import Bools, Floats

FOLDS, REPEATS = 5, 2
PENALTY = 0.1
"""Inverse strength of the probe's ridge; few attempts and many features ask for a strong one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """``sigmoid(slope · (weights · features + bias) + offset)``. Plain numbers, so plain JSON.

    Args:
        weights: P numbers.
        bias: of the score.
        slope: of the calibration.
        offset: of the calibration.
        steps: the decision after which it is asked.
    """

    weights: tuple[float, ...]
    bias: float
    slope: float
    offset: float
    steps: int

    def probability(self, features: Floats) -> Floats:
        """Probability of success.

        Args:
            features: float64 [N, P], of `viae.trust.attempts` after `steps` decisions.

        Returns:
            float64 [N].
        """
        logit = self.slope * (features @ np.asarray(self.weights) + self.bias) + self.offset
        probability: Floats = 1 / (1 + np.exp(-logit))
        return probability

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self)) + "\n")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe.

        Raises:
            BundleError: there is none.
        """
        try:
            fields: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise BundleError(f"{path}: this bundle has no probe yet: run  viae trust") from error
        return cls(**fields | {"weights": tuple(fields["weights"])})


def fit_probe(features: Floats, outcome: Bools, groups: npt.NDArray[Any], *, steps: int) -> Probe:
    """Fit and calibrate a probe, never on the same attempts.

    A ridge-penalised logistic regression is fitted on all folds but one and scores that one;
    Platt's calibration is fitted to those scores, none of which comes from a model that saw the
    attempt.
    The probe is the mean of the folds' models (linear, so it is linear again). Attempts from one
    initial state stay in one fold.

    Args:
        features: float64 [N, P].
        outcome: bool [N].
        groups: [N], the initial state of each attempt.
        steps: decisions that the features describe.

    Raises:
        UsageError: fewer than two initial states with either outcome.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    rarer = min(len(np.unique(groups[outcome])), len(np.unique(groups[~outcome])))
    folds = min(FOLDS, rarer)
    if folds < 2:
        raise UsageError(
            f"{len(outcome)} attempts with {int(outcome.sum())} successes, from {rarer} initial "
            "states of the rarer outcome, are too few to learn trust from: evaluate more, or a "
            "policy that both succeeds and fails"
        )
    scores = np.zeros(len(outcome))
    scored = np.zeros(len(outcome))
    weights, biases = [], []
    for repeat in range(REPEATS):
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=repeat)
        for fit, rest in split.split(features, outcome, groups):
            mean, scale = features[fit].mean(0), np.maximum(features[fit].std(0), 1e-3)
            model = LogisticRegression(C=PENALTY, max_iter=2000)
            model.fit((features[fit] - mean) / scale, outcome[fit])
            weight = model.coef_[0] / scale
            bias = float(model.intercept_[0] - weight @ mean)
            scores[rest] += features[rest] @ weight + bias
            scored[rest] += 1
            weights.append(weight)
            biases.append(bias)
    platt = LogisticRegression(C=10.0).fit((scores / scored)[:, None], outcome)
    return Probe(
        weights=tuple(np.mean(weights, axis=0).tolist()),
        bias=float(np.mean(biases)),
        slope=float(platt.coef_[0, 0]),
        offset=float(platt.intercept_[0]),
        steps=steps,
    )
