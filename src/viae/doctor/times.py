"""The times of one stream, looked at once: intervals, period, and whether it keeps one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.doctor.trace import StreamTrace
from viae.schema import NS_PER_S, TimesNs

LEAST = 20
"""Samples below which nothing is said of a stream's rate or clock."""
STALL_PERIODS = 10
"""Intervals that a stream may be silent before that is a gap."""
STEADY = 0.97
"""Share of the intervals of at most three periods from which on a stream is steady; with
intervals as random as a Poisson process's it is 0.875."""
TIGHT = 0.3
"""Share of the intervals within 20% of the period, likewise; a Poisson process has 0.14."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Times:
    """What the checks of times share.

    Args:
        capture_ns: int64 [N], in the order of arrival.
        arrival_ns: int64 [N], likewise.
        stamped: whether captures are other than arrivals, and can be believed.
        base_ns: int64 [N], sorted: captures where stamped, else arrivals.
        step_ns: int64 [N - 1], intervals of ``base_ns``.
        period_ns: median interval; 0 where there is none.
        steady: whether the stream has a rate at all, or follows events.
        tight: share of the intervals within 20% of the period.
    """

    capture_ns: TimesNs
    arrival_ns: TimesNs
    stamped: bool
    base_ns: TimesNs
    step_ns: TimesNs
    period_ns: float
    steady: bool
    tight: float

    @classmethod
    def of(cls, stream: StreamTrace, *, believed: bool = True) -> Times:
        """The times of a stream; of its arrivals alone where its captures are not believed."""
        # Samples that arrive at once are not late to each other.
        order = np.lexsort((stream.capture_ns, stream.arrival_ns))
        capture_ns, arrival_ns = stream.capture_ns[order], stream.arrival_ns[order]
        stamped = believed and not np.array_equal(capture_ns, arrival_ns)
        base_ns = np.sort(capture_ns) if stamped else arrival_ns
        step_ns = np.diff(base_ns)
        period_ns = float(np.median(step_ns)) if len(step_ns) else 0.0
        steady, tight = False, 0.0
        if len(base_ns) >= LEAST and period_ns > 0:
            steady = _steady(step_ns, period_ns)
            tight = _tight(step_ns, period_ns)
        return cls(
            capture_ns=capture_ns, arrival_ns=arrival_ns, stamped=stamped, base_ns=base_ns,
            step_ns=step_ns, period_ns=period_ns, steady=steady, tight=tight,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.base_ns)

    @property
    def lag_ns(self) -> TimesNs:
        """Arrival less capture: delay, and whatever the clocks disagree on."""
        return self.arrival_ns - self.capture_ns

    @property
    def late_ns(self) -> TimesNs:
        """By how much each sample is older than one that arrived before it; 0 where it is not."""
        if not len(self):
            return self.capture_ns
        newest: npt.NDArray[np.int64] = np.maximum.accumulate(self.capture_ns)
        return newest - self.capture_ns

    def arrival_at(self, base_index: int) -> int:
        """Log time of the sample at a position of ``base_ns``, ns."""
        if not self.stamped:
            return int(self.base_ns[base_index])
        return int(self.arrival_ns[np.argsort(self.capture_ns, kind="stable")[base_index]])


def keeps_rate(stamps_ns: TimesNs) -> bool:
    """Whether stamps, each taken once, have a rate."""
    step_ns: TimesNs = np.diff(np.unique(stamps_ns)).astype(np.int64)
    return len(step_ns) >= LEAST - 1 and _steady(step_ns, float(np.median(step_ns)))


def _steady(step_ns: TimesNs, period_ns: float) -> bool:
    # Batches of events follow each other closely, and fill little of the time.
    fills = period_ns * len(step_ns) >= 0.5 * float(step_ns.sum())
    near = float((step_ns <= 3 * period_ns).mean())
    return fills and near >= STEADY and _tight(step_ns, period_ns) >= TIGHT


def _tight(step_ns: TimesNs, period_ns: float) -> float:
    return float((np.abs(step_ns - period_ns) <= 0.2 * period_ns).mean())


def seconds(ns: float) -> str:
    """A duration as a person reads it: ``"66.2 days"``, ``"3.1 s"``, ``"20 ms"``, ``"1.5 µs"``."""
    size = abs(ns) / NS_PER_S
    for unit, factor in (("days", 86400.0), ("h", 3600.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if size >= factor * (2 if unit in {"days", "h"} else 1):
            value = ns / NS_PER_S / factor
            return f"{value:.3g} {unit}" if abs(value) < 999.5 else f"{value:,.0f} {unit}"
    return f"{ns:.0f} ns"
