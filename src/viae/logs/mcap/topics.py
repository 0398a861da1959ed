"""The topics of one file: which channels are the same topic, and how many messages each gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from mcap.records import Channel, Schema, Statistics

from viae.logs import messages
from viae.logs.mcap.run import MessageRun
from viae.logs.messages import Messages, Topic
from viae.logs.messages.topics import AnyTopic, TopicSet
from viae.schema import Block, Loss, LossKind


class Topics:
    """Sorts messages into topics. Channels of equal topic, type and spec are one topic.

    Messages on a channel that nothing describes are one stream of bytes for each such channel.

    Args:
        path: the file, for what is reported.
        shared: the topics of the recording that the file is a part of; then `finish` and `losses`
            leave out what is the recording's.
    """

    def __init__(self, path: str, shared: TopicSet | None = None) -> None:
        self._path = path
        self._set = shared or TopicSet(path)
        self._is_shared = shared is not None
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._by_channel: dict[int, AnyTopic] = {}
        self._orphans: dict[int, Topic] = {}
        self._counts: Counter[int] = Counter()
        self._last_ns: dict[int, int] = {}
        self._out_of_range: Counter[str] = Counter()

    def define(self, record: Schema | Channel) -> None:
        """Take note of a schema or channel; a known id may get another meaning."""
        if isinstance(record, Channel):
            self._by_channel.pop(record.id, None)
            self._channels[record.id] = record
        elif self._schemas.get(record.id) != record:
            self._by_channel.clear()
            self._schemas[record.id] = record

    def add(self, run: MessageRun) -> Iterator[Block]:
        """Take messages; yields the blocks that they fill."""
        for topic, batch in run.by_owner(self._topic):
            yield from self._set.add(topic, self._in_range(id(topic), batch))

    def count(self, run: MessageRun) -> None:
        """Count messages that were read, whether they are to be added or not."""
        ids, counts = np.unique(run.heads["channel_id"], return_counts=True)
        for id_, count in zip(ids.tolist(), counts.tolist(), strict=True):
            self._counts[id_] += count

    def finish(self) -> Iterator[Block]:
        """Everything that waits, unless more files follow."""
        if not self._is_shared:
            yield from self._set.finish()

    def losses(self) -> Iterator[Loss]:
        """What could not be taken, or not as declared."""
        if not self._is_shared:
            yield from self._set.losses()
        for id_, topic in self._orphans.items():
            yield self._repaired(
                "channel-missing", topic.count, f"no record of the file describes channel {id_}; "
                "its messages are kept as bytes", stream=f"channel {id_}",
            )  # fmt: skip
        for field, count in sorted(self._out_of_range.items()):
            instead = "the time before it on its topic" if field == "log_time" else "the log time"
            yield self._repaired(
                "time-out-of-range", count, f"int64 nanoseconds cannot hold the {field}; taken as "
                f"{instead}",
            )  # fmt: skip

    def count_losses(self, statistics: Statistics, lost: Mapping[int, int]) -> Iterator[Loss]:
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

    def _topic(self, channel_id: int) -> AnyTopic:
        return self._by_channel.get(channel_id) or self._find(channel_id)

    def _find(self, channel_id: int) -> AnyTopic:
        channel = self._channels.get(channel_id)
        if channel is None:
            if channel_id not in self._orphans:
                self._orphans[channel_id] = self._set.nameless(f"channel {channel_id}")
            return self._orphans[channel_id]
        schema = self._schemas.get(channel.schema_id)
        described = messages.Channel(
            topic=channel.topic,
            encoding=channel.message_encoding,
            schema_name=schema.name if schema else "",
            schema_encoding=schema.encoding if schema else "",
            schema=schema.data if schema else b"",
            metadata=channel.metadata,
        )
        topic = self._by_channel[channel_id] = self._set.topic(described)
        return topic

    def _in_range(self, topic_id: int, batch: Messages) -> Messages:
        """The same messages, with times that int64 can hold."""
        log, publish = batch.log_ns, batch.publish_ns
        if (publish < 0).any():
            self._out_of_range["publish_time"] += int((publish < 0).sum())
            batch = replace(batch, publish_ns=np.where(publish < 0, 0, publish))
        if (log < 0).any():
            self._out_of_range["log_time"] += int((log < 0).sum())
            before = np.concatenate([[self._last_ns.get(topic_id, 0)], log])
            places = np.maximum.accumulate(np.where(before < 0, 0, np.arange(len(before))))
            batch = replace(batch, log_ns=before[places][1:])
        self._last_ns[topic_id] = int(batch.log_ns[-1])
        return batch

    def _repaired(self, name: str, count: int, detail: str, stream: str = "") -> Loss:
        return Loss(
            kind=LossKind.REPAIRED, name=name, path=self._path, stream=stream, count=count,
            detail=detail,
        )  # fmt: skip
