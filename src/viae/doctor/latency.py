"""Latency across streams: by how much one stream's motion comes after another's.

Which streams are compared: an action and the states it may drive, element by element; a camera and
a gyroscope, or else the states, by how fast they move. How they are: see `viae.doctor.lag`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viae.doctor.clocks import DELAY_NS
from viae.doctor.finding import Finding, Rule, Severity, rule
from viae.doctor.lag import LEAST_CORRELATION, Floats, Group, Lag, Track, measure
from viae.doctor.naming import is_command
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import NS_PER_S, Kind, Role
from viae.sequence.stamps import FUTURE_NS

MOST_DIMENSIONS = 64
MOST_NUMBERS = 4_000_000
"""Per pair, over all episodes: enough for any interval, and 32 MB at most."""
MOST = 1e60
"""Greater numbers are garbage, whose squares would overflow."""
GYROSCOPES = ("gyro", "angular_velocity", "angular_rate", "angularvelocity")

STATE_LAGS_ACTION = rule(
    "state-lags-action",
    Severity.NOTE,
    "the state follows the action late",
    consequence="the effect of an action is not in the next state but some frames on; a policy "
    "that is run faster or slower than it was recorded meets another delay than it learned",
    fix="Predict chunks of actions longer than the lag, keep the delay of the recording when "
    "acting, and do not use the next state in place of the action.",
)
ACTION_LAGS_STATE = rule(
    "action-lags-state",
    Severity.WARNING,
    "the action is stamped after the state that it should have caused",
    consequence="the observation shows the action before it is asked for, so a policy learns to "
    "copy its own motion and stands still when it acts by itself",
    fix="Find out whether actions are stamped when sent or derived from states; shift the action "
    "by the lag, or record the command itself.",
)
CAMERA_LAGS_MOTION = rule(
    "camera-lags-motion",
    Severity.WARNING,
    "pictures show the motion later than the other sensors",
    consequence="picture and state of one decision are of different moments; the faster the robot, "
    "the farther apart",
    fix="Stamp pictures when they are exposed, or correct the camera's stamps by the lag before "
    "cutting windows.",
)
CAMERA_LEADS_MOTION = rule(
    "camera-leads-motion",
    Severity.WARNING,
    "pictures show the motion before the other sensors",
    consequence="picture and state of one decision are of different moments; the state is the "
    "older",
    fix="Stamp states when they are measured, or correct their stamps by the lag before cutting "
    "windows.",
)
RULES = (STATE_LAGS_ACTION, ACTION_LAGS_STATE, CAMERA_LAGS_MOTION, CAMERA_LEADS_MOTION)


@dataclass(slots=True)
class _Pair:
    """Positions of two streams over time, episode by episode."""

    camera: bool
    clock: str
    elements: list[int]
    frames_s: list[float] = field(default_factory=list)
    steps_s: list[float] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    numbers: int = 0

    def measure(self, first: str, second: str) -> Lag | None:
        """The lag of the second, if it can be told."""
        if not self.tracks:
            return None
        return measure(
            first,
            second,
            self.tracks,
            step_s=float(np.median(self.steps_s)),
            frame_s=float(np.median(self.frames_s)),
            elements=self.elements,
            clock=self.clock,
            noisy=not self.camera,
        )


class Latencies:
    """Measures lags over any number of episodes; add them, then ask.

    What it keeps of a pair of streams is bounded; once there is enough, more episodes change
    nothing.
    """

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str, str], _Pair] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def add(self, trace: EpisodeTrace) -> None:
        """Take an episode into account."""
        numbers = [stream for stream in trace.streams.values() if _moves(stream)]
        seen = [stream for stream in numbers if stream.spec.role is not Role.OUTCOME]
        actions = [stream for stream in seen if is_command(stream.spec)]
        states = [stream for stream in seen if not is_command(stream.spec)]
        for action in actions:
            for state in states:
                if matching := _matching(action, state):
                    mine, its = matching
                    first, second = _head(action)[:, mine], _head(state)[:, its]
                    self._take("position", action, state, first, second, its)
                    self._take("velocity", action, state, _held(action, first), second, its)
        for camera in trace.streams.values():
            if camera.spec.kind not in (Kind.IMAGE, Kind.VIDEO):
                continue
            known = np.flatnonzero(np.isfinite(camera.motion))
            if len(known) < 20:
                continue
            shown = camera.motion[: known[-1] + 1].astype(np.float64)
            path = np.cumsum(np.nan_to_num(shown))[:, None]
            for mover in _movers(states):
                self._take("camera", mover, camera, _path(mover), path, [0])

    def _take(
        self,
        kind: str,
        first: StreamTrace,
        second: StreamTrace,
        x: Floats,
        y: Floats,
        elements: list[int],
    ) -> None:
        clock = "capture" if _clocks_agree(first, second) else "arrival"
        pair = self._pairs.setdefault(
            (kind, first.spec.name, second.spec.name),
            _Pair(camera=kind == "camera", clock=clock, elements=elements),
        )
        if pair.numbers > MOST_NUMBERS:
            return
        if pair.tracks and pair.tracks[0][1].shape[1] != x.shape[1]:
            return
        if clock != pair.clock:
            pair.clock = clock = "arrival"
        self._names[second.spec.name] = second.spec.names
        t, x = _in_time(first, x, clock)
        u, y = _in_time(second, y, clock)
        if len(t) < 20 or len(u) < 20:
            return
        origin = max(t[0], u[0])
        t, u = (t - origin) / NS_PER_S, (u - origin) / NS_PER_S
        fine, coarse = sorted((float(np.median(np.diff(t))), float(np.median(np.diff(u)))))
        pair.frames_s.append(coarse)
        pair.steps_s.append(max(fine, coarse / 4))
        pair.tracks.append((t, x, u, y))
        pair.numbers += x.size + y.size

    def lags(self) -> list[Lag]:
        """One per action stream and one per camera: of the partners, the one that moves most alike.

        Significant ones only.
        """
        best: dict[tuple[bool, str], Lag] = {}
        for (kind, first, second), pair in self._pairs.items():
            key = (pair.camera, second if pair.camera else first)
            lag = pair.measure(first, second)
            if lag and kind == "velocity" and lag.main.lag_s < 0:
                continue  # where positions were meant, their derivative is ahead by a quarter turn
            if lag and lag.significant:
                other = best.get(key)
                if other is None or lag.main.correlation > other.main.correlation:
                    best[key] = lag
        return list(best.values())

    def findings(self, path: str, *, episode: str = "") -> list[Finding]:
        """What to say about them: a lag that may be less than half a frame is as it should be.

        What comes early must be so by a whole frame: many recorders write a frame's action a moment
        after its state.
        """
        cameras = {second for kind, _, second in self._pairs if kind == "camera"}
        found = []
        for lag in self.lags():
            early = lag.main.lag_s < 0
            small = max(lag.frame_s if early else lag.frame_s / 2, 1e-3)
            if (lag.main.high_s > -small) if early else (lag.main.low_s < small):
                continue
            names = self._names.get(lag.second, ())
            found.append(_finding(lag, path, episode, names, camera=lag.second in cameras))
        return found


def check(trace: EpisodeTrace) -> list[Finding]:
    """Lags inside one episode."""
    latencies = Latencies()
    latencies.add(trace)
    return latencies.findings(trace.path, episode=trace.episode)


def _finding(lag: Lag, path: str, episode: str, names: Sequence[str], *, camera: bool) -> Finding:
    main = lag.main
    late = main.lag_s > 0
    of: Rule = (CAMERA_LAGS_MOTION if late else CAMERA_LEADS_MOTION) if camera else (
        STATE_LAGS_ACTION if late else ACTION_LAGS_STATE
    )  # fmt: skip
    over = f"{lag.windows} windows" + (f" of {lag.episodes} episodes" if lag.episodes > 1 else "")
    others = [
        f"; {len(group.elements)} other elements ({_some(group.elements, names)}) by "
        f"{_interval(group, lag.frame_s, 1 if late else -1)}"
        for group in lag.groups[1:3]
        if group.correlation > max(lag.chance, LEAST_CORRELATION)
    ]
    return Finding(
        rule=of,
        path=path,
        episode=episode,
        stream=lag.second,
        other=lag.first,
        evidence=f"'{lag.second}' {'follows' if late else 'is ahead of'} '{lag.first}' by "
        f"{_interval(main, lag.frame_s, 1 if late else -1)}; correlation "
        f"{main.correlation:.2f} over {over} ({max(lag.chance, 0):.2f} by chance), by "
        f"{lag.clock} stamps{''.join(others)}",
        values={
            "lag_ms": main.lag_s * 1e3, "low_ms": main.low_s * 1e3, "high_ms": main.high_s * 1e3,
            "lag_frames": main.lag_s / lag.frame_s, "low_frames": main.low_s / lag.frame_s,
            "high_frames": main.high_s / lag.frame_s, "correlation": main.correlation,
            "chance": lag.chance, "windows": lag.windows, "elements": list(main.elements),
            "clock": lag.clock, "curve_ms": [float(x) * 1e3 for x in lag.curve_s],
            "curve": [float(x) for x in lag.curve],
            "other_groups": [
                {
                    "lag_ms": g.lag_s * 1e3, "low_ms": g.low_s * 1e3, "high_ms": g.high_s * 1e3,
                    "correlation": g.correlation, "elements": list(g.elements),
                }
                for g in lag.groups[1:]
            ],
        },
    )  # fmt: skip


def _interval(group: Group, frame_s: float, sign: int) -> str:
    low_s, high_s = sorted((sign * group.low_s, sign * group.high_s))
    lag_s = sign * group.lag_s
    return (
        f"{lag_s * 1e3:.0f} ms [{low_s * 1e3:.0f}, {high_s * 1e3:.0f}], "
        f"{lag_s / frame_s:.1f} frames [{low_s / frame_s:.1f}, {high_s / frame_s:.1f}]"
    )


def _some(elements: Sequence[int], names: Sequence[str]) -> str:
    shown = [names[i] if i < len(names) else str(i) for i in elements[:3]]
    return ", ".join(shown) + (", …" if len(elements) > 3 else "")


# -- which streams, and what of them moves --------------------------------------------------------


def _moves(stream: StreamTrace) -> bool:
    """Whether it is a vector of real numbers that changes, and was kept."""
    return (
        stream.spec.kind is Kind.VECTOR
        and np.dtype(stream.spec.dtype).kind == "f"
        and stream.head is not None
        and len(stream.head) >= 20
        and stream.values is not None
        and bool((stream.values.changes > 5).any())
    )


def _head(stream: StreamTrace) -> Floats:
    assert stream.head is not None
    head = stream.head.reshape(len(stream.head), -1).astype(np.float64)
    return np.asarray(np.clip(np.nan_to_num(head, posinf=0, neginf=0), -MOST, MOST))


def _matching(action: StreamTrace, state: StreamTrace) -> tuple[list[int], list[int]] | None:
    """Elements of an action and of a state that are the same joint: by name, else by position."""
    mine, its = (
        {_plain(name): i for i, name in enumerate(stream.spec.names)} for stream in (action, state)
    )
    if common := [name for name in mine if name in its][:MOST_DIMENSIONS]:
        return [mine[name] for name in common], [its[name] for name in common]
    if action.spec.size == state.spec.size:
        every = list(range(min(action.spec.size, MOST_DIMENSIONS)))
        return every, every
    return None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".pos").removesuffix(".position")


def _movers(states: Sequence[StreamTrace]) -> Iterator[StreamTrace]:
    """What a camera's picture may move with: a gyroscope if there is one, else every state."""
    gyroscopes = [s for s in states if _is_gyroscope(s)]
    yield from gyroscopes or [s for s in states if s.spec.size >= 3]


