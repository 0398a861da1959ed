"""The topics of one episode, whatever container its messages come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from viae.logs.messages.batch import Channel, Messages
from viae.logs.messages.plan import SPEC_KEY
from viae.logs.messages.topic import Topic
from viae.logs.messages.transforms import TransformTopic, transforms_of
from viae.logs.messages.video import VideoTopic, is_video
from viae.schema import Block, Loss

AnyTopic: TypeAlias = Topic | TransformTopic | VideoTopic

PENDING_BYTES = 64 << 20
"""Bytes of samples that may wait for their blocks to fill."""


def as_they_are(messages: Messages) -> Iterable[Messages]:
    """The messages, in one piece."""
    return (messages,)


def as_it_is(channel: Channel) -> Channel:
    """The channel."""
    return channel


class TopicSet:
    """Topics by content: channels of equal topic, encoding, type and spec are one topic.

    A recording in several files has one set, so that streams go on from file to file.

    Args:
        path: the file or folder, for what is reported.
        complete: adds to what a container says of a channel.
        unpack: from messages as the container holds them to what their encoding says they are, in
            pieces that are small enough to hold.
    """

    def __init__(
        self,
        path: str,
        *,
        complete: Callable[[Channel], Channel] = as_it_is,
        unpack: Callable[[Messages], Iterable[Messages]] = as_they_are,
    ) -> None:
        self._path, self._complete, self._unpack = path, complete, unpack
        self._names: set[str] = set()
        self._by_content: dict[tuple[object, ...], AnyTopic] = {}
        self._nameless: list[Topic] = []
        self._nbytes = 0

    def topic(self, channel: Channel) -> AnyTopic:
        """The topic that a channel's messages belong to."""
        channel = self._complete(channel)
        spec = channel.metadata.get(SPEC_KEY)
        type_ = channel.schema_name, channel.schema_encoding, channel.schema
        content = channel.topic, channel.encoding, spec, type_
        topic = self._by_content.get(content)
        if topic is None:
            topic = self._by_content[content] = self._make(channel)
        return topic

    def nameless(self, name: str) -> Topic:
        """A new topic of messages that nothing describes: one stream of bytes of this name.

        Its losses are not among `losses`: whoever asks for it says why it is nameless.
        """
        topic = Topic(self._path, Channel(topic=name, encoding=""), self._names)
        self._nameless.append(topic)
        return topic

    def add(self, topic: AnyTopic, messages: Messages) -> Iterator[Block]:
        """Take messages of a topic of this set; yields the blocks that they fill."""
        before = topic.nbytes
        for piece in self._unpack(messages):
            yield from topic.add(piece)
        self._nbytes += topic.nbytes - before
        if self._nbytes > PENDING_BYTES:
            yield from self.flush()

    def counts(self) -> Counter[str]:
        """Messages taken, by the topic's name."""
        counts: Counter[str] = Counter({"": sum(topic.count for topic in self._nameless)})
        for (name, *_), topic in self._by_content.items():
            counts[str(name)] += topic.count
        return counts

    def flush(self) -> Iterator[Block]:
        """What waits, but for groups of pictures that have not ended."""
        for topic in (*self._by_content.values(), *self._nameless):
            yield from topic.flush()
        self._nbytes = 0

    def finish(self) -> Iterator[Block]:
        """Everything that waits."""
        for topic in self._by_content.values():
            if isinstance(topic, VideoTopic):
                yield from topic.finish()
        yield from self.flush()

    def losses(self) -> Iterator[Loss]:
        """What could not be taken, or not as declared."""
        for topic in self._by_content.values():
            yield from topic.losses()

    def _make(self, channel: Channel) -> AnyTopic:
        if is_video(channel):
            return VideoTopic(self._path, channel, self._names)
        if transforms := transforms_of(channel):
            return TransformTopic(self._path, channel, self._names, transforms)
        return Topic(self._path, channel, self._names)
