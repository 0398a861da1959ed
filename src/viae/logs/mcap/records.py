"""An MCAP file as records, in file order, in bounded memory, whatever is broken in it.

The file is read from start to end, as a recorder wrote it, never through its index: so a file with
no index, or cut short, reads like any other. Every intact chunk gives all its messages, unless the
length of an outer record is itself damaged: what lies behind it is then lost, and said to be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias, cast

from mcap.records import Chunk, Footer, McapRecord, Message, MessageIndex
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk

from viae.errors import LogError
from viae.schema import Loss, LossKind

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK = 4 << 30
"""Bytes of one uncompressed chunk; more is taken for damage."""

CHECKSUM = "checksum-differs"

Record: TypeAlias = McapRecord | Loss


def read_records(path: Path, lost: dict[int, int]) -> Iterator[Record]:
    """All records of a file but chunks, which are opened; and a `Loss` for what cannot be read.

    Args:
        path: the file; it begins with the magic.
        lost: added to: messages known to be lost with damaged chunks, by channel id.
    """
    damaged: _DamagedChunk | None = None
    any_damaged = False
    at_ns: int | None = None
    for record in _outer_records(path):
        if damaged and isinstance(record, MessageIndex):
            damaged.count = (damaged.count or 0) + len(record.records)
            lost[record.channel_id] = lost.get(record.channel_id, 0) + len(record.records)
            continue
        if damaged:
            yield damaged.loss(path)
            damaged = None
        inside: list[Record] = [record]
        if isinstance(record, Chunk):
            try:
                inside = _open(record)
            except Exception as error:  # a codec may raise anything on damaged bytes
                inside, damaged, any_damaged = [], _DamagedChunk(record, error), True
        for inner in inside:
            if isinstance(inner, Message):
                at_ns = inner.log_time
            if not isinstance(inner, Loss):
                yield inner
            elif inner.name != CHECKSUM or not any_damaged:  # else it says the same again
                yield replace(inner, at_ns=at_ns)


def _outer_records(path: Path) -> Iterator[Record]:
    """The records of a file, chunks closed; a `Loss` last where the end cannot be read."""
    is_whole = False
    with path.open("rb") as file:
        source = _Source(file)
        records = StreamReader(
            cast(IO[bytes], source), emit_chunks=True, validate_crcs=True
        ).records
        while True:
            start = source.at
            try:
                record = next(records)
            except StopIteration:
                return
            except CRCValidationError as error:
                yield _checksum_loss(path, error)
                return
            except OSError as error:
                raise LogError(
                    path,
                    found=f"it cannot be read at byte {start} ({error.strerror})",
                    todo="check the disk or the network, and run the same command again",
                ) from error
            except Exception as error:  # bytes that are no record can provoke anything
                yield _end_loss(path, source, error, start=start, whole=is_whole)
                return
            is_whole = isinstance(record, Footer)
            yield record


class _Source:
    """A file that is never asked for more than it holds, whatever length a record claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self.at = file.seek(0)

    def read(self, length: int) -> bytes:
        if length < 0:
            raise ValueError(f"a record claims a length of {length}")
        data = self._file.read(min(length, self.size))
        self.at += len(data)
        return data

    def ends_well(self) -> bool:
        """Whether the file has its closing magic. Moves the file's position."""
        self._file.seek(max(self.size - len(MAGIC), 0))
        return self._file.read() == MAGIC and self.size > len(MAGIC)


class _DamagedChunk:
    """A chunk that cannot be opened; the message indexes after it say what was inside."""

    def __init__(self, chunk: Chunk, error: Exception) -> None:
        self.chunk, self.error = chunk, error
        self.count: int | None = None

    def loss(self, path: Path) -> Loss:
        start, end = self.chunk.message_start_time / 1e9, self.chunk.message_end_time / 1e9
        return Loss(
            kind=LossKind.LOST,
            name="chunk-damaged",
            path=str(path),
            count=self.count,
            at_ns=min(self.chunk.message_start_time, (1 << 63) - 1),
            detail=f"the chunk of {start:.3f} s to {end:.3f} s does not open: "
            f"{self.error!s:.200} ({type(self.error).__name__}); the others are kept. "
            "Copy the file again if the original still exists",
        )


def _open(chunk: Chunk) -> list[Record]:
    if chunk.uncompressed_size > MAX_CHUNK:
        raise ValueError(f"it claims {chunk.uncompressed_size} bytes")
    return list(breakup_chunk(chunk, validate_crc=True))


def _checksum_loss(path: Path, error: CRCValidationError) -> Loss:
    return Loss(
        kind=LossKind.LOST,
        name=CHECKSUM,
        path=str(path),
        detail=f"the data's checksum is {error.actual:#010x}, declared {error.expected:#010x}: "
        "some bytes are wrong, and without chunk checksums nobody can say which; all is kept. "
        "Copy the file again if the original still exists",
    )


def _end_loss(path: Path, source: _Source, error: Exception, *, start: int, whole: bool) -> Loss:
    """The file ends before it should, or stops making sense before its end."""
    name = "damaged" if source.ends_well() else "truncated"
    kept = "everything before it is kept"
    what = f"the record at byte {start}, in a file of {source.size}, is cut short"
    if name == "damaged":
        what = f"no record makes sense at byte {start} ({error!s:.200}, {type(error).__name__})"
    if whole:
        what, kept = "its closing magic is missing", "all messages are there"
    return Loss(
        kind=LossKind.LOST,
        name=name,
        path=str(path),
        count=0 if whole else None,
        detail=f"{what}; {kept}. Copy the file again if the original still exists",
    )
