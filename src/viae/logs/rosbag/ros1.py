"""ROS 1 bags: one file, one episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs.format import (
    Item,
    Log,
    LogEpisode,
    LogFormat,
    Statement,
    fingerprint_files,
)
from viae.logs.messages import Channel, Topic
from viae.logs.messages.topics import AnyTopic, TopicSet
from viae.logs.rosbag.bagchunk import BagRun, Connection
from viae.logs.rosbag.bagfile import MAGIC, BagReader
from viae.schema import Block, JsonValue, Loss, LossKind

SUFFIXES = (".bag", ".bag.active")
ANY_VERSION = b"#ROSBAG V"


class Ros1BagFormat(LogFormat):
    """Bags of ROS 1 (V2.0), finished by their recorder or not."""

    name: ClassVar[str] = "ros1bag"

    def recognises(self, path: Path) -> bool:
        """By name or by magic."""
        if not path.is_file():
            return False
        return path.name.lower().endswith(SUFFIXES) or _head(path).startswith(ANY_VERSION)

    def open(self, path: Path) -> Log:
        """One episode; none in a bag without messages."""
        head = _head(path)
        if not head:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        if head != MAGIC:
            is_old = head.startswith(ANY_VERSION)
            raise DamagedLogError(
                path,
                found=f"begins with {head!r}",
                expected=f"{MAGIC!r}",
                todo="convert it with ROS 1's 'rosbag fix'"
                if is_old
                else "check that this is a bag of ROS 1, and rename it if it is not",
            )
        damage: list[Loss] = []
        with BagReader(path) as reader:
            for record in reader.records():
                if isinstance(record, BagRun):
                    return Log(path=path, format=self.name, episodes=[Ros1BagEpisode(path)])
                if isinstance(record, Loss) and record.kind is LossKind.LOST:
                    damage.append(record)
        if damage:
            raise DamagedLogError(
                path,
                found=f"no message can be read: {damage[0].detail}",
                expected="at least one whole message",
                todo="copy the file again if the original still exists",
            )
        empty = Loss(
            kind=LossKind.SKIPPED,
            name="no-messages",
            path=str(path),
            count=0,
            detail="the bag is whole and holds no messages; there is no episode in it",
        )
        return Log(path=path, format=self.name, episodes=[], losses=[empty])


class Ros1BagEpisode(LogEpisode):
    """One ROS 1 bag.

    Args:
        path: the file.
    """

    range = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)

    def fingerprint(self) -> str:
        """Of the file's bytes."""
        return fingerprint_files([self.path])

    def read(self) -> Iterator[Item]:
        """The bag in order: blocks as they fill; what it says of its connections; losses last."""
        with BagReader(self.path) as reader:
            publishers = _Publishers(self.uri)
            for connection in reader.index.connections:
                publishers.define(connection)
            for record in reader.records():
                match record:
                    case BagRun():
                        yield from publishers.add(record)
                    case Connection():
                        publishers.define(record)
                    case Loss():
                        yield record
            yield from publishers.topics.finish()
            yield Statement(key="ros1.connections", value=publishers.said())
            yield from publishers.topics.losses()
            yield from publishers.losses()
            yield from publishers.count_losses(reader.index.counts, reader.lost)


class _Publishers:
    """Who published in a bag, and which topics that makes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.topics = TopicSet(path)
        self._connections: dict[int, Connection] = {}
        self._by_id: dict[int, AnyTopic] = {}
        self._orphans: dict[int, Topic] = {}
        self._counts: Counter[int] = Counter()

    def define(self, connection: Connection) -> None:
        """Take note of a connection; a known id may get another meaning."""
        if self._connections.get(connection.id) != connection:
            self._connections[connection.id] = connection
            self._by_id.pop(connection.id, None)

    def add(self, run: BagRun) -> Iterator[Block]:
        """Take messages; those of one topic stay in order, whoever published them."""
        by_topic: dict[AnyTopic, list[int]] = {}
        for id_, count in zip(*map(np.ndarray.tolist, _count(run)), strict=True):
            self._counts[id_] += count
            by_topic.setdefault(self._topic(id_), []).append(id_)
        for topic, ids in by_topic.items():
            yield from self.topics.add(topic, run.take(np.isin(run.connections, ids)))

    def said(self) -> JsonValue:
        """What the bag says of its connections."""
        return [
            {"topic": each.topic, "type": each.type, **each.more}
            for _, each in sorted(self._connections.items())
        ]

    def losses(self) -> Iterator[Loss]:
        """Messages that nothing describes."""
        for id_, topic in self._orphans.items():
            yield Loss(
                kind=LossKind.REPAIRED, name="channel-missing", path=self._path,
                stream=f"connection {id_}", count=topic.count,
                detail=f"no record of the bag describes connection {id_}; its messages are kept as "
                "bytes",
            )  # fmt: skip

    def count_losses(self, declared: Counter[int], lost: Counter[int]) -> Iterator[Loss]:
        """Where the index claims other counts than were read.

        Args:
            declared: by connection.
            lost: messages already reported as lost, by connection.
        """
        for id_, count in sorted(declared.items()):
            read = self._counts[id_]
            missing = count - read - lost[id_]
            if missing:
                known = self._connections.get(id_)
                yield Loss(
                    kind=LossKind.LOST if missing > 0 else LossKind.REPAIRED,
                    name="count-differs",
                    path=self._path,
                    stream=known.topic if known else f"connection {id_}",
                    count=abs(missing),
                    detail=f"the index declares {count} messages; {read} were read",
                )

    def _topic(self, id_: int) -> AnyTopic:
        if id_ in self._by_id:
            return self._by_id[id_]
        said = self._connections.get(id_)
        if said is None:
            if id_ not in self._orphans:
                self._orphans[id_] = self.topics.nameless(f"connection {id_}")
            return self._orphans[id_]
        channel = Channel(
            topic=said.topic,
            encoding="ros1",
            schema_name=said.type,
            schema_encoding="ros1msg",
            schema=said.definition,
        )
        topic = self._by_id[id_] = self.topics.topic(channel)
        return topic


def _count(run: BagRun) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(run.connections, return_counts=True)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))
