"""Whether stamps are on the log's clock, and what puts them there: one judgement for everyone.

The doctor tells a user what these rules find, and ingest corrects by them. Stamps that can be on
the log's clock stay as they are: a camera's constant 30 ms is a delay, and no clock that is behind.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from viae.schema import NS_PER_S, TimesNs
from viae.sequence.clock import (
    SIDE,
    ArrivalClock,
    Clock,
    ClockModel,
    ClockPiece,
    find_jumps,
    fit_clock,
    line_below,
)

LEAST = 20
"""Samples below which nothing is said of a stream's rate or pace."""
LEAST_BEHIND = 6
"""And below which a clock is not said to be behind: what is sent once may be old."""
OFFSET_NS = 5 * NS_PER_S
"""A delay is shorter, an offset longer; neither can be told from the other by stamps alone."""
AHEAD_NS = NS_PER_S
"""No delay is negative: ahead by so much is an offset, by less a stamp in the future."""
FUTURE_NS = 5_000_000
DRIFT_PPM = 10.0
PACE_PPM = 1000.0
"""No oscillator is so bad: beyond, time is made or a queue grows."""
UNIT_PPM = 900_000.0
"""And beyond, stamps are in another unit."""
DRIFT_SPAN_NS = 10 * NS_PER_S
DRIFT_NS = 5_000_000
"""A drift that comes to less over an episode is left in the stamps."""
BAND_NS = 50_000_000
FAR_NS = 1 << 62
"""No time is so far from 1970, and differences of nearer ones fit."""
MOST_PIECES = 64
"""What steps more often is no clock."""
UNITS = {-9: "seconds", -6: "milliseconds", -3: "microseconds", 3: "picoseconds"}
SECONDS = -9


