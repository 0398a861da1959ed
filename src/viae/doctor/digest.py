"""What is kept of an episode to compare it with others: a few kilobytes, so that thousands fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.doctor.sketch import Sketch, sketch_of
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import NS_PER_S, Kind, Role

Floats: TypeAlias = npt.NDArray[np.float64]

MOST = 1e60
"""Greater numbers are garbage, whose squares would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDigest:
    """One stream of one episode.

    Args:
        kind: its kind.
        role: its role.
        form: dtype and shape, as text.
        names: of its elements.
        topic: where in the log it comes from.
        rate_hz: by the median interval; None where it is not steady.
        still: bool [D], elements with one value throughout; None where values are not known.
        low: float64 [D], the least value, which is the only one of still elements.
        high: float64 [D], the greatest.
    """

    kind: Kind
    role: Role
    form: str
    names: tuple[str, ...]
    rate_hz: float | None
    still: npt.NDArray[np.bool_] | None
    low: Floats | None
    high: Floats | None
    topic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDigest:
    """What is kept of an episode to compare it with others.

    Args:
        path: its log, or its store.
        episode: which part of it.
        length_s: from the first to the last arrival.
        streams: by name.
        task: what it says its task is, or empty.
        roughness_hz: how fast its motion changes direction, see `roughness_hz`; by stream.
        sketch: of its trajectories; None where nothing moves.
    """

    path: str
    episode: str
    length_s: float
    streams: dict[str, StreamDigest]
    task: str
    roughness_hz: dict[str, float]
    sketch: Sketch | None

    @property
    def label(self) -> str:
        """How evidence calls it."""
        return self.episode or self.path.rsplit("/", 1)[-1]


def digest_of(trace: EpisodeTrace) -> EpisodeDigest:
    """What to keep of an episode."""
    firsts = [int(s.arrival_ns.min()) for s in trace.streams.values() if len(s)]
    lasts = [int(s.arrival_ns.max()) for s in trace.streams.values() if len(s)]
    movers = {name: s for name, s in trace.streams.items() if _is_motion(s)}
    roughness = {name: roughness_hz(stream) for name, stream in movers.items()}
    return EpisodeDigest(
        path=trace.path,
        episode=trace.episode,
        length_s=(max(lasts) - min(firsts)) / NS_PER_S if firsts else 0.0,
        streams={name: _stream(stream) for name, stream in trace.streams.items()},
        task=str(trace.statements.get("task") or ""),
        roughness_hz={name: value for name, value in roughness.items() if value is not None},
        sketch=sketch_of(movers),
    )


def roughness_hz(stream: StreamTrace) -> float | None:
    """The mean frequency of a motion: RMS acceleration over RMS velocity, over 2π; Hz.

    A sine of 1 Hz has 1 Hz; jerky or noisy motion has more. It does not depend on how long or how
    far the motion goes. (Spectral arc length does: it grows with each movement of a long episode.)
    """
    head = stream.head
    if head is None or len(head) < 20:
        return None
    step_s = float(np.median(np.diff(stream.arrival_ns[: len(head)]))) / NS_PER_S
    values = head[:, (np.abs(head) < MOST).all(axis=0)]  # NaN is not less, either
    spread = values.std(axis=0)
    values = values[:, spread > 0] / spread[spread > 0]
    velocity = np.diff(values, axis=0)
    power = float((velocity**2).mean()) if velocity.size else 0.0
    if step_s <= 0 or power <= 0:
        return None
    acceleration = np.diff(velocity, axis=0)
    return float(np.sqrt((acceleration**2).mean() / power) / step_s / (2 * np.pi))


def _is_motion(stream: StreamTrace) -> bool:
    """Whether it is what the robot felt or did, as real numbers of which some change."""
    return (
        stream.spec.kind is Kind.VECTOR
        and stream.spec.role is not Role.OUTCOME
        and np.dtype(stream.spec.dtype).kind == "f"
        and stream.head is not None
        and len(stream.head) > 1
        and stream.values is not None
        and bool((stream.values.changes > 0).any())
    )


def _stream(stream: StreamTrace) -> StreamDigest:
    rate = None
    if len(stream) >= 10:
        steps = np.diff(stream.arrival_ns)
        low, median, high = np.quantile(steps, [0.25, 0.5, 0.75])
        if median > 0 and high - low <= 0.5 * median:
            rate = NS_PER_S / float(median)
    still = low = high = None
    if stream.values is not None and len(stream):
        still = (stream.values.changes == 0) & (stream.values.not_finite == 0)
        low, high = stream.values.low, stream.values.high
    spec = stream.spec
    size = str(list(spec.shape)) if spec.kind is not Kind.TEXT else ""
    return StreamDigest(
        kind=spec.kind, role=spec.role, form=f"{spec.kind} {spec.dtype} {size}".strip(),
        names=spec.names, rate_hz=rate, still=still, low=low, high=high,
        topic=spec.topic,
    )  # fmt: skip
