"""Samples in bulk: the blocks in which streams move from a log to a store and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError
from viae.schema.stream import Kind, StreamSpec
from viae.schema.time import TimesNs

Values: TypeAlias = npt.NDArray[Any] | Sequence[npt.NDArray[Any]] | Sequence[str] | Sequence[bytes]
"""An array [N, *shape] for vectors of fixed shape; else N arrays, N strings or N byte strings."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """A run of samples of one stream, in recorded order.

    Args:
        spec: the stream.
        capture_ns: int64 [N], when the world was in that state, by the stream's own clock.
        arrival_ns: int64 [N], when the recorder had it.
        seq: int64 [N], position in the stream as recorded, strictly increasing.
        values: see `Values`; images are N byte strings in ``spec.encoding``.

    Raises:
        SchemaError: lengths, dtype or shape disagree with the spec.
    """

    spec: StreamSpec
    capture_ns: TimesNs
    arrival_ns: TimesNs
    seq: TimesNs
    values: Values

    def __post_init__(self) -> None:
        name, n = self.spec.name, len(self.arrival_ns)
        if self.spec.kind is Kind.VIDEO:
            raise SchemaError(f"stream '{name}': video travels as VideoGroup, not as Samples")
        for field in ("capture_ns", "arrival_ns", "seq"):
            array = getattr(self, field)
            if array.dtype != np.int64 or array.shape != (n,):
                raise SchemaError(
                    f"stream '{name}': {field} is {array.dtype}{list(array.shape)}, not int64[{n}]"
                )
        if n > 1 and not (np.diff(self.seq) > 0).all():
            raise SchemaError(f"stream '{name}': seq does not increase")
        if self.spec.kind is Kind.VECTOR and not self.spec.varies:
            array = np.asarray(self.values)
            expected = (n, *self.spec.shape)
            if array.dtype != np.dtype(self.spec.dtype) or array.shape != expected:
                raise SchemaError(
                    f"stream '{name}': values are {array.dtype}{list(array.shape)}, "
                    f"not {self.spec.dtype}{list(expected)}"
                )
        elif len(self.values) != n:
            raise SchemaError(f"stream '{name}': {len(self.values)} values for {n} times")
        elif self.spec.kind is Kind.VECTOR:
            dtype = np.dtype(self.spec.dtype)
            for value in map(np.asarray, self.values):
                if value.dtype != dtype or value.ndim != 1:
                    raise SchemaError(
                        f"stream '{name}': a value is {value.dtype}{list(value.shape)}, "
                        f"not {dtype}[any]"
                    )

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def __repr__(self) -> str:
        return f"Samples({self.spec.name!r}, {self.spec.kind}, n={len(self)})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoGroup:
    """One group of pictures: coded packets that decode from the first one on.

    Args:
        spec: the stream; ``spec.encoding`` is FFmpeg's codec name.
        extradata: decoder configuration from the container, often empty.
        packets: coded packets in decode order; the first is a key frame.
        pts: int64 [P], presentation time of each packet in ``time_base`` ticks.
        time_base: seconds per tick, as numerator and denominator.
        capture_ns: int64 [P], of the pictures in presentation order.
        arrival_ns: int64 [P], likewise.
        seq: int64 [P], likewise.

    Raises:
        SchemaError: lengths disagree.
    """

    spec: StreamSpec
    extradata: bytes
    packets: Sequence[bytes]
    pts: TimesNs
    time_base: tuple[int, int]
    capture_ns: TimesNs
    arrival_ns: TimesNs
    seq: TimesNs

    def __post_init__(self) -> None:
        n = len(self.packets)
        lengths = {len(self.pts), len(self.capture_ns), len(self.arrival_ns), len(self.seq)}
        if self.spec.kind is not Kind.VIDEO or not n or lengths != {n}:
            raise SchemaError(
                f"stream '{self.spec.name}': a {self.spec.kind} group of {n} packets with "
                f"{sorted(lengths)} times"
            )

    def __len__(self) -> int:
        return len(self.packets)

    def __repr__(self) -> str:
        return f"VideoGroup({self.spec.name!r}, {self.spec.encoding}, n={len(self)})"


Block: TypeAlias = Samples | VideoGroup