def two_clocks(capture_ns: TimesNs, arrival_ns: TimesNs) -> npt.NDArray[np.bool_] | None:
    """Two bands of lag, between which the stream goes to and fro, that no delay explains.

    Args:
        capture_ns: int64 [N], in the order of arrival.
        arrival_ns: int64 [N].

    Returns:
        bool [N], the samples of the band that lags more; None where there is one clock.
    """
    lag = arrival_ns - capture_ns
    ordered = np.sort(lag)
    few = max(2, len(lag) // 20)
    gaps = np.diff(ordered)[few - 1 : len(lag) - few]
    if len(gaps) == 0:
        return None
    cut = int(np.argmax(gaps)) + few
    gap = int(ordered[cut] - ordered[cut - 1])
    width = max(
        float(np.ptp(np.percentile(band - band[0], [5, 95])))
        for band in (ordered[:cut], ordered[cut:])
    )
    upper: npt.NDArray[np.bool_] = lag >= ordered[cut]
    turns = int((upper[1:] != upper[:-1]).sum())
    if gap < max(BAND_NS, 5 * width) or turns < max(6, len(lag) // 50):
        return None
    if gap < NS_PER_S and _fills_its_grid(capture_ns, arrival_ns):
        return None  # late samples, which belong where their stamps say
    return upper


def unit_of(capture_ns: TimesNs, arrival_ns: TimesNs) -> int | None:
    """The power of ten of the unit that stamps are in, a key of `UNITS`; None for nanoseconds.

    Args:
        capture_ns: int64 [N], in the order of arrival.
        arrival_ns: int64 [N].
    """
    pace = pace_of(capture_ns, arrival_ns)
    if pace <= 0:
        return None
    power = round(math.log10(pace) / 3) * 3
    return power if power in UNITS and abs(math.log10(pace) - power) <= 0.05 else None


def unit_of_fraction(capture_ns: TimesNs, arrival_ns: TimesNs) -> int | None:
    """Likewise of stamps whose whole seconds are right, and whose fraction is in another unit."""
    second, part = np.divmod(capture_ns, NS_PER_S)
    most = int(part.max())
    fitting = [
        power
        for power in UNITS
        if -9 < power < 0 and 10 ** (9 + power) // 4 <= most < 10 ** (9 + power)
    ]
    if not fitting or len(np.unique(part)) < LEAST // 2:
        return None
    passed, took = int(np.ptp(second)) * NS_PER_S, int(np.ptp(arrival_ns))
    if passed < 3 * NS_PER_S or abs(passed - took) > 2 * NS_PER_S + took // 100:
        return None  # a clock that hardly moves, whose seconds are no seconds
    return fitting[0]


def pace_of(capture_ns: TimesNs, arrival_ns: TimesNs) -> float:
    """Capture time that goes by in a unit of arrival time; 0 where the episode is too short."""
    few = max(1, len(capture_ns) // 10)
    captured = float(np.median(capture_ns[-few:] - capture_ns[0])) - float(
        np.median(capture_ns[:few] - capture_ns[0])
    )
    arrived = float(np.median(arrival_ns[-few:] - arrival_ns[0])) - float(
        np.median(arrival_ns[:few] - arrival_ns[0])
    )
    return captured / arrived if arrived >= NS_PER_S / 2 else 0.0


def drifts(
    piece: ClockPiece, capture_ns: TimesNs, arrival_ns: TimesNs, *, least_ppm: float = DRIFT_PPM
) -> bool:
    """Whether a clock drifts, beyond what delays can feign.

    Args:
        piece: fitted to the samples.
        capture_ns: int64 [N], in the order of arrival.
        arrival_ns: int64 [N].
        least_ppm: a smaller drift is none.
    """
    drift, error = piece.drift_ppm, piece.drift_error_ppm
    span = int(np.ptp(arrival_ns))
    least_span = DRIFT_SPAN_NS / (5 if abs(drift) > PACE_PPM else 1)
    if abs(drift) < max(least_ppm, 3 * error) or span < least_span:
        return False
    half = len(capture_ns) // 2
    for part in (slice(None, half), slice(half, None)):
        # A drift is a drift all the time; a path that became slower once is none.
        other = fit_clock(capture_ns[part], arrival_ns[part], jumps=False).pieces[0].drift_ppm
        if abs(other - drift) > 0.5 * abs(drift):
            return False
    return True


class Stamps:
    """The stamps of one stream as they go by, in bounded memory, and what corrects them.

    Up to `EXACT` pairs of capture and arrival are kept; of more, the least delay of each run of
    samples, on which the fit rests. Steps of the clock and bands of lag are looked for before
    anything is let go.
    """

    EXACT = 4096
    """Pairs kept."""
    WAITING = 2048
    """Pairs looked at at once."""

    def __init__(self) -> None:
        self.samples = 0
        self.zeros = 0
        """Samples stamped 0 though they arrived long after; they are left out of all else."""
        self.ahead = 0
        """Samples captured after they arrived."""
        self.run = 1
        """Samples that a kept pair stands for."""
        self._equal = True
        self._no_clock = False
        self._jumps: list[int] = []
        self._kept = np.empty((2, 0), np.int64)
        self._waiting: list[npt.NDArray[np.int64]] = []
        self._count = 0
        self._context = 0  # so many of those that wait are settled, and are there as a context

    def add(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> None:
        """Take a block in.

        Args:
            capture_ns: int64 [N], by the stream's clock.
            arrival_ns: int64 [N], log clock.
        """
        pairs = np.stack([capture_ns, arrival_ns])
        self.samples += len(capture_ns)
        self._equal = self._equal and bool((pairs[0] == pairs[1]).all())
        self._no_clock = self._no_clock or bool(((pairs < -FAR_NS) | (pairs > FAR_NS)).any())
        if self._no_clock:
            return
        zero = (pairs[0] == 0) & (pairs[1] >= OFFSET_NS)
        if zero.any():
            self.zeros += int(zero.sum())
            pairs = pairs[:, ~zero]
        self.ahead += int((pairs[1] - pairs[0] < -FUTURE_NS).sum())
        while pairs.shape[1] and not self._no_clock:
            room = self.WAITING - self._count
            self._waiting.append(pairs[:, :room])
            self._count += min(room, pairs.shape[1])
            pairs = pairs[:, room:]
            if self._count == self.WAITING:
                self._settle(last=False)

    @property
    def pairs(self) -> npt.NDArray[np.int64]:
        """int64 [2, M], captures and arrivals kept, in the order of arrival; M <= `EXACT`."""
        self._settle(last=True)
        return self._kept

    def correction(self) -> Clock | None:
        """What puts the stamps on the log's clock; None where they are to be left alone.

        They are corrected on evidence only:

        - every stamp is 0, or counts whole seconds: the arrival says more;
        - samples captured after they arrived, 1% of them by more than 5 ms;
        - no sample that arrived within 5 s of its stamp, and six at least;
        - another unit; a drift that lasts all the time and comes to 5 ms and more;
        - steps of the clock.

        Stamps that are no clock at all (zeros among others, two clocks in one field, a fraction of
        the second in another unit, one stamp for all) are left as they are.

        Where the stamps' own least delay is believable, it is kept; else the fastest sample is
        taken to have had none.
        """
        with np.errstate(all="ignore"):  # garbage overflows
            return self._correction()

    def _correction(self) -> Clock | None:
        if self.zeros and self.zeros == self.samples and not self._no_clock:
            return ArrivalClock()
        if self._equal or self._no_clock or self.zeros > 1 or self.samples == self.zeros:
            return None
        capture_ns, arrival_ns = self.pairs
        few = len(capture_ns) < LEAST
        stuck = len(capture_ns) >= LEAST_BEHIND and not np.ptp(capture_ns)
        if self._no_clock or stuck:
            return None
        if not few and unit_of(capture_ns, arrival_ns) == SECONDS:
            return ArrivalClock()
        broken = not few and unit_of_fraction(capture_ns, arrival_ns) is not None
        return None if broken else self._model(capture_ns, arrival_ns, few=few)

    def _model(self, capture_ns: TimesNs, arrival_ns: TimesNs, *, few: bool) -> ClockModel | None:
        parts = self._parts(arrival_ns)
        pieces = [
            _piece(from_ns, capture_ns[part], arrival_ns[part], few=few) for from_ns, part in parts
        ]
        lag = arrival_ns - capture_ns
        if len(parts) == 1 and not self._foreign(pieces[0], lag, int(np.ptp(arrival_ns))):
            return None
        keep_ns = _believable_ns([lag[part] for _, part in parts])
        pieces = [replace(piece, log_ns=piece.log_ns - keep_ns) for piece in pieces]
        model = ClockModel(pieces=tuple(pieces))
        delay_ns = model.delay_ns(capture_ns, arrival_ns)
        return model if float(np.median(delay_ns)) < OFFSET_NS else None  # else it is no clock

    def _foreign(self, piece: ClockPiece, lag: TimesNs, span_ns: int) -> bool:
        """Whether stamps of one piece cannot be on the log's clock."""
        least, most = int(lag.min()), int(lag.max())
        if self.ahead >= min(self.samples, max(2, self.samples // 100)):
            return True
        if least >= OFFSET_NS:
            return self.samples >= LEAST_BEHIND
        if abs(piece.drift_ppm) * 1e-6 * span_ns < DRIFT_NS or abs(piece.drift_ppm) < DRIFT_PPM:
            return False
        if PACE_PPM < abs(piece.drift_ppm) < UNIT_PPM:
            return most >= OFFSET_NS  # until then it may be a delay that grows: a queue
        return True

    def _parts(self, arrival_ns: TimesNs) -> list[tuple[int, slice]]:
        """Between steps of the clock: from when on, and which of the samples."""
        starts = [int(arrival_ns[0]), *sorted(self._jumps)]
        bounds = [*np.searchsorted(arrival_ns, np.array(starts, np.int64)), len(arrival_ns)]
        return [
            (from_ns, slice(int(start), int(stop)))
            for from_ns, (start, stop) in zip(starts, pairwise(bounds), strict=True)
            if start < stop
        ]

    def _settle(self, *, last: bool) -> None:
        """Look at the pairs that wait, keep the least of each run, and let the rest go."""
        if self._count <= self._context and not last:
            return
        waiting = _by_arrival(np.concatenate([self._kept[:, :0], *self._waiting], axis=1))
        count = waiting.shape[1]
        first, done = self._context, count if last else count - SIDE
        if first >= done:
            return
        capture_ns, arrival_ns = waiting
        with np.errstate(all="ignore"):
            if not (capture_ns == arrival_ns).all():
                jumps = find_jumps(capture_ns, arrival_ns)
                jumps = jumps[(jumps >= first) & (jumps < done)]
                self._jumps += arrival_ns[jumps].tolist()
                mixed = count >= LEAST and two_clocks(capture_ns, arrival_ns) is not None
                self._no_clock = mixed or len(self._jumps) >= MOST_PIECES
            fresh = self._thinned(waiting[:, first:done], self.run)
            kept = _by_arrival(np.concatenate([self._kept, fresh], axis=1))
            while kept.shape[1] > self.EXACT:
                self.run *= 2
                kept = self._thinned(kept, 2)
        self._kept = kept
        context = waiting[:, max(done - SIDE, 0) :]
        self._waiting, self._count = [context], context.shape[1]
        self._context = min(done, SIDE)

    def _thinned(self, pairs: npt.NDArray[np.int64], run: int) -> npt.NDArray[np.int64]:
        """The pair of the least delay in each run, runs ending where the clock steps."""
        if run == 1 or not pairs.shape[1]:
            return pairs
        parts = []
        for _, part in self._parts(pairs[1]):
            capture_ns, arrival_ns = pairs[:, part]
            since = (capture_ns - capture_ns[0]).astype(np.float64)
            lag = arrival_ns - capture_ns
            late = (lag - lag[0]).astype(np.float64)
            late -= line_below(since, late)[0] * since
            number = np.arange(len(late)) // run
            order = np.lexsort((late, number))
            least = np.sort(order[np.diff(number[order], prepend=-1) > 0])
            parts.append(pairs[:, part][:, least])
        return np.concatenate(parts, axis=1)


def correction(capture_ns: TimesNs, arrival_ns: TimesNs) -> Clock | None:
    """`Stamps.correction` of a stream whose stamps are all there: int64 [N] each."""
    stamps = Stamps()
    stamps.add(capture_ns, arrival_ns)
    return stamps.correction()


def _piece(from_ns: int, capture_ns: TimesNs, arrival_ns: TimesNs, *, few: bool) -> ClockPiece:
    """The clock of samples among which it does not step; without a drift that is not proved."""
    [piece] = fit_clock(capture_ns, arrival_ns, jumps=False).pieces
    piece = replace(piece, from_ns=from_ns)
    if not few and len(capture_ns) >= LEAST:
        wrong_unit = unit_of(capture_ns, arrival_ns) is not None
        if wrong_unit or drifts(piece, capture_ns, arrival_ns, least_ppm=0.0):
            return piece
    lag = arrival_ns - capture_ns
    return replace(piece, drift_ppm=0.0, log_ns=piece.capture_ns + int(lag.min()))


def _believable_ns(lags: list[TimesNs]) -> int:
    """The least delay by the stamps themselves, where some piece has one that can be; else 0."""
    least = [int(lag.min()) for lag in lags if int(np.median(lag - lag[0]) + lag[0]) < OFFSET_NS]
    return max(0, min((ns for ns in least if -FUTURE_NS <= ns < OFFSET_NS), default=0))


def _by_arrival(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return pairs[:, np.argsort(pairs[1], kind="stable")]


def _fills_its_grid(capture_ns: TimesNs, arrival_ns: TimesNs) -> bool:
    """Whether the captures, put in order, are as regular as one source's would be."""
    step = np.diff(np.sort(capture_ns)).astype(np.float64)
    period = float(np.ptp(arrival_ns)) / (len(arrival_ns) - 1)
    return bool((np.abs(step - period) <= 0.3 * period).mean() >= 0.6)
