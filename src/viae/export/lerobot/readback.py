"""What was meant against what viae's own reader finds in the files: value for value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import ExportError
from viae.export.digest import Digest
from viae.logs import open_log
from viae.schema import NS_PER_S, Loss, LossKind, Samples, VideoGroup

TIMES = "timestamp"


@dataclass(slots=True, kw_only=True)
class Meant:
    """What one episode should hold: counts and digests, not the values.

    Args:
        rows: how many.
        where: the episode in the store, for messages.
    """

    rows: int
    where: str
    streams: dict[str, tuple[int, str]] = field(default_factory=dict)

    def times(self, seconds: npt.NDArray[Any]) -> None:
        """The column ``timestamp``."""
        times_ns = np.rint(seconds.astype(np.float64) * NS_PER_S).astype(np.int64)
        digest = Digest()
        digest.numbers(times_ns)
        self.streams[TIMES] = digest.said

    def values(self, key: str, values: Any) -> None:
        """A feature in the table."""
        digest = Digest()
        if isinstance(values, np.ndarray):
            digest.numbers(values)
        else:
            digest.items(values)
        self.streams[key] = digest.said

    def packets(self, key: str, packets: Sequence[bytes]) -> None:
        """A movie."""
        digest = Digest()
        digest.items(packets)
        self.streams[key] = digest.said


def read_back(folder: Path, meant: Sequence[Meant]) -> int:
    """Read a dataset as any log is read, and compare; how many values were equal.

    Raises:
        ExportError: an episode, row, value or packet is not what was meant.
    """
    log = open_log(folder)
    episodes = list(log.episodes)
    if len(episodes) != len(meant):
        raise ExportError(f"{folder}: {len(episodes)} episodes read back, not {len(meant)}")
    checked = 0
    for number, (episode, wanted) in enumerate(zip(episodes, meant, strict=True)):
        found: dict[str, Digest] = {}
        for item in episode.read():
            if isinstance(item, Loss) and item.kind is LossKind.LOST:
                raise ExportError(f"{folder}: episode {number} reads back damaged: {item.detail}")
            if isinstance(item, Samples | VideoGroup):
                found.setdefault(item.spec.name, Digest()).block(item)
                if item.spec.name == _clock(wanted):
                    found.setdefault(f"{TIMES} of rows", Digest()).numbers(item.arrival_ns)
        for key, said in wanted.streams.items():
            own = found.get(f"{TIMES} of rows" if key == TIMES else key)
            if own is None or own.said != said:
                count = own.count if own else 0
                raise ExportError(
                    f"{folder}: episode {number} ({wanted.where}): '{key}' reads back otherwise "
                    f"than it was meant: {count} values, {said[0]} meant. Nothing was left at the "
                    "given path; please report this"
                )
            checked += said[0]
    return checked


def _clock(wanted: Meant) -> str:
    """A feature whose times are those of the rows."""
    return next(key for key, said in wanted.streams.items() if key != TIMES and said[0])
