"""Stamps against arrivals: what clock a stream is stamped by, and whether it can be believed.

One cause, one finding: the checks go from the coarsest lie to the finest, and stop at the first
that explains what the finer ones would see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.onestream import OneStream
from viae.doctor.times import LEAST, seconds
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.load.clocks import CLOCK_KEY
from viae.schema import NS_PER_S, JsonValue, TimesNs
from viae.sequence.clock import ClockPiece, fit_clock
from viae.sequence.stamps import (
    AHEAD_NS,
    FUTURE_NS,
    OFFSET_NS,
    PACE_PPM,
    UNITS,
    drifts,
    pace_of,
    two_clocks,
    unit_of,
    unit_of_fraction,
)  # fmt: skip

ZERO_STAMPS = rule(
    "zero-stamps", Severity.ERROR, "stamps are zero",
    consequence="nobody knows when these samples were taken; ordered by capture, zeros come first, "
    "and a window never finds them",
    fix="Set header.stamp in the publisher; for this log, take the arrival as capture.",
)  # fmt: skip
TIME_STUCK = rule(
    "time-never-advances", Severity.ERROR, "every sample has the same stamp",
    consequence="the samples have no times: a window sees all of them at one moment or none",
    fix="Stamp each sample when it is taken; for this log, leave the stream out or take the "
    "arrivals as captures where those move.",
)  # fmt: skip
WRONG_UNIT = rule(
    "wrong-unit", Severity.ERROR, "stamps are not in nanoseconds",
    consequence="the stream's time runs many times too slow or too fast against all others",
    fix="Multiply the stamps by the factor given when reading the log, in a mapping file.",
)  # fmt: skip
MIXED_CLOCKS = rule(
    "mixed-clocks", Severity.ERROR, "two clocks in one field",
    consequence="samples of one stream are shuffled against each other by the offset of the clocks",
    fix="Record each source under its own topic; for this log, take the arrival as capture.",
)  # fmt: skip
CLOCK_JUMP = rule(
    "clock-jump", Severity.ERROR, "the stream's clock stepped",
    consequence="samples before and after the step are as far apart as the clock says, not as they "
    "were: histories and action chunks across it are wrong",
    fix="Apply the clock model piece by piece; on the robot, slew clocks and never step them while "
    "recording.",
)  # fmt: skip
SIMULATION_TIME = rule(
    "simulation-time", Severity.WARNING, "stamps run at another pace than the log's time",
    consequence="velocities and delays by the stream's clock are wrong by the ratio when mixed "
    "with streams by the wall clock",
    fix="Record the simulation's clock as the log time, or apply the clock model. If it is no "
    "simulation, the delay grows: the recorder or the network cannot keep up.",
)  # fmt: skip
CLOCK_DRIFT = rule(
    "clock-drift", Severity.WARNING, "the stream's clock drifts",
    consequence="the stream's samples move against the others' during the episode, and what the "
    "policy learns of delays holds for no moment",
    fix="Apply the clock model; on the robot, synchronise the clocks (PTP, chrony).",
)  # fmt: skip
CLOCK_OFFSET = rule(
    "clock-offset", Severity.WARNING, "the stream's clock is not the log's",
    consequence="by capture, the stream's samples lie far from those of other streams",
    fix="Apply the clock model, which takes the offset out up to the least delay.",
)  # fmt: skip
FUTURE_STAMPS = rule(
    "future-stamps", Severity.WARNING, "samples were captured after they arrived",
    consequence="ordered by capture, a sample lies after decisions that it was known to",
    fix="Apply the clock model, or synchronise the sensor's clock with the recorder's.",
)  # fmt: skip
LARGE_DELAY = rule(
    "large-delay", Severity.WARNING, "samples arrive long after they were captured",
    consequence="the policy acts on the past; trained as if captures were known at once, it sees "
    "a future that it will not have",
    fix="Window by arrival, as viae does, and find where the time goes; or the clock is behind.",
)  # fmt: skip

CLOCK_CORRECTED = rule(
    "clock-corrected", Severity.NOTE, "a fact puts the stream's captures on the log's clock",
    consequence="none in viae, which applies it to windows and exports; whoever reads the store's "
    "tables gets captures as stamped",
    fix="See it with  viae clock ; take it back or say another there. On the robot, stamp by one "
    "clock.",
)  # fmt: skip

DELAY_NS = 250_000_000

UNBELIEVABLE = frozenset(
    rule.name for rule in (ZERO_STAMPS, TIME_STUCK, WRONG_UNIT, MIXED_CLOCKS, CLOCK_JUMP)
)
"""Findings after which captures say nothing about gaps and order."""


def check(trace: EpisodeTrace) -> Iterator[Finding]:
    """Findings about the clocks of an episode's streams.

    What a fact has corrected is not found again: it is said that it is corrected, and what was.
    """
    for name, stream in trace.streams.items():
        left = list(_Clock(trace, name, stream).findings())
        if stream.stamped_ns is not None:
            yield _corrected(trace, name, stream, {finding.name for finding in left})
        yield from left


def _corrected(
    trace: EpisodeTrace, name: str, stream: StreamTrace, left: Collection[str]
) -> Finding:
    """That a fact corrects a stream's captures, and what was wrong with them as recorded."""
    assert stream.stamped_ns is not None
    recorded = replace(stream, capture_ns=stream.stamped_ns, stamped_ns=None)
    before = _Clock(trace, name, recorded).findings()
    settled = [finding for finding in before if finding.name not in left]
    moved_ns = np.abs(stream.capture_ns - stream.stamped_ns)
    was = "; ".join(f"{finding.evidence} ({finding.name})" for finding in settled)
    farthest = float(moved_ns.max(initial=0))
    return _Clock(trace, name, stream).found(
        CLOCK_CORRECTED,
        f"captures are moved by up to {seconds(farthest)}, as the fact {CLOCK_KEY}{name} says"
        + (f"; as recorded, {was}" if was else ""),
        {"settles": [finding.name for finding in settled], "moved_ms": farthest / 1e6},
        at=int(stream.arrival_ns[0]) if len(stream) else None, count=int((moved_ns > 0).sum()),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Clock(OneStream):
    def findings(self) -> Iterator[Finding]:
        capture_ns, arrival_ns = self.stream.capture_ns, self.stream.arrival_ns
        stuck = self._stuck(capture_ns, arrival_ns)
        if stuck is not None:
            yield stuck
            return
        if np.array_equal(capture_ns, arrival_ns):
            return
        zero = (capture_ns == 0) & (arrival_ns != 0)
        if zero.sum() >= 2:
            yield self.found(
                ZERO_STAMPS, f"{int(zero.sum())} of {len(zero)} stamps are 0",
                {"share": float(zero.mean())}, at=int(arrival_ns[zero][0]), count=int(zero.sum()),
            )  # fmt: skip
            return
        keep = ~zero
        capture_ns, arrival_ns = capture_ns[keep], arrival_ns[keep]
        order = np.argsort(arrival_ns, kind="stable")
        capture_ns, arrival_ns = capture_ns[order], arrival_ns[order]
        if len(capture_ns) < LEAST:
            yield from self._level(capture_ns, arrival_ns)
            return
        for gross in (self._unit, self._mixed):
            if (finding := gross(capture_ns, arrival_ns)) is not None:
                yield finding
                return
        yield from self._model(capture_ns, arrival_ns)

    def _stuck(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> Finding | None:
        if len(capture_ns) < 6 or np.ptp(capture_ns):
            return None
        at = int(capture_ns[0])
        moves = int(np.ptp(arrival_ns))
        if at == 0 and moves:
            return self.found(
                ZERO_STAMPS, f"all {len(capture_ns)} stamps are 0", {"share": 1.0},
                at=int(arrival_ns[0]), count=len(capture_ns),
            )  # fmt: skip
        if not moves and len(capture_ns) < LEAST:
            return None  # what a log says of itself, all at once
        then = f"while they arrive over {seconds(moves)}" if moves else "and arrive all at that"
        return self.found(
            TIME_STUCK, f"all {len(capture_ns)} samples are stamped {at / NS_PER_S:.3f} s, {then}",
            {"arrival_span_s": moves / NS_PER_S}, at=int(arrival_ns[0]), count=len(capture_ns),
        )  # fmt: skip

    def _unit(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> Finding | None:
        if (fraction := self._fraction(capture_ns, arrival_ns)) is not None:
            return fraction
        power = unit_of(capture_ns, arrival_ns)
        if power is None:
            return None
        pace = pace_of(capture_ns, arrival_ns)
        return self.found(
            WRONG_UNIT,
            f"stamps advance by {pace:.4g} ns a nanosecond: they are {UNITS[power]}, "
            "written where nanoseconds belong",
            {"unit": UNITS[power], "factor": float(10.0**-power)},
            at=int(arrival_ns[0]), count=len(capture_ns),
        )  # fmt: skip

    def _fraction(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> Finding | None:
        """Whole seconds that are right, and a fraction of a second in another unit."""
        power = unit_of_fraction(capture_ns, arrival_ns)
        if power is None:
            return None
        most, took = int((capture_ns % NS_PER_S).max()), int(np.ptp(arrival_ns))
        return self.found(
            WRONG_UNIT,
            f"the fraction of the second never exceeds {most} ns in {seconds(took)}: it is "
            f"{UNITS[power]}, written where nanoseconds belong",
            {"unit": UNITS[power], "factor": float(10.0**-power), "part": "fraction"},
            at=int(arrival_ns[0]), count=len(capture_ns),
        )  # fmt: skip

    def _mixed(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> Finding | None:
        """Two bands of lag, between which the stream goes to and fro, that no delay explains."""
        upper = two_clocks(capture_ns, arrival_ns)
        if upper is None:
            return None
        lag = arrival_ns - capture_ns
        turns = int((upper[1:] != upper[:-1]).sum())
        low, high = (float(np.median(lag[band] - lag[0])) for band in (~upper, upper))
        return self.found(
            MIXED_CLOCKS,
            f"{int(upper.sum())} samples are stamped {seconds(high - low)} behind the other "
            f"{int((~upper).sum())}, and the two alternate {turns} times",
            {"offset_ms": (high - low) / 1e6, "share": float(upper.mean()), "turns": turns},
            at=int(arrival_ns[0]), count=int(min(upper.sum(), (~upper).sum())),
        )  # fmt: skip

    def _model(self, capture_ns: TimesNs, arrival_ns: TimesNs) -> Iterator[Finding]:
        model = fit_clock(capture_ns, arrival_ns)
        if len(model.pieces) > 1:
            yield self._jumps(model.pieces)
            return
        [piece] = model.pieces
        drift_ns = 0.0
        drift = self._drift(piece, capture_ns, arrival_ns)
        if drift is not None:
            yield drift
            if drift.rule is SIMULATION_TIME:
                return
            drift_ns = abs(piece.drift_ppm) * 1e-6 * float(np.ptp(arrival_ns))
        yield from self._level(capture_ns, arrival_ns, drift_ns=drift_ns)

    def _jumps(self, pieces: tuple[ClockPiece, ...]) -> Finding:
        steps = [
            float(after.offset_ns - before.offset_ns)
            - before.drift_ppm * 1e-6 * (after.log_ns - before.log_ns)
            for before, after in pairwise(pieces)
        ]
        first = pieces[1]
        many = f"{len(steps)} times, first" if len(steps) > 1 else "once,"
        return self.found(
            CLOCK_JUMP,
            f"the clock stepped {many} at {first.from_ns / NS_PER_S:.3f} s by {seconds(steps[0])}",
            {"jump_ms": [step / 1e6 for step in steps]},
            at=first.from_ns, count=len(steps),
        )  # fmt: skip

    def _drift(self, piece: ClockPiece, capture_ns: TimesNs, arrival_ns: TimesNs) -> Finding | None:
        if not drifts(piece, capture_ns, arrival_ns):
            return None
        drift, error = piece.drift_ppm, piece.drift_error_ppm
        paced, span = abs(drift) > PACE_PPM, int(np.ptp(arrival_ns))
        which = SIMULATION_TIME if paced else CLOCK_DRIFT
        how = (
            f"at {1 + drift * 1e-6:.4f} of the log's time"
            if paced
            else f"{abs(drift):.1f} ± {error:.1f} ppm too {'fast' if drift > 0 else 'slow'}, "
            f"{seconds(abs(drift) * 1e-6 * span)} over the {seconds(span)} of the episode"
        )
        return self.found(
            which, f"the clock runs {how}",
            {"drift_ppm": drift, "error_ppm": error, "rate": 1 + drift * 1e-6},
            at=int(arrival_ns[0]), count=len(capture_ns),
        )  # fmt: skip

    def _level(
        self, capture_ns: TimesNs, arrival_ns: TimesNs, *, drift_ns: float = 0.0
    ) -> Iterator[Finding]:
        """What the lag is about: delay, offset, or a stamp in the future."""
        if len(capture_ns) < 6:
            return
        lag = arrival_ns - capture_ns
        least, middle = int(lag.min()), float(np.median(lag))
        ahead = lag < -(FUTURE_NS + drift_ns)
        values: dict[str, JsonValue] = {"offset_ms": -least / 1e6}
        if least >= OFFSET_NS or middle <= -AHEAD_NS:
            own = " and counts from its own start" if _uptime(capture_ns, arrival_ns) else ""
            side = "behind" if least > 0 else "ahead of"
            yield self.found(
                CLOCK_OFFSET,
                f"the clock is {seconds(abs(least if least > 0 else middle))} {side} the log's"
                f"{own}",
                values, at=int(arrival_ns[0]), count=len(lag),
            )  # fmt: skip
        elif ahead.sum() >= max(2, len(lag) // 100):
            yield self.found(
                FUTURE_STAMPS,
                f"{int(ahead.sum())} of {len(lag)} samples are stamped up to {seconds(-least)} "
                "after they arrived",
                values | {"ahead_ms": -least / 1e6}, at=int(arrival_ns[ahead][0]),
                count=int(ahead.sum()),
            )  # fmt: skip
        elif middle >= DELAY_NS and not ahead.any():
            p99 = float(np.percentile(lag, 99))
            even = p99 - least <= 0.1 * least
            yield self.found(
                LARGE_DELAY,
                f"samples arrive {seconds(middle)} after their stamps (median; least "
                f"{seconds(least)}, 99% within {seconds(p99)})"
                + ("; so even a delay is rather a clock that is behind" if even else ""),
                {"delay_median_ms": middle / 1e6, "delay_p99_ms": p99 / 1e6},
                at=int(arrival_ns[0]), count=len(lag),
            )  # fmt: skip


def _uptime(capture_ns: TimesNs, arrival_ns: TimesNs) -> bool:
    """Stamps below 100 days where arrivals are dates: a clock that started with its device."""
    return int(capture_ns.max()) < 100 * 86400 * NS_PER_S < int(arrival_ns.min())
