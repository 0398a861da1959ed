"""How pictures are got at: one interface, several paths.

A picture stream's frames are numbered through all episodes of the windows. An access path gives
frames by number; which path is taken changes the speed and never a pixel.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Frames(Protocol):
    """The frames of one picture stream, by number. Safe for use by several threads at once."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) of every frame."""

    def __len__(self) -> int:
        """How many frames there are."""

    def read(self, frames: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> None:
        """Write frames.

        Args:
            frames: int64 [N], each in [0, len(self)); any order, repeats allowed.
            out: uint8 [N, 3, H, W], written to; need not be contiguous in its first dimension.

        Raises:
            WindowError: a picture cannot be decoded; the text names stream, episode and time.
        """
