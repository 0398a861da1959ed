"""The MCAP format: one file, one episode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mcap.records import Attachment, Channel, Message, Metadata, Schema, Statistics

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs.format import Item, Log, LogEpisode, LogFormat, Statement, fingerprint_files
from viae.logs.mcap.records import MAGIC, read_records
from viae.logs.mcap.topics import Topics
from viae.schema import JsonValue, Loss, LossKind

EPISODE_RECORD = "viae.episode"
"""The metadata record in which the recorder states things: its values are JSON."""


class McapFormat(LogFormat):
    """MCAP files, of any writer and profile."""

    name: ClassVar[str] = "mcap"

    def recognises(self, path: Path) -> bool:
        """By name or by magic."""
        if not path.is_file():
            return False
        return path.suffix.lower() == ".mcap" or _head(path) == MAGIC

    def open(self, path: Path) -> Log:
        """One episode; none where there are no messages, and a loss that says so."""
        head = _head(path)
        if not head:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        if head != MAGIC:
            raise DamagedLogError(
                path,
                found=f"begins with {head!r}",
                expected=f"the MCAP magic {MAGIC!r}",
                todo="check that this is an MCAP file, and rename it if it is not",
            )
        losses: list[Loss] = []
        other = 0
        for record in read_records(path, {}):
            if isinstance(record, Message):
                return Log(path=path, format=self.name, episodes=(McapEpisode(path),))
            if isinstance(record, Loss):
                losses.append(record)
            elif isinstance(record, Metadata | Attachment):
                other += 1
        if losses:
            raise DamagedLogError(
                path,
                found=f"no message can be read: {losses[0].detail}",
                expected="at least one whole message",
                todo="copy the file again if the original still exists",
            )
        empty = Loss(
            kind=LossKind.SKIPPED,
            name="no-messages",
            path=str(path),
            count=0,
            detail=f"the file is whole and holds no messages, so there is no episode in it; "
            f"its {other} metadata records and attachments were not taken",
        )
        return Log(path=path, format=self.name, episodes=(), losses=[empty])


class McapEpisode(LogEpisode):
    """All of one MCAP file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)
        self.range = ""

    def fingerprint(self) -> str:
        """Of the file's bytes."""
        return fingerprint_files([self.path])

    def read(self) -> Iterator[Item]:
        """The file in order: blocks as they fill, statements as they come, losses last."""
        topics = Topics(self.uri)
        lost: dict[int, int] = {}
        statistics: Statistics | None = None
        for record in read_records(self.path, lost):
            match record:
                case Message():
                    yield from topics.add(record)
                case Schema() | Channel():
                    topics.define(record)
                case Metadata():
                    yield from _metadata_statements(record)
                case Attachment():
                    yield _attachment_statement(record)
                case Statistics():
                    statistics = record
                case Loss():
                    yield record
        yield from topics.flush()
        yield from topics.losses()
        if statistics:
            yield from topics.count_losses(statistics, lost)


def _metadata_statements(record: Metadata) -> Iterator[Statement]:
    if record.name == EPISODE_RECORD:
        for key, text in record.metadata.items():
            yield Statement(key=key, value=_json_or_text(text))
    else:
        yield Statement(key=f"mcap.metadata.{record.name}", value=dict(record.metadata))


def _json_or_text(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _attachment_statement(record: Attachment) -> Statement:
    digest = hashlib.blake2b(record.data, digest_size=16).hexdigest()
    return Statement(
        key=f"mcap.attachment.{record.name}",
        value={
            "media_type": record.media_type,
            "size": len(record.data),
            "log_time": record.log_time,
            "blake2b": digest,
        },
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))
