"""The summary at the end of a file, as far as it can be read: a help after damage, no more."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema, Statistics

from viae.logs.mcap.layout import FOOTER, MAGIC, OUTER, PARSERS
from viae.logs.mcap.source import Source

MAX_SUMMARY = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a summary repeats.

    Args:
        is_there: whether the file ends as a whole one does.
        is_sound: whether it can be read, and its checksum agrees if there is one.
        why: why it is not sound; empty where it is, or where there is none.
        schemas: all of them, by id.
        channels: all of them, by id.
        chunks: where each chunk starts, rising.
        statistics: counts, if they are there.
    """

    is_there: bool = False
    is_sound: bool = False
    why: str = ""
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: tuple[int, ...] = ()
    statistics: Statistics | None = None

    def same(self, record: Schema | Channel) -> Schema | Channel | None:
        """What it says of the same schema or channel."""
        known = self.schemas if isinstance(record, Schema) else self.channels
        return known.get(record.id)


def read_summary(source: Source) -> Summary:
    """The summary; empty where there is none, or none that can be read."""
    end = source.size - len(MAGIC)
    tail = source.peek(max(end - FOOTER.size, 0), source.size)
    if len(tail) < FOOTER.size + len(MAGIC) or not tail.endswith(MAGIC):
        return Summary()
    opcode, size, start, _, declared = FOOTER.unpack_from(tail)
    stop = end - FOOTER.size
    if opcode != Opcode.FOOTER or size != FOOTER.size - OUTER.size:
        return Summary(is_there=True, why="the footer is not where it should be")
    if not start:
        return Summary(is_there=True)
    if start > stop or stop - start > MAX_SUMMARY:
        return Summary(is_there=True, why=f"it should start at byte {start}")
    data = source.peek(start, stop)
    actual = zlib.crc32(tail[: FOOTER.size - 4], zlib.crc32(data))
    why = ""
    if declared not in (0, actual):
        why = f"its checksum is {actual:#010x}, declared {declared:#010x}"
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    chunks: list[int] = []
    statistics: Statistics | None = None
    at = 0
    try:
        while at < len(data):
            opcode, size = OUTER.unpack_from(data, at)
            content = data[at + OUTER.size : at + OUTER.size + size]
            at += OUTER.size + size
            if opcode not in (
                Opcode.SCHEMA, Opcode.CHANNEL, Opcode.CHUNK_INDEX, Opcode.STATISTICS
            ):  # fmt: skip
                continue
            match PARSERS[opcode].read(ReadDataStream(io.BytesIO(content))):
                case Schema() as schema:
                    schemas[schema.id] = schema
                case Channel() as channel:
                    channels[channel.id] = channel
                case ChunkIndex() as index:
                    chunks.append(index.chunk_start_offset)
                case Statistics() as statistics:
                    pass
    except Exception as error:  # a damaged summary helps as far as it goes
        why = why or f"{error!s:.200} ({type(error).__name__})"
    return Summary(
        is_there=True,
        is_sound=not why,
        why=why,
        schemas=schemas,
        channels=channels,
        chunks=tuple(sorted(c for c in chunks if len(MAGIC) <= c < start)),
        statistics=statistics,
    )
