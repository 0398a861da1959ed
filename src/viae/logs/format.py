"""What every log format provides. To add one, subclass `LogFormat` and name it in an entry point.

A reader yields what the log holds, in the order it holds it, and never more than a block at a
time: `Samples` and `VideoGroup` blocks, `Statement`s the log makes about itself, and a `Loss` for
everything it could not take. It never reorders, resamples or repairs in silence.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias

from viae.schema import Block, JsonValue, Loss

EPISODE_KEYS = frozenset({"robot", "task", "agent", "outcome", "conditions"})
"""Statements that become columns of the episode; every other one becomes a fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something the log says about the episode. See `EPISODE_KEYS`."""

    key: str
    value: JsonValue


Item: TypeAlias = Block | Statement | Loss


class LogEpisode(ABC):
    """One episode inside a log, not yet read."""

    uri: str
    """The log's path."""
    range: str
    """Which part of the log; empty for all of it."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digest of all bytes that make up the episode: equal content, equal digest."""

    @abstractmethod
    def read(self) -> Iterator[Item]:
        """Everything in the episode, in the log's order, in bounded memory.

        Raises:
            LogError: nothing at all can be read.
        """


@dataclass(slots=True, kw_only=True)
class Log:
    """An opened log.

    Args:
        path: the file or folder.
        format: the format's name.
        episodes: its episodes, in order; lazily read.
        losses: what the log as a whole lacks (e.g. declared episodes that are not there).
    """

    path: Path
    format: str
    episodes: Iterable[LogEpisode]
    losses: list[Loss] = field(default_factory=list)


class LogFormat(ABC):
    """A log format: one subclass per file in ``viae.logs``, one entry point in ``viae.logs``."""

    name: ClassVar[str]

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether this path, a file or a folder, is for this format. Cheap: name and first bytes.

        A file whose name claims the format is recognised even when its bytes do not fit it, so
        that `open` can say what is wrong with it.
        """

    @abstractmethod
    def open(self, path: Path) -> Log:
        """Open a log.

        Raises:
            EmptyLogError: no bytes.
            DamagedLogError: nothing in it can be read.
        """


def fingerprint_files(paths: Iterable[Path], *, salt: bytes = b"") -> str:
    """Hex digest (BLAKE2b, 128 bits) of the contents of files, in the given order, and a salt."""
    digest = hashlib.blake2b(salt, digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()
