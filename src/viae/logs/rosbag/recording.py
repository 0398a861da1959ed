"""The episode that a ROS 2 bag is, read file after file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from viae.errors import LogError
from viae.logs.format import Item, LogEpisode, Statement, fingerprint_files
from viae.logs.mcap.format import McapEpisode, check_mcap
from viae.logs.mcap.statements import Statements
from viae.logs.mcap.topics import Topics
from viae.logs.messages import Channel, Topic, one_by_one
from viae.logs.messages.definitions import assume_definition
from viae.logs.messages.topics import AnyTopic, TopicSet, as_they_are
from viae.logs.rosbag.compressed import opened_file, opened_messages
from viae.logs.rosbag.database import Database, RowBatch
from viae.logs.rosbag.metadata import NAME, NOTHING_YET, BagMetadata, parse_metadata
from viae.logs.rosbag.parts import MCAP, Bag, Part
from viae.schema import Block, JsonValue, Loss, LossKind

AGAIN = "Copy the bag again if the original still exists"


class Ros2BagEpisode(LogEpisode):
    """One ROS 2 bag.

    Args:
        path: the folder, or the lone file.
        bag: its files.
    """

    range = ""

    def __init__(self, path: Path, bag: Bag) -> None:
        self.path = path
        self.uri = str(path)
        self._bag = bag

    def fingerprint(self) -> str:
        """Of the bytes of its files and of its metadata, in that order."""
        metadata = self.path / NAME
        return fingerprint_files([*self._bag.files, *([metadata] if metadata.is_file() else [])])

    def read(self) -> Iterator[Item]:
        """The files in order: blocks as they fill; what is said; losses last."""
        yield from _Reading(self.uri, self._bag).items()


class _Reading:
    """One pass over a bag."""

    def __init__(self, path: str, bag: Bag) -> None:
        self._path, self._bag = path, bag
        self._distro = bag.metadata.distro
        self._assumed: dict[tuple[str, str], str] = {}
        per_message = bag.metadata.compression == "message"
        self._topics = TopicSet(
            path,
            complete=self._complete,
            unpack=opened_messages if per_message else as_they_are,
        )
        self._said = Statements(path)
        self._metadata = bag.metadata
        self._orphans: Counter[str] = Counter()
        self._is_lossy = False

    def items(self) -> Iterator[Item]:
        bag = self._bag
        if bag.metadata.said is not None:
            yield Statement(key="rosbag2.metadata", value=bag.metadata.said)
        for part in bag.parts:
            before, others = self._topics.counts().total(), self._is_lossy
            self._is_lossy = False
            yield from self._noting(self._part(part))
            read = self._topics.counts().total() - before
            if part.count is not None and part.count != read and not self._is_lossy:
                yield self._count_differs(str(part.path), "", part.count, read)
                self._is_lossy = True
            self._is_lossy |= others
        yield from self._topics.finish()
        yield from self._topics.losses()
        yield from self._definitions()
        yield from self._noting(self._absent())
        yield from self._counts()

    def _noting(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            self._is_lossy |= isinstance(item, Loss) and item.kind is LossKind.LOST
            yield item

    def _part(self, part: Part) -> Iterator[Item]:
        """One file; what keeps it from being read is a loss, and the others follow."""
        try:
            if not part.path.stat().st_size:
                detail = f"the file holds no bytes; the others are kept. {AGAIN}"
                yield self._lost("split-empty", str(part.path), detail, part.count)
                return
            with opened_file(part.path) as (path, why):
                read = self._mcap if part.storage == MCAP else self._database
                yield from read(path)
                if why:
                    detail = f"the compressed file is not whole ({why}); what opens is kept"
                    yield self._lost("truncated", str(part.path), f"{detail}. {AGAIN}", None)
        except LogError as error:
            detail = f"{error}; the others are kept"
            yield self._lost("split-damaged", str(part.path), detail, part.count)

    def _mcap(self, path: Path) -> Iterator[Item]:
        check_mcap(path)
        topics = Topics(str(path), self._topics)
        yield from McapEpisode(path).read_into(topics, self._said)

    def _database(self, path: Path) -> Iterator[Item]:
        with Database(path) as database:
            self._distro = self._distro or database.distro
            if self._bag.metadata.said is None:
                yield from self._lone(database)
            by_id: dict[int, AnyTopic] = {}
            orphans: dict[int, Topic] = {}
            for rows in database.rows():
                if isinstance(rows, Loss):
                    yield rows
                    continue
                for id_ in sorted({*rows.topic_ids} - by_id.keys()):
                    known = database.topics.get(id_)
                    if known:
                        by_id[id_] = self._topics.topic(known.channel)
                    else:
                        by_id[id_] = orphans[id_] = self._topics.nameless(f"topic {id_}")
                yield from self._add(rows, by_id)
            for id_, topic in orphans.items():
                yield Loss(
                    kind=LossKind.REPAIRED, name="channel-missing", path=str(path),
                    stream=f"topic {id_}", count=topic.count,
                    detail=f"the table of topics has no row {id_}; its messages are kept as bytes",
                )  # fmt: skip

    def _lone(self, database: Database) -> Iterator[Statement]:
        """What a database says of itself, where no metadata is beside it."""
        if database.metadata:
            self._metadata = parse_metadata(database.metadata)
            yield Statement(key="rosbag2.metadata", value=self._metadata.said)
        else:
            topics: JsonValue = {
                topic.channel.topic: {
                    "type": topic.channel.schema_name,
                    "serialization_format": topic.channel.encoding,
                    "offered_qos_profiles": topic.qos,
                    "type_description_hash": topic.type_hash,
                }
                for topic in database.topics.values()
            }
            yield Statement(key="rosbag2.topics", value=topics)

    def _add(self, rows: RowBatch, by_id: dict[int, AnyTopic]) -> Iterator[Block]:
        """Rows by topic; those of one topic stay in order, however often it is in the table."""
        places: dict[AnyTopic, list[int]] = {}
        for place, id_ in enumerate(rows.topic_ids):
            places.setdefault(by_id[id_], []).append(place)
        for topic, mine in places.items():
            nobody_says = [0] * len(mine)
            messages = one_by_one(
                [rows.data[place] for place in mine],
                [rows.log_ns[place] for place in mine],
                nobody_says,
                nobody_says,
            )
            yield from self._topics.add(topic, messages)

    def _complete(self, channel: Channel) -> Channel:
        assumed = assume_definition(channel, self._distro)
        if assumed is None:
            return channel
        channel, distro = assumed
        self._assumed[channel.topic, channel.schema_name] = distro
        return channel

    def _definitions(self) -> Iterator[Loss]:
        for (topic, type_), distro in self._assumed.items():
            yield Loss(
                kind=LossKind.REPAIRED, name="definition-assumed", path=self._path, stream=topic,
                count=self._topics.counts()[topic],
                detail=f"the bag does not say what {type_} is; taken as ROS 2 {distro} has it",
            )  # fmt: skip

    def _absent(self) -> Iterator[Loss]:
        """Files that should be there, and files that should not."""
        said = self._bag.metadata
        if said.damage and Path(self._path).is_dir():
            yield Loss(
                kind=LossKind.REPAIRED, name="metadata-damaged", path=str(Path(self._path) / NAME),
                count=0,
                detail=f"{said.damage}; the files in the folder were taken in the order of their "
                "names",
            )  # fmt: skip
        for name in self._bag.missing:
            detail = f"the metadata names the file '{name}', and it is not in the folder. {AGAIN}"
            yield self._lost("split-missing", self._path, detail, said.file_counts.get(name))
        for extra in self._bag.extra:
            yield Loss(
                kind=LossKind.SKIPPED, name="file-undeclared", path=str(extra),
                detail="the metadata does not name this file, so it was not read. If it belongs to "
                "the recording, reindex the bag; if it is another, move it elsewhere",
            )  # fmt: skip

    def _counts(self) -> Iterator[Loss]:
        """Where other counts are declared than were read, if nothing is known to be missing."""
        said: BagMetadata = self._metadata
        if self._is_lossy or said.count in (None, NOTHING_YET):
            return
        read = self._topics.counts()
        for topic, declared in sorted(said.topic_counts.items()):
            if declared != read[topic]:
                yield self._count_differs(self._path, topic, declared, read[topic])

    def _count_differs(self, path: str, topic: str, declared: int, read: int) -> Loss:
        return Loss(
            kind=LossKind.LOST if declared > read else LossKind.REPAIRED,
            name="count-differs", path=path, stream=topic, count=abs(declared - read),
            detail=f"the metadata declares {declared} messages; {read} were read",
        )  # fmt: skip

    def _lost(self, name: str, path: str, detail: str, count: int | None) -> Loss:
        return Loss(kind=LossKind.LOST, name=name, path=path, count=count, detail=detail)
