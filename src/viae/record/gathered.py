"""Message records of many chunks: picked, put in order and joined, none copied by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from viae.logs.mcap.layout import OUTER
from viae.logs.mcap.run import HEAD, MessageRun

Ints = npt.NDArray[np.int64]
BEFORE_DATA = OUTER.size + HEAD.itemsize
OVERHEAD = 200
"""Bytes of memory that a record takes beside its own, while it is put in order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """Whole records, where they are.

    Args:
        buffers: hold their bytes.
        buffer: int64 [N], which one holds each.
        starts: int64 [N], where it begins there, with its opcode.
        ends: int64 [N], where it ends.
        heads: `HEAD` [N]; the channel's number is the one to write, not the one in the buffer.
    """

    buffers: tuple[bytes | bytearray, ...]
    buffer: Ints
    starts: Ints
    ends: Ints
    heads: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of(cls, run: MessageRun, numbers: Ints) -> Self:
        """A run of messages, with the numbers that their channels are to have: int64 [N]."""
        heads = run.heads.copy()
        heads["channel_id"] = numbers
        return cls(
            buffers=(run.buffer,), buffer=np.zeros(len(run), np.int64),
            starts=run.starts - BEFORE_DATA, ends=run.ends, heads=heads,
        )  # fmt: skip

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """The records of all parts, one after another."""
        first = np.cumsum([0, *(len(part.buffers) for part in parts)])[:-1].tolist()
        return cls(
            buffers=tuple(buffer for part in parts for buffer in part.buffers),
            buffer=np.concatenate(
                [part.buffer + at for part, at in zip(parts, first, strict=True)]
            ),
            starts=np.concatenate([part.starts for part in parts]),
            ends=np.concatenate([part.ends for part in parts]),
            heads=np.concatenate([part.heads for part in parts]),
        )

    @property
    def sizes(self) -> Ints:
        """Bytes of each record: int64 [N]."""
        return self.ends - self.starts

    @property
    def held_bytes(self) -> int:
        """Memory that the buffers take."""
        return sum(map(len, self.buffers))

    def take(self, places: Ints | slice) -> Self:
        """Some of them, in that order."""
        return replace(
            self, buffer=self.buffer[places], starts=self.starts[places], ends=self.ends[places],
            heads=self.heads[places],
        )  # fmt: skip

    def joined(self) -> bytearray:
        """The records, one after another, with their channels' numbers."""
        follows = (self.starts[1:] == self.ends[:-1]) & (self.buffer[1:] == self.buffer[:-1])
        cuts = np.flatnonzero(np.concatenate([[True], ~follows, [True]]))
        views = [memoryview(buffer) for buffer in self.buffers]
        pieces = zip(
            self.buffer[cuts[:-1]].tolist(), self.starts[cuts[:-1]].tolist(),
            self.ends[cuts[1:] - 1].tolist(), strict=True,
        )  # fmt: skip
        data = bytearray().join([views[buffer][start:end] for buffer, start, end in pieces])
        raw = np.frombuffer(data, np.uint8)
        at = np.cumsum(self.sizes) - self.sizes + OUTER.size
        raw[at], raw[at + 1] = self.heads["channel_id"] & 255, self.heads["channel_id"] >> 8
        return data

    def compact(self) -> Self:
        """The same in memory of their own: what else the buffers hold can go."""
        ends = np.cumsum(self.sizes)
        return replace(
            self, buffers=(self.joined(),), buffer=np.zeros(len(self), np.int64),
            starts=ends - self.sizes, ends=ends, heads=self.heads.copy(),
        )  # fmt: skip
