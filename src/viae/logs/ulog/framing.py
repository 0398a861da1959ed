"""What the lengths of a ULog's messages say, whatever is in them.

pyulog ends in silence where a file is cut, and where a message of a wrong size stops it; so the
messages are counted here, by their three-byte heads alone, and compared with what pyulog gave.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

MAGIC = b"\x55\x4c\x6f\x67\x01\x12\x35"
HEADER = 16
HEAD = struct.Struct("<HB")
OFFSETS = struct.Struct("<3Q")
KNOWN = frozenset(b"FDIMPQARSOLCB")
DATA, FORMAT, FLAGS = b"DFB"
FIELD = re.compile(rb"(\w+)(?:\[(\d+)\])? ")
MOST_FIELDS = 65_535
"""A message has at most so many bytes, so no format has more fields."""


@dataclass(slots=True, kw_only=True)
class Framing:
    """What was found.

    Args:
        samples: data messages, up to where the framing breaks.
        broken_at: the byte at which no message can begin; None where all do.
        cut_at: where messages begin that a crash cut, with appended data behind them.
        ends_in: where the message begins in which the file ends; None where it ends with one.
        beyond: where appended data should begin, beyond the end of the file.
        formats: the bodies of the format messages.
    """

    samples: int = 0
    broken_at: int | None = None
    cut_at: list[int] = field(default_factory=list)
    ends_in: int | None = None
    beyond: list[int] = field(default_factory=list)
    formats: list[bytes] = field(default_factory=list)


def walk(data: bytes) -> Framing:
    """Go through all messages of a file, and of data appended to it after a crash."""
    found = Framing()
    offsets = _appended(data)
    found.beyond = [offset for offset in offsets if offset >= len(data)]
    starts = [HEADER, *(offset for offset in offsets if HEADER < offset < len(data))]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        _walk(data, start, end, found)
        if found.broken_at is not None:
            break
    if found.cut_at and starts[-1] <= found.cut_at[-1]:
        found.ends_in = found.cut_at.pop()
    return found


def too_many_fields(formats: list[bytes]) -> str:
    """The name of a format that is inside itself or has more fields than fit; empty if none."""
    bodies: dict[bytes, list[tuple[bytes, int]]] = {}
    for body in formats:
        name, _, fields = body.partition(b":")
        bodies[name] = [
            (found[1], int(found[2] or 1))
            for found in map(FIELD.match, fields.split(b";"))
            if found and len(found[2] or b"") < 9
        ]
    sizes: dict[bytes, int] = {}

    def size(name: bytes, above: frozenset[bytes]) -> int:
        if name not in bodies:
            return 1
        if name in above:
            return MOST_FIELDS + 1
        if name not in sizes:
            inside = above | {name}
            total = sum(n * size(type_, inside) for type_, n in bodies[name])
            sizes[name] = min(total, MOST_FIELDS + 1)
        return sizes[name]

    return next(
        (
            name.decode("utf-8", "replace")
            for name in bodies
            if size(name, frozenset()) > MOST_FIELDS
        ),
        "",
    )


def _walk(data: bytes, at: int, end: int, found: Framing) -> None:
    while at < end:
        if at + HEAD.size > end:
            found.cut_at.append(at)
            return
        size, type_ = HEAD.unpack_from(data, at)
        if type_ not in KNOWN and (not type_ or not size or size > 10_000):
            found.broken_at = at
            return
        if at + HEAD.size + size > end:
            found.cut_at.append(at)
            return
        if type_ == DATA:
            found.samples += 1
        elif type_ == FORMAT:
            found.formats.append(data[at + HEAD.size : at + HEAD.size + size])
        at += HEAD.size + size


def _appended(data: bytes) -> list[int]:
    """Where appended data begins, as the flags message says, which is the first if there is one."""
    begin = HEADER + HEAD.size
    if len(data) < begin + 40 or data[HEADER + 2] != FLAGS or not data[begin + 8] & 1:
        return []
    offsets = OFFSETS.unpack_from(data, begin + 16)
    return sorted({offset for offset in offsets if offset})
