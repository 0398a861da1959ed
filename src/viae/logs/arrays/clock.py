"""When each row of an episode was: by stored times, by a stated rate, or by a declared assumption.

Stored times: an array named ``timestamp``, ``time`` or ``t`` (see `names.TIME`), one number a row.
The unit is the one in its name; else that of the magnitude, where it can only be a date (years 1990
to 2100 in s, ms, µs or ns); else seconds for floating-point and nanoseconds for whole numbers.
Whole numbers that advance by less than a microsecond a row so read are an index, not times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.logs.arrays.names import unit_of_time
from viae.schema import NS_PER_S, TimesNs

NS = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
DATES_S = (631_152_000, 4_102_444_800)
"""1990 and 2100, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clock:
    """The times of the rows of an episode.

    Args:
        said: where they come from, as a sentence.
        rate_hz: rows per second, where times are derived.
        times_ns: int64 [N], where times are stored.
        known: bool [N], which of the stored times could be read.
    """

    said: str
    rate_hz: float = 0.0
    times_ns: TimesNs | None = None
    known: npt.NDArray[np.bool_] | None = None

    def fits(self, rows: int, *, cut_short: bool = False) -> bool:
        """Whether an array of so many rows can be on this clock: as many, or one fewer.

        Any fewer, where it is known to hold the first ones.
        """
        n = rows if self.times_ns is None else len(self.times_ns)
        return rows in (n, n - 1) or (cut_short and rows <= n)

    def at(
        self, start: int, stop: int, *, ahead: int = 0
    ) -> tuple[TimesNs, npt.NDArray[np.bool_] | None]:
        """Times of rows start to stop, and which of them are known (None for all).

        Args:
            start: first row.
            stop: past the last.
            ahead: 1 for rows that were seen one step later. Past the last stored time, the last
                step is taken once more.
        """
        rows = np.arange(start + ahead, stop + ahead)
        if self.times_ns is None:
            return np.rint(rows * (NS_PER_S / self.rate_hz)).astype(np.int64), None
        n = len(self.times_ns)
        inside = np.minimum(rows, n - 1)
        times_ns = self.times_ns[inside]
        if n > 1:
            times_ns = times_ns + (rows - inside) * (self.times_ns[-1] - self.times_ns[-2])
        return times_ns, None if self.known is None else self.known[inside]


def to_times(
    path: str, values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]
) -> tuple[TimesNs, str] | None:
    """Stored numbers as times, and their unit; None where they cannot be times.

    Args:
        path: the array's name, which may state the unit.
        values: [N], of any dtype.
        known: bool [N], which of them could be read; the others come out as 0.
    """
    sure = values[known]
    if sure.dtype.kind == "M":
        if np.isnat(sure).any():
            return None
        times_ns = np.zeros(len(values), np.int64)
        times_ns[known] = sure.astype("datetime64[ns]").astype(np.int64)
        return times_ns, str(values.dtype)
    if sure.dtype.kind not in "iuf" or not len(sure) or not np.isfinite(sure).all():
        return None
    unit = unit_of_time(path) or _unit_of_date(sure)
    if not unit:
        unit = "s" if sure.dtype.kind == "f" else "ns"
        if unit == "ns" and len(sure) > 1 and np.median(np.abs(_steps(sure))) < 1_000:
            return None
    largest = max(abs(sure.min().item()), abs(sure.max().item()))
    if largest * NS[unit] >= 2**62:
        return None
    times_ns = np.zeros(len(values), np.int64)
    if sure.dtype.kind == "f":
        times_ns[known] = np.rint(sure.astype(np.float64) * NS[unit]).astype(np.int64)
    else:
        times_ns[known] = sure.astype(np.int64) * NS[unit]
    return times_ns, unit


def _steps(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return np.diff(values.astype(np.float64))


def _unit_of_date(values: npt.NDArray[np.generic]) -> str:
    typical = float(np.median(values.astype(np.float64)))
    for unit, ns in NS.items():
        if DATES_S[0] <= typical * ns / NS_PER_S <= DATES_S[1]:
            return unit
    return ""
