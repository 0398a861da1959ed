"""A video file that lies alone: a log with one stream.

The times are the file's own, from its first picture on, on the clock ``video``; a variable frame
rate stays as it is. Nothing says when the pictures were taken, unless the container does: its
``creation_time`` is kept as a statement, not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs.format import Item, Log, LogEpisode, LogFormat, Statement, fingerprint_files
from viae.logs.remux import UNREADABLE_VIDEO, VideoLook, look_at_video, read_video
from viae.schema import NS_PER_S, Loss, LossKind, Role, TimesNs

SUFFIXES = frozenset({".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm"})
"""Containers; a bare ``.h264`` has no times and cannot be a log."""

STREAM = "video"


class VideoFormat(LogFormat):
    """Video files: ``.mp4 .m4v .mkv .mov .avi .webm``."""

    name: ClassVar[str] = "video"

    def recognises(self, path: Path) -> bool:
        """A file whose name says so."""
        return path.suffix.lower() in SUFFIXES and path.is_file()

    def open(self, path: Path) -> Log:
        """One episode, the whole file."""
        if not path.stat().st_size:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        look = _look(path)
        return Log(path=path, format=self.name, episodes=(VideoEpisode(path, look),))


class VideoEpisode(LogEpisode):
    """All of a video file.

    Args:
        path: the file.
        look: what its packets say.
    """

    def __init__(self, path: Path, look: VideoLook) -> None:
        self.path, self._look = path, look
        self.uri, self.range = str(path), ""

    def fingerprint(self) -> str:
        """Of the file."""
        return fingerprint_files([self.path])

    def read(self) -> Iterator[Item]:
        """What the container says, then the pictures."""
        look = self._look
        for key, value in sorted(look.metadata.items()):
            if value:
                yield Statement(key=f"video.{key.lower()}", value=value)
        if look.rate_hz:
            yield Statement(key="video.rate_hz", value=look.rate_hz)
        times_ns = _times_ns(look)
        if repeated := int((np.diff(times_ns) == 0).sum()):
            yield Loss(
                kind=LossKind.REPAIRED,
                name="repeated-times",
                path=self.uri,
                stream=STREAM,
                count=repeated,
                detail="pictures with the time of the one before; kept in decoding order",
            )
        yield from read_video(
            self.path, name=STREAM, role=Role.OBSERVATION, times_ns=times_ns, clock="video"
        )
        if look.cut:
            yield Loss(
                kind=LossKind.LOST,
                name="truncated",
                path=self.uri,
                stream=STREAM,
                count=None,
                detail=f"{look.cut}; what was read until there is kept",
            )


def _look(path: Path) -> VideoLook:
    try:
        return look_at_video(path)
    except UNREADABLE_VIDEO as error:
        raise DamagedLogError(
            path,
            found=f"it cannot be read as a video ({error})",
            expected="a video in a container, whole",
            todo="copy it again; without its index (an mp4's moov) a video cannot be read",
        ) from error


def _times_ns(look: VideoLook) -> TimesNs:
    """int64 [pictures], ns from the first picture on, exact to the nearest."""
    numerator, denominator = look.time_base
    ticks = look.ticks - look.ticks[:1]
    return np.array(
        [(int(tick) * numerator * NS_PER_S + denominator // 2) // denominator for tick in ticks],
        np.int64,
    )
