"""The outer records of an MCAP file, in order, and where they go on after damage.

A record is an opcode, a length and as many bytes. Where that stops making sense the scan looks for
the next place from which records follow one another, and says what it passed over: a damaged length
costs the record it belongs to, not the rest of the file.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode

from viae.logs.mcap.attachment import MAX_KEPT, Attached, read_attachment
from viae.logs.mcap.index import Index, read_index
from viae.logs.mcap.layout import HIGHEST, MAGIC, OUTER, PARSERS, Parsed
from viae.logs.mcap.resume import Finder
from viae.logs.mcap.run import HEAD, MessageRun
from viae.logs.mcap.source import Source

MAX_RECORD = 1 << 30
"""Bytes of a record that is held in memory."""


@dataclass(frozen=True, slots=True)
class Outer:
    """A record that is no message.

    Args:
        start: where it starts in the file.
        opcode: its type.
        record: it, parsed; None where there is nothing to parse.
        error: why it cannot be read, if it cannot.
    """

    start: int
    opcode: int
    record: Parsed | Attached | Index | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class SkippedChunk:
    """A chunk that was passed over."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that are no record. ``is_end`` where nothing follows them."""

    start: int
    end: int
    why: str
    is_end: bool = False


Piece: TypeAlias = Outer | SkippedChunk | MessageRun | Gap


def scan(
    source: Source,
    *,
    chunks: tuple[int, ...] = (),
    skim: bool = False,
    doubt: bool = False,
    keep: int = MAX_KEPT,
) -> Iterator[Piece]:
    """Everything after the magic, up to the footer.

    Args:
        source: the file.
        chunks: where chunks start, rising, as far as the summary says; tried first after damage.
        skim: pass over chunks and attachments, and of messages read the heads alone.
        doubt: it is known that messages are missing: look for them inside of others, too.
        keep: bytes of an attachment's data to keep.
    """
    return _Scan(source, chunks, skim, doubt, keep).pieces()


class _Scan:
    """One pass."""

    def __init__(
        self, source: Source, chunks: tuple[int, ...], skim: bool, doubt: bool, keep: int
    ) -> None:
        self._source, self._chunks = source, chunks
        self._find = Finder(source, chunks)
        self._skim, self._doubt, self._keep = skim, doubt, keep
        self._starts: list[int] = []  # of the messages that wait for their run, in the window
        self._ends: list[int] = []

    def pieces(self) -> Iterator[Piece]:
        source, find = self._source, self._find
        at, last = len(source.read(0, len(MAGIC))), None
        while at < source.size:
            if not source.holds(at, at + OUTER.size):
                yield from self._run()
                source.read(at, at + OUTER.size)
            why, opcode, end = find.look(at)
            if not why and (opcode != Opcode.MESSAGE or self._chunks):
                why = find.doubt(at, opcode, end)
            if why:
                found = find.resume(last, at)
                first = at
                if last is not None and found is not None and found < at:
                    first = last  # its length was wrong, and what it reached over is a record
                    if self._starts and self._starts[-1] == last + OUTER.size - source.base:
                        self._starts.pop()
                        self._ends.pop()
                yield from self._run()
                yield Gap(first, source.size if found is None else found, why, found is None)
                if found is None:
                    return
                at, last = found, None
                continue
            last = at
            if opcode == Opcode.MESSAGE:
                if self._doubt and (inside := find.message_inside(at, end)):
                    yield from self._run()
                    yield Gap(at, inside, "a message reaches over others")
                    at = inside
                    continue
                yield from self._message(at, end)
            else:
                yield from self._run()
                wrong = yield from self._other(at, opcode, end)
                if opcode == Opcode.FOOTER:
                    yield from self._behind(end)
                    return
                if wrong is not None:
                    yield Gap(wrong, wrong, f"a record of type {opcode:#04x} reaches over others")
                    end = wrong
            at = end
        yield from self._run()
        yield Gap(at, at, "the file ends without a footer", True)

    def _message(self, at: int, end: int) -> Iterator[Piece]:
        source = self._source
        if end - at > MAX_RECORD:
            yield from self._run()
            yield Outer(at, Opcode.MESSAGE, error=ValueError(f"it has {end - at} bytes"))
            return
        needed = at + OUTER.size + HEAD.itemsize if self._skim else end
        if not source.holds(at, needed):
            yield from self._run()
            source.read(at, needed)
        self._starts.append(at + OUTER.size - source.base)
        self._ends.append(end - source.base)

    def _run(self) -> Iterator[MessageRun]:
        if self._starts:
            source = self._source
            yield MessageRun.at(
                source.window, self._starts, self._ends, origin=source.base, in_chunk=False
            )
            self._starts.clear()
            self._ends.clear()

    def _other(self, at: int, opcode: int, end: int) -> Generator[Piece, None, int | None]:
        """Yield it; returns where the next one is, if its length reaches over that."""
        source, start = self._source, at + OUTER.size
        if opcode > HIGHEST:
            yield Outer(at, opcode)
            return None
        if self._skim and opcode in (Opcode.CHUNK, Opcode.ATTACHMENT):
            yield SkippedChunk(at, end) if opcode == Opcode.CHUNK else Outer(at, opcode)
            return None
        try:
            if opcode == Opcode.ATTACHMENT:
                attached, stop = read_attachment(source, start, end, self._keep)
                yield Outer(at, opcode, attached)
            else:
                if end - at > MAX_RECORD:
                    raise ValueError(f"it has {end - at} bytes")
                record: Parsed | Index
                content = source.read(start, end)
                if opcode == Opcode.MESSAGE_INDEX:
                    record, taken = read_index(content)
                else:
                    stream = ReadDataStream(io.BytesIO(content))
                    record, taken = PARSERS[opcode].read(stream), stream.count
                stop = start + taken
                yield Outer(at, opcode, record)
        except Exception as error:  # bytes that are no such record can provoke anything
            yield Outer(at, opcode, error=error)
            return None
        return self._find.record_inside(stop, end) if stop < end else None

    def _behind(self, end: int) -> Iterator[Gap]:
        """What is behind the closing magic."""
        if end + len(MAGIC) < self._source.size:
            yield Gap(end + len(MAGIC), self._source.size, "the file goes on after its end")
