"""How pictures are got at: one interface, several paths.

A picture stream's frames are numbered through all episodes of the windows. An access path gives
frames by number; which path is taken changes the speed and never a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError

Path_ = Literal["auto", "decode", "cache", "pool"]
PATHS: tuple[Path_, ...] = ("auto", "decode", "cache", "pool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What loading may use, and how.

    Args:
        path: ``"decode"`` on demand, each time; ``"cache"`` decodes each frame once and keeps it;
            ``"pool"`` decodes runs of video into a pool and draws from that; ``"auto"`` chooses.
        memory_bytes: for coded packets and decoded frames, of all streams together.
        disk_bytes: for a memory-mapped file of decoded frames, where memory does not hold them;
            0 makes none.
        folder: where that file goes; None takes the system's temporary folder.
        mixing: how far the pool's order may be from independent draws, see `viae.load.pool`; only
            for ``"pool"``, and for ``"auto"`` to consider it.

    Raises:
        UsageError: an option has no meaning.
    """

    path: Path_ = "auto"
    memory_bytes: int = 1 << 30
    disk_bytes: int = 0
    folder: Path | None = None
    mixing: float | None = None

    def __post_init__(self) -> None:
        if self.path not in PATHS:
            raise UsageError(f"there is no access path {self.path!r}; there are {PATHS}")
        if self.memory_bytes < 0 or self.disk_bytes < 0:
            raise UsageError("memory_bytes and disk_bytes cannot be negative")


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
            frames: int64 [N], each in [0, len(self)), or -1 for a black one; any order, repeats
                allowed.
            out: uint8 [N, 3, H, W], written to; need not be contiguous in its first dimension.

        Raises:
            WindowError: a picture cannot be decoded; the text names stream, episode and time.
        """
