"""Traces made on the spot, for tests of the doctor's checks."""

from collections.abc import Mapping, Sequence

import numpy as np

from viae.doctor.trace import EpisodeTrace
from viae.doctor.tracing import trace_episode
from viae.logs import Statement
from viae.schema import Kind, Role, Samples, StreamSpec


def seconds(count: int, rate_hz: float, *, start_s: float = 0.0) -> np.ndarray:
    return np.rint((start_s + np.arange(count) / rate_hz) * 1e9).astype(np.int64)


def numbers(
    name: str,
    values: np.ndarray,
    times_ns: np.ndarray,
    *,
    role: Role = Role.OBSERVATION,
    capture_ns: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Samples:
    values = values.reshape(len(values), -1)
    return Samples(
        spec=StreamSpec(
            name=name, dtype=str(values.dtype), shape=values.shape[1:], role=role,
            names=tuple(names), topic=name,
        ),
        capture_ns=times_ns if capture_ns is None else capture_ns, arrival_ns=times_ns,
        seq=np.arange(len(values)), values=values,
    )  # fmt: skip


def trace(
    *blocks: Samples,
    path: str = "a.log",
    episode: str = "",
    said: Mapping[str, object] | None = None,
) -> EpisodeTrace:
    statements = [Statement(key=key, value=value) for key, value in (said or {}).items()]
    return trace_episode([*statements, *blocks], path=path, episode=episode, format="made")


def wandering(seed: int, seconds_: float, rate_hz: float, size: int) -> np.ndarray:
    """A smooth motion without a period [N, size]: noise through a slow filter."""
    rng = np.random.default_rng(seed)
    n = int(seconds_ * rate_hz)
    noise = rng.standard_normal((n + int(4 * rate_hz), size))
    kernel = np.hanning(int(rate_hz * 0.6) + 2)
    smooth = np.stack([np.convolve(c, kernel / kernel.sum(), "same") for c in noise.T], axis=1)
    return np.cumsum(smooth, axis=0)[-n:] / np.sqrt(rate_hz)


def text(name: str, values: Sequence[str], times_ns: np.ndarray) -> Samples:
    return Samples(
        spec=StreamSpec(name=name, kind=Kind.TEXT, dtype=""), capture_ns=times_ns,
        arrival_ns=times_ns, seq=np.arange(len(values)), values=list(values),
    )  # fmt: skip
