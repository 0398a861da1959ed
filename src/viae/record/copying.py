"""The records of an MCAP file, for a new one: whatever can be read, and what cannot is said.

Numbers of schemas and channels are given anew, as a damaged file may change what one means.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from mcap.records import Attachment, Channel, Header, Metadata, Schema, Statistics

from viae.errors import DamagedLogError, EmptyLogError, LogNotFoundError
from viae.logs.mcap.layout import MAGIC
from viae.logs.mcap.records import read_records
from viae.logs.mcap.run import MessageRun
from viae.schema import Loss, LossKind

MAX_NUMBER = (1 << 16) - 1
NOWHERE = -1
"""The new number of a channel that no record describes."""


class NewFile(Protocol):
    """What the records go into; `mcap.writer.Writer`, but for `add_run`."""

    def start(self, profile: str = "", library: str = "") -> None:
        """Before anything else."""

    def register_schema(self, name: str, encoding: str, data: bytes) -> int:
        """A schema; its number, from 1 on."""

    def register_channel(
        self, topic: str, message_encoding: str, schema_id: int, metadata: dict[str, str]
    ) -> int:
        """A channel; its number, from 0 on."""

    def add_run(self, run: MessageRun, numbers: npt.NDArray[np.int64]) -> None:
        """Messages, and int64 [N]: the number of each one's channel."""

    def add_metadata(self, name: str, data: dict[str, str]) -> None:
        """A metadata record."""

    def add_attachment(
        self, create_time: int, log_time: int, name: str, media_type: str, data: bytes
    ) -> None:
        """An attachment."""


class Copying:
    """One pass over the source.

    Args:
        source: the file.
        new: what its records go into. It is not finished.
    """

    def __init__(self, source: Path, new: NewFile) -> None:
        self._source, self._new = source, new
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._new_schemas: dict[tuple[object, ...], int] = {}
        self._new_channels: dict[tuple[object, ...], int] = {}
        self._numbers: dict[int, int] = {}  # of channels: in the source, in the new file
        self._orphans: Counter[int] = Counter()
        self.messages: Counter[str] = Counter()
        """Copied, by topic."""
        self.metadata = self.attachments = 0
        self.losses: list[Loss] = []

    @property
    def orphans(self) -> int:
        """Messages that were read, on channels that no record describes."""
        return self._orphans.total()

    def run(self) -> None:
        """Copy everything."""
        started = False
        statistics: Statistics | None = None
        lost: dict[int, int] = {}
        for record in read_records(self._source, lost):
            if not started:
                started = True
                head = record if isinstance(record, Header) else Header(library="", profile="")
                self._new.start(head.profile, head.library)
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
                    self._new.add_metadata(record.name, record.metadata)
                case Attachment():
                    self.attachments += 1
                    self._new.add_attachment(
                        record.create_time, record.log_time, record.name, record.media_type,
                        record.data,
                    )  # fmt: skip
                case Statistics():
                    statistics = record
                case Loss():
                    self.losses.append(record)
        if not started:
            self._new.start()
        self._report(statistics, sum(lost.values()))

    def _add(self, run: MessageRun) -> None:
        ids, back, counts = np.unique(
            run.heads["channel_id"], return_inverse=True, return_counts=True
        )
        numbers = np.full(len(ids), NOWHERE, np.int64)
        for place, (id_, count) in enumerate(zip(ids.tolist(), counts.tolist(), strict=True)):
            number = self._numbers.get(id_)
            number = self._channel(id_) if number is None else number
            if number is None:
                self._orphans[id_] += count
            else:
                numbers[place] = number
                self.messages[self._channels[id_].topic] += count
        found = numbers[back]
        if (numbers == NOWHERE).any():
            run, found = run.take(found != NOWHERE), found[found != NOWHERE]
        if len(run):
            self._new.add_run(run, found)

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
            self._check_room(self._new_channels)
            self._new_channels[content] = self._new.register_channel(
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
            self._check_room(self._new_schemas)
            self._new_schemas[content] = self._new.register_schema(
                schema.name, schema.encoding, schema.data
            )
        return self._new_schemas[content]

    def _check_room(self, given: dict[tuple[object, ...], int]) -> None:
        if len(given) >= MAX_NUMBER:
            raise DamagedLogError(
                self._source,
                found=f"it defines more than {MAX_NUMBER} channels or schemas, by giving numbers "
                "new meanings",
                todo="split the file",
            )

    def _report(self, statistics: Statistics | None, lost: int) -> None:
        if self.orphans:
            self._lose(
                "channel-missing", "messages on channels that no record of the file describes",
                count=self.orphans,
            )  # fmt: skip
        if statistics:
            read = self.messages.total() + self.orphans
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


def check_source(source: Path) -> None:
    """See that there is an MCAP file, whatever its damage.

    Raises:
        LogNotFoundError, EmptyLogError: there is none.
        DamagedLogError: it does not begin as an MCAP file does.
    """
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
