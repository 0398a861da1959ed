"""The MCAP format: one file, one episode; more where its time starts again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mcap.records import Channel, Metadata, Schema, Statistics

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.logs.format import Item, Log, LogEpisode, LogFormat, fingerprint_files
from viae.logs.mcap.attachment import Attached
from viae.logs.mcap.layout import MAGIC
from viae.logs.mcap.records import EVERYWHERE, Reader, is_mcap_inside
from viae.logs.mcap.run import MessageRun
from viae.logs.mcap.statements import EPISODE_RECORD, Statements
from viae.logs.mcap.survey import WHOLE, Parts, survey
from viae.logs.mcap.topics import Topics
from viae.schema import Loss, LossKind

__all__ = ["EPISODE_RECORD", "MAGIC", "McapEpisode", "McapFormat"]


class McapFormat(LogFormat):
    """MCAP files, of any writer and profile."""

    name: ClassVar[str] = "mcap"

    def recognises(self, path: Path) -> bool:
        """By name or by magic."""
        if not path.is_file():
            return False
        return path.suffix.lower() == ".mcap" or _head(path) == MAGIC

    def open(self, path: Path) -> Log:
        """One episode, or as many as the time in the file starts again.

        A file without messages has an episode if it says anything else: metadata and attachments
        are facts. Reads the times of all messages, from the file's index where it has one; see
        `viae.logs.mcap.survey`.
        """
        check_mcap(path)
        said = 0
        damage: list[Loss] = []
        with Reader(path) as reader:
            for record in reader.records():
                match record:
                    case MessageRun():
                        return self._with_messages(path)
                    case Loss(kind=LossKind.LOST):
                        damage.append(record)
                    case Metadata() | Attached():
                        said += 1
        if damage and not said:
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
            detail=f"the file {'is damaged' if damage else 'is whole'} and holds no messages; "
            + (
                f"its {said} metadata records and attachments are facts of an episode without "
                "samples"
                if said
                else "there is no episode in it"
            ),
        )
        episodes = [McapEpisode(path)] if said else []
        return Log(path=path, format=self.name, episodes=episodes, losses=[empty])

    def _with_messages(self, path: Path) -> Log:
        parts = survey(path)
        numbers = range(1, parts.count + 1) if parts.count > 1 else [WHOLE]
        return Log(
            path=path,
            format=self.name,
            episodes=[McapEpisode(path, parts, number) for number in numbers],
            losses=list(parts.losses),
        )


class McapEpisode(LogEpisode):
    """One MCAP file, or one part of it.

    Args:
        path: the file.
        parts: where its parts begin, and what is known of it.
        number: which part this is, from 1 on; `WHOLE` for all of the file.
    """

    def __init__(self, path: Path, parts: Parts | None = None, number: int = WHOLE) -> None:
        self.path = path
        self.uri = str(path)
        self.range = "" if number == WHOLE else f"part {number}"
        self._parts, self._number = parts or Parts(), number

    def fingerprint(self) -> str:
        """Of the file's bytes, and of which part it is."""
        return fingerprint_files([self.path], salt=self.range.encode())

    def read(self) -> Iterator[Item]:
        """The file in order: blocks as they fill, statements as they come, losses last.

        What the file says, and what it lost, is said in every part of it.
        """
        return self.read_into(Topics(self.uri), Statements(self.uri))

    def read_into(self, topics: Topics, said: Statements) -> Iterator[Item]:
        """The same, into topics and statements that may be of a recording in several files."""
        statistics: Statistics | None = None
        number, within = self._number, EVERYWHERE
        if number > 1 and self._parts.is_indexed:
            within = self._parts.span(number)
        with Reader(self.path, doubt=self._parts.doubt, within=within) as reader:
            summary = reader.summary
            for schema in summary.schemas.values():
                topics.define(schema)
            for channel in summary.channels.values():
                topics.define(channel)
            for record in reader.records():
                match record:
                    case MessageRun():
                        topics.count(record)
                        part = self._parts.take(record, number)
                        if len(part):
                            yield from topics.add(part)
                    case Schema() | Channel():
                        topics.define(record)
                    case Metadata():
                        yield from said.metadata(record)
                    case Attached():
                        yield said.attachment(record)
                    case Statistics():
                        statistics = record
                    case Loss():
                        yield record
            yield from topics.finish()
            yield from topics.losses()
            yield from said.losses()
            if statistics and within == EVERYWHERE:
                yield from topics.count_losses(statistics, reader.lost)


def check_mcap(path: Path) -> None:
    """See that a file is an MCAP file, if only by what is inside of it.

    Raises:
        EmptyLogError: it holds no bytes.
        DamagedLogError: it is none.
    """
    head = _head(path)
    if not head:
        raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
    if head != MAGIC and not is_mcap_inside(path):
        raise DamagedLogError(
            path,
            found=f"begins with {head!r}",
            expected=f"the MCAP magic {MAGIC!r}",
            todo="check that this is an MCAP file, and rename it if it is not",
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise LogError(
            path,
            found=f"it cannot be read ({error.strerror})",
            todo="check the disk, the network and who may read it",
        ) from error
