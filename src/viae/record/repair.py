"""A damaged or unfinished MCAP file, rewritten whole: with an index, into a new file.

Everything that can be read is kept as it is: schemas, channels with their metadata, messages with
their bytes, times and sequence numbers, metadata records, attachments, profile and library. Only
the numbers of schemas and channels may change, and chunks are cut anew.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.records import Attachment, Channel, Header, Metadata, Schema, Statistics
from mcap.writer import Writer

from viae.errors import DamagedLogError, EmptyLogError, LogNotFoundError, RecorderError
from viae.logs.mcap.layout import MAGIC
from viae.logs.mcap.records import read_records
from viae.logs.mcap.run import MessageRun
from viae.schema import Loss, LossKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair kept, and what it could not.

    Args:
        source: the damaged file; it is left as it is.
        path: the new file.
        messages: how many it holds, by topic.
        metadata: how many metadata records.
        attachments: how many attachments.
        losses: what could not be read.
    """

    source: Path
    path: Path
    messages: dict[str, int]
    metadata: int
    attachments: int
    losses: list[Loss] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost."""
        return all(loss.kind is not LossKind.LOST for loss in self.losses)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "source": str(self.source), "path": str(self.path), "messages": self.messages,
            "metadata": self.metadata, "attachments": self.attachments,
            "losses": [loss.to_json() for loss in self.losses],
        }  # fmt: skip


def repair(source: str | Path, path: str | Path) -> Repaired:
    """Rewrite an MCAP file into a new one.

    Args:
        source: the file, with any damage.
        path: the new file; it must not exist.

    Raises:
        LogNotFoundError, EmptyLogError: there is nothing to repair.
        DamagedLogError: it does not begin as an MCAP file does.
        RecorderError: the new file exists, or cannot be written; then there is none.
    """
    source, path = Path(source), Path(path)
    if not source.is_file():
        raise LogNotFoundError(source, found="there is no file here", todo="check the path")
    with source.open("rb") as file:
        head = file.read(len(MAGIC))
    if not head:
        raise EmptyLogError(source, found="the file holds no bytes", todo="copy it again")
    if head != MAGIC:
        raise DamagedLogError(
            source,
            found=f"begins with {head!r}",
            expected=f"the MCAP magic {MAGIC!r}",
            todo="check that this is an MCAP file",
        )
    try:
        new = path.open("xb")
    except FileExistsError as error:
        raise RecorderError(
            f"{path}: there is a file already, and nothing is ever overwritten. Give another name"
        ) from error
    except OSError as error:
        raise RecorderError(f"{path}: cannot make the file ({error.strerror})") from error
    try:
        with new:
            copy = _Copy(source, Writer(new))
            copy.run()
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError) and not isinstance(error, LogNotFoundError):
            raise RecorderError(
                f"{path}: cannot write ({error.strerror}); the file is removed again. Free some "
                "space and repair to a new file"
            ) from error
        raise
    return Repaired(
        source=source, path=path, messages=dict(sorted(copy.messages.items())),
        metadata=copy.metadata, attachments=copy.attachments, losses=copy.losses,
    )  # fmt: skip


class _Copy:
    """One pass over the source. Numbers are given anew, as a number may change its meaning."""

    def __init__(self, source: Path, writer: Writer) -> None:
        self._source, self._writer = source, writer
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._new_schemas: dict[tuple[object, ...], int] = {}
        self._new_channels: dict[tuple[object, ...], int] = {}
        self._numbers: dict[int, int] = {}  # of channels: in the source, in the new file
        self._orphans: Counter[int] = Counter()
        self.messages: Counter[str] = Counter()
        self.metadata = self.attachments = 0
        self.losses: list[Loss] = []

    def run(self) -> None:
        started = False
        statistics: Statistics | None = None
        lost: dict[int, int] = {}
        for record in read_records(self._source, lost):
            if not started:
                started = True
                head = record if isinstance(record, Header) else Header(library="", profile="")
                self._writer.start(head.profile, head.library)
            match record:
                case Schema():
                    self._schemas[record.id] = record
                    self._numbers.clear()
                case Channel():
                    self._channels[record.id] = record
                    self._channel(record.id)
                case MessageRun():
                    self._add(record)
                case Metadata():
                    self.metadata += 1
                    self._writer.add_metadata(record.name, record.metadata)
                case Attachment():
                    self.attachments += 1
                    self._writer.add_attachment(
                        record.create_time, record.log_time, record.name, record.media_type,
                        record.data,
                    )  # fmt: skip
                case Statistics():
                    statistics = record
                case Loss():
                    self.losses.append(record)
        if not started:
            self._writer.start()
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._report(statistics, sum(lost.values()))

    def _add(self, run: MessageRun) -> None:
        for message in run.messages():
            number = self._numbers.get(message.channel_id) or self._channel(message.channel_id)
            if number is None:
                self._orphans[message.channel_id] += 1
                continue
            self._writer.add_message(
                number, message.log_time, message.data, message.publish_time, message.sequence
            )
            self.messages[self._channels[message.channel_id].topic] += 1

    def _channel(self, id_: int) -> int | None:
        """The number of a channel in the new file; None where no record describes it."""
        channel = self._channels.get(id_)
        if channel is None:
            return None
        schema = self._schema(channel)
        content = (
            channel.topic, channel.message_encoding, schema, tuple(channel.metadata.items()), id_
        )  # fmt: skip
        if content not in self._new_channels:
            self._new_channels[content] = self._writer.register_channel(
                channel.topic, channel.message_encoding, schema, dict(channel.metadata)
            )
        self._numbers[id_] = self._new_channels[content]
        return self._numbers[id_]

    def _schema(self, channel: Channel) -> int:
        """The number of a channel's schema in the new file; 0 is none."""
        if not channel.schema_id:
            return 0
        schema = self._schemas.get(channel.schema_id)
        if schema is None:
            self._lose(
                "schema-missing", f"schema {channel.schema_id} is not in the file: the channel is "
                "kept without one", stream=channel.topic, count=None,
            )  # fmt: skip
            return 0
        content = (schema.name, schema.encoding, schema.data, schema.id)
        if content not in self._new_schemas:
            self._new_schemas[content] = self._writer.register_schema(
                schema.name, schema.encoding, schema.data
            )
        return self._new_schemas[content]

    def _report(self, statistics: Statistics | None, lost: int) -> None:
        if orphans := self._orphans.total():
            self._lose(
                "channel-missing", "messages on channels that no record of the file describes",
                count=orphans,
            )  # fmt: skip
        if statistics:
            read = self.messages.total() + orphans
            missing = statistics.message_count - read - lost
            if missing > 0:
                self._lose(
                    "count-differs", f"the summary declares {statistics.message_count} messages; "
                    f"{read} were read", count=missing,
                )  # fmt: skip

    def _lose(self, name: str, detail: str, *, count: int | None, stream: str = "") -> None:
        loss = Loss(
            kind=LossKind.LOST, name=name, path=str(self._source), stream=stream, count=count,
            detail=detail,
        )  # fmt: skip
        if loss not in self.losses:
            self.losses.append(loss)
