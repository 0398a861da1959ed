"""Logs with one thing wrong, of a known size: what the doctor is measured on.

`clean` makes an episode of a robot as it should be: streams of many rates, each with its jitter, a
one-sided delay and a clock, events that follow no rate, a sensor that begins late, constants that
are meant. Each entry of `DISORDERS` spoils one stream (or the whole log) in one way, and says which
finding it deserves. All is a function of the generator's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from viae.logs import Item, Statement
from viae.schema import Kind, Role, Samples, StreamSpec, TimesNs

START_NS = 1_760_000_000_000_000_000
S = 1_000_000_000
MS = 1_000_000

Rng = np.random.Generator


@dataclass(slots=True, kw_only=True)
class MadeStream:
    """A stream while it is being made; the arrays are in recorded order.

    Args:
        spec: the stream.
        capture_ns: int64 [N].
        arrival_ns: int64 [N].
        values: array [N, *shape], or a list of N.
    """

    spec: StreamSpec
    capture_ns: TimesNs
    arrival_ns: TimesNs
    values: Any

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def keep(self, which: npt.NDArray[Any]) -> None:
        """Only these samples, by mask or in this order of indices."""
        self.capture_ns, self.arrival_ns = self.capture_ns[which], self.arrival_ns[which]
        if isinstance(self.values, list):
            indices = np.flatnonzero(which) if which.dtype == bool else which
            self.values = [self.values[i] for i in indices.tolist()]
        else:
            self.values = self.values[which]


@dataclass(slots=True, kw_only=True)
class MadeLog:
    """An episode while it is being made.

    Args:
        streams: by name.
        appended: whether the file holds the streams one after another.
        block: samples in a block.
    """

    streams: dict[str, MadeStream]
    appended: bool = False
    block: int = 256
    statements: dict[str, str] = field(default_factory=lambda: {"task": "made to be looked at"})

    def items(self) -> Iterator[Item]:
        """As a reader gives it: blocks as they fill, in the order of arrival."""
        for key, value in self.statements.items():
            yield Statement(key=key, value=value)
        blocks = []
        for name, stream in self.streams.items():
            reached = np.maximum.accumulate(stream.arrival_ns) if len(stream) else np.empty(0)
            for start in range(0, len(stream), self.block):
                stop = min(start + self.block, len(stream))
                full = stop - start == self.block
                blocks.append((int(reached[stop - 1]) if full else 2**62, name, start, stop))
        for _, name, start, stop in blocks if self.appended else sorted(blocks):
            made = self.streams[name]
            yield Samples(
                spec=made.spec, capture_ns=made.capture_ns[start:stop],
                arrival_ns=made.arrival_ns[start:stop], seq=np.arange(start, stop, dtype=np.int64),
                values=made.values[start:stop],
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """One way to spoil a log.

    Args:
        finding: the name of the finding that it deserves.
        size: how large it is made, at least.
        spoil: does it, and returns the stream concerned; ``""`` for the log as a whole.
    """

    finding: str
    size: str
    spoil: Callable[[MadeLog, Rng], str]


def clean(rng: Rng, *, seconds: float = 60.0) -> MadeLog:
    """An episode with nothing wrong, of about 35,000 samples a minute."""
    streams = {}

    def put(name: str, made: tuple[TimesNs, TimesNs], values: Any, **fields: Any) -> None:
        if isinstance(values, np.ndarray):
            fields = {"dtype": str(values.dtype), "shape": values.shape[1:]} | fields
        spec = StreamSpec(name=name, **fields)
        streams[name] = MadeStream(spec=spec, capture_ns=made[0], arrival_ns=made[1], values=values)

    joints = _sampled(rng, 100, seconds, delay_ms=2.0)
    put("/joint_states", joints, _motion(rng, joints[0], 7), clock="robot", unit="rad")
    imu = _sampled(rng, 400, seconds, delay_ms=0.5)
    put("/imu", imu, _motion(rng, imu[0], 6), clock="imu")
    action = _sampled(rng, 30, seconds, delay_ms=None)
    commands = _motion(rng, action[0], 7)
    commands[:, 6] = _gripper(rng, len(commands))
    put("/action", action, np.clip(commands, -1, 1), role=Role.ACTION)
    camera = _sampled(rng, 15, seconds, delay_ms=8.0)
    put(
        "/camera/image", camera, _pictures(rng, len(camera[0])), kind=Kind.IMAGE, dtype="uint8",
        shape=(8, 8, 1), encoding="mono8", clock="camera",
    )  # fmt: skip
    counts = rng.integers(0, 1000) + np.arange(len(camera[0]), dtype=np.uint32)[:, None]
    put("/camera/sequence", camera, counts.astype(np.uint32), clock="camera")
    force = _sampled(rng, 50, seconds, delay_ms=1.0)
    newtons = np.rint(_motion(rng, force[0], 3) * 200).astype(np.int32)
    put("/force", force, newtons, clock="force", unit="N")
    gripper = _sampled(rng, 20, seconds, delay_ms=None)
    opened = _gripper(rng, len(gripper[0]))[:, None]
    put("/gripper/opening", gripper, opened.astype(np.float32))
    noise = np.zeros((len(joints[0]), 9))
    noise[:, [0, 4, 8]] = rng.uniform(0.001, 0.1, 3)
    put("/joint_states/covariance", joints, noise, clock="robot")
    goal = _sampled(rng, 10, seconds, delay_ms=None)
    one_hot = np.zeros((len(goal[0]), 5))
    one_hot[:, rng.integers(5)] = 1
    put("/goal", goal, one_hot)
    gps = _sampled(rng, 1, seconds, delay_ms=20.0, begin=rng.uniform(0.1, 0.3) * seconds)
    put("/gps", gps, _motion(rng, gps[0], 3), clock="gps")
    latched = (START_NS + np.arange(3) * MS, START_NS + np.arange(3) * MS)
    put("/camera/intrinsics", latched, np.tile(rng.uniform(100, 900, 4), (3, 1)))
    events = START_NS + np.sort(rng.uniform(0, seconds, rng.poisson(0.7 * seconds) + 2) * S).astype(
        np.int64
    )
    put("/events", (events, events), [f"event {i}" for i in range(len(events))],
        kind=Kind.TEXT, dtype="")  # fmt: skip
    marks = START_NS + np.sort(rng.uniform(0, seconds, 40) * S).astype(np.int64)
    put("/operator/marks", (marks, marks), rng.integers(0, 3, (40, 1)))
    return MadeLog(streams=streams)


def _sampled(
    rng: Rng, rate_hz: float, seconds: float, *, delay_ms: float | None, begin: float = 0.0
) -> tuple[TimesNs, TimesNs]:
    """Captures on a timer with jitter, by a synchronised clock; arrivals in order, a delay later.

    Without a delay there is one stamp: the arrival's.
    """
    n = int((seconds - begin) * rate_hz)
    period = S / rate_hz
    jitter = rng.normal(0, min(0.03 * period, 0.5 * MS), n)
    times = START_NS + np.rint(
        begin * S + rng.uniform(0, period) + np.arange(n) * period + jitter
    ).astype(np.int64)
    if delay_ms is None:
        return times, times
    drift = rng.uniform(-2, 2) * 1e-6
    capture = times + np.rint((times - START_NS) * drift).astype(np.int64)
    delay = rng.uniform(0.1, 1.0) * MS + rng.exponential(delay_ms * MS, n)
    return capture, np.maximum.accumulate(times + np.rint(delay).astype(np.int64))


def _motion(rng: Rng, at_ns: TimesNs, size: int) -> npt.NDArray[np.float64]:
    """Smooth motion of its own, with a sensor's noise."""
    # Knots at random, 4 a second: broad in frequency, so that no two streams look related.
    t = (at_ns - at_ns[0]) / S
    knots = np.arange(0, t[-1] + 2, 0.25)
    heights = rng.normal(0, 0.3, (len(knots), size))
    value = CubicSpline(knots, heights, axis=0)(t)
    return value + rng.normal(0, 0.004, value.shape)


