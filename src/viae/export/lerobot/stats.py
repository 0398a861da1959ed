"""Statistics of cameras, by episode, in LeRobot's shapes.

Minimum, maximum, mean, standard deviation, count and five quantiles. LeRobot estimates quantiles
from a histogram of 5,000 bins; here they are exact. `viae.logs.lerobot.whole` has those of numbers,
and combines them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from viae.logs.lerobot.whole import QUANTILES, Stats

if TYPE_CHECKING:
    import av

SMALL = 300
"""Pictures of less than this many pixels a side are looked at whole."""
ABOUT = 150
"""Others are thinned to about this many."""


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
