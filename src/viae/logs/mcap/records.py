"""An MCAP file as records, in file order, in bounded memory, whatever is broken in it.

The file is read from start to end, as a recorder wrote it, never through its index: so a file with
no index, or cut short, reads like any other. Every intact chunk gives all its messages: the scan
goes on after damage, and what damaged records defined is taken from the summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from viae.logs.mcap.attachment import MAX_KEPT, Attached
from viae.logs.mcap.chunk import open_chunk
from viae.logs.mcap.index import Index
from viae.logs.mcap.layout import MAGIC
from viae.logs.mcap.resume import Finder
from viae.logs.mcap.run import MessageRun
from viae.logs.mcap.scan import MAX_RECORD, Gap, Outer, SkippedChunk, scan
from viae.logs.mcap.source import Source
from viae.logs.mcap.summary import Summary, read_summary
from viae.schema import Loss, LossKind

MAX_TIME_NS = (1 << 63) - 1
EVERYWHERE = (0, MAX_TIME_NS)
AGAIN = "Copy the file again if the original still exists"

Record: TypeAlias = (
    Header | Schema | Channel | MessageRun | Attached | Metadata | DataEnd | ChunkIndex
    | AttachmentIndex | MetadataIndex | Statistics | SummaryOffset | Footer | Loss
)  # fmt: skip


def read_records(path: Path, lost: dict[int, int]) -> Iterator[Record | Attachment]:
    """All records of a file, attachments whole, and what the summary defines before any of them.

    Args:
        path: the file; it begins with the magic.
        lost: filled at the end: messages known to be lost with damaged chunks, by channel id.
    """
    with Reader(path, keep=MAX_RECORD) as reader:
        summary = reader.summary
        defined: Iterator[Record] = iter((*summary.schemas.values(), *summary.channels.values()))
        for record in reader.records():
            if not isinstance(record, Header):
                yield from defined
            if not isinstance(record, Attached):
                yield record
            elif record.data is not None:
                yield Attachment(
                    create_time=record.create_time, log_time=record.log_time, name=record.name,
                    media_type=record.media_type, data=record.data,
                )  # fmt: skip
            else:
                yield Loss(
                    kind=LossKind.LOST, name="attachment-too-large", path=str(path), count=1,
                    detail=f"the attachment '{record.name}' has {record.size} bytes",
                )  # fmt: skip
        lost.update(reader.lost)


def is_mcap_inside(path: Path) -> bool:
    """Whether a file that does not begin as MCAP does is MCAP even so: by its end, or by records
    that follow what should be the magic.
    """  # noqa: D205
    source = Source(path)
    try:
        start, size = len(MAGIC), source.size
        if Finder(source, ()).follows(start, past=start):
            return True
        if size < 2 * start or source.peek(size - start, size) != MAGIC:
            return False
        return Finder(source, ()).resume(None, start) is not None
    finally:
        source.close()


class Reader:
    """One pass over a file. A context manager: leaving it closes the file.

    Args:
        path: the file; it begins with the magic.
        doubt: it is known that messages are missing: look for them inside of others, too.
        keep: bytes of an attachment's data to keep.
        within: chunks that begin before or behind are passed over.
    """

    def __init__(
        self,
        path: Path,
        *,
        doubt: bool = False,
        keep: int = MAX_KEPT,
        within: tuple[int, int] = EVERYWHERE,
    ) -> None:
        self._path, self._doubt, self._keep, self._within = path, doubt, keep, within
        self._source = Source(path)
        self.summary: Summary = read_summary(self._source)
        self.lost: Counter[int] = Counter()
        """Messages known to be lost with damaged chunks, by channel id."""
        self._damaged: _DamagedChunk | None = None
        self._is_damaged = False
        self._at_ns: int | None = None
        self._unknown: Counter[int] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def records(self) -> Iterator[Record]:
        """All records, chunks opened and left out like their message indexes; and a `Loss` for
        whatever cannot be read.
        """  # noqa: D205
        head = self._source.peek(0, len(MAGIC))
        if head != MAGIC:
            yield self._lose(
                "magic-damaged",
                f"it begins with {head!r} and not with the MCAP magic {MAGIC!r}, and MCAP records "
                "follow; read as if it did",
                kind=LossKind.REPAIRED,
                count=0,
            )
        pieces = scan(self._source, chunks=self.summary.chunks, doubt=self._doubt, keep=self._keep)
        for piece in pieces:
            match piece:
                case Outer(record=Index() as index):
                    if self._damaged:  # it says what was inside
                        self._damaged.count += len(index.entries)
                        self.lost[index.channel_id] += len(index.entries)
                    continue
            yield from self._end_of_damage()
            match piece:
                case MessageRun():
                    yield self._messages(piece)
                case Gap():
                    yield self._gap(piece)
                case SkippedChunk():
                    pass
                case Outer():
                    yield from self._outer(piece)
        yield from self._end_of_damage()
        yield from self._at_last()

    def _outer(self, piece: Outer) -> Iterator[Record]:
        match piece.record:
            case None if piece.error:
                self._is_damaged = True
                yield self._lose(
                    "record-damaged",
                    f"the record of type {piece.opcode:#04x} at byte {piece.start} cannot be read "
                    f"({piece.error!s:.200}, {type(piece.error).__name__}); the others are kept",
                )
            case None:
                self._unknown[piece.opcode] += 1
            case Chunk() as chunk:
                yield from self._chunk(piece, chunk)
            case Schema() | Channel() as record:
                yield from self._define(record)
            case Attached() as attached:
                if not attached.is_sound:
                    yield self._lose(
                        "attachment-damaged",
                        f"the attachment '{attached.name}' is not as its checksum says; it is kept "
                        "as it is",
                    )
                yield attached
            case DataEnd() as end:
                yield from self._data_end(piece, end)
                yield end
            case Footer() as footer:
                yield footer
                size = self._source.size
                if self._source.peek(size - len(MAGIC), size) != MAGIC:
                    yield self._cut_in_the_end()
            case Index():  # taken care of by now
                pass
            case record:
                yield record

    def _chunk(self, piece: Outer, chunk: Chunk) -> Iterator[Record]:
        if not self._within[0] <= piece.start <= self._within[1]:
            return
        try:
            inside = open_chunk(chunk, piece.start)
        except Exception as error:  # a codec may raise anything on damaged bytes
            self._is_damaged = True
            self._damaged = _DamagedChunk(piece.start, chunk, error)
            return
        for record in inside:
            yield self._messages(record) if isinstance(record, MessageRun) else record

    def _messages(self, run: MessageRun) -> MessageRun:
        self._at_ns = min(int(run.heads["log_time"][-1]), MAX_TIME_NS)
        return run

    def _define(self, record: Schema | Channel) -> Iterator[Record]:
        """Outside of chunks nothing but the summary's checksum says what is right."""
        known = self.summary.same(record)
        if known and known != record and self.summary.is_sound:
            what = "schema" if isinstance(record, Schema) else "channel"
            yield self._lose(
                "definition-differs",
                f"{what} {record.id} is not what the summary says; taken as the summary has it. "
                f"{AGAIN}",
                kind=LossKind.REPAIRED,
                count=1,
            )
            record = known
        yield record

    def _end_of_damage(self) -> Iterator[Loss]:
        if self._damaged:
            damaged, self._damaged = self._damaged, None
            yield damaged.loss(self._path)

    def _data_end(self, piece: Outer, end: DataEnd) -> Iterator[Record]:
        actual = self._source.crc(piece.start)
        if self._is_damaged or not end.data_section_crc or actual in (None, end.data_section_crc):
            return  # nothing to compare, or it only says again what is known
        yield self._lose(
            "checksum-differs",
            f"the data's checksum is {actual:#010x}, declared {end.data_section_crc:#010x}: some "
            "bytes are wrong, and without chunk checksums nobody can say which; all is kept. "
            f"{AGAIN}",
        )

    def _at_last(self) -> Iterator[Loss]:
        if self.summary.why:
            yield self._lose(
                "summary-damaged",
                f"the summary cannot be relied on ({self.summary.why}); it only repeats what is "
                "in the data, and was used where nothing else was there",
                kind=LossKind.REPAIRED,
                count=0,
            )
        for opcode, count in sorted(self._unknown.items()):
            yield self._lose(
                "unknown-record",
                f"records of type {opcode:#04x}, which the MCAP specification does not define, "
                "were not taken",
                kind=LossKind.SKIPPED,
                count=count,
            )

    def _cut_in_the_end(self) -> Loss:
        return self._lose(
            "truncated",
            f"its closing magic is missing; all messages are there. {AGAIN}",
            count=0,
        )

    def _gap(self, gap: Gap) -> Loss:
        self._is_damaged = True
        name, kept = "damaged", "what is behind it is kept"
        what = f"bytes {gap.start} to {gap.end} make no sense ({gap.why})"
        if gap.is_end:
            name = "damaged" if self.summary.is_there else "truncated"
            kept = "everything before it is kept"
            if name == "truncated":
                what = (
                    f"the record at byte {gap.start}, in a file of {self._source.size}, "
                    "is cut short"
                )
        return self._lose(name, f"{what}; {kept}. {AGAIN}")

    def _lose(
        self, name: str, detail: str, *, kind: LossKind = LossKind.LOST, count: int | None = None
    ) -> Loss:
        return Loss(
            kind=kind, name=name, path=str(self._path), count=count, at_ns=self._at_ns,
            detail=detail,
        )  # fmt: skip


class _DamagedChunk:
    """A chunk that cannot be opened; the message indexes after it say what was inside."""

    def __init__(self, start: int, chunk: Chunk, error: Exception) -> None:
        self.start, self.error = start, error
        self.times_ns = chunk.message_start_time, chunk.message_end_time
        self.count = 0

    def loss(self, path: Path) -> Loss:
        start_ns, end_ns = self.times_ns
        return Loss(
            kind=LossKind.LOST,
            name="chunk-damaged",
            path=str(path),
            count=self.count or None,
            at_ns=min(start_ns, MAX_TIME_NS),
            detail=f"the chunk of {start_ns / 1e9:.3f} s to {end_ns / 1e9:.3f} s at byte "
            f"{self.start} does not open: {self.error!s:.200} ({type(self.error).__name__}); "
            f"the others are kept. {AGAIN}",
        )