def _is_gyroscope(stream: StreamTrace) -> bool:
    name = f"{stream.spec.name} {stream.spec.topic}".lower()
    return stream.spec.size == 3 and any(word in name for word in GYROSCOPES)


def _path(stream: StreamTrace) -> Floats:
    """float64 [M, 1], the way that a stream has come: a gyroscope's angle, else distance."""
    values = _head(stream)
    if _is_gyroscope(stream):
        speed = np.linalg.norm(values - np.median(values, axis=0), axis=1)
        steps = np.diff(stream.arrival_ns[: len(values)]) / NS_PER_S
        between = (speed[1:] + speed[:-1]) / 2 * np.maximum(steps, 0)
        return np.concatenate([[0.0], np.cumsum(between)])[:, None]
    spread = values.std(axis=0)
    scaled = values[:, spread > 0] / spread[spread > 0]
    steps = np.linalg.norm(np.diff(scaled, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])[:, None]


def _held(stream: StreamTrace, values: Floats) -> Floats:
    """Where a command that is a velocity, or a step, leads if each is held until the next."""
    steps = np.maximum(np.diff(stream.arrival_ns[: len(values)]) / NS_PER_S, 0)[:, None]
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[:-1] * steps, axis=0)])


# -- times ----------------------------------------------------------------------------------------


