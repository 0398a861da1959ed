"""One record of a ROS 1 bag: a header of named fields, and data; and how to find the next one."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = range(2, 8)

NEEDED: Mapping[int, Mapping[bytes, int | None]] = {
    MESSAGE: {b"conn": 4, b"time": 8},
    BAG_HEADER: {b"index_pos": 8, b"conn_count": 4, b"chunk_count": 4},
    INDEX: {b"ver": 4, b"conn": 4, b"count": 4},
    CHUNK: {b"compression": None, b"size": 4},
    CHUNK_INFO: {b"ver": 4, b"chunk_pos": 8, b"start_time": 8, b"end_time": 8, b"count": 4},
    CONNECTION: {b"conn": 4, b"topic": None},
}
"""The fields of each type of record, and how many bytes they have."""
ITEM = {INDEX: 12, CHUNK_INFO: 8}
"""Bytes of data for each of a record's ``count``."""

MAX_HEADER = 1 << 16
MAX_CONNECTION = 16 << 20
"""Bytes of a header, and of a connection's data; no recorder writes more."""

OP = re.compile(rb"\x04\x00\x00\x00op=[\x02-\x07]")
"""The field that every header has, somewhere."""
OP_SIZE = 8
BEFORE_OP = 128
"""Bytes of a header that may come before that; long topics come after it."""
STEP = 1 << 20
MOST_LOOKS = 300_000
"""Places looked at in one file; a bound on time, far beyond what damage leads to by chance."""

Peek: TypeAlias = Callable[[int, int], bytes]

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def u32(data: bytes, at: int = 0) -> int:
    """A number of four bytes."""
    return int(_U32.unpack_from(data, at)[0])


def u64(data: bytes, at: int = 0) -> int:
    """A number of eight bytes."""
    return int(_U64.unpack_from(data, at)[0])


@dataclass(frozen=True, slots=True)
class Head:
    """A record's header, and where the record is.

    Args:
        op: its type.
        fields: its header.
        start: where it starts.
        data: where its data starts.
        end: where it ends.
    """

    op: int
    fields: Mapping[bytes, bytes]
    start: int
    data: int
    end: int


def fields_of(header: bytes) -> dict[bytes, bytes]:
    """The fields of a header, which also is the form of a connection's data.

    Raises:
        ValueError: it is none.
    """
    fields, at = {}, 0
    while at < len(header):
        if at + 4 > len(header):
            raise ValueError("a field is cut short")
        end = at + 4 + u32(header, at)
        name, is_there, value = header[at + 4 : end].partition(b"=")
        if end > len(header) or not is_there or not name:
            raise ValueError("a field is none")
        fields[name] = value
        at = end
    return fields


def look(peek: Peek, size: int, at: int) -> Head | str:
    """The record at a place; or why there is none.

    Args:
        peek: gives the bytes from a place to another, fewer at the end.
        size: of all bytes.
        at: the place.
    """
    try:
        return _parse(peek, size, at)
    except ValueError as error:
        return str(error)


def _parse(peek: Peek, size: int, at: int) -> Head:
    start = peek(at, at + 4)
    length = u32(start) if len(start) == 4 else size
    if not 8 <= length <= MAX_HEADER:
        raise ValueError(f"there is no header of {length} bytes")
    header = peek(at + 4, at + 8 + length)
    if len(header) < length + 4:
        raise ValueError(f"a header of {length} bytes does not fit")
    fields = fields_of(header[:length])
    op = fields.get(b"op", b"")
    needed = NEEDED.get(op[0]) if len(op) == 1 else None
    if needed is None:
        raise ValueError(f"there is no record type {op!r:.20}")
    for name, width in needed.items():
        if name not in fields or width not in (None, len(fields[name])):
            raise ValueError(f"a record of type {op[0]} has no right field '{name.decode()}'")
    data = at + 8 + length
    head = Head(op[0], fields, at, data, data + u32(header, length))
    if head.end > size:
        raise ValueError(f"a record of type {head.op} and {head.end - data} bytes does not fit")
    if head.op in ITEM and head.end - data != u32(fields[b"count"]) * ITEM[head.op]:
        raise ValueError(f"a record of type {head.op} contradicts its own length")
    if head.op == CONNECTION:
        if head.end - data > MAX_CONNECTION:
            raise ValueError(f"a connection has {head.end - data} bytes")
        fields_of(peek(data, head.end))
    return head


@dataclass(slots=True)
class Looks:
    """How often a search may still look."""

    left: int = MOST_LOOKS


def find_record(peek: Peek, size: int, low: int, looks: Looks) -> int | None:
    """The first place from ``low`` on that is a record and is followed by one, or by the end.

    Args:
        peek: as for `look`.
        size: of all bytes.
        low: where the search begins.
        looks: used up by it; where none are left nothing is found.
    """
    at = low
    while at < size:
        block = peek(at, at + STEP)
        for match in OP.finditer(block):
            looks.left -= 1
            if looks.left < 0:
                return None
            op = at + match.start()
            first = max(low, op - BEFORE_OP - 4)
            before = peek(first, op)
            for place in range(op - 4, first - 1, -1):
                length = u32(before, place - first)
                if not op + 8 <= place + 4 + length <= op + 8 + BEFORE_OP + MAX_HEADER:
                    continue
                looks.left -= 1
                head = look(peek, size, place)
                if isinstance(head, str):
                    continue
                if head.end == size or not isinstance(look(peek, size, head.end), str):
                    return place
        at += max(len(block) - OP_SIZE, 1)
    return None
