"""Samples of streams that share their times, on their way into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from viae.schema import Kind, Samples, StreamSpec, TimesNs, Values

BLOCK_SAMPLES = 4096
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some samples of every stream: their times, and the values per stream."""

    capture_ns: TimesNs
    arrival_ns: TimesNs
    seq: TimesNs
    values: list[Values]


class Rows:
    """Collects pieces until they are worth a block.

    Args:
        specs: the streams; every piece has values for each.
    """

    def __init__(self, specs: list[StreamSpec]) -> None:
        self.specs = specs
        self.nbytes = 0
        self._samples = 0
        self._pieces: list[Piece] = []

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return self._samples >= BLOCK_SAMPLES or self.nbytes >= BLOCK_BYTES

    def append(self, piece: Piece, nbytes: int) -> None:
        """Add some samples of every stream, of that rough size."""
        self._pieces.append(piece)
        self._samples += len(piece.seq)
        self.nbytes += nbytes

    def flush(self) -> Iterator[Samples]:
        """One block per stream, and none where there is nothing."""
        pieces, self._pieces, self._samples, self.nbytes = self._pieces, [], 0, 0
        if not pieces:
            return
        capture = np.concatenate([piece.capture_ns for piece in pieces])
        arrival = np.concatenate([piece.arrival_ns for piece in pieces])
        seq = np.concatenate([piece.seq for piece in pieces])
        for spec, parts in zip(
            self.specs, zip(*(p.values for p in pieces), strict=True), strict=True
        ):
            yield Samples(
                spec=spec,
                capture_ns=capture,
                arrival_ns=arrival,
                seq=seq,
                values=_join(spec, parts),
            )


def pack(spec: StreamSpec, values: list[Any]) -> Values:
    """Values one by one, as a block holds them."""
    if spec.kind is not Kind.VECTOR or spec.varies:
        return values
    return np.array(values, spec.dtype).reshape(len(values), *spec.shape)


def _join(spec: StreamSpec, parts: tuple[Values, ...]) -> Values:
    if spec.kind is not Kind.VECTOR or spec.varies:
        return cast(Values, [value for part in parts for value in part])
    return np.concatenate(parts).astype(spec.dtype, copy=False)
