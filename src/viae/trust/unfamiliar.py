"""I do not know this: a conformal test whether an input is unlike the training data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viae.errors import BundleError, UsageError
from viae.trust.conformal import cases_needed
from viae.trust.measures import Bools, Floats

METHODS = ("neighbours", "mahalanobis")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unfamiliar:
    """A measure of strangeness, and how strange held-out training-like inputs are.

    Args:
        method: ``neighbours``: distance to the k-th nearest training embedding (Sun et al. 2022,
            arXiv:2204.06507). ``mahalanobis``: distance from their mean in standard deviations,
            with Ledoit and Wolf's covariance (Lee et al. 2018, arXiv:1807.03888).
        known: float64 [T, D] training embeddings; for ``mahalanobis`` their mean, [1, D].
        whiten: float64 [D, D], applied before distances.
        k: which neighbour.
        calibration: float64 [n], strangeness of held-out inputs, rising.
    """

    method: str
    known: Floats
    whiten: Floats
    k: int
    calibration: Floats

    def strangeness(self, embedding: Floats) -> Floats:
        """Distance to what is known.

        Args:
            embedding: float64 [N, D].

        Returns:
            float64 [N].

        Raises:
            UsageError: another D, or a number that is not finite.
        """
        return _distance(_checked(embedding, self.known.shape[1]), self.known, self.whiten, self.k)

    def p_value(self, embedding: Floats) -> Floats:
        """How often an input like the training data is at least as strange.

        Invariant: for an input exchangeable with the calibration inputs, P(p <= a) <= a.

        Args:
            embedding: float64 [N, D].

        Returns:
            float64 [N], between 1 / (n + 1) and 1.
        """
        strange = self.strangeness(embedding)
        below = np.searchsorted(self.calibration, strange, "left")
        n = len(self.calibration)
        p: Floats = (n - below + 1) / (n + 1)
        return p

    def abstain(self, embedding: Floats, *, alpha: float = 0.05) -> Bools:
        """Whether to answer "I do not know this": at most alpha of familiar inputs are refused.

        Args:
            embedding: float64 [N, D].
            alpha: between 0 and 1.

        Raises:
            UsageError: too few calibration inputs for alpha.
        """
        needed, n = cases_needed(alpha), len(self.calibration)
        if n < needed:
            raise UsageError(
                f"{n} held-out inputs are too few to refuse a share of {alpha:g}: "
                f"{needed - n} more are needed ({needed} in all), or a greater alpha"
            )
        refused: Bools = self.p_value(embedding) <= alpha + 1e-12
        return refused

    def save(self, path: Path) -> None:
        """Write as safetensors, whole or not at all."""
        from safetensors.numpy import save_file

        partial = path.with_name(f"{path.name}.partial")
        arrays = {name: getattr(self, name) for name in ("known", "whiten", "calibration")}
        note = json.dumps({"method": self.method, "k": self.k})
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, {"note": note})
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Unfamiliar:
        """Read what `save` wrote.

        Raises:
            BundleError: there is nothing, or it is damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                note = json.loads(file.metadata()["note"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(method=note["method"], k=note["k"], **arrays)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: no test of familiarity can be read: {error}") from error


def fit_unfamiliar(
    training: Floats, held_out: Floats, *, method: str = "neighbours", k: int = 5
) -> Unfamiliar:
    """Fit on training embeddings and calibrate on others of the same kind.

    Embeddings are scaled to unit deviation per dimension, and for ``mahalanobis`` then whitened:
    Ledoit and Wolf's covariance leans towards equal deviations, which would hide narrow dimensions.

    Args:
        training: float64 [T, D].
        held_out: float64 [n, D]; not trained on, and drawn like the training data.
        method: one of `METHODS`.
        k: which neighbour, for ``neighbours``.

    Raises:
        UsageError: no such method, too few embeddings, widths that differ, numbers not finite.
    """
    if method not in METHODS:
        raise UsageError(f"there is no measure '{method}'; there are {', '.join(METHODS)}")
    training = _checked(training, None)
    held_out = _checked(held_out, training.shape[1])
    if len(training) < max(k, 2) or not len(held_out):
        raise UsageError(
            f"{len(training)} training and {len(held_out)} held-out embeddings are too few: at "
            f"least {max(k, 2)} and 1 are needed"
        )
    known, whiten = training, np.diag(1 / np.maximum(training.std(0), 1e-9))
    if method == "mahalanobis":
        known, k = training.mean(0, keepdims=True), 1
        whiten = whiten @ _whitening(training @ whiten)
    calibration = np.sort(_distance(held_out, known, whiten, k))
    return Unfamiliar(method=method, known=known, whiten=whiten, k=k, calibration=calibration)


def _whitening(training: Floats) -> Floats:
    from sklearn.covariance import LedoitWolf

    precision = LedoitWolf().fit(training).precision_
    values, vectors = np.linalg.eigh(precision)
    whitening: Floats = vectors * np.sqrt(np.maximum(values, 0))
    return whitening


def _distance(embedding: Floats, known: Floats, whiten: Floats, k: int) -> Floats:
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k).fit(known @ whiten)
    distance: Floats = near.kneighbors(embedding @ whiten)[0][:, k - 1]
    return distance


def _checked(embedding: Floats, width: int | None) -> Floats:
    embedding = np.asarray(embedding, np.float64)
    if embedding.ndim != 2 or (width is not None and embedding.shape[1] != width):
        expected = f"[N, {width or 'D'}]"
        raise UsageError(f"embeddings of shape {list(embedding.shape)}; expected {expected}")
    if not np.isfinite(embedding).all():
        row = int(np.flatnonzero(~np.isfinite(embedding).all(1))[0])
        raise UsageError(f"embedding {row} holds a number that is not finite")
    return embedding
