"""What a stream is: the description that travels with its samples from robot to bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from viae.errors import SchemaError


class Kind(StrEnum):
    """What one sample of a stream is."""

    VECTOR = "vector"
    """Numbers of one dtype and shape."""
    IMAGE = "image"
    """An image coded by itself (JPEG, PNG, raw)."""
    VIDEO = "video"
    """A frame of coded video, which may need its neighbours to decode."""
    TEXT = "text"
    """A string; structured messages are JSON."""
    BYTES = "bytes"
    """Bytes whose meaning viae does not know."""


class Role(StrEnum):
    """What part a stream plays in the loop, in the causal order of samples that arrive together."""

    OBSERVATION = "observation"
    ACTION = "action"
    OUTCOME = "outcome"

    @property
    def rank(self) -> int:
        """Position in the causal order of samples that arrive together (0 is first)."""
        return tuple(Role).index(self)


NO_DTYPE = frozenset({Kind.TEXT, Kind.BYTES})


def _is_number(dtype: str) -> bool:
    try:
        found = np.dtype(dtype)
    except TypeError:
        return False
    return found.kind in "biuf" and found.itemsize <= 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """Describes every sample of one stream.

    Args:
        name: unique within an episode.
        kind: see `Kind`.
        dtype: NumPy name of the numbers of a vector, or of the pixels of a picture; empty for text
            and bytes.
        shape: shape of one sample; ``-1`` marks the one dimension that may vary between samples
            (then the shape has exactly one dimension). Pictures are (height, width, channels).
        unit: SI symbol, e.g. ``"rad"``; empty where unknown or mixed.
        names: one name per element of a flattened sample, or empty.
        role: observation, action or outcome.
        clock: the clock domain of ``capture_ns``; ``"log"`` where the log has no other.
        topic: where in the log the stream comes from.
        encoding: how pictures are coded (``"jpeg"``, ``"h264"``, ``"rgb8"``); empty for others.

    Raises:
        SchemaError: the description contradicts itself.
    """

    name: str
    kind: Kind = Kind.VECTOR
    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    unit: str = ""
    names: tuple[str, ...] = ()
    role: Role = Role.OBSERVATION
    clock: str = "log"
    topic: str = ""
    encoding: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("a stream needs a name")
        if not self.clock:
            raise SchemaError(f"stream '{self.name}': a clock needs a name; the log's is 'log'")
        if self.kind in NO_DTYPE:
            if self.dtype:
                raise SchemaError(
                    f"stream '{self.name}': {self.kind} has no dtype, not {self.dtype!r}"
                )
        elif not _is_number(self.dtype):
            raise SchemaError(
                f"stream '{self.name}': dtype {self.dtype!r} is not a number of at most 64 bits"
            )
        if any(size < -1 for size in self.shape) or (-1 in self.shape and len(self.shape) != 1):
            raise SchemaError(
                f"stream '{self.name}': shape {self.shape} is not allowed; only a stream of one "
                "dimension may vary, written (-1,)"
            )
        if self.names and not self.varies and len(self.names) != self.size:
            raise SchemaError(
                f"stream '{self.name}': {len(self.names)} names for {self.size} elements"
            )

    @property
    def varies(self) -> bool:
        """Whether samples differ in length."""
        return -1 in self.shape

    @property
    def size(self) -> int:
        """Elements in one flattened sample; -1 where it varies."""
        return -1 if self.varies else int(np.prod(self.shape, dtype=np.int64))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, empty fields left out."""
        fields: dict[str, Any] = {"name": self.name, "kind": str(self.kind), "role": str(self.role)}
        if self.dtype:
            fields["dtype"] = self.dtype
        if self.kind not in NO_DTYPE:
            fields["shape"] = list(self.shape)
        if self.names:
            fields["names"] = list(self.names)
        for key in ("unit", "clock", "topic", "encoding"):
            if value := getattr(self, key):
                fields[key] = value
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> StreamSpec:
        """The inverse of `to_json`."""
        kind = Kind(fields["kind"])
        return cls(
            name=fields["name"],
            kind=kind,
            dtype=fields.get("dtype", ""),
            shape=tuple(fields.get("shape", ())),
            unit=fields.get("unit", ""),
            names=tuple(fields.get("names", ())),
            role=Role(fields.get("role", Role.OBSERVATION)),
            clock=fields.get("clock", "log"),
            topic=fields.get("topic", ""),
            encoding=fields.get("encoding", ""),
        )
