"""pyulog, contained: it prints, searches damaged bytes for long, and raises whatever comes up."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError, LogError, MissingExtraError
from viae.logs.ulog.framing import MAGIC, too_many_fields, walk
from viae.schema import Loss, LossKind

EXTRA_READS = 500_000
EXTRA_BYTES = 1 << 33


class Source(io.BytesIO):
    """A file in memory that ends early for a reader that goes on rereading it.

    pyulog goes through damaged bytes one at a time and reads up to 64 KB at each. A sound file
    takes two reads per message; beyond that and some, this one says that it is at its end.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads_left = EXTRA_READS + len(data) // 2
        self.bytes_left = EXTRA_BYTES + 4 * len(data)

    @property
    def exhausted(self) -> bool:
        """Whether the reader was stopped."""
        return self.reads_left < 0 or self.bytes_left < 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file does, until it was read too often."""
        if self.exhausted:
            return b""
        data = super().read(size)
        self.reads_left -= 1
        self.bytes_left -= len(data)
        return data


def parse(path: Path) -> tuple[Any, list[Loss]]:
    """A ``pyulog.ULog``, and what of the file is not in it.

    Raises:
        DamagedLogError: nothing can be had from it.
        LogError: it needs a newer reader.
    """
    try:
        from pyulog.core import ULog
        from pyulog.exceptions import ULogIncompatibleFlagException
    except ImportError as error:
        raise MissingExtraError("pyulog", extra="formats") from error
    data = path.read_bytes()
    framing = walk(data)
    if name := too_many_fields(framing.formats):
        raise _damaged(path, f"the format '{name}' has more fields than a message can hold")
    source, printed = Source(data), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            ulog = ULog(source)
    except ULogIncompatibleFlagException as error:
        raise LogError(
            path,
            found="a flag says that its contents need a newer reader",
            todo="upgrade pyulog, or copy the file again if it is damaged",
        ) from error
    except Exception as error:  # whatever damaged bytes provoke in pyulog
        raise _damaged(path, f"pyulog gave up ({type(error).__name__}: {error!s:.100})") from error
    taken = sum(len(topic.data["timestamp"]) for topic in ulog.data_list if _timed(topic))
    untimed = [topic.name for topic in ulog.data_list if not _timed(topic)]
    losses = [
        _lost("cut-message", path, 1, f"the message at byte {at} was cut by a crash")
        for at in framing.cut_at
    ]
    if framing.ends_in is not None:
        detail = f"the file ends inside the message at byte {framing.ends_in}"
        losses.append(_lost("truncated", path, None, detail))
    losses += [
        _lost(
            "truncated", path, None, f"data appended at byte {at} is declared; the file ends before"
        )
        for at in framing.beyond
    ]
    if framing.broken_at is not None or ulog.file_corruption or source.exhausted:
        where = "" if framing.broken_at is None else f" from byte {framing.broken_at} on"
        said = printed.getvalue().strip().partition("\n")[0]
        detail = f"messages are damaged{where}; what pyulog could recover is kept"
        if source.exhausted:
            detail += ", and the search behind the damage was given up"
        losses.append(_lost("damaged", path, None, detail + (f" ({said})" if said else "")))
    elif taken < framing.samples - _rows(ulog, untimed):
        count = framing.samples - _rows(ulog, untimed) - taken
        detail = f"the file has {framing.samples} data messages; pyulog could take {taken}"
        losses.append(_lost("messages-unread", path, count, detail))
    for name in untimed:
        detail = "its messages have no timestamp"
        losses.append(
            Loss(kind=LossKind.SKIPPED, name="no-time", path=str(path), stream=name, detail=detail)
        )
    return ulog, losses


def check_magic(path: Path) -> None:
    """See that a file begins as a ULog does.

    Raises:
        DamagedLogError: it does not.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if head != MAGIC:
        raise DamagedLogError(
            path,
            found=f"it begins with {head!r}",
            expected=f"{MAGIC!r}, as every ULog does",
            todo="copy the file again",
        )


def _timed(topic: Any) -> bool:
    return "timestamp" in topic.data


def _rows(ulog: Any, names: list[str]) -> int:
    topics = (topic for topic in ulog.data_list if topic.name in names and not _timed(topic))
    return sum(len(next(iter(topic.data.values()))) for topic in topics if topic.data)


def _lost(name: str, path: Path, count: int | None, detail: str) -> Loss:
    return Loss(kind=LossKind.LOST, name=name, path=str(path), count=count, detail=detail)


def _damaged(path: Path, found: str) -> DamagedLogError:
    return DamagedLogError(
        path, found=found, expected="a ULog", todo="copy the file again from the vehicle"
    )
