"""The events of an episode: every sample of every stream, and what was said, in causal order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError
from viae.schema.stream import StreamSpec
from viae.schema.time import TimesNs

INSTRUCTION, OUTCOME = "instruction", "outcome"
"""Streams that every episode may have beside those of its log: text when it begins, bool when it
ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """The events of one episode, or of its beginning.

    Shapes: N events, n samples of a stream.

    Args:
        streams: what the streams are; facts are streams too (`INSTRUCTION`, `OUTCOME`).
        stream: int64 [N], index into ``streams``.
        row: int64 [N], which sample of that stream: 0, 1, 2, … in this order for each stream.
        capture_ns: int64 [N], log clock, corrections applied.
        arrival_ns: int64 [N], never decreasing.
        values: by stream name: [n, *shape] for vectors, uint8 [n, 3, H, W] for pictures, n strings
            for texts.
        asked: bool [N], False inside a span in which somebody else decided, such as an
            intervention. No answer to a question about the future runs across its begin or end.

    Raises:
        SchemaError: lengths disagree, or arrivals go back.
    """

    streams: tuple[StreamSpec, ...]
    stream: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    capture_ns: TimesNs
    arrival_ns: TimesNs
    values: Mapping[str, Any]
    asked: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.stream)
        for name in ("row", "capture_ns", "arrival_ns", "asked"):
            if len(getattr(self, name)) != n:
                raise SchemaError(f"{len(getattr(self, name))} {name} for {n} events")
        if n and (np.diff(self.arrival_ns) < 0).any():
            raise SchemaError("events are not in the order of their arrival")
        counts = np.bincount(self.stream, minlength=len(self.streams)).tolist()
        for spec, count in zip(self.streams, counts, strict=True):
            if len(self.values[spec.name]) != count:
                raise SchemaError(
                    f"stream '{spec.name}': {len(self.values[spec.name])} values, {count} events"
                )

    def __len__(self) -> int:
        return len(self.stream)

    def of(self, names: Collection[str]) -> Events:
        """The events of some streams, those of others left out.

        Args:
            names: of streams; those that are not there play no part.
        """
        keep = [i for i, spec in enumerate(self.streams) if spec.name in names]
        if len(keep) == len(self.streams):
            return self
        rows = np.isin(self.stream, keep)
        again = np.full(len(self.streams), -1, np.int64)
        again[keep] = np.arange(len(keep))
        streams = tuple(self.streams[i] for i in keep)
        return Events(
            streams=streams, stream=again[self.stream[rows]], row=self.row[rows],
            capture_ns=self.capture_ns[rows], arrival_ns=self.arrival_ns[rows],
            values={spec.name: self.values[spec.name] for spec in streams}, asked=self.asked[rows],
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Events(n={len(self)}, streams={[spec.name for spec in self.streams]})"