def _gripper(rng: Rng, n: int) -> npt.NDArray[np.float64]:
    """Open and closed, with a ramp between."""
    state = np.zeros(n)
    for at in np.sort(rng.choice(np.arange(10, n - 10), rng.integers(2, 9), replace=False)):
        state[at:] = 1 - state[at]
    ramp = np.convolve(np.pad(state, (4, 4), mode="edge"), np.ones(9) / 9, mode="valid")
    return np.asarray(np.rint(ramp * 1e6) / 1e6, np.float64)


def _pictures(rng: Rng, n: int) -> list[bytes]:
    level = 120 + np.cumsum(rng.normal(0, 2, (n, 8, 8, 1)), axis=0)
    return [picture.tobytes() for picture in np.clip(level, 0, 255).astype(np.uint8)]


# What follows spoils. Streams with a clock of their own and a rate; `_ARRAYS` hold numbers that
# never rest.

_STAMPED = ("/joint_states", "/imu", "/camera/image", "/force")
_ARRAYS = ("/joint_states", "/imu")


def _one(log: MadeLog, rng: Rng, names: tuple[str, ...] = _STAMPED) -> MadeStream:
    return log.streams[names[int(rng.integers(len(names)))]]


def _middle(made: MadeStream, rng: Rng, low: float = 0.3, high: float = 0.7) -> int:
    return int(rng.uniform(low, high) * len(made))


