"""When samples came: rates, gaps, bursts and order of one stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.naming import is_command
from viae.doctor.onestream import OneStream
from viae.doctor.placing import ends_early
from viae.doctor.times import LEAST, STALL_PERIODS, Times, keeps_rate, seconds
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import NS_PER_S, Kind
from viae.sequence.clock import fit_clock

ARRIVALS_BACKWARDS = rule(
    "arrivals-backwards", Severity.NOTE, "samples of a stream are not written as they arrived",
    consequence="none in viae, which orders by arrival; a reader that trusts the file's order errs",
    fix="Nothing, or sort the log when it is exported.",
)  # fmt: skip
STALL = rule(
    "stall", Severity.WARNING, "the stream pauses",
    consequence="a policy sees an old sample as if it were the present, or a jump in one step",
    fix="Mask windows across the gap (max_age), and find what held the sensor or the recorder up.",
)  # fmt: skip
BURST = rule(
    "burst", Severity.WARNING, "delivery pauses, then many samples arrive at once",
    consequence="by arrival, the policy is blind for the pause and then gets it all at once; by "
    "capture, training hides that",
    fix="Window by arrival, as viae does, and find what blocks the transport.",
)  # fmt: skip
BATCHED = rule(
    "batched-arrivals", Severity.NOTE, "samples arrive in batches",
    consequence="the age of the newest sample swings by a batch; frame-by-frame alignment hides it",
    fix="Give the age of each observation as input, or have the driver send sample by sample.",
)  # fmt: skip
SAMPLES_MISSING = rule(
    "samples-missing", Severity.WARNING, "single samples are missing",
    consequence="a step in frames is not always a step in time; velocities from differences err",
    fix="Use times, not frame numbers; look for drops in the driver, the network, the recorder.",
)  # fmt: skip
RATE_CHANGES = rule(
    "rate-changes", Severity.WARNING, "the rate changes during the episode",
    consequence="a history of n samples spans another time before the change than after it",
    fix="Give window offsets in seconds; fix the camera's exposure or the publisher's rate.",
)  # fmt: skip
IRREGULAR = rule(
    "irregular-rate", Severity.NOTE, "the intervals between samples vary widely",
    consequence="alignment by frame number errs by up to the jitter",
    fix="Give window offsets in seconds; sample on a timer of high priority.",
)  # fmt: skip
REPEATED_STAMPS = rule(
    "repeated-stamps", Severity.WARNING, "consecutive samples have equal stamps",
    consequence="differences over time divide by zero, and which sample is newer is unknown",
    fix="Stamp when a sample is taken, with enough digits; drop samples that are sent twice.",
)  # fmt: skip
OUT_OF_ORDER = rule(
    "out-of-order", Severity.WARNING, "samples arrive after newer ones",
    consequence="a reader that takes the last arrived for the newest steps back in time",
    fix="Look up by capture among what has arrived, as viae does; use an ordered transport.",
)  # fmt: skip
EXACT_GRID = rule(
    "exact-grid-times", Severity.WARNING, "times are an exact grid: the real ones are lost",
    consequence="jitter, drops and delays of the recording cannot be seen or modelled",
    fix="Convert from the original log again and keep its times; nothing can be repaired here.",
)  # fmt: skip
STALL_NS = NS_PER_S // 2
BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTiming:
    """The figures of a stream's row in the doctor's table; None where there is no such figure.

    Args:
        count: samples.
        start_ns: first arrival, log clock.
        span_s: from the first arrival to the last.
        rate_hz: one over the median interval, by capture where it is stamped.
        jitter_ms: spread of the intervals (interquartile range / 1.349).
        longest_gap_s: the longest interval.
        repeated: samples stamped like the one before.
        zero: stamps of 0.
        out_of_order: samples recorded after a newer one.
        worst_late_ms: by how much the worst of them.
        delay_median_ms: arrival less capture.
        delay_p99_ms: likewise.
        offset_ms: how far the stream's clock is ahead of the log's, up to the least delay.
        drift_ppm: how much faster it runs.
        jumps: steps of the clock.
    """

    count: int
    start_ns: int | None = None
    span_s: float | None = None
    rate_hz: float | None = None
    jitter_ms: float | None = None
    longest_gap_s: float | None = None
    repeated: int = 0
    zero: int = 0
    out_of_order: int = 0
    worst_late_ms: float = 0.0
    delay_median_ms: float | None = None
    delay_p99_ms: float | None = None
    offset_ms: float | None = None
    drift_ppm: float | None = None
    jumps: int = 0


def timing_of(stream: StreamTrace) -> StreamTiming:
    """The figures of a stream; cost O(N log N)."""
    if not len(stream):
        return StreamTiming(count=0)
    with np.errstate(all="ignore"):  # garbage overflows
        return _timing_of(stream)


def _timing_of(stream: StreamTrace) -> StreamTiming:
    count = len(stream)
    stuck = not np.ptp(stream.capture_ns)
    times = Times.of(stream, believed=not stuck)
    low, high = np.percentile(times.step_ns, [25, 75]) if count > 1 else (None, None)
    stamped = not np.array_equal(stream.capture_ns, stream.arrival_ns)
    lag = times.lag_ns
    middle, p99 = (np.percentile(lag - lag[0], [50, 99]) + float(lag[0])) / 1e6
    model = fit_clock(stream.capture_ns, stream.arrival_ns) if stamped and not stuck else None
    longest = max(model.pieces, key=lambda piece: piece.count) if model else None
    late = times.late_ns
    return StreamTiming(
        count=count,
        start_ns=int(stream.arrival_ns.min()),
        span_s=float(np.ptp(stream.arrival_ns)) / NS_PER_S,
        rate_hz=NS_PER_S / times.period_ns if times.period_ns > 0 else None,
        jitter_ms=None if low is None else float(high - low) / 1.349e6,
        longest_gap_s=float(times.step_ns.max()) / NS_PER_S if count > 1 else None,
        repeated=int((np.diff(stream.capture_ns) == 0).sum()),
        zero=int(((stream.capture_ns == 0) & (stream.arrival_ns != 0)).sum()),
        out_of_order=int((late > 0).sum()),
        worst_late_ms=float(late.max()) / 1e6,
        delay_median_ms=float(middle) if stamped else None,
        delay_p99_ms=float(p99) if stamped else None,
        offset_ms=longest.offset_ns / 1e6 if longest else None,
        drift_ppm=longest.drift_ppm if longest and count >= LEAST else None,
        jumps=len(model.pieces) - 1 if model else 0,
    )


def check(trace: EpisodeTrace, *, unbelievable: Collection[str] = ()) -> Iterator[Finding]:
    """Findings about when the samples of an episode came.

    Args:
        trace: the episode.
        unbelievable: streams whose captures say nothing, by what `clocks` found.
    """
    views = {
        name: Times.of(stream, believed=name not in unbelievable)
        for name, stream in trace.streams.items()
    }
    for name, stream in trace.streams.items():
        yield from _Stream(trace, name, stream, views[name]).findings()
    yield from ends_early(trace, views)


@dataclass(frozen=True, slots=True)
class _Stream(OneStream):
    times: Times

    def findings(self) -> Iterator[Finding]:
        times = self.times
        backwards = -np.diff(self.stream.arrival_ns)
        if len(backwards) and backwards.max() > 0:
            yield self.found(
                ARRIVALS_BACKWARDS,
                f"{int((backwards > 0).sum())} times a sample arrived before the one written "
                f"before it, by up to {seconds(float(backwards.max()))}",
                {"worst_ms": float(backwards.max()) / 1e6}, count=int((backwards > 0).sum()),
                at=int(self.stream.arrival_ns[1:][backwards > 0][0]),
            )  # fmt: skip
        if len(times) < LEAST or times.period_ns <= 0:
            if len(times) > 1 and times.base_ns[-1] > times.base_ns[0]:
                yield from self._order()
            return
        if (grid := self._grid()) is not None:
            yield grid
            return
        yield from self._order()
        yield from self._gaps()
        if (batched := self._batched()) is not None:
            yield batched
        if (rate := self._rate_changes()) is not None:
            yield rate
            return
        for one in (self._missing, self._irregular):
            if (finding := one()) is not None:
                yield finding
                return

    def _order(self) -> Iterator[Finding]:
        times, n = self.times, len(self.times)
        numbers = self.stream.spec.kind not in {Kind.TEXT, Kind.BYTES}
        if times.stamped:
            late = times.late_ns
            worst = float(late.max(initial=0))
            # Events come from many sources under one name; that they cross is no disorder.
            if worst > (0 if numbers and times.steady else NS_PER_S):
                yield self.found(
                    OUT_OF_ORDER,
                    f"{int((late > 0).sum())} of {n} samples are older than one that came before, "
                    f"by up to {seconds(worst)}",
                    {"worst_ms": worst / 1e6, "share": float((late > 0).mean())},
                    at=int(times.arrival_ns[late > 0][0]), count=int((late > 0).sum()),
                )  # fmt: skip
        stamps = times.capture_ns if times.stamped else times.arrival_ns
        same = np.flatnonzero(np.diff(stamps) == 0) + 1
        # No batch of events. (Messages that are all sent twice have a rate once they are not.)
        rated = times.steady or Times.of(self.stream, believed=False).steady or keeps_rate(stamps)
        if numbers and rated and len(same) >= max(3, n // 100):
            yield self.found(
                REPEATED_STAMPS, f"{len(same)} of {n} samples are stamped like the one before",
                {"share": len(same) / n}, at=int(times.arrival_ns[same[0]]), count=len(same),
            )  # fmt: skip

    def _grid(self) -> Finding | None:
        """Both stamps i/rate to the rounding of the floats that they went through."""
        times = self.times
        if any("sim" in stream.spec.clock.lower() for stream in self.trace.streams.values()):
            return None  # a simulator's time is a grid, and its log's may be the simulator's
        n = len(times)
        for each in (times.base_ns, times.arrival_ns):
            since = (each - each[0]).astype(np.float64)
            period = since[-1] / (n - 1)
            rounding = max(1000.0, float(np.abs(since).max()) * 2.0**-23)
            off = np.abs(since - period * np.arange(n)).max()
            if period < 1e5 or off > min(rounding, period / 100):
                return None
        return self.found(
            EXACT_GRID,
            f"all {n} samples lie within {seconds(max(float(off), 1.0))} of multiples of "
            f"{period / 1e6:.4f} ms ({NS_PER_S / period:.4g} Hz)",
            {"rate_hz": NS_PER_S / period, "off_us": float(off) / 1e3}, count=n,
        )  # fmt: skip

    def _gaps(self) -> Iterator[Finding]:
        times = self.times
        if not times.steady:
            return
        if not times.stamped and times.tight < 0.8 and is_command(self.stream.spec):
            return  # commands that come when they are given; none was
        least = max(STALL_PERIODS * times.period_ns, STALL_NS)
        gaps = np.flatnonzero(times.step_ns >= least)
        bursts: list[tuple[int, float, int]] = []
        if times.stamped:
            stalls = gaps.tolist()
            arrived = times.arrival_ns
            pauses = np.diff(arrived)
            took = np.diff(times.capture_ns)
            for at in np.flatnonzero((pauses >= least) & (took < pauses / 2)).tolist():
                together = int(((arrived[at + 1 :] - arrived[at + 1]) < pauses[at] / 4).sum())
                bursts.append((int(arrived[at]), float(pauses[at]), together))
        else:
            stalls = []
            for at in gaps.tolist():
                gap = float(times.step_ns[at])
                after = times.base_ns[at + 1 :] - times.base_ns[at + 1]
                caught_up = int((after < gap / 2).sum()) - gap / 2 / times.period_ns
                if caught_up >= 0.4 * gap / times.period_ns:
                    bursts.append((int(times.base_ns[at]), gap, round(caught_up)))
                else:
                    stalls.append(at)
        if stalls:
            lengths = times.step_ns[stalls]
            yield self.found(
                STALL,
                f"{_many(len(stalls), 'gap')} of {STALL_PERIODS} periods or more, together "
                f"{seconds(float(lengths.sum()))}, the longest {seconds(float(lengths.max()))} "
                f"({lengths.max() / times.period_ns:.0f} periods of "
                f"{seconds(times.period_ns)})",
                {"longest_s": float(lengths.max()) / NS_PER_S,
                 "total_s": float(lengths.sum()) / NS_PER_S},
                at=times.arrival_at(stalls[0]), count=len(stalls),
            )  # fmt: skip
        if bursts:
            at_ns, pause, together = max(bursts, key=lambda burst: burst[1])
            yield self.found(
                BURST,
                f"{_many(len(bursts), 'pause')} in delivery, the longest {seconds(pause)}, "
                f"after which {together} samples arrived at once",
                {"longest_s": pause / NS_PER_S, "together": together}, at=at_ns, count=len(bursts),
            )  # fmt: skip

    def _batched(self) -> Finding | None:
        times = self.times
        if not times.stamped or not times.steady:
            return None
        step = np.diff(times.arrival_ns)
        pauses = step >= 0.2 * times.period_ns
        if not pauses.any():
            return None
        size = len(times) / float(pauses.sum() + 1)
        between = float(np.median(step[pauses]))
        if size < BATCH or between < max(BATCH * times.period_ns * 0.75, 20e6):
            return None
        return self.found(
            BATCHED,
            f"samples come {size:.0f} at a time, every {seconds(between)}, though they were taken "
            f"every {seconds(times.period_ns)}",
            {"batch": size, "every_ms": between / 1e6}, count=int(pauses.sum()) + 1,
        )  # fmt: skip

    def _rate_changes(self) -> Finding | None:
        times = self.times
        third = len(times.step_ns) // 3
        if third < LEAST:
            return None
        periods = []
        for part in (times.step_ns[:third], times.step_ns[-third:]):
            period = float(np.median(part))
            if period <= 0 or (np.abs(part - period) <= 0.2 * period).mean() < 0.8:
                return None
            periods.append(period)
        ratio = periods[1] / periods[0]
        if max(ratio, 1 / ratio) < 1.25:
            return None
        before, after = (NS_PER_S / period for period in periods)
        return self.found(
            RATE_CHANGES, f"{before:.3g} Hz in the first third, {after:.3g} Hz in the last",
            {"before_hz": before, "after_hz": after},
        )  # fmt: skip

    def _missing(self) -> Finding | None:
        times = self.times
        if not times.stamped or times.tight < 0.8:
            return None  # by arrivals alone, an event that did not happen looks the same
        step, period = times.step_ns, times.period_ns
        holes = (step > 1.6 * period) & (step < max(STALL_PERIODS * period, STALL_NS))
        follows = np.append(step[1:], round(period)) < 0.7 * period  # late, not missing
        whole = np.abs(step / period - np.rint(step / period)) < 0.2
        found = np.flatnonzero(holes & whole & ~follows)
        if len(found) < max(3, 0.5 * holes.sum()):
            return None
        missing = int((np.rint(step[found] / period) - 1).sum())
        if missing < 0.005 * len(times):
            return None
        return self.found(
            SAMPLES_MISSING,
            f"{missing} samples are missing in {len(found)} places, where the interval is a "
            f"multiple of the period of {seconds(period)}",
            {"missing": missing, "share": missing / (missing + len(times))},
            at=times.arrival_at(int(found[0])), count=missing,
        )  # fmt: skip

    def _irregular(self) -> Finding | None:
        times = self.times
        numbers = self.stream.spec.kind not in {Kind.TEXT, Kind.BYTES}
        if not (times.stamped and times.steady and numbers) or len(times) < 5 * LEAST:
            return None
        low, high = np.percentile(times.step_ns, [25, 75])
        spread = float(high - low) / 1.349
        if spread < 0.25 * times.period_ns:
            return None
        return self.found(
            IRREGULAR,
            f"intervals of {seconds(times.period_ns)} spread by {seconds(spread)}",
            {"jitter_ms": spread / 1e6, "period_ms": times.period_ns / 1e6},
        )  # fmt: skip


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
