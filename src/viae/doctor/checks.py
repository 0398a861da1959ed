"""All checks of one episode, in one order, with one finding for one cause."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from viae.doctor import clocks, counters, latency, placing, timing, values, video
from viae.doctor.finding import Finding
from viae.doctor.losses import finding_of
from viae.doctor.trace import EpisodeTrace, StreamTrace

CONSEQUENCES: dict[str, frozenset[str]] = {
    "sequence-gap": frozenset({"samples-missing"}),
    "repeated-stamps": frozenset({"samples-missing", "irregular-rate"}),
    "simulation-time": frozenset({"irregular-rate"}),
}
"""What a finding explains: findings on the same times that then say nothing new."""
ACROSS = frozenset({"time-restarts", "mixed-clocks"})
"""Findings after which streams cannot be compared in time."""


def check_episode(trace: EpisodeTrace) -> list[Finding]:
    """Everything that is wrong with an episode, the worst first.

    Streams that share all their times (the fields of one topic) are judged on them once, under the
    name of the first; `Finding.evidence` says how many others there are.

    Args:
        trace: see `tracing.trace_episode`.

    Returns:
        Findings by falling severity, then name, stream and time.
    """
    with np.errstate(all="ignore"):  # garbage overflows; compared with a limit, it is still garbage
        found = _all(trace)
    return sorted(found, key=lambda f: (-f.severity.rank, f.name, f.stream, f.at_ns or 0))


def _all(trace: EpisodeTrace) -> list[Finding]:
    twins = _twins(trace)
    firsts = {name: trace.streams[name] for name in dict.fromkeys(twins.values())}
    found = _of_times(replace(trace, streams=firsts), twins)
    found += [f for name in trace.streams for f in counters.gaps(trace, name)]
    found += [*values.check(trace), *video.check(trace)]
    if not any(f.name in ACROSS for f in found):
        found += latency.check(trace)
    found += [finding_of(loss, episode=trace.episode) for loss in trace.losses]
    if any(loss.name == "times-absent" for loss in trace.losses):  # the reader made the grid
        found = [f for f in found if f.name != timing.EXACT_GRID.name]
    return _without_consequences(found, twins)


def _of_times(trace: EpisodeTrace, twins: dict[str, str]) -> list[Finding]:
    """Findings about clocks and timing, each stream's captures believed as far as they can be."""
    if (restart := placing.restarts(trace)) is not None:
        return [restart]  # every other finding about time would be a consequence
    clocked = list(clocks.check(trace))
    unbelievable = {f.stream for f in clocked if f.name in clocks.UNBELIEVABLE}
    timed = timing.check(trace, unbelievable=unbelievable)
    return _with_twins([*clocked, *timed, *placing.appended(trace)], twins)


def _twins(trace: EpisodeTrace) -> dict[str, str]:
    """For every stream the first that has the same times."""
    first: dict[tuple[bytes, bytes], str] = {}
    return {name: first.setdefault(_times(stream), name) for name, stream in trace.streams.items()}


def _times(stream: StreamTrace) -> tuple[bytes, bytes]:
    return (
        hashlib.blake2b(stream.capture_ns.tobytes(), digest_size=16).digest(),
        hashlib.blake2b(stream.arrival_ns.tobytes(), digest_size=16).digest(),
    )


def _with_twins(found: Iterable[Finding], twins: dict[str, str]) -> list[Finding]:
    """Say how many other streams a finding about times holds for."""
    return [
        replace(
            f, evidence=f"{f.evidence} (and so {others} more streams with the same times)",
            values={**f.values, "streams": [n for n, twin in twins.items() if twin == f.stream]},
        )
        if (others := sum(twin == f.stream for twin in twins.values()) - 1) > 0
        else f
        for f in found
    ]  # fmt: skip


def _without_consequences(found: list[Finding], twins: dict[str, str]) -> list[Finding]:
    explained = {
        (twins.get(f.stream, f.stream), name)
        for f in found
        for name in CONSEQUENCES.get(f.name, ())
    }
    return [f for f in found if (twins.get(f.stream, f.stream), f.name) not in explained]
