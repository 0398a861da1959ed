"""A small probe: the probability of success, calibrated, from the start of an attempt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from viae.errors import BundleError, UsageError
from viae.trust.measures import Bools, Floats

FOLDS, REPEATS = 5, 2
COST = 10.0
"""Of an attempt on the wrong side; chosen on policies and rollouts that no figure rests on."""
LIMIT = 6.0
"""Standardised features beyond this say no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A support vector machine with Gaussian kernel, calibrated by Platt's method; plain numbers.

    ``p = sigmoid(slope · (Σ dual_i exp(-gamma |z - support_i|²) + bias) + offset)``, where z are
    the features in standard deviations from the mean attempt at the same task.

    Args:
        tasks: the N tasks.
        mean: float64 [N, P], features of the mean attempt at each task.
        scale: float64 [P], standard deviations within tasks.
        support: float64 [S, P].
        dual: float64 [S].
        bias: of the score.
        gamma: of the kernel.
        slope: of the calibration.
        offset: of the calibration.
        steps: the decision after which it is asked.
    """

    tasks: tuple[str, ...]
    mean: Floats
    scale: Floats
    support: Floats
    dual: Floats
    bias: float
    gamma: float
    slope: float
    offset: float
    steps: int

    def probability(self, features: Floats, tasks: npt.NDArray[Any]) -> Floats:
        """Probability of success.

        Args:
            features: float64 [N, P], of `viae.trust.describe_attempts` after `steps` decisions.
            tasks: [N], the task of each attempt.

        Returns:
            float64 [N].

        Raises:
            BundleError: a task that the probe was not fitted on.
        """
        from scipy.special import expit

        unknown = sorted({str(task) for task in tasks} - set(self.tasks))
        if unknown:
            raise BundleError(
                f"the probe knows the tasks {list(self.tasks)}, not {unknown[0]!r}: evaluate the "
                "bundle on it, and run  viae trust  again"
            )
        z = _standardised(features, tasks, self.tasks, self.mean, self.scale)
        square = (z**2).sum(1)[:, None] + (self.support**2).sum(1) - 2 * z @ self.support.T
        score = np.exp(-self.gamma * np.maximum(square, 0)) @ self.dual + self.bias
        probability: Floats = expit(self.slope * score + self.offset)
        return probability

    def save(self, path: Path) -> None:
        """Write as safetensors, whole or not at all."""
        arrays = {name: getattr(self, name) for name in ("mean", "scale", "support", "dual")}
        numbers = {n: getattr(self, n) for n in ("bias", "gamma", "slope", "offset", "steps")}
        partial = path.with_name(f"{path.name}.partial")
        note = json.dumps(numbers | {"tasks": list(self.tasks)})
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, {"note": note})
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        if not path.exists():
            raise BundleError(f"{path}: this bundle has no probe yet: run  viae trust")
        try:
            with safe_open(path, framework="np") as file:
                note = json.loads(file.metadata()["note"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{path}: the probe cannot be read: {error}. Run  viae trust"
            ) from error
        return cls(**note | {"tasks": tuple(note["tasks"])}, **arrays)


def fit_probe(
    features: Floats,
    outcome: Bools,
    tasks: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    *,
    steps: int,
) -> Probe:
    """Fit and calibrate a probe, never on the same attempts.

    Machines fitted on all folds but one score that one; the calibration is fitted to those scores,
    none of which comes from a machine that saw the attempt. The probe's own machine is then fitted
    on all. Attempts from one initial state stay in one fold.

    Args:
        features: float64 [N, P].
        outcome: bool [N].
        tasks: [N], strings.
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
    names = tuple(np.unique(tasks).tolist())
    which = np.searchsorted(names, tasks)
    mean = np.stack([features[which == number].mean(0) for number in range(len(names))])
    scale = np.maximum((features - mean[which]).std(0), 1e-3)
    z = _standardised(features, tasks, names, mean, scale)
    scores = np.zeros(len(outcome))
    for repeat in range(REPEATS):
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=repeat)
        for fit, rest in split.split(z, outcome, groups):
            scores[rest] += _machine(z[fit], outcome[fit]).decision_function(z[rest]) / REPEATS
    platt = LogisticRegression(C=10.0).fit(scores[:, None], outcome)
    machine = _machine(z, outcome)
    return Probe(
        tasks=names,
        mean=mean,
        scale=scale,
        support=machine.support_vectors_,
        dual=machine.dual_coef_[0],
        bias=float(machine.intercept_[0]),
        gamma=_gamma(z),
        slope=float(platt.coef_[0, 0]),
        offset=float(platt.intercept_[0]),
        steps=steps,
    )


def _machine(z: Floats, outcome: Bools) -> Any:
    from sklearn.svm import SVC

    return SVC(C=COST, gamma=_gamma(z)).fit(z, outcome)


def _gamma(z: Floats) -> float:
    """Attempts two typical deviations apart in every feature are nearly unrelated."""
    return 0.7 / int(z.shape[1])


def _standardised(
    features: Floats, tasks: npt.NDArray[Any], names: tuple[str, ...], mean: Floats, scale: Floats
) -> Floats:
    which = np.searchsorted(names, tasks)
    return np.clip((features - mean[which]) / scale, -LIMIT, LIMIT)