def _clocks_agree(first: StreamTrace, second: StreamTrace) -> bool:
    """Whether capture times of both can be compared: one clock, that runs, as fast as the log's.

    Clocks of other names are one if both show the log's time, as those of one computer do.
    """
    one = first.spec.clock == second.spec.clock or (_on_log_time(first) and _on_log_time(second))
    return one and _runs(first) and _runs(second)


def _on_log_time(stream: StreamTrace) -> bool:
    """Whether captures are arrivals less what may be a delay."""
    lag_ns = stream.arrival_ns - stream.capture_ns
    return bool(lag_ns.min() >= -FUTURE_NS and np.median(lag_ns) < DELAY_NS)


def _runs(stream: StreamTrace) -> bool:
    if not (np.diff(stream.capture_ns) > 0).all():
        return False
    passed = int(stream.capture_ns[-1] - stream.capture_ns[0])
    arrived = int(stream.arrival_ns.max() - stream.arrival_ns.min())
    return abs(passed - arrived) <= 0.05 * max(passed, arrived) + NS_PER_S // 10


def _in_time(
    stream: StreamTrace, positions: Floats, clock: str
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Times that increase, and the positions at them."""
    times = stream.capture_ns if clock == "capture" else stream.arrival_ns
    times = times[: len(positions)]
    newest = np.maximum.accumulate(times) if len(times) else times
    keep = np.concatenate([[True], np.diff(newest) > 0]) if len(times) else np.empty(0, bool)
    return newest[keep], positions[keep]
