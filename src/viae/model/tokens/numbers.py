"""Recorded numbers of any dtype as float64, and back.

64-bit integers do not fit a float64: from them a base is subtracted first, and differences are
taken before the conversion, so they are exact while they span less than 2**53.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

FAR = 2.0**64 - 2.0**11
"""The greatest float64 that a 64-bit integer can hold."""
MASK = (1 << 64) - 1


def number(column: Values, base: int = 0) -> Doubles:
    """Recorded numbers less a base, as float64 [N]: none beyond what `recorded` gives back."""
    if not _long(column.dtype):
        return column.astype(np.float64)
    if not base:
        return np.minimum(
            column.astype(np.float64), np.nextafter(float(np.iinfo(column.dtype).max), 0)
        )
    return difference(column, np.full(len(column), base, column.dtype))


def difference(column: Values, old: Values) -> Doubles:
    """How much recorded numbers differ, as float64 [N]."""
    if _long(column.dtype):
        up, down = _bits(column) - _bits(old), _bits(old) - _bits(column)
        up_x, down_x = (np.minimum(size.astype(np.float64), FAR) for size in (up, down))
        return np.where(column >= old, up_x, -down_x)
    with np.errstate(over="ignore", invalid="ignore"):
        return column.astype(np.float64) - old.astype(np.float64)


def recorded(x: Doubles, dtype: np.dtype[Any], base: int = 0) -> Values:
    """float64 [N] as recorded numbers: rounded where they are whole, held within the dtype."""
    if dtype.kind == "b":
        return x > 0.5
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        with np.errstate(over="ignore"):
            held: Values = np.where(np.isfinite(x), np.clip(x, -most, most), x).astype(dtype)
            return held
    limits = np.iinfo(dtype)
    if not _long(dtype):
        return np.clip(np.rint(x), limits.min, limits.max).astype(dtype)
    return plus_recorded(np.full(len(x), base, dtype), x)


def plus_recorded(old: Values, x: Doubles) -> Values:
    """Recorded numbers plus differences, in their dtype: the inverse of `difference`."""
    if not _long(old.dtype):
        total = old.astype(np.float64) + x
        if old.dtype.kind != "f":
            return recorded(total, old.dtype)
        most = float(np.finfo(old.dtype).max)
        return np.clip(total, -most, most).astype(old.dtype)
    limits = np.iinfo(old.dtype)
    size = np.minimum(np.abs(np.rint(x)), FAR).astype(np.uint64)
    room_up = np.uint64(limits.max & MASK) - _bits(old)
    room_down = _bits(old) - np.uint64(limits.min & MASK)
    up = _bits(old) + np.minimum(size, room_up)
    down = _bits(old) - np.minimum(size, room_down)
    moved: Values = np.where(x >= 0, up, down).view(old.dtype)
    return moved


def _long(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize == 8


def _bits(column: Values) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(column).view(np.uint64)
