"""Clock models: from a sensor's own clock to the log's, out of the stamps alone.

A sample is captured, travels, and arrives; travelling takes some time, never less than none. So the
true line of clock against clock lies *under* all points (capture, arrival - capture), and touches
those that travelled fastest. Least squares would take the mean delay for an offset, and a busy
minute for a drift. The line wanted is the one under all points whose distances to them sum up to
the least (Moon, Skelly and Towsley, "Estimation and removal of clock skew from network delay
measurements", INFOCOM 1999); it is the maximum-likelihood line for exponential delays, and is the
edge of the lower convex hull under the mean capture time.

What cannot be known: a delay that *every* sample has. The offset is right up to the least delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError, UsageError
from viae.schema import TimesNs

Floats = npt.NDArray[np.float64]

JUMP_NS = 20_000_000
"""The least step of a clock that is looked for: below, it cannot be told from a delay."""
EVENT_JUMP_NS = 5_000_000_000
"""Likewise where samples follow no rate."""
REGULAR = 0.6
"""Share of intervals near the median from which on they do."""
SIDE = 25
"""Samples on either side of a step that have to agree on it."""
LEAST_SIDE = 5
"""And how many of them are enough near an end."""
OFFSET_SPACINGS = 8.5
DRIFT_SPACINGS = 30.0
"""Half-widths of 99% intervals in units of the mean spacing of the least delays (and of that over
the span); found by simulating exponential delays at even times, 100 to 6,000 samples."""
FARTHEST_NS = 1 << 62
"""An offset that leaves room in 64 bits for the times themselves: 146 years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockPiece:
    """One clock as long as it runs without a step.

    Args:
        from_ns: arrival of its first sample, log clock.
        capture_ns: a moment by the stream's clock, inside the piece.
        log_ns: the same moment by the log's clock.
        drift_ppm: how much faster the stream's clock runs than the log's, in millionths: -7000 for
            a simulation at 0.993 of wall time.
        offset_error_ns: half-width of a 99% interval of ``log_ns``, for exponential delays.
        drift_error_ppm: likewise of ``drift_ppm``; infinite where there are too few samples.
        count: samples it rests on.
    """

    from_ns: int
    capture_ns: int
    log_ns: int
    drift_ppm: float
    offset_error_ns: float
    drift_error_ppm: float
    count: int

    @property
    def offset_ns(self) -> int:
        """How far the stream's clock is ahead of the log's at that moment; negative if behind."""
        return self.capture_ns - self.log_ns

    def apply(self, capture_ns: TimesNs) -> TimesNs:
        """Stream clock to log clock: int64 [N] to int64 [N]."""
        since = capture_ns - self.capture_ns
        rate = 1 + self.drift_ppm * 1e-6
        # Only the small difference goes through floats: nanoseconds of an epoch do not fit.
        with np.errstate(invalid="ignore"):  # of stamps that are no times
            moved: TimesNs = np.rint(since * (1 / rate - 1)).astype(np.int64)
        return self.log_ns + since + moved


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockModel:
    """Maps a stream's clock to the log's, piece by piece.

    Args:
        pieces: in the order of their ``from_ns``; at least one.

    Raises:
        SchemaError: there is no piece, or they are not in order.
    """

    pieces: tuple[ClockPiece, ...]

    def __post_init__(self) -> None:
        starts = [piece.from_ns for piece in self.pieces]
        if not starts or starts != sorted(starts):
            raise SchemaError(f"a clock model needs pieces in order, not from {starts}")

    def apply(self, capture_ns: TimesNs, arrival_ns: TimesNs | None = None) -> TimesNs:
        """Capture times on the log's clock.

        Args:
            capture_ns: int64 [N], the stream's clock.
            arrival_ns: int64 [N], log clock: says which piece holds. A clock that was set back
                shows the same time twice, so capture alone cannot say. Needed where there are
                several pieces.

        Returns:
            int64 [N], ns.

        Raises:
            SchemaError: arrivals are needed and absent, or of another length.

        Cost: O(N log P).
        """
        if arrival_ns is None:
            if len(self.pieces) > 1:
                raise SchemaError(
                    f"this clock has {len(self.pieces)} pieces: give arrival_ns, which says where "
                    "each holds"
                )
            return self.pieces[0].apply(capture_ns)
        _check_lengths(capture_ns, arrival_ns)
        mapped = np.empty(len(capture_ns), np.int64)
        which = self._pieces_of(arrival_ns)
        for number, piece in enumerate(self.pieces):
            mine = which == number
            mapped[mine] = piece.apply(capture_ns[mine])
        return mapped

    def delay_ns(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> TimesNs:
        """How much longer than the fastest each sample travelled: int64 [N], ns."""
        return arrival_ns - self.apply(capture_ns, arrival_ns)

    def _pieces_of(self, arrival_ns: TimesNs) -> npt.NDArray[np.intp]:
        starts = np.array([piece.from_ns for piece in self.pieces], np.int64)
        return np.maximum(np.searchsorted(starts, arrival_ns, side="right") - 1, 0)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "pieces": [
                {
                    "from_ns": piece.from_ns, "capture_ns": piece.capture_ns,
                    "log_ns": piece.log_ns, "drift_ppm": piece.drift_ppm,
                    "offset_error_ns": piece.offset_error_ns, "count": piece.count,
                    "drift_error_ppm": (
                        piece.drift_error_ppm if np.isfinite(piece.drift_error_ppm) else None
                    ),
                }
                for piece in self.pieces
            ]
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ClockModel:
        """The inverse of `to_json`."""
        pieces: Sequence[Mapping[str, Any]] = fields["pieces"]
        return cls(
            pieces=tuple(
                ClockPiece(
                    **{
                        **piece,
                        "drift_error_ppm": float("inf")
                        if piece["drift_error_ppm"] is None
                        else piece["drift_error_ppm"],
                    }
                )
                for piece in pieces
            )
        )


@dataclass(frozen=True, slots=True)
class ArrivalClock:
    """No clock: the stamps say less than the arrivals, and a sample counts as captured then."""

    def apply(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> TimesNs:
        """The arrivals: int64 [N], ns."""
        _check_lengths(capture_ns, arrival_ns)
        return arrival_ns

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"by": "arrival"}


Clock: TypeAlias = ClockModel | ArrivalClock
"""What puts the captures of a stream on the log's clock."""


def clock_from_json(fields: Mapping[str, Any]) -> Clock:
    """The inverse of `ClockModel.to_json` and `ArrivalClock.to_json`.

    Raises:
        SchemaError: it is neither.
    """
    if fields == {"by": "arrival"}:
        return ArrivalClock()
    try:
        return ClockModel.from_json(fields)
    except (KeyError, TypeError) as error:
        raise SchemaError(f"this is no clock: {str(fields)[:200]}") from error


def clock_by_hand(*, at_ns: int, offset_ns: int, drift_ppm: float = 0.0) -> ClockModel:
    """A clock that someone says: of one piece, and exact.

    Args:
        at_ns: a moment, log clock, at which the offset holds.
        offset_ns: how far the stream's clock is ahead of the log's then; negative if behind.
        drift_ppm: how much faster it runs.

    Raises:
        UsageError: the offset is beyond `FARTHEST_NS`, or the drift lets the clock stand still.
    """
    if abs(offset_ns) > FARTHEST_NS:
        raise UsageError(
            f"an offset of {offset_ns / 1e6:g} ms is more than {FARTHEST_NS // 1_000_000:,} ms, "
            "beyond which times do not fit"
        )
    if not -1e6 < drift_ppm < 1e6:
        raise UsageError(
            f"a drift of {drift_ppm:g} ppm is none: it lies between -1,000,000, where a clock "
            "stands still, and 1,000,000"
        )
    return ClockModel(
        pieces=(
            ClockPiece(
                from_ns=at_ns, capture_ns=at_ns + offset_ns, log_ns=at_ns, drift_ppm=drift_ppm,
                offset_error_ns=0.0, drift_error_ppm=0.0, count=0,
            ),
        )
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockUse:
    """How the captures of a stream were dated in the windows of some episodes.

    Args:
        stamped: episodes in which they are as stamped.
        modelled: in which a clock model put them on the log's clock.
        by_arrival: in which the arrivals stand for them.
    """

    stamped: int = 0
    modelled: int = 0
    by_arrival: int = 0

    @property
    def is_by_arrival(self) -> bool:
        """Whether the stamps of no episode were looked at."""
        return self.by_arrival > 0 and not self.stamped and not self.modelled

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "stamped": self.stamped, "modelled": self.modelled, "by_arrival": self.by_arrival,
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ClockUse:
        """The inverse of `to_json`."""
        return cls(**fields)


def fit_clock(capture_ns: TimesNs, arrival_ns: TimesNs, *, jumps: bool = True) -> ClockModel:
    """The clock of a stream, from when its samples say they were captured and when they arrived.

    On 60 s with exponential delays of 2 ms and a rate of 30 Hz or more, the mapped time is within
    0.1 ms and the drift within 1 ppm of the truth, up to the least delay, which nothing can show.

    Args:
        capture_ns: int64 [N], the stream's clock; any order.
        arrival_ns: int64 [N], log clock; any order.
        jumps: whether to look for steps of the clock (`find_jumps`) and fit the pieces between.

    Returns:
        A model whose mapped captures are nowhere later than the arrivals, but for rounding.

    Raises:
        SchemaError: lengths differ, or there is no sample.

    Cost: O(N log N), about ten passes over the data.
    """
    _check_lengths(capture_ns, arrival_ns)
    if not len(capture_ns):
        raise SchemaError("a clock cannot be fitted to no samples")
    order = np.argsort(arrival_ns, kind="stable")
    capture_ns, arrival_ns = capture_ns[order], arrival_ns[order]
    steps = find_jumps(capture_ns, arrival_ns) if jumps else np.empty(0, np.int64)
    bounds = [0, *steps.tolist(), len(capture_ns)]
    return ClockModel(
        pieces=tuple(
            _fit_piece(capture_ns[start:stop], arrival_ns[start:stop])
            for start, stop in pairwise(bounds)
        )
    )


def find_jumps(capture_ns: TimesNs, arrival_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Where a clock stepped: restarted, was set, or lost a week.

    A step shows in the captures, which leap while the arrivals go on; what comes before and after
    agrees on its size. A late sample leaps too, but the next leaps back; a delivery that stalls
    leaps in the arrivals, while the captures go on.

    Args:
        capture_ns: int64 [N], the stream's clock.
        arrival_ns: int64 [N], log clock, not decreasing.

    Returns:
        int64 [J], indices of the first samples after a step, increasing.
    """
    n = len(capture_ns)
    if n < 2 * LEAST_SIDE:
        return np.empty(0, np.int64)
    lag = (arrival_ns - arrival_ns[0]) - (capture_ns - capture_ns[0])
    step = np.diff(lag)
    went = np.diff(capture_ns)
    period = float(np.median(went))
    leap = np.abs(went - period)
    least = max(JUMP_NS, 6 * float(np.median(np.abs(step))))
    if period <= 0 or (leap <= 0.5 * period).mean() < REGULAR:
        least = max(least, EVENT_JUMP_NS)  # with no rhythm, a leap of the captures proves little
    jumps: list[int] = []
    for at in (np.flatnonzero((np.abs(step) >= least) & (leap >= np.abs(step) / 2)) + 1).tolist():
        before = lag[max(at - SIDE, jumps[-1] if jumps else 0) : at]
        after = lag[at : at + SIDE]
        if min(len(before), len(after)) < LEAST_SIDE:
            continue
        shift = float(np.median(after) - np.median(before))
        spread = max(_half_spread(before), _half_spread(after))
        agrees = abs(shift - step[at - 1]) <= 0.5 * abs(step[at - 1])
        if agrees and abs(shift) >= max(JUMP_NS, 4 * spread):
            jumps.append(at)
    return np.array(jumps, np.int64)


def line_below(x: Floats, y: Floats) -> tuple[float, float]:
    """The line under all points that is closest to them in sum: slope, height at the mean of x.

    It is the lower hull's edge across the mean of x. The edge is found without the hull: for a
    given slope, the lowest point left of the mean and the lowest right of it; the slope at which
    both lie on one line is the root of a function that only increases.

    Args:
        x: float64 [N], N >= 1; any order.
        y: float64 [N].

    Returns:
        (slope, height). All x equal: slope 0 and the least y.

    Invariant: equal to `line_below_reference`.
    """
    middle = float(x.mean())
    left = x <= middle
    if left.all():
        return 0.0, float(y.min())
    x_left, y_left, x_right, y_right = x[left] - middle, y[left], x[~left] - middle, y[~left]
    # The slope of an edge lies between those of the steepest lines across the mean.
    gap = float(x_right.min() - x_left.max())
    reach = float(max(y_left.max(), y_right.max()) - min(y_left.min(), y_right.min())) / gap
    low, high = -reach, reach
    slope = 0.0
    for _ in range(200):
        a = int(np.argmin(y_left - slope * x_left))
        b = int(np.argmin(y_right - slope * x_right))
        run = float(x_right[b] - x_left[a])
        miss = float(y_left[a] - slope * x_left[a]) - float(y_right[b] - slope * x_right[b])
        if miss > 0:
            high = slope
        else:
            low = slope
        better = float(y_right[b] - y_left[a]) / run
        if better == slope or abs(miss) <= 1e-12 * (abs(float(y_left[a])) + abs(float(y_right[b]))):
            return better, float(y_left[a] - better * x_left[a])
        if not low < better < high:
            better = (low + high) / 2
            if better in (low, high):
                break
        slope = better
    return slope, float(min((y_left - slope * x_left).min(), (y_right - slope * x_right).min()))


def line_below_reference(x: Floats, y: Floats) -> tuple[float, float]:
    """`line_below` as it is defined: a linear program over slope and height.

    Maximise the sum of the line's values subject to the line being under every point.
    """
    from scipy.optimize import linprog

    since = x - x.mean()
    width = float(np.abs(since).max()) or 1.0
    height = float(np.abs(y - y.min()).max()) or 1.0
    solved = linprog(
        c=[-float((since / width).sum()), -float(len(x))],
        A_ub=np.stack([since / width, np.ones(len(x))], axis=1),
        b_ub=(y - y.min()) / height,
        bounds=[(0, 0) if not since.any() else (None, None), (None, None)],
        method="highs",
    )
    slope, level = np.asarray(solved.x, np.float64).tolist()
    return float(slope * height / width), float(level * height + y.min())


def _fit_piece(capture_ns: TimesNs, arrival_ns: TimesNs) -> ClockPiece:
    """The clock of samples among which it does not step; in order of arrival."""
    base, lag_base = int(capture_ns[0]), int(arrival_ns[0] - capture_ns[0])
    since = (capture_ns - base).astype(np.float64)
    lag = (arrival_ns - capture_ns - lag_base).astype(np.float64)
    slope, height = line_below(since, lag)
    middle = float(since.mean())
    if slope <= -0.999_999_999_999:  # later captures arrive earlier: that is no clock
        slope, height = 0.0, float(lag.min())
    # arrival = capture + lag: a clock that runs at (1 + d) of the log's has a lag of slope -d/(1+d)
    drift = -slope / (1 + slope)
    spacing = _least_spacing(lag - height - slope * (since - middle))
    span = float(np.ptp(since))
    enough = len(since) >= 10 and span > 0
    moment = round(middle)
    return ClockPiece(
        from_ns=int(arrival_ns[0]),
        capture_ns=base + moment,
        log_ns=base + moment + lag_base + round(height + slope * (moment - middle)),
        drift_ppm=drift * 1e6,
        offset_error_ns=OFFSET_SPACINGS * spacing,
        drift_error_ppm=DRIFT_SPACINGS * spacing / span * 1e6 if enough else float("inf"),
        count=len(since),
    )


def _least_spacing(delay: Floats) -> float:
    """Mean distance between neighbours among the smallest delays: 1 / (N · density at none)."""
    few = min(len(delay) - 1, max(2, round(len(delay) ** 0.5)))
    return float(np.partition(delay, few)[few]) / few if few > 0 else 0.0


def _half_spread(values: npt.NDArray[np.int64]) -> float:
    low, high = np.percentile(values - values[0], [25, 75])
    return float(high - low) / 2


def _check_lengths(capture_ns: TimesNs, arrival_ns: TimesNs) -> None:
    if len(capture_ns) != len(arrival_ns):
        raise SchemaError(f"{len(capture_ns)} captures for {len(arrival_ns)} arrivals")
