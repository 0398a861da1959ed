"""A ROS 1 bag (V2.0) as records, in file order, in bounded memory, whatever is broken in it.

The file is read from start to end, as a recorder wrote it: ``rosbags`` reads a bag through its
index only, and a recorder that was killed leaves none. What the index repeats (connections, counts)
is used where it is there. After damage the scan goes on at the next place that is a record and is
followed by one; of a chunk that is not compressed, that may be in its middle.

http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from viae.errors import LogError
from viae.logs.rosbag.bagchunk import BagRun, Connection, open_chunk, records_in
from viae.logs.rosbag.bagrecord import (
    BAG_HEADER,
    CHUNK,
    CHUNK_INFO,
    CONNECTION,
    INDEX,
    MESSAGE,
    Head,
    Looks,
    find_record,
    look,
    u32,
    u64,
)
from viae.schema import Loss, LossKind

MAGIC = b"#ROSBAG V2.0\n"
MAX_RECORD = 1 << 30
"""Bytes of a record, and of an opened chunk; more is taken for damage."""
BUFFER = 1 << 20
AGAIN = "Copy the file again if the original still exists"

BagRecord: TypeAlias = Connection | BagRun | Loss


@dataclass(slots=True, kw_only=True)
class BagIndex:
    """What the end of a bag repeats.

    Args:
        start: where it should start; 0 where the recorder did not come to write it.
        is_whole: whether all of it is there.
        connections: all of them.
        counts: messages in the bag, by connection.
    """

    start: int = 0
    is_whole: bool = False
    connections: list[Connection] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Damaged:
    """A chunk that is not as it should be; the index records behind it say what was inside."""

    start: int
    error: str
    at_ns: int | None
    declared: Counter[int] = field(default_factory=Counter)
    read: Counter[int] = field(default_factory=Counter)


class _Source:
    """The bytes of a file, a few of them anywhere; cheap where they follow each other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=BUFFER)
        except OSError as error:
            raise self._unreadable(error, 0) from error
        self.size = self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()

    def peek(self, start: int, end: int) -> bytes:
        """The bytes from start to end; fewer where the file ends."""
        try:
            self._file.seek(start)
            return self._file.read(max(min(end, self.size) - start, 0))
        except OSError as error:
            raise self._unreadable(error, start) from error

    def _unreadable(self, error: OSError, at: int) -> LogError:
        return LogError(
            self._path,
            found=f"it cannot be read at byte {at} ({error.strerror})",
            todo="check the disk, the network and who may read it, and run the same command again",
        )


