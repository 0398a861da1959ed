"""Columns to nanoseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import LogError
from viae.logs.tabular.columns import Column, Holds
from viae.logs.tabular.description import ISO, UNITS
from viae.schema import NS_PER_S, TimesNs

LARGEST = float(1 << 63)


def to_times(path: Path, place: str, column: Column, unit: str) -> tuple[TimesNs, Any]:
    """Times in ns, and which rows have one: bool [N].

    Raises:
        LogError: the values are no times, or no unit says what they count.
    """
    rows = len(column.values)
    valid = np.ones(rows, bool) if column.valid is None else column.valid.copy()
    if column.holds is Holds.NOTHING:
        return np.zeros(rows, np.int64), np.zeros(rows, bool)
    if column.holds is Holds.TIMES:
        if unit not in ("", ISO):
            raise _wrong(path, place, f"dates and the unit {unit}", "no unit, they need none")
        return column.values, valid
    if column.holds is Holds.TEXTS:
        if unit != ISO:
            raise _wrong(path, place, "times written as text", f"numbers, or unit: {ISO}")
        return _from_iso(path, place, column.values, valid)
    numbers = column.values
    if column.holds is not Holds.NUMBERS or np.prod(numbers.shape[1:], dtype=int) != 1:
        raise _wrong(path, place, f"{column.holds.value} where times are", "one number in each row")
    if unit not in UNITS:
        raise _wrong(path, place, f"unit {unit or 'nothing'}", f"one of {', '.join(UNITS)}")
    return _scaled(numbers.reshape(rows), UNITS[unit], valid)


def every(step_s: float, numbers: TimesNs) -> TimesNs:
    """Times of rows that are a fixed step apart, the first of the episode being number 0."""
    times: TimesNs = np.rint(numbers * (step_s * NS_PER_S)).astype(np.int64)
    return times


def _scaled(
    numbers: npt.NDArray[Any], factor: int, valid: npt.NDArray[np.bool_]
) -> tuple[TimesNs, Any]:
    """Whole numbers exactly, others to the nearest nanosecond."""
    if numbers.dtype.kind == "f":
        scaled = np.rint(numbers.astype(np.float64) * factor)
        valid &= np.isfinite(scaled) & (np.abs(np.nan_to_num(scaled)) < LARGEST)
        return np.where(valid, scaled, 0.0).astype(np.int64), valid
    limit = ((1 << 63) - 1) // factor
    fits = numbers <= limit
    if numbers.dtype.kind == "i":
        fits &= numbers >= -limit
    valid &= fits
    return np.where(valid, numbers, 0).astype(np.int64) * factor, valid


def _from_iso(
    path: Path, place: str, texts: list[str], valid: npt.NDArray[np.bool_]
) -> tuple[TimesNs, Any]:
    """Times as ISO 8601 writes them, with a zone or, meant as UTC, without."""
    array = pa.array(
        [text if has else None for text, has in zip(texts, valid, strict=True)], pa.string()
    )
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            times = array.cast(kind).cast(pa.int64()).fill_null(0)
        except pa.ArrowInvalid as error:
            found = str(error).partition("\n")[0]
        else:
            return times.to_numpy(zero_copy_only=False), valid
    raise _wrong(path, place, f"{found:.100}", "times like 2024-05-01T12:00:00.5Z")


def _wrong(path: Path, place: str, found: str, expected: str) -> LogError:
    return LogError(
        path, found=f"{place}: {found}", expected=expected, todo="correct the description"
    )
