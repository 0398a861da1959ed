"""Statistics of features, by episode and over all, in LeRobot's shapes.

Minimum, maximum, mean, standard deviation, count and five quantiles. LeRobot estimates quantiles
from a histogram of 5,000 bins; here they are exact. Over episodes they are combined as LeRobot
does: quantiles by their mean, weighted by counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Stats: TypeAlias = dict[str, Any]
"""One feature's statistics: lists as JSON has them."""

SMALL = 300
"""Pictures of less than this many pixels a side are looked at whole."""
ABOUT = 150
"""Others are thinned to about this many."""


def vector_stats(values: npt.NDArray[Any]) -> Stats:
    """Statistics over rows, and over all dimensions but the last.

    Args:
        values: [N, *shape], N > 0.
    """
    rows, flat = len(values), values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    exact = flat.astype(np.float64)
    stats: Stats = {
        "min": flat.min(axis=0).tolist(),
        "max": flat.max(axis=0).tolist(),
        "mean": exact.mean(axis=0).tolist(),
        "std": exact.std(axis=0).tolist(),
        "count": [rows],
    }
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return stats | {name: quantiles[i].tolist() for i, name in enumerate(QUANTILES)}


class PictureStats:
    """Statistics of a camera: of some rows of an episode, per colour channel, from 0 to 1.

    Args:
        rows: how many rows the episode has; which are looked at follows from that.
    """

    def __init__(self, rows: int) -> None:
        wanted = max(min(rows, 100), min(int(rows**0.75), 10_000))
        self._wanted = set(np.round(np.linspace(0, rows - 1, wanted)).astype(int).tolist())
        self._looked = 0
        self._levels = np.zeros((3, 256), np.int64)

    def __call__(self, row: int, frame: av.VideoFrame) -> None:
        """Look at the picture of a row."""
        if row not in self._wanted:
            return
        pixels = frame.to_ndarray(format="rgb24")
        step = max(max(pixels.shape[:2]) // ABOUT, 1) if max(pixels.shape[:2]) >= SMALL else 1
        for channel in range(3):
            seen = pixels[::step, ::step, channel].ravel()
            self._levels[channel] += np.bincount(seen, minlength=256)
        self._looked += 1

    def stats(self) -> Stats:
        """The statistics of what was looked at."""
        levels = np.arange(256) / 255
        total = self._levels.sum(axis=1)
        mean = self._levels @ levels / total
        variance = np.maximum(self._levels @ levels**2 / total - mean**2, 0)
        below = np.cumsum(self._levels, axis=1)
        found: dict[str, npt.NDArray[np.float64]] = {
            "min": levels[np.argmax(self._levels > 0, axis=1)],
            "max": levels[255 - np.argmax(self._levels[:, ::-1] > 0, axis=1)],
            "mean": mean,
            "std": np.sqrt(variance),
        }
        for name, share in QUANTILES.items():
            found[name] = levels[np.argmax(below >= share * total[:, None], axis=1)]
        stats: Stats = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
        return stats | {"count": [self._looked]}


def over_episodes(each: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of a dataset from those of its episodes."""
    keys = list(dict.fromkeys(key for stats in each for key in stats))
    return {key: _combined([stats[key] for stats in each if key in stats]) for key in keys}


def _combined(parts: Sequence[Stats]) -> Stats:
    """What all episodes have; datasets of others may store only some statistics."""
    have = set.intersection(*(set(part) for part in parts))
    stats: Stats = {}
    for name, over in (("min", np.min), ("max", np.max)):
        if name in have:
            stats[name] = over([part[name] for part in parts], axis=0).tolist()
    if "count" not in have:
        return stats
    counts = np.array([part["count"][0] for part in parts], np.float64)
    if "mean" in have:
        mean = _weighted([part["mean"] for part in parts], counts)
        stats["mean"] = mean.tolist()
        if "std" in have:
            means = np.array([part["mean"] for part in parts], np.float64)
            deviations = np.array([part["std"] for part in parts], np.float64)
            variance = _weighted(deviations**2 + (means - mean) ** 2, counts)
            stats["std"] = np.sqrt(variance).tolist()
    stats["count"] = [int(counts.sum())]
    for name in sorted(name for name in have if name.startswith("q") and name[1:].isdigit()):
        stats[name] = _weighted([part[name] for part in parts], counts).tolist()
    return stats


def _weighted(values: Any, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    array = np.array(values, np.float64)
    weights = counts.reshape(-1, *[1] * (array.ndim - 1))
    total: npt.NDArray[np.float64] = (array * weights).sum(axis=0) / counts.sum()
    return total
