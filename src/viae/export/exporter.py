"""What an export target is, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from viae.errors import UsageError
from viae.export.source import EpisodeSource
from viae.schema import Loss

GRID = "grid"
"""The clock that is no stream's: even ticks at a stated rate."""

MOVIES = ("libsvtav1", "h264", "hevc")
"""Codecs in which pictures may be coded anew."""
IMAGES = "images"
"""Instead of a codec: pictures stay coded one by one, as they were recorded."""


class Late(StrEnum):
    """What becomes of a sample that arrived more than one row after it was due.

    A sample is due at its capture plus the least delay of its stream.
    """

    HOLD = "hold"
    """It counts from its arrival on; until then the one before is held. Causal."""
    DROP = "drop"
    """It is left out; the one before is held until the next in time. Causal."""
    KEEP = "keep"
    """It counts from when it was due. Not causal: a row may hold what was not yet known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How to export. What a target cannot honour it refuses.

    Args:
        clock: the stream whose samples are the rows; ``"grid"`` for even ticks; empty for the clock
            that all streams share, if they do.
        rate_hz: ticks per second of the grid.
        late: see `Late`.
        fps: the frame rate to declare where a stream is the clock; None for its median rate.
        codec: how pictures are coded that must be coded anew (`MOVIES`), or ``"images"``.
        chunks_size: files per folder; None for the target's own custom.
        data_mb: a table file takes no further episode beyond this; None likewise.
        video_mb: likewise a video file.

    Raises:
        UsageError: the options contradict each other.
    """

    clock: str = ""
    rate_hz: float | None = None
    late: Late = Late.HOLD
    fps: int | None = None
    codec: str = "libsvtav1"
    chunks_size: int | None = None
    data_mb: float | None = None
    video_mb: float | None = None

    def __post_init__(self) -> None:
        if self.clock == GRID and self.rate_hz is None:
            raise UsageError("a grid needs its rate: say  --rate HZ")
        if self.rate_hz is not None and self.clock not in ("", GRID):
            raise UsageError(
                f"rows at the samples of '{self.clock}' have its rate: say --clock or --rate"
            )
        if self.rate_hz is not None and not 0 < self.rate_hz < 1e6:
            raise UsageError(f"a rate of {self.rate_hz} Hz is none")
        if self.fps is not None and (self.fps < 1 or self.rate_hz is not None):
            raise UsageError("--fps declares the rate of a clock stream: a whole number from 1")
        if self.codec not in (*MOVIES, IMAGES):
            raise UsageError(f"codec '{self.codec}' is none of {', '.join((*MOVIES, IMAGES))}")
        limits = (self.chunks_size, self.data_mb, self.video_mb)
        if any(limit is not None and limit <= 0 for limit in limits):
            raise UsageError("files per folder and sizes of files are positive")

    @property
    def resamples(self) -> bool:
        """Whether a clock was asked for."""
        return bool(self.clock) or self.rate_hz is not None


@dataclass(slots=True, kw_only=True)
class Written:
    """What a target wrote.

    Args:
        rows: rows, samples or messages, whatever the target counts.
        names: per stream, its name in the target.
        losses: what was given up or changed.
        checked: how many values and packets were read back and found equal.
    """

    rows: int = 0
    names: dict[str, str] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    checked: int = 0


Note: TypeAlias = Callable[[str, int], None]
"""Told what is at hand, and how many episodes are done."""


class Exporter(ABC):
    """A target format."""

    name: ClassVar[str]
    resamples: ClassVar[bool] = False
    """Whether it has one clock for all streams."""

    @abstractmethod
    def write(
        self, episodes: Sequence[EpisodeSource], folder: Path, options: ExportOptions, note: Note
    ) -> Written:
        """Write episodes into an empty folder, and read them back.

        Raises:
            UsageError: an option, or the lack of one, makes no sense for these episodes.
            ExportError: what was read back is not what was meant.
        """


_HOME = {
    "lerobot": ("viae.export.lerobot", "LeRobotExporter"),
    "mcap": ("viae.export.mcap", "McapExporter"),
    "rrd": ("viae.export.rrd", "RerunExporter"),
    "parquet": ("viae.export.tables", "ParquetExporter"),
}
EXPORTERS = tuple(_HOME)
"""Names of the targets."""


def exporter(name: str) -> Exporter:
    """The target of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in _HOME:
        raise UsageError(f"there is no export to '{name}'; there is {', '.join(EXPORTERS)}")
    module, kind = _HOME[name]
    made: Any = getattr(import_module(module), kind)()
    assert isinstance(made, Exporter)
    return made
