"""The files of a ROS 2 bag: those its metadata names, those that are there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from viae.errors import EmptyLogError
from viae.logs.mcap.format import check_mcap
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.logs.rosbag.compressed import SUFFIXES, opened_file
from viae.logs.rosbag.database import Database, files_beside
from viae.logs.rosbag.metadata import NAME, BagMetadata, read_metadata

SQLITE, MCAP = "sqlite3", "mcap"
STORAGES = {".db3": SQLITE, ".mcap": MCAP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a bag.

    Args:
        path: where it is.
        storage: `SQLITE` or `MCAP`.
        count: messages that the metadata declares in it; None where it does not say.
    """

    path: Path
    storage: str
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """A bag's files, and what is said of them.

    Args:
        metadata: what the folder's metadata says; empty for a lone file.
        parts: the files that are there, in order.
        missing: the names of those that are not.
        extra: files like these that the metadata does not name.
    """

    metadata: BagMetadata
    parts: tuple[Part, ...]
    missing: tuple[str, ...] = ()
    extra: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file that its messages come from."""
        return [file for part in self.parts for file in (part.path, *files_beside(part.path))]


def storage_of(name: str) -> str:
    """How a file of this name stores messages; empty where it does not."""
    path = PurePosixPath(name.lower())
    if path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return STORAGES.get(path.suffix, "")


def find_parts(path: Path) -> Bag:
    """The files of a bag: a folder, or a lone file."""
    if path.is_file():
        return Bag(metadata=BagMetadata(), parts=(Part(path=path, storage=storage_of(path.name)),))
    metadata = read_metadata(path / NAME)
    there = sorted((each for each in path.iterdir() if storage_of(each.name)), key=_by_number)
    if not metadata.files:
        parts = [Part(path=each, storage=storage_of(each.name)) for each in there]
        return Bag(metadata=metadata, parts=tuple(parts))
    parts, missing = [], []
    for name in metadata.files:
        file = _find(path, name)
        if file is None:
            missing.append(name)
        else:
            storage = storage_of(file.name) or metadata.storage
            count = metadata.file_counts.get(name)
            parts.append(Part(path=file, storage=storage, count=count))
    named = {part.path for part in parts}
    extra = tuple(each for each in there if each not in named)
    return Bag(metadata=metadata, parts=tuple(parts), missing=tuple(missing), extra=extra)


def has_messages(part: Part) -> bool:
    """Whether there is any in a file.

    Raises:
        LogError: it cannot be read.
    """
    if not part.path.stat().st_size:
        raise EmptyLogError(part.path, found="the file holds no bytes", todo="copy it again")
    with opened_file(part.path) as (path, _):
        if part.storage == MCAP:
            check_mcap(path)
            with Reader(path) as reader:
                return any(isinstance(record, MessageRun) for record in reader.records())
        with Database(path) as database:
            return database.has_messages()


def _find(folder: Path, name: str) -> Path | None:
    """A named file. Old bags name it with the bag's folder, or as it was before it was compressed.

    What is outside of the folder is not the bag's, whatever the metadata says.
    """
    last = PurePosixPath(name).name
    for each in (last, *(last + suffix for suffix in SUFFIXES)):
        if each and (folder / each).is_file():
            return folder / each
    return None


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Names in the order of the numbers in them: bag_2 before bag_10."""
    pieces = re.findall(r"\d+|\D+", path.name)
    return [(int(each), "") if each.isdecimal() else (-1, each) for each in pieces]