class BagReader:
    """One pass over a bag. A context manager: leaving it closes the file.

    Args:
        path: the file; it begins with the magic.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source = _Source(path)
        self.index = self._read_index()
        self.lost: Counter[int] = Counter()
        """Messages known to be lost with damaged chunks, by connection."""
        self._at_ns: int | None = None
        self._damaged: _Damaged | None = None
        self._cut = False
        self._looks = Looks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def records(self) -> Iterator[BagRecord]:
        """Connections and messages, chunks opened; and a `Loss` for whatever cannot be read."""
        source = self._source
        at = len(MAGIC)
        while at < source.size:
            head = look(source.peek, source.size, at)
            if isinstance(head, str):
                yield from self._end_of_damage()
                found = find_record(source.peek, source.size, at + 1, self._looks)
                yield self._gap(at, found, head)
                if found is None:
                    break
                at = found
                continue
            if head.op == INDEX and self._damaged:
                self._damaged.declared[u32(head.fields[b"conn"])] += u32(head.fields[b"count"])
            elif head.op != INDEX:
                yield from self._end_of_damage()
            at = head.end
            if head.op in (CHUNK, MESSAGE) and head.end - head.data > MAX_RECORD:
                yield self._lose(
                    "record-damaged",
                    f"the record at byte {head.start} has {head.end - head.data} bytes; the others "
                    "are kept",
                )
            elif head.op == CHUNK:
                at = yield from self._chunk(head)
            elif head.op in (MESSAGE, CONNECTION):
                # Outside of a chunk, or in one that the recorder did not come to close.
                yield from self._seen(records_in(source.peek(head.start, head.end), self._looks))
        yield from self._end_of_damage()
        yield from self._at_last()

    def _chunk(self, head: Head) -> Generator[BagRecord, None, int]:
        """Yield what is inside; returns where the chunk really ends."""
        data = self._source.peek(head.data, head.end)
        try:
            opened, used = open_chunk(head.fields, data, MAX_RECORD)
        except Exception as error:  # a codec may raise anything on damaged bytes
            why = f"it does not open: {error!s:.200} ({type(error).__name__})"
            self._damaged = _Damaged(head.start, why, self._at_ns)
            if head.fields[b"compression"] == b"none":  # its records lie open
                return head.data
            # a wrong length leads nowhere; what follows a right one is a record
            follows = look(self._source.peek, self._source.size, head.end)
            if head.end != self._source.size and isinstance(follows, str):
                return head.data
            return head.end
        yield from self._seen(records_in(opened, self._looks), head.start)
        return head.data + used

    def _seen(
        self, records: Iterator[Connection | BagRun | str], start: int = 0
    ) -> Iterator[Connection | BagRun]:
        """Note what a chunk's records are; a text among them says what was broken."""
        read: Counter[int] = Counter()
        for record in records:
            if isinstance(record, str):
                if not self._damaged:
                    self._damaged = _Damaged(start, record, self._at_ns)
                continue
            if isinstance(record, BagRun):
                self._at_ns = int(record.log_ns[-1])
                read.update(record.connections.tolist())
            yield record
        if self._damaged:
            self._damaged.read += read

    def _end_of_damage(self) -> Iterator[Loss]:
        if not self._damaged:
            return
        damaged, self._damaged = self._damaged, None
        missing = damaged.declared - damaged.read
        self.lost += missing
        yield Loss(
            kind=LossKind.LOST, name="chunk-damaged", path=str(self._path),
            count=missing.total() if damaged.declared else None, at_ns=damaged.at_ns,
            detail=f"the chunk at byte {damaged.start}: {damaged.error}; what else is in the file "
            f"is kept. {AGAIN}",
        )  # fmt: skip

    def _gap(self, start: int, end: int | None, why: str) -> Loss:
        if end is not None:
            return self._lose(
                "damaged",
                f"bytes {start} to {end} make no sense ({why}); what is behind them is kept. "
                f"{AGAIN}",
            )
        self._cut = True
        return self._lose(
            "truncated",
            f"the record at byte {start}, in a file of {self._source.size}, is cut short or "
            f"damaged ({why}), and none follows; everything before it is kept. {AGAIN}",
        )

    def _at_last(self) -> Iterator[Loss]:
        if not self.index.start:
            yield self._lose(
                "not-indexed",
                "the recorder did not come to write the index (it was killed, or still runs); the "
                "file was read from start to end instead",
                kind=LossKind.REPAIRED,
                count=0,
            )
        elif not self.index.is_whole and not self._cut:
            self._cut = True
            yield self._lose(
                "truncated",
                f"the index that should be at byte {self.index.start}, in a file of "
                f"{self._source.size}, is not whole; everything before it is kept. {AGAIN}",
            )

    def _read_index(self) -> BagIndex:
        """The records from where the header says to the end; as many as can be read."""
        peek, size = self._source.peek, self._source.size
        head = look(peek, size, len(MAGIC))
        if isinstance(head, str) or head.op != BAG_HEADER:
            return BagIndex(start=size)
        index = BagIndex(start=u64(head.fields[b"index_pos"]))
        at, chunks = index.start, 0
        while 0 < at < size:
            record = look(peek, size, at)
            if isinstance(record, str) or record.op not in (CONNECTION, CHUNK_INFO):
                break
            if record.op == CONNECTION:
                index.connections.append(Connection.of(record, peek(record.data, record.end)))
            else:
                chunks += 1
                pairs = peek(record.data, record.end)
                for place in range(0, len(pairs), 8):
                    index.counts[u32(pairs, place)] += u32(pairs, place + 4)
            at = record.end
        declared = u32(head.fields[b"conn_count"]), u32(head.fields[b"chunk_count"])
        index.is_whole = at == size and declared == (len(index.connections), chunks)
        return index

    def _lose(
        self, name: str, detail: str, *, kind: LossKind = LossKind.LOST, count: int | None = None
    ) -> Loss:
        return Loss(
            kind=kind, name=name, path=str(self._path), count=count, at_ns=self._at_ns,
            detail=detail,
        )  # fmt: skip
