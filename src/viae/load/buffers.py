"""Memory for batches, used again when nobody looks at it any more.

A fresh 100 MB from the system costs as much as decoding into it. An array is free again when this
pool is the only one who holds it: views and tensors made of it count as holders, so a batch that
the caller keeps is never written over.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

SMALL_BYTES = 1 << 16
"""Below, the system's own allocator is as good."""
MOST_KEPT = 64


class Buffers:
    """Arrays to write batches into. Safe for several threads."""

    def __init__(self) -> None:
        self._kept: list[npt.NDArray[Any]] = []
        self._lock = threading.Lock()
        probe = [np.empty(1)]
        self._idle = _holders(probe, 0)

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of this shape; what it holds is arbitrary."""
        dtype = np.dtype(dtype)
        if int(np.prod(shape)) * dtype.itemsize < SMALL_BYTES:
            return np.empty(shape, dtype)
        with self._lock:
            for i in range(len(self._kept)):
                same = self._kept[i].shape == shape and self._kept[i].dtype == dtype
                if same and _holders(self._kept, i) == self._idle:
                    return self._kept[i]
            fresh = np.empty(shape, dtype)
            self._kept.append(fresh)
            self._forget()
            return fresh

    def reserve(self, shape: tuple[int, ...], dtype: npt.DTypeLike, count: int) -> None:
        """Have so many arrays of a shape, their memory taken from the system now.

        What a loader holds at most depends on who waits for whom; taken at once, memory that is not
        there is missed at the beginning and not hours later.
        """
        dtype = np.dtype(dtype)
        if int(np.prod(shape)) * dtype.itemsize < SMALL_BYTES:
            return
        with self._lock:
            same = sum(kept.shape == shape and kept.dtype == dtype for kept in self._kept)
            for _ in range(min(count, MOST_KEPT) - same):
                fresh = np.empty(shape, dtype)
                fresh.fill(0)
                self._kept.append(fresh)
                self._forget()

    def _forget(self) -> None:
        """Let go of the oldest where there are many: shapes change."""
        if len(self._kept) > MOST_KEPT:
            del self._kept[0]

    def __reduce__(self) -> tuple[type[Buffers], tuple[()]]:
        """Another process has memory of its own."""
        return Buffers, ()


def _holders(arrays: list[npt.NDArray[Any]], i: int) -> int:
    return sys.getrefcount(arrays[i])
