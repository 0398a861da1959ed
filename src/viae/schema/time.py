"""Time as viae keeps it: int64 nanoseconds, seconds only where a person reads or writes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NS_PER_S = 1_000_000_000

TimesNs = npt.NDArray[np.int64]


def to_ns(seconds: float) -> int:
    """Seconds to whole nanoseconds, rounded to nearest."""
    return round(seconds * NS_PER_S)


def to_s(ns: int | np.int64) -> float:
    """Nanoseconds to seconds."""
    return int(ns) / NS_PER_S
