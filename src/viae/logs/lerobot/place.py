"""Where an episode is, and what is said about it: what a dataset's layout gives to the reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from viae.logs.format import Statement
from viae.logs.lerobot.columns import Feature
from viae.logs.lerobot.rows import Part
from viae.logs.remux import Span
from viae.schema import JsonValue, Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Where the pictures of one camera are.

    Args:
        feature: the camera.
        path: the file; None where nothing says which.
        span: where in the file, seconds; None for all of it.
    """

    feature: Feature
    path: Path | None
    span: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One episode of a dataset.

    Args:
        index: the episode's index.
        parts: its rows, in order; usually one part.
        clips: its videos.
        columns: the features that are columns of the table.
        robot: the robot's name, or empty.
        rate_hz: the declared frames per second, if there are any.
        tasks: instructions by task index.
        said_tasks: the instructions that the metadata names for this episode.
        length: its declared number of frames, if it is declared.
        first_index: the declared place of its first frame in the dataset, if it is declared.
        source: the file that declares, for messages.
        statements: what the dataset stores beside streams, made when asked for.
        losses: what is known to be wrong before anything is read.
    """

    index: int
    parts: tuple[Part, ...]
    clips: tuple[Clip, ...]
    columns: tuple[Feature, ...]
    robot: str = ""
    rate_hz: float | None = None
    tasks: Mapping[int, str] = field(default_factory=dict)
    said_tasks: tuple[str, ...] = ()
    length: int | None = None
    first_index: int | None = None
    source: str = ""
    statements: Callable[[], Iterator[Statement]] = lambda: iter(())
    losses: tuple[Loss, ...] = ()

    @property
    def path(self) -> Path:
        """The first file with rows of it."""
        return self.parts[0].path


class Layout(ABC):
    """One version's way of laying out a dataset."""

    root: Path
    episodes: Sequence[int]
    """Indices of the episodes that are here."""

    @abstractmethod
    def place(self, index: int) -> Place:
        """Where an episode is.

        Raises:
            DamagedLogError: the metadata about it cannot be read.
        """

    @abstractmethod
    def losses(self) -> Iterator[Loss]:
        """What the dataset as a whole lacks."""

    @abstractmethod
    def fingerprint(self, index: int) -> str:
        """Digest of an episode's content."""


def ranges(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``"0-2, 5"``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def as_json(value: object) -> JsonValue:
    """A value of a table as JSON; what JSON has no word for, as text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
