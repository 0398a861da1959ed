"""Digests of runs of values, however they are cut into blocks: what was written against read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.schema import Kind, Samples, Values, VideoGroup


class Digest:
    """Of values one after another; it grows block by block."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0

    def numbers(self, values: npt.NDArray[Any]) -> None:
        """Add an array: its rows count."""
        self._hash.update(np.ascontiguousarray(values).tobytes())
        self.count += len(values)

    def items(self, values: Values | Sequence[Any]) -> None:
        """Add strings, byte strings or arrays."""
        for value in values:
            if isinstance(value, np.ndarray):
                data = value.tobytes()
            else:
                data = value.encode() if isinstance(value, str) else bytes(value)
            self._hash.update(len(data).to_bytes(8, "little") + data)
        self.count += len(values)

    def block(self, block: Samples | VideoGroup) -> None:
        """Add the values, or packets, of a block."""
        if isinstance(block, VideoGroup):
            self.items(block.packets)
        elif block.spec.kind is Kind.VECTOR and not block.spec.varies:
            self.numbers(np.asarray(block.values))
        else:
            self.items(block.values)

    @property
    def said(self) -> tuple[int, str]:
        """How many, and a hex digest."""
        return self.count, self._hash.hexdigest()