def _period_ns(made: MadeStream) -> float:
    return float(np.median(np.diff(made.capture_ns)))


def _stall(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, (*_STAMPED, "/action", "/gripper/opening"))
    at = _middle(made, rng)
    gap = int(max(12 * _period_ns(made), rng.uniform(0.6, 3) * S))
    until = np.searchsorted(made.capture_ns, made.capture_ns[at] + gap)
    index = np.arange(len(made))
    made.keep((index <= at) | (index > until))
    return made.spec.name


def _burst(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, (*_STAMPED, "/action"))
    shared = made.capture_ns is made.arrival_ns
    at = _middle(made, rng)
    pause = int(max(14 * _period_ns(made), rng.uniform(0.7, 2) * S))
    until = made.arrival_ns[at] + pause
    held = (made.arrival_ns > made.arrival_ns[at]) & (made.arrival_ns < until)
    made.arrival_ns = made.arrival_ns.copy()
    made.arrival_ns[held] = until + np.arange(int(held.sum())) * 20_000
    made.arrival_ns = np.maximum.accumulate(made.arrival_ns)
    if shared:
        made.capture_ns = made.arrival_ns
    return made.spec.name


def _batched(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, ("/joint_states", "/imu", "/force"))
    batch = int(rng.integers(8, 20))
    period = _period_ns(made)
    batch = max(batch, int(np.ceil(30 * MS / period)))
    last = np.minimum((np.arange(len(made)) // batch + 1) * batch - 1, len(made) - 1)
    made.arrival_ns = made.arrival_ns[last] + (np.arange(len(made)) % batch) * 5_000
    made.arrival_ns = np.maximum.accumulate(made.arrival_ns)
    return made.spec.name


def _ends_early(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, (*_STAMPED, "/action"))
    made.keep(np.arange(len(made)) < _middle(made, rng, 0.4, 0.85))
    return made.spec.name


def _missing(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    share = rng.uniform(0.02, 0.06)
    made.keep((rng.uniform(size=len(made)) >= share) | (np.arange(len(made)) < 5))
    return made.spec.name


def _rate(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    index, at = np.arange(len(made)), _middle(made, rng, 0.4, 0.5)
    made.keep((index < at) | (index % 2 == 0))
    return made.spec.name


def _irregular(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    shift = np.rint(rng.uniform(-0.49, 0.49, len(made)) * _period_ns(made)).astype(np.int64)
    made.capture_ns = made.capture_ns + shift
    made.arrival_ns = np.maximum.accumulate(made.arrival_ns + shift)
    order = np.argsort(made.capture_ns, kind="stable")
    made.capture_ns = made.capture_ns[order]
    return made.spec.name


def _repeated(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    again = np.flatnonzero(rng.uniform(size=len(made)) < 0.05)
    again = again[again > 0]
    made.capture_ns = made.capture_ns.copy()
    made.capture_ns[again] = made.capture_ns[again - 1]
    return made.spec.name


def _zero(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    made.capture_ns = made.capture_ns.copy()
    made.capture_ns[rng.uniform(size=len(made)) < rng.choice([0.05, 2.0])] = 0
    return made.spec.name


def _stuck(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    made.capture_ns = np.full(len(made), made.capture_ns[0])
    if rng.uniform() < 0.5:
        made.arrival_ns = made.capture_ns.copy()
    return made.spec.name


def _late(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    late = np.flatnonzero(rng.uniform(size=len(made)) < 0.02)
    late = late[late < len(made) - 40]
    arrival = made.arrival_ns.copy()
    arrival[late] += np.rint((2 + 6 * rng.uniform(size=len(late))) * _period_ns(made)).astype(
        np.int64
    )
    made.arrival_ns = arrival
    made.keep(np.argsort(arrival, kind="stable"))
    return made.spec.name


def _backwards(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, (*_STAMPED, "/action"))
    order = np.arange(len(made))
    for at in rng.integers(10, len(made) - 30, 5):
        order[at : at + 12] = order[at : at + 12][::-1]
    made.keep(order)
    return made.spec.name


def _restart(log: MadeLog, rng: Rng) -> str:
    at_ns = START_NS + int(rng.uniform(0.4, 0.6) * 60 * S)
    for made in log.streams.values():
        shared = made.capture_ns is made.arrival_ns
        back = np.where(made.arrival_ns >= at_ns, at_ns - START_NS, 0)
        made.arrival_ns = made.arrival_ns - back
        made.capture_ns = made.arrival_ns if shared else made.capture_ns - back
    return ""


def _appended(log: MadeLog, rng: Rng) -> str:
    del rng
    log.appended = True
    return ""


def _grid(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, (*_STAMPED, "/action"))
    since_s = np.arange(len(made)) / np.rint(S / _period_ns(made))
    if rng.uniform() < 0.5:
        since_s = since_s.astype(np.float32).astype(np.float64)
    made.arrival_ns = int(made.arrival_ns[0]) + np.rint(since_s * S).astype(np.int64)
    made.capture_ns = made.arrival_ns
    return made.spec.name


def _sequence(log: MadeLog, rng: Rng) -> str:
    lost = rng.uniform(size=len(log.streams["/camera/sequence"])) < 0.03
    lost[:2] = lost[-2:] = False
    lost[_middle(log.streams["/camera/sequence"], rng)] = True
    for name in ("/camera/sequence", "/camera/image"):
        log.streams[name].keep(~lost)
    return "/camera/sequence"


def _offset(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    by = int(rng.choice([-1, 1]) * 10 ** rng.uniform(1, 7) * S)
    made.capture_ns = made.capture_ns - by
    return made.spec.name


def _future(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    made.capture_ns = made.capture_ns + int(rng.uniform(80, 600) * MS)
    return made.spec.name


def _delay(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    made.capture_ns = made.capture_ns - int(rng.uniform(0.3, 4) * S)
    return made.spec.name


def _drift(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    ppm = rng.choice([-1, 1]) * rng.uniform(22, 200)
    since = made.capture_ns - made.capture_ns[0]
    made.capture_ns = made.capture_ns + np.rint(since * ppm * 1e-6).astype(np.int64)
    return made.spec.name


def _jump(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    at = _middle(made, rng, 0.2, 0.8)
    kind = rng.integers(4)
    if kind == 0:  # a step of synchronisation
        by = int(rng.choice([-1, 1]) * rng.uniform(max(60 * MS, 2 * _period_ns(made)), 2 * S))
    elif kind == 1:  # a restart: the device's clock begins anew
        by = -int(made.capture_ns[at] - START_NS // 1000)
    elif kind == 2:  # a GPS week
        by = -604_800 * S
    else:  # leap seconds
        by = int(rng.choice([-1, 1])) * 18 * S
    made.capture_ns = made.capture_ns + np.where(np.arange(len(made)) >= at, by, 0)
    return made.spec.name


def _unit(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    made.capture_ns = made.capture_ns // int(rng.choice([1_000, 1_000_000, 1_000_000_000]))
    return made.spec.name


def _simulation(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    rate = rng.choice([0.993, 0.5, 0.9, 1.02, 2.0])
    made.capture_ns = np.rint((made.capture_ns - START_NS) * rate).astype(np.int64)
    return made.spec.name


def _mixed(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng)
    second = rng.uniform(size=len(made)) < rng.uniform(0.2, 0.5)
    made.capture_ns = made.capture_ns - np.where(second, int(10 ** rng.uniform(0.2, 7) * S), 0)
    return made.spec.name


def _nan(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, _ARRAYS)
    rows = rng.integers(0, len(made), 5)
    made.values[rows, rng.integers(made.values.shape[1])] = rng.choice([np.nan, np.inf])
    return made.spec.name


def _frozen(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, _ARRAYS)
    element = rng.integers(made.values.shape[1])
    made.values[:, element] = made.values[0, element]
    return made.spec.name


def _stretch(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, _ARRAYS)
    step = np.median(np.abs(np.diff(made.values, axis=0)), axis=0)
    every = rng.uniform() < 0.5
    element = int(rng.integers(made.values.shape[1]))
    while True:  # what goes on where it stopped has not frozen; it rested
        at = _middle(made, rng)
        until = at + int(rng.uniform(0.04, 0.2) * len(made))
        if abs(made.values[until, element] - made.values[at, element]) >= 3 * step[element]:
            break
    which = slice(None) if every else [element]
    made.values[at:until, which] = made.values[at, which]
    return made.spec.name


def _saturated(log: MadeLog, rng: Rng) -> str:
    made = _one(log, rng, _ARRAYS)
    element = rng.integers(made.values.shape[1])
    column = made.values[:, element]
    high = np.quantile(column, 1 - rng.uniform(0.08, 0.2))
    low = np.quantile(column, 0.1) if rng.uniform() < 0.5 else -np.inf
    made.values[:, element] = np.clip(column, low, high)
    return made.spec.name


DISORDERS: dict[str, Disorder] = {
    each.finding: each
    for each in (
        Disorder(finding="stall", size="0.6 s and 12 periods", spoil=_stall),
        Disorder(finding="burst", size="0.7 s and 14 periods of no delivery", spoil=_burst),
        Disorder(finding="batched-arrivals", size="8 samples and 30 ms a batch", spoil=_batched),
        Disorder(finding="stream-ends-early", size="the last 15%", spoil=_ends_early),
        Disorder(finding="samples-missing", size="2% at random", spoil=_missing),
        Disorder(finding="rate-changes", size="to a half, before the middle", spoil=_rate),
        Disorder(finding="irregular-rate", size="±49% of the period, evenly", spoil=_irregular),
        Disorder(finding="repeated-stamps", size="5% at random", spoil=_repeated),
        Disorder(finding="zero-stamps", size="5% at random, or all", spoil=_zero),
        Disorder(finding="time-never-advances", size="all stamps, or all times", spoil=_stuck),
        Disorder(finding="out-of-order", size="2% late by 2 to 8 periods", spoil=_late),
        Disorder(finding="arrivals-backwards", size="5 times 12 samples", spoil=_backwards),
        Disorder(finding="time-restarts", size="once, near the middle", spoil=_restart),
        Disorder(finding="appended-topics", size="all topics", spoil=_appended),
        Disorder(finding="exact-grid-times", size="all times, to float32's digits", spoil=_grid),
        Disorder(finding="sequence-gap", size="3% and one", spoil=_sequence),
        Disorder(finding="clock-offset", size="10 s to 115 days", spoil=_offset),
        Disorder(finding="future-stamps", size="80 ms", spoil=_future),
        Disorder(finding="large-delay", size="300 ms", spoil=_delay),
        Disorder(finding="clock-drift", size="22 ppm over 60 s", spoil=_drift),
        Disorder(finding="clock-jump", size="60 ms and two periods", spoil=_jump),
        Disorder(finding="wrong-unit", size="µs, ms or s", spoil=_unit),
        Disorder(finding="simulation-time", size="0.5 to 2.0 of wall time", spoil=_simulation),
        Disorder(finding="mixed-clocks", size="20% off by 1.6 s or more", spoil=_mixed),
        Disorder(finding="not-finite", size="up to 5 samples of one element", spoil=_nan),
        Disorder(finding="frozen-dimension", size="one element, always", spoil=_frozen),
        Disorder(
            finding="frozen-stretch", size="4% of the samples, and 3 steps missed", spoil=_stretch
        ),
        Disorder(finding="saturated", size="8% of the samples of one element", spoil=_saturated),
    )
}
"""By the finding that each deserves."""


def disordered(finding: str, seed: int, *, seconds: float = 60.0) -> tuple[MadeLog, str]:
    """A log with one disorder, and the stream concerned (empty: the log as a whole)."""
    rng = np.random.default_rng([seed, *finding.encode()])
    log = clean(rng, seconds=seconds)
    return log, DISORDERS[finding].spoil(log, rng)
