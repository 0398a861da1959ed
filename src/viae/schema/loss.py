"""What a component lost, skipped or repaired: counted, named and placed (law 4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class LossKind(StrEnum):
    """What happened to the data."""

    LOST = "lost"
    """It was there once, and cannot be had from this log."""
    SKIPPED = "skipped"
    """It is in the log, and was not taken."""
    REPAIRED = "repaired"
    """It was taken, in another form than the log declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One entry of an ingest report.

    Args:
        kind: lost, skipped or repaired.
        name: a stable name, e.g. ``"truncated"``, ``"unknown-encoding"``, ``"episode-missing"``.
        path: the file.
        detail: one sentence: what was found, what was expected, what to do.
        stream: the stream or topic, if one is concerned.
        count: how many messages, frames or episodes; None where nobody can know.
        at_ns: log time, if known.
    """

    kind: LossKind
    name: str
    path: str
    detail: str
    stream: str = ""
    count: int | None = None
    at_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": str(self.kind), "name": self.name, "path": self.path, "stream": self.stream,
            "count": self.count, "at_ns": self.at_ns, "detail": self.detail,
        }  # fmt: skip
