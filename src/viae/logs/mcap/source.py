"""A file read from start to end through a window, so that nothing larger than a record is held."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from viae.errors import LogError

WINDOW = 4 << 20


class Source:
    """The bytes of a file: through the window from start to end, or a few of them anywhere.

    Args:
        path: the file.
        window: bytes to read at once.

    Raises:
        LogError: from any method, where the system cannot read it.
    """

    def __init__(self, path: Path, *, window: int = WINDOW) -> None:
        self._path = path
        self._step = window
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise self._unreadable(error, 0) from error
        self.size = self._file.seek(0, os.SEEK_END)
        self.base = 0
        """Where the window begins in the file."""
        self.window = b""
        self._crc = 0
        self._crc_to: int | None = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def holds(self, start: int, end: int) -> bool:
        """Whether the window has these bytes."""
        return self.base <= start and end <= self.base + len(self.window)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from start to end; fewer where the file ends. The window moves as needed."""
        end = min(end, self.size)
        if not self.holds(start, end):
            self._move(start, max(end, min(start + self._step, self.size)))
        return self.window[start - self.base : end - self.base]

    def peek(self, start: int, end: int) -> bytes:
        """The same, and the window stays where it is."""
        end = min(end, self.size)
        if end <= start:
            return b""
        if self.holds(start, end):
            return self.window[start - self.base : end - self.base]
        return self._fetch(start, end)

    def crc(self, end: int) -> int | None:
        """CRC-32 of all bytes before ``end``; None where the window left some out."""
        if self._crc_to is None:
            return None
        return zlib.crc32(self.read(self._crc_to, end), self._crc)

    def _move(self, start: int, end: int) -> None:
        if self._crc_to is not None:
            passed = start <= self.base + len(self.window)
            part = self.window[max(self._crc_to - self.base, 0) : max(start - self.base, 0)]
            self._crc = zlib.crc32(part, self._crc)
            self._crc_to = max(start, self._crc_to) if passed else None
        kept = self.window[start - self.base :] if self.base <= start else b""
        self.base, self.window = start, kept + self._fetch(start + len(kept), end)

    def _fetch(self, at: int, end: int) -> bytes:
        parts = []
        try:
            self._file.seek(at)
            while at < end and (data := self._file.read(end - at)):
                parts.append(data)
                at += len(data)
        except OSError as error:
            raise self._unreadable(error, at) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unreadable(self, error: OSError, at: int) -> LogError:
        return LogError(
            self._path,
            found=f"it cannot be read at byte {at} ({error.strerror})",
            todo="check the disk, the network and who may read it, and run the same command again",
        )
