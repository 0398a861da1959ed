"""A chunk of a ROS 1 bag, opened: its connections, its messages in runs."""

from __future__ import annotations

import bz2
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lz4.frame
import numpy as np
import numpy.typing as npt

from viae.logs.messages import Messages
from viae.logs.rosbag.bagrecord import (
    CONNECTION,
    MESSAGE,
    Head,
    Looks,
    fields_of,
    find_record,
    look,
    u32,
)

VARIABLE = re.compile(
    rb"(?:\x09\x00\x00\x00conn=|\x0d\x00\x00\x00time=)((?<=conn=)[\s\S]{4}|(?<=time=)[\s\S]{8})"
)
"""What differs between the headers of messages: whose they are, and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a bag says of a publisher's messages.

    Args:
        id: its number in the bag.
        topic: the topic's name.
        type: the message type's name, e.g. ``"sensor_msgs/Image"``.
        definition: the message type's definition.
        more: what else is said: ``md5sum``, ``callerid``, ``latching``, …
    """

    id: int
    topic: str
    type: str
    definition: bytes
    more: Mapping[str, str]

    @classmethod
    def of(cls, head: Head, data: bytes) -> Connection:
        """From a record."""
        said = fields_of(data)
        known = {b"topic", b"type", b"message_definition"}
        more = {_text(key): _text(value) for key, value in said.items() if key not in known}
        return cls(
            id=u32(head.fields[b"conn"]),
            topic=_text(head.fields[b"topic"]),
            type=_text(said.get(b"type", b"")),
            definition=said.get(b"message_definition", b""),
            more=more,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BagRun:
    """Messages that follow each other in a bag.

    Args:
        buffer: holds their bytes.
        starts: int64 [N], where each begins.
        ends: int64 [N], where it ends.
        connections: int64 [N], by whom.
        log_ns: int64 [N], when the recorder had it.
    """

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    connections: npt.NDArray[np.int64]
    log_ns: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, mine: npt.NDArray[Any]) -> Messages:
        """Some of the messages."""
        nobody_says = np.zeros(int(mine.sum()), np.int64)
        return Messages(
            buffer=self.buffer,
            starts=self.starts[mine],
            ends=self.ends[mine],
            log_ns=self.log_ns[mine],
            publish_ns=nobody_says,
            sequence=nobody_says,
        )


def open_chunk(fields: Mapping[bytes, bytes], data: bytes, most: int) -> tuple[bytes, int]:
    """A chunk's records, and how many of its bytes they took.

    Args:
        fields: its header.
        data: its data, and maybe what follows it.
        most: bytes that it may open to.

    Raises:
        Exception: of any kind, where it does not open to what it says.
    """
    size, compression = u32(fields[b"size"]), fields[b"compression"]
    if size > most:
        raise ValueError(f"it claims {size} bytes")
    used = len(data)
    match compression:
        case b"none":
            opened = data
        case b"bz2":
            opened, used = _decompress(bz2.BZ2Decompressor(), data, size)
        case b"lz4":
            opened, used = _decompress(lz4.frame.LZ4FrameDecompressor(), data, size)
        case _:
            raise ValueError(f"its compression {compression!r:.20} is none of none, bz2, lz4")
    if len(opened) != size:
        raise ValueError(f"it opens to {len(opened)} bytes, declared {size}")
    return opened, used


def _decompress(decompressor: Any, data: bytes, size: int) -> tuple[bytes, int]:
    """Never more than one byte beyond what is claimed."""
    parts = [decompressor.decompress(data, size + 1)]
    total = len(parts[0])
    while not decompressor.eof and not decompressor.needs_input and total <= size:
        more = decompressor.decompress(b"", size + 1 - total)
        total += len(more)
        parts.append(more)
        if not more:
            break
    if not decompressor.eof:
        raise ValueError("its compressed data has no end")
    return b"".join(parts), len(data) - len(decompressor.unused_data or b"")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a writer lays out the headers of its messages: all alike, so that few are parsed."""

    layout: struct.Struct
    fixed: tuple[bytes, bytes, bytes]
    is_connection_first: bool

    @property
    def size(self) -> int:
        """Bytes before a message's data."""
        return self.layout.size

    @classmethod
    def of(cls, header: bytes) -> _Form | None:
        """From a message's header; None where that is of no usual form."""
        found = [(match.start(1), match[1]) for match in VARIABLE.finditer(header)]
        if len(found) != 2 or len(found[0][1]) == len(found[1][1]):
            return None
        (first, one), (second, two) = found
        first_end, second_end = first + len(one), second + len(two)
        is_connection_first = len(one) == 4
        codes = ("I", "II") if is_connection_first else ("II", "I")
        layout = struct.Struct(
            f"<{first}s{codes[0]}{second - first_end}s{codes[1]}{len(header) - second_end}sI"
        )
        fixed = header[:first], header[first_end:second], header[second_end:]
        return cls(layout, fixed, is_connection_first)

    def at(self, data: bytes, at: int) -> tuple[int, int, int, int] | None:
        """Connection, seconds, nanoseconds and length of a message; None where it is another."""
        if at + self.layout.size > len(data):
            return None
        if self.is_connection_first:
            one, connection, two, seconds, nanoseconds, three, length = self.layout.unpack_from(
                data, at
            )
        else:
            one, seconds, nanoseconds, two, connection, three, length = self.layout.unpack_from(
                data, at
            )
        if (one, two, three) != self.fixed:
            return None
        return connection, seconds, nanoseconds, length


def records_in(data: bytes, looks: Looks) -> Iterator[Connection | BagRun | str]:
    """The records of a chunk, in order; a text where bytes are none, which says why.

    Args:
        data: the chunk.
        looks: for records behind such bytes.
    """
    starts: list[int] = []
    ends: list[int] = []
    connections: list[int] = []
    times: list[int] = []  # as they are in the bag: seconds, nanoseconds
    size = len(data)

    def run() -> Iterator[BagRun]:
        if starts:
            both = np.array(times, np.int64).reshape(-1, 2)
            yield BagRun(
                buffer=data,
                starts=np.array(starts, np.int64),
                ends=np.array(ends, np.int64),
                connections=np.array(connections, np.int64),
                log_ns=both[:, 0] * 1_000_000_000 + both[:, 1],
            )
            for each in (starts, ends, connections, times):
                each.clear()

    def peek(start: int, end: int) -> bytes:
        return data[start:end]

    at = 0
    form: _Form | None = None
    while at < size:
        start = at + form.size if form else 0
        place = form.at(data, at) if form else None
        if place is None:
            head = look(peek, size, at)
            if isinstance(head, str):
                yield from run()
                found = find_record(peek, size, at + 1, looks)
                yield f"its bytes {at} to {size if found is None else found} make no sense ({head})"
                at = size if found is None else found
                continue
            if head.op == CONNECTION:
                yield from run()
                yield Connection.of(head, data[head.data : head.end])
            if head.op != MESSAGE:
                at = head.end
                continue
            form, start = _Form.of(data[at : head.data - 4]), head.data
            time = head.fields[b"time"]
            place = (
                u32(head.fields[b"conn"]), u32(time), u32(time, 4), head.end - head.data
            )  # fmt: skip
        connection, seconds, nanoseconds, length = place
        end = start + length
        if end > size:
            yield from run()
            yield f"a message of {length} bytes does not fit"
            return
        starts.append(start)
        ends.append(end)
        connections.append(connection)
        times += (seconds, nanoseconds)
        at = end
    yield from run()


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
