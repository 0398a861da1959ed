"""Where the records of an MCAP file go on after damage."""

from __future__ import annotations

import io
import re
from bisect import bisect_left

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode

from viae.logs.mcap.layout import CHUNK, HIGHEST, LEAST, MAGIC, OUTER, PARSERS
from viae.logs.mcap.source import WINDOW, Source

CANDIDATE = re.compile(rb"[\x01-\x0f](?=[\s\S]{4}\x00\x00\x00\x00)")
"""Where a record may begin; longer than 4 GiB there is none."""
MESSAGE = re.compile(rb"\x05(?=[\s\S]{4}\x00\x00\x00\x00)")
CHAIN = 3
"""Records that must follow one another before a place counts as the start of one."""

MAX_PARSED = 1 << 20
"""Bytes of a record that is parsed to see whether it is one."""
MOST_LOOKS = 1_000_000
"""Places looked at in one file; a bound on time, far beyond what damage leads to by chance. What
is left then are the chunks that the summary declares."""


class Finder:
    """Finds records where the record before them does not lead.

    Args:
        source: the file; its window stays where it is.
        chunks: where chunks start, rising, as far as the summary says.
    """

    def __init__(self, source: Source, chunks: tuple[int, ...]) -> None:
        self._source, self._chunks = source, chunks
        self._looks = 0

    def look(self, at: int) -> tuple[str, int, int]:
        """Why there is no record here, or an empty string; its opcode; where it would end."""
        head = self._source.peek(at, at + OUTER.size)
        if len(head) < OUTER.size:
            return f"{len(head)} bytes are no record", 0, at
        opcode, size = OUTER.unpack(head)
        end = at + OUTER.size + size
        if not opcode:
            return "there is no record type 0x00", opcode, end
        if size < LEAST.get(opcode, 0):
            return f"a record of type {opcode:#04x} cannot have {size} bytes", opcode, end
        if end > self._source.size:
            return f"a record of {size} bytes does not fit", opcode, end
        if opcode == Opcode.CHUNK and not self._is_chunk(at, size):
            return "a chunk contradicts its own length", opcode, end
        return "", opcode, end

    def doubt(self, at: int, opcode: int, end: int) -> str:
        """Why what looks like a record is none after all, or an empty string."""
        if opcode > HIGHEST and end != self._source.size and self.look(end)[0]:
            return f"there is no record type {opcode:#04x}"  # else one of a later version
        if opcode == Opcode.FOOTER and not self._is_end(end):
            return "there is a footer, and it is not at the end"
        if self._chunks:
            inside = bisect_left(self._chunks, at + 1)
            for start in self._chunks[inside : inside + 1]:
                if start < end and self._is_declared(start):
                    return f"a record reaches over the chunk at byte {start}"
        return ""

    def resume(self, last: int | None, at: int) -> int | None:
        """Where records go on; None where they do not.

        Args:
            last: where the record before starts, if its length is what may be wrong.
            at: where no record is.
        """
        low = at + 1 if last is None else last + 1
        first = bisect_left(self._chunks, low)
        declared = next((c for c in self._chunks[first:] if self._is_declared(c)), None)
        limit = self._source.size if declared is None else declared
        dead: set[int] = {at}
        while low < limit:
            block = self._source.peek(low, low + WINDOW)
            for match in CANDIDATE.finditer(block):
                place = low + match.start()
                if place >= limit or self._looks > MOST_LOOKS:
                    return declared
                past = at if place < at else place
                if self.follows(place, past=past, dead=dead) and self._is_whole(place):
                    return place
            low += max(len(block) - OUTER.size, 1)
        return declared

    def follows(self, at: int, *, past: int, dead: set[int] | None = None) -> bool:
        """Whether records follow one another from here on, at least past a place.

        Args:
            at: the first.
            past: what is whole before this may be inside of another record.
            dead: places that lead nowhere; added to.
        """
        number, seen = 0, []
        while number < CHAIN or at <= past:
            if dead and at in dead:
                break
            seen.append(at)
            self._looks += 1
            why, opcode, end = self.look(at)
            if why:
                cut = end > self._source.size and at > past and number == CHAIN - 1
                if cut and opcode in LEAST:  # the last one, as far as the file goes
                    return True
                break
            number, at = number + 1, end
            if opcode == Opcode.FOOTER:
                if self._is_end(end):
                    return True
                break
            if at == self._source.size and number > 1:  # cut short exactly here
                return True
        else:
            return True
        if dead is not None:
            dead.update(seen)
        return False

    def message_inside(self, start: int, end: int) -> int | None:
        """The first message inside of another from which records lead exactly to its end."""
        return self._inside(MESSAGE, start + OUTER.size + LEAST[Opcode.MESSAGE], end)

    def record_inside(self, start: int, end: int) -> int | None:
        """The first record between two places from which records lead exactly to the last."""
        return self._inside(CANDIDATE, start, end)

    def _inside(self, pattern: re.Pattern[bytes], start: int, end: int) -> int | None:
        for match in pattern.finditer(self._source.peek(start, end)):
            place = at = start + match.start()
            while at < end and self._looks <= MOST_LOOKS:
                self._looks += 1
                why, _, at = self.look(at)
                if why:
                    break
            else:
                if at == end:
                    return place
        return None

    def _is_whole(self, at: int) -> bool:
        """Whether a record is one inside, too: by chance its length may lead to a true one."""
        _, opcode, end = self.look(at)
        if opcode == Opcode.MESSAGE:
            return self.message_inside(at, end) is None
        if opcode not in PARSERS or end - at > MAX_PARSED:
            return True
        stream = ReadDataStream(io.BytesIO(self._source.peek(at + OUTER.size, end)))
        try:
            PARSERS[opcode].read(stream)
        except Exception:  # bytes that are no such record can provoke anything
            return False
        return True

    def _is_declared(self, start: int) -> bool:
        why, opcode, _ = self.look(start)
        return not why and opcode == Opcode.CHUNK

    def _is_end(self, end: int) -> bool:
        """Whether the closing magic comes here, or what is left of it."""
        tail = self._source.peek(end, end + len(MAGIC))
        return tail == MAGIC or end + len(tail) == self._source.size

    def _is_chunk(self, at: int, size: int) -> bool:
        """Whether the lengths inside a chunk record agree with its own."""
        start = at + OUTER.size
        head = self._source.peek(start, start + CHUNK.size)
        name = CHUNK.unpack(head)[-1]
        if CHUNK.size + name + 8 > size:
            return False
        place = start + CHUNK.size + name
        records = int.from_bytes(self._source.peek(place, place + 8), "little")
        return bool(CHUNK.size + name + 8 + records <= size)
