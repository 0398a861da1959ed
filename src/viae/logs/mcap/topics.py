"""The topics of one file: which channels are the same topic, and how many messages each gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mcap.records import Channel, Message, Schema, Statistics

from viae.logs.mcap.plan import SPEC_KEY
from viae.logs.mcap.topic import Topic
from viae.schema import Loss, LossKind, Samples

PENDING_BYTES = 64 << 20
"""Bytes of samples that may wait for their blocks to fill."""

MAX_TIME_NS = (1 << 63) - 1


class Topics:
    """Sorts messages into topics. Channels of equal topic, type and spec are one topic.

    Args:
        path: the file, for what is reported.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._by_content: dict[tuple[object, ...], Topic] = {}
        self._by_channel: dict[int, Topic] = {}
        self._counts: Counter[int] = Counter()
        self._orphans = self._out_of_range = 0
        self._names: set[str] = set()
        self._nbytes = 0

    def define(self, record: Schema | Channel) -> None:
        """Take note of a schema or channel; a known id may get another meaning."""
        if isinstance(record, Channel):
            self._by_channel.pop(record.id, None)
            self._channels[record.id] = record
        elif self._schemas.get(record.id) != record:
            self._by_channel.clear()
            self._schemas[record.id] = record

    def add(self, message: Message) -> Iterator[Samples]:
        """Take one message; yields the blocks that it fills."""
        self._counts[message.channel_id] += 1
        topic = self._by_channel.get(message.channel_id) or self._find(message.channel_id)
        if topic is None:
            self._orphans += 1
            return
        if message.log_time > MAX_TIME_NS:
            self._out_of_range += 1
            return
        before = topic.nbytes
        yield from topic.add(message)
        self._nbytes += topic.nbytes - before
        if self._nbytes > PENDING_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[Samples]:
        """Everything that waits."""
        for topic in self._by_content.values():
            yield from topic.flush()
        self._nbytes = 0

    def losses(self) -> Iterator[Loss]:
        """What could not be taken, or not as declared."""
        for topic in self._by_content.values():
            yield from topic.losses()
        if self._orphans:
            detail = "messages on channels that no record of the file describes"
            yield self._lost("channel-missing", self._orphans, detail)
        if self._out_of_range:
            detail = "messages with log times that int64 nanoseconds cannot hold"
            yield self._lost("time-out-of-range", self._out_of_range, detail)

    def count_losses(self, statistics: Statistics, lost: dict[int, int]) -> Iterator[Loss]:
        """Where the summary claims other counts than were read.

        Args:
            statistics: the summary's.
            lost: messages already reported as lost, by channel id.
        """
        declared = statistics.channel_message_counts
        for id_ in sorted(declared):
            read = self._counts[id_]
            missing = declared[id_] - read - lost.get(id_, 0)
            if missing:
                topic = self._channels[id_].topic if id_ in self._channels else f"channel {id_}"
                yield Loss(
                    kind=LossKind.LOST if missing > 0 else LossKind.REPAIRED,
                    name="count-differs",
                    path=self._path,
                    stream=topic,
                    count=abs(missing),
                    detail=f"the summary declares {declared[id_]} messages; {read} were read",
                )

    def _find(self, channel_id: int) -> Topic | None:
        channel = self._channels.get(channel_id)
        if channel is None:
            return None
        schema = self._schemas.get(channel.schema_id)
        type_ = (schema.name, schema.encoding, schema.data) if schema else ()
        content = (channel.topic, channel.message_encoding, channel.metadata.get(SPEC_KEY), type_)
        topic = self._by_content.get(content)
        if topic is None:
            topic = Topic(self._path, channel, schema, self._names)
            self._by_content[content] = topic
        self._by_channel[channel_id] = topic
        return topic

    def _lost(self, name: str, count: int, detail: str) -> Loss:
        return Loss(kind=LossKind.LOST, name=name, path=self._path, count=count, detail=detail)
