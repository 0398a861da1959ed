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

AccessPath = Literal["auto", "decode", "cache", "pool"]
Decoder = Literal["pyav", "torchcodec", "nvdec"]
DECODERS: tuple[Decoder, ...] = ("pyav", "torchcodec", "nvdec")
PATHS: tuple[AccessPath, ...] = ("auto", "decode", "cache", "pool")
MIXING = 0.1
"""The bound on the pool's order where none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What loading may use, and how.

    Args:
        path: ``"decode"`` on demand, each time; ``"cache"`` decodes each frame once and keeps it;
            ``"pool"`` decodes runs of video into a pool and draws from that; ``"auto"`` chooses.
        memory_bytes: for coded packets and decoded frames, of all streams together.
        disk_bytes: for memory-mapped files of decoded frames, of all streams together, where
            memory does not hold them; 0 makes none.
        folder: where those files go, to be found again by the next run and by other processes of
            this machine; None makes temporary ones.
        mixing: how far the pool's order may be from independent draws: the share of a batch's
            effective size that may be lost, see `viae.load.mixing`. Only for ``"pool"`` (None
            means `MIXING`), and for ``"auto"`` to consider the pool at all.
        mixing_batch: windows in the batches that ``mixing`` is about.
        decoder: of the path ``"decode"``: ``"pyav"``; or, where torchcodec is installed,
            ``"torchcodec"``, or ``"nvdec"`` on NVIDIA's decoder.

    Raises:
        UsageError: an option has no meaning, or contradicts another.
    """

    path: AccessPath = "auto"
    memory_bytes: int = 1 << 30
    disk_bytes: int = 0
    folder: Path | None = None
    mixing: float | None = None
    mixing_batch: int = 64
    decoder: Decoder = "pyav"

    def __post_init__(self) -> None:
        if self.path not in PATHS:
            raise UsageError(f"there is no access path {self.path!r}; there are {PATHS}")
        if self.memory_bytes < 0 or self.disk_bytes < 0:
            raise UsageError("memory_bytes and disk_bytes cannot be negative")
        if self.folder is not None and not self.disk_bytes:
            raise UsageError(f"the folder {self.folder} is of no use without disk_bytes above 0")
        if self.mixing is not None and not 0 < self.mixing < 1:
            raise UsageError(f"mixing lies between 0 and 1, not {self.mixing}")
        if self.mixing is not None and self.path not in ("auto", "pool"):
            raise UsageError(f"mixing is about a pool's order; the path {self.path!r} has no pool")
        if self.decoder not in DECODERS:
            raise UsageError(f"there is no decoder {self.decoder!r}; there are {DECODERS}")
        if self.decoder != "pyav" and self.path != "decode":
            raise UsageError(f"the decoder {self.decoder!r} works on demand: give path='decode'")
        if self.mixing_batch < 2:
            raise UsageError("mixing_batch is at least 2: windows are mixed with each other")


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
