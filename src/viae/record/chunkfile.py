"""An MCAP file written by the chunk: message records are copied as they are, never one by one."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from viae.errors import RecorderError
from viae.logs.mcap.chunk import open_chunk
from viae.logs.mcap.index import ENTRY
from viae.logs.mcap.index import HEAD as INDEX_HEAD
from viae.logs.mcap.layout import CHUNK, FOOTER, MAGIC, OUTER
from viae.logs.mcap.run import MessageRun
from viae.record.gathered import OVERHEAD, Gathered

CHUNK_BYTES = 1 << 20
"""Bytes of messages after which a chunk is closed."""
COPIED = 1 << 20
ZSTD = "zstd"


class ChunkFile:
    """A file of messages, which can be read again before it is finished.

    Args:
        path: the new file.
        head: profile and library.
        defined: schemas and channels known so far.
        anonymous: the file has no name, and is gone when it is closed.
    """

    def __init__(
        self, path: Path, head: Header, defined: Iterable[Schema | Channel], *, anonymous: bool
    ) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("x+b")
        if anonymous:
            path.unlink()
        self._zstd = zstandard.ZstdCompressor(level=1)
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunks: list[tuple[int, int]] = []
        self._chunk_index = bytearray()
        self._waiting: list[Gathered] = []
        self._waiting_bytes = 0
        self.counts: Counter[int] = Counter()
        """Messages, by channel."""
        self.largest = 0
        """Memory that the largest chunk takes when it is read again."""
        self._start_ns = self._end_ns = 0
        self._file.write(MAGIC + record_bytes(head))
        self.define(*defined)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    @property
    def nbytes(self) -> int:
        """Bytes written."""
        return self._file.tell()

    def define(self, *records: Schema | Channel) -> None:
        """Schemas and channels, before their messages."""
        for record in records:
            if isinstance(record, Schema):
                self._schemas.append(record)
            else:
                self._channels.append(record)
            self._file.write(record_bytes(record))

    def add(self, records: Gathered) -> None:
        """Messages that follow."""
        sizes = np.cumsum(records.sizes)
        start = 0
        while start < len(records):
            before = sizes[start - 1] if start else 0
            room = CHUNK_BYTES - self._waiting_bytes + before
            end = max(int(np.searchsorted(sizes, room)) + 1, start + 1)
            part = records.take(slice(start, end))
            self._waiting.append(part)
            self._waiting_bytes += int(part.sizes.sum())
            if self._waiting_bytes >= CHUNK_BYTES:
                self.flush()
            start = end

    def flush(self) -> None:
        """Close the chunk."""
        if not self._waiting:
            return
        part = Gathered.together(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        data = part.joined()
        self.largest = max(self.largest, len(data) + len(part) * OVERHEAD)
        packed = self._zstd.compress(data)
        name, content = (ZSTD.encode(), packed) if len(packed) < len(data) else (b"", data)
        times = part.heads["log_time"]
        start_ns, end_ns = int(times.min()), int(times.max())
        head = CHUNK.pack(start_ns, end_ns, len(data), zlib.crc32(data), len(name)) + name
        place = self._file.tell()
        size = len(head) + 8 + len(content)
        self._file.write(OUTER.pack(Opcode.CHUNK, size) + head + len(content).to_bytes(8, "little"))
        self._file.write(content)
        self._chunks.append((place, OUTER.size + size))
        self._index(part, place + OUTER.size + size, name, len(content), len(data))
        if not self.counts:
            self._start_ns, self._end_ns = start_ns, end_ns
        self._start_ns = min(self._start_ns, start_ns)
        self._end_ns = max(self._end_ns, end_ns)
        ids, counts = np.unique(part.heads["channel_id"], return_counts=True)
        self.counts.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))

    def _index(self, part: Gathered, at: int, name: bytes, packed: int, size: int) -> None:
        entries = np.empty(len(part), ENTRY)
        entries["log_time"] = part.heads["log_time"]
        entries["offset"] = np.cumsum(part.sizes) - part.sizes
        ids = part.heads["channel_id"]
        by_channel = np.argsort(ids, kind="stable")
        found, firsts = np.unique(ids[by_channel], return_index=True)
        offsets: dict[int, int] = {}
        written = bytearray()
        for id_, rows in zip(found.tolist(), np.split(by_channel, firsts[1:]), strict=True):
            offsets[id_] = at + len(written)
            own = entries[rows].tobytes()
            written += OUTER.pack(Opcode.MESSAGE_INDEX, INDEX_HEAD.size + len(own))
            written += INDEX_HEAD.pack(id_, len(own)) + own
        self._file.write(written)
        place, length = self._chunks[-1]
        self._chunk_index += record_bytes(
            ChunkIndex(
                chunk_length=length, chunk_start_offset=place, compression=name.decode(),
                compressed_size=packed, message_start_time=int(entries["log_time"].min()),
                message_end_time=int(entries["log_time"].max()), message_index_length=len(written),
                message_index_offsets=offsets, uncompressed_size=size,
            )
        )  # fmt: skip

    def chunks(self) -> Iterator[MessageRun]:
        """The messages again, a chunk at a time. Nothing can be added any more."""
        self.flush()
        for place, length in self._chunks:
            self._file.seek(place + OUTER.size)
            content = self._file.read(length - OUTER.size)
            try:
                inside = open_chunk(Chunk.read(ReadDataStream(io.BytesIO(content))), place)
            except Exception as error:
                raise RecorderError(
                    f"{self.path}: what was written to this temporary file came back changed "
                    f"({error}). Check the disk"
                ) from error
            yield from (run for run in inside if isinstance(run, MessageRun))

    def finish(self, aside: Aside) -> None:
        """Write what is kept aside, and the summary."""
        self.flush()
        attachments, metadata = aside.copy_to(self._file)
        self._file.write(record_bytes(DataEnd(data_section_crc=0)))
        start = self._file.tell()
        statistics = Statistics(
            attachment_count=len(attachments), channel_count=len(self._channels),
            channel_message_counts=dict(sorted(self.counts.items())),
            chunk_count=len(self._chunks), message_count=self.counts.total(),
            message_end_time=self._end_ns, message_start_time=self._start_ns,
            metadata_count=len(metadata), schema_count=len(self._schemas),
        )  # fmt: skip
        groups: list[tuple[Opcode, bytes]] = [
            (Opcode.SCHEMA, b"".join(map(record_bytes, self._schemas))),
            (Opcode.CHANNEL, b"".join(map(record_bytes, self._channels))),
            (Opcode.STATISTICS, record_bytes(statistics)),
            (Opcode.CHUNK_INDEX, bytes(self._chunk_index)),
            (Opcode.ATTACHMENT_INDEX, b"".join(map(record_bytes, attachments))),
            (Opcode.METADATA_INDEX, b"".join(map(record_bytes, metadata))),
        ]
        at, offsets = start, b""
        for opcode, records in groups:
            if records:
                offset = SummaryOffset(
                    group_opcode=opcode, group_start=at, group_length=len(records)
                )
                offsets += record_bytes(offset)
            at += len(records)
        summary = b"".join(records for _, records in groups) + offsets
        tail = FOOTER.pack(Opcode.FOOTER, FOOTER.size - OUTER.size, start, at, 0)[:-4]
        crc = zlib.crc32(tail, zlib.crc32(summary))
        footer = Footer(summary_start=start, summary_offset_start=at, summary_crc=crc)
        self._file.write(summary + record_bytes(footer) + MAGIC)
        self._file.flush()


class Aside:
    """Metadata records and attachments, in a file of their own until there is room for them.

    Args:
        path: the file, which is gone when it is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []

    def close(self) -> None:
        """Forget them."""
        if self._file:
            with suppress(OSError):
                self._file.close()

    def add(self, record: AttachmentIndex | MetadataIndex, data: bytes) -> None:
        """One of them.

        Args:
            record: its index; where it is, is filled in.
            data: the record.
        """
        if self._file is None:
            self._file = self._path.open("x+b")
            self._path.unlink()
        record.offset, record.length = self._file.tell(), len(data)
        if isinstance(record, AttachmentIndex):
            self._attachments.append(record)
        else:
            self._metadata.append(record)
        self._file.write(data)

    def copy_to(self, file: IO[bytes]) -> tuple[list[AttachmentIndex], list[MetadataIndex]]:
        """Write them; the indexes say where they are then."""
        start = file.tell()
        if self._file:
            self._file.seek(0)
            while data := self._file.read(COPIED):
                file.write(data)
        indexes: list[AttachmentIndex | MetadataIndex] = [*self._attachments, *self._metadata]
        for index in indexes:
            index.offset += start
        return self._attachments, self._metadata


def record_bytes(record: McapRecord) -> bytes:
    """A record as it is in a file, with its opcode and length."""
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()  # type: ignore[no-any-return, no-untyped-call]
