"""Which input is to blame: streams that are not as they were in the episodes of training.

A camera that is frozen, a clock that jumps, a sensor that is silent or says NaN. What is usual is
learnt: for every stream the longest it held still or was silent, and how old its samples were.
Beyond that, and some more, it is suspect. A stream that never moved cannot freeze; one that follows
no rate cannot be silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.schema import Events, Kind, Role, StreamSpec
from viae.schema.names import PICTURES

Ints: TypeAlias = npt.NDArray[np.int64]
Fault: TypeAlias = Literal["not finite", "clock", "late", "silent", "frozen"]

MORE = 1.5
"""Times the longest that was seen is suspect, …"""
LEAST_GAPS = 10
"""… and no less than so many times the usual gap: a few lost samples are none of our business."""
CLOCK_NS = 20_000_000
"""A clock may always be off by as much: below, a step cannot be told from a delay."""
REGULAR = 3.0
"""A stream follows a rate if 9 of 10 gaps are at most so many times the median."""
LEAST_SEEN = 20
"""And only so many gaps show that it does."""
LOOKED_AT = 2000
"""Pictures of a stream that are decoded to learn how long it holds still."""
AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An input that is not as it was in training.

    Args:
        stream: its name.
        fault: which kind.
        what: in words, with figures.
        at_ns: when it shows, log clock.
    """

    stream: str
    fault: Fault
    what: str
    at_ns: int

    def __str__(self) -> str:
        return f"stream '{self.stream}', at {self.at_ns / 1e9:.3f} s: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHabits:
    """How a stream was in the episodes of training; times in ns.

    Args:
        gap_ns: between arrivals, the median; 0 where there were never two.
        silent_ns: the longest gap, or the longest before the end; None where it follows no rate.
        frozen_ns: the longest it held still; None where it never moved, may hold still, or came
            too seldom to tell.
        back_ns: the farthest that a capture went back behind the one before.
        age_ns: arrival - capture, the least and the most.
    """

    gap_ns: int
    silent_ns: int | None
    frozen_ns: int | None
    back_ns: int
    age_ns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Habits:
    """How all streams were.

    Args:
        streams: by name.
    """

    streams: Mapping[str, StreamHabits]

    @classmethod
    def fit(cls, episodes: Iterable[Events]) -> Habits:
        """Learn what is usual.

        Args:
            episodes: of training, whole. Of pictures the first `LOOKED_AT` are decoded.
        """
        learning: dict[str, _Learning] = {}
        for events in episodes:
            for number, spec in enumerate(events.streams if len(events) else ()):
                own = learning.setdefault(spec.name, _Learning())
                own.add(spec, _Series.of(events, number), int(events.arrival_ns[-1]))
        return cls({name: own.habits() for name, own in learning.items()})

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {name: asdict(own) for name, own in self.streams.items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Habits:
        """The inverse of `to_json`."""
        return cls(
            {
                name: StreamHabits(**(own | {"age_ns": tuple(own["age_ns"])}))
                for name, own in fields.items()
            }
        )

    def blame(self, events: Events, at_ns: int | None = None) -> list[Suspect]:
        """Inputs of a history that are not as they were in training.

        Values that are not finite and clocks that jump are looked for in all the events given;
        silence and frozen values only where they last until now. Streams that were not there in
        training are not judged.

        Args:
            events: of an episode's beginning, or the last part of it.
            at_ns: now; None for the last arrival.

        Returns:
            At most one per stream and fault, sorted by stream.

        Cost: O(events), and of pictures as many as were held still.
        """
        if not len(events):
            return []
        now_ns = int(events.arrival_ns[-1]) if at_ns is None else at_ns
        found: list[Suspect] = []
        for number, spec in enumerate(events.streams):
            series = _Series.of(events, number)
            found += _not_finite(spec, series)
            if (habits := self.streams.get(spec.name)) is not None and len(series.arrival_ns):
                found += _clock(spec, habits, series)
                found += _silent(spec, habits, series, now_ns)
                found += _frozen(spec, habits, series, now_ns)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """One stream of some events."""

    capture_ns: Ints
    arrival_ns: Ints
    values: Any

    @classmethod
    def of(cls, events: Events, number: int) -> _Series:
        at = events.stream == number
        name = events.streams[number].name
        return cls(events.capture_ns[at], events.arrival_ns[at], events.values[name])


class _Learning:
    """What was seen of one stream so far."""

    def __init__(self) -> None:
        self.gaps: list[Ints] = []
        self.ages: list[tuple[int, int]] = []
        self.longest = self.back = self.frozen = self.looked = 0
        self.moved = False

    def add(self, spec: StreamSpec, series: _Series, end_ns: int) -> None:
        if not len(series.arrival_ns):
            return
        self.gaps.append(np.diff(series.arrival_ns))
        self.longest = max(
            self.longest, int(self.gaps[-1].max(initial=0)), end_ns - int(series.arrival_ns[-1])
        )
        age = series.arrival_ns - series.capture_ns
        self.ages.append((int(age.min()), int(age.max())))
        self.back = max(self.back, -int(np.diff(series.capture_ns).min(initial=0)))
        if not _may_freeze(spec):
            return
        count = len(series.values)
        if spec.kind in PICTURES:
            count = min(count, LOOKED_AT - self.looked)
            self.looked += count
        starts = np.append(_changes(series.values, count), True)
        times = series.arrival_ns[np.flatnonzero(starts[:-1])] if count else np.empty(0, np.int64)
        self.moved = self.moved or len(times) > 1
        if count:
            last = series.arrival_ns[count - 1]
            self.frozen = max(self.frozen, int(np.diff(times, append=last).max(initial=0)))

    def habits(self) -> StreamHabits:
        gaps = np.concatenate([np.empty(0, np.int64), *self.gaps])
        median = int(np.median(gaps)) if len(gaps) else 0
        seen = len(gaps) >= LEAST_SEEN and median > 0
        regular = seen and np.quantile(gaps, 0.9) <= REGULAR * median
        least, most = zip(*self.ages, strict=True) if self.ages else ((0,), (0,))
        return StreamHabits(
            gap_ns=median, silent_ns=self.longest if regular else None,
            frozen_ns=self.frozen if seen and self.moved else None,
            back_ns=self.back, age_ns=(min(least), max(most)),
        )  # fmt: skip


def _may_freeze(spec: StreamSpec) -> bool:
    """Whether holding still can be a fault: of what senses, not of what is said or done."""
    return spec.role is Role.OBSERVATION and (spec.kind is Kind.VECTOR or spec.kind in PICTURES)


def _changes(values: Any, count: int) -> npt.NDArray[np.bool_]:
    """Which of the first samples differ from the one before: bool [count]; the first one does."""
    changed = np.ones(count, np.bool_)
    for start in range(1, count, AT_ONCE):
        part = np.asarray(values[start - 1 : min(start + AT_ONCE, count)])
        flat = part.reshape(len(part), -1)
        equal = (flat[1:] == flat[:-1]) | ((flat[1:] != flat[1:]) & (flat[:-1] != flat[:-1]))
        changed[start : start + len(equal)] = ~equal.all(axis=1)
    return changed


def _not_finite(spec: StreamSpec, series: _Series) -> list[Suspect]:
    if spec.kind is not Kind.VECTOR or np.dtype(spec.dtype).kind != "f" or not len(series.values):
        return []
    flat = np.asarray(series.values).reshape(len(series.values), -1)
    bad = ~np.isfinite(flat)
    if not bad.any():
        return []
    row = int(np.flatnonzero(bad.any(axis=1))[-1])
    elements = np.flatnonzero(bad[row]).tolist()
    first = elements[0]
    name = f" '{spec.names[first]}'" if spec.names else ""
    more = f" and {len(elements) - 1} more" if len(elements) > 1 else ""
    what = f"not finite: element {first}{name} is {flat[row, first]}{more}"
    return [Suspect(stream=spec.name, fault="not finite", what=what,
                    at_ns=int(series.arrival_ns[row]))]  # fmt: skip


def _clock(spec: StreamSpec, habits: StreamHabits, series: _Series) -> list[Suspect]:
    """A capture that goes back, or that is younger or older than samples are."""

    def suspect(fault: Fault, row: int, what: str) -> list[Suspect]:
        return [Suspect(stream=spec.name, fault=fault, what=what,
                        at_ns=int(series.arrival_ns[row]))]  # fmt: skip

    steps = np.diff(series.capture_ns)
    if len(steps) and -int(steps.min()) > habits.back_ns * MORE + CLOCK_NS:
        row = int(steps.argmin())
        return suspect("clock", row + 1, f"its clock jumps back {-steps[row] / 1e9:.3g} s")
    age = series.arrival_ns - series.capture_ns
    least, most = habits.age_ns
    room = CLOCK_NS + int((MORE - 1) * (most - least))
    usual = f"usually {least / 1e9:.3g} to {most / 1e9:.3g} s"
    if int(age.min()) < least - room:
        row = int(age.argmin())
        said = f"its clock is {(least - age[row]) / 1e9:.3g} s ahead of where it was in training"
        return suspect("clock", row, said)
    if int(age.max()) > most + room:
        row = int(age.argmax())
        return suspect("late", row, f"a sample is {age[row] / 1e9:.3g} s old, {usual}")
    return []


def _silent(spec: StreamSpec, habits: StreamHabits, series: _Series, now_ns: int) -> list[Suspect]:
    if habits.silent_ns is None or spec.role is not Role.OBSERVATION:
        return []
    since = now_ns - int(series.arrival_ns[-1])
    if since <= _bound(habits.silent_ns, habits):
        return []
    what = f"silent for {since / 1e9:.3g} s, usually {habits.gap_ns / 1e9:.3g} s"
    return [Suspect(stream=spec.name, fault="silent", what=what, at_ns=now_ns)]


def _frozen(spec: StreamSpec, habits: StreamHabits, series: _Series, now_ns: int) -> list[Suspect]:
    if habits.frozen_ns is None or not _may_freeze(spec):
        return []
    bound, last_ns = _bound(habits.frozen_ns, habits), int(series.arrival_ns[-1])
    # Only samples up to the bound ago need to be alike; then look how long it really lasts.
    first = int(np.searchsorted(series.arrival_ns, last_ns - bound, side="right")) - 1
    if first < 0 or _changes(series.values[first:], len(series.arrival_ns) - first)[1:].any():
        return []
    while first and not _changes(series.values[first - 1 : first + 1], 2)[1]:
        first -= 1
    still = last_ns - int(series.arrival_ns[first])
    what = f"frozen for {still / 1e9:.3g} s, at most {habits.frozen_ns / 1e9:.3g} s in training"
    return [Suspect(stream=spec.name, fault="frozen", what=what, at_ns=now_ns)]


def _bound(longest_ns: int, habits: StreamHabits) -> int:
    return max(int(MORE * longest_ns), LEAST_GAPS * habits.gap_ns)
