"""All checks of one episode, in one order, with one finding for one cause."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from viae.doctor import clocks, counters, latency, placing, timing, values, video
from viae.doctor.finding import Finding
from viae.doctor.losses import finding_of
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import Kind, Loss

CONSEQUENCES: dict[str, frozenset[str]] = {
    "sequence-gap": frozenset({"samples-missing"}),
    "repeated-stamps": frozenset({"samples-missing", "irregular-rate"}),
    "simulation-time": frozenset({"irregular-rate"}),
}
"""What a finding explains: findings on the same times that then say nothing new."""
NUMBERS = frozenset({Kind.VECTOR, Kind.IMAGE, Kind.VIDEO})
FEW_STAMPS = 6
"""Samples of a stream below which stamps of zero are no fault."""
ACROSS = frozenset({"time-restarts", "mixed-clocks"})
"""Findings after which streams cannot be compared in time."""


def check_episode(trace: EpisodeTrace) -> list[Finding]:
    """Everything that is wrong with an episode, the worst first.

    Streams that share all their times (the fields of one topic) are judged on them once, under the
    name of the one that says most; `Finding.evidence` says how many others there are.

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
    found += [_of_loss(trace, loss, twins) for loss in trace.losses]
    if any(loss.name == "times-absent" for loss in trace.losses):  # the reader made the grid
        found = [f for f in found if f.name != timing.EXACT_GRID.name]
    return _without_consequences(found, twins)


def _of_loss(trace: EpisodeTrace, loss: Loss, twins: Mapping[str, str]) -> Finding:
    """A loss as a finding. Zeros that a reader has put arrivals in place of are `clocks`' zeros.

    But for the few of what is sent once, and of events, where a stamp of zero says "whenever".
    """
    made = finding_of(loss, episode=trace.episode)
    if loss.name != "zero-stamp" or loss.count is None:
        return made
    concerned = [
        name for name in dict.fromkeys(twins.values())
        if (spec := trace.streams[name].spec).topic == loss.stream and spec.kind in NUMBERS
        and len(trace.streams[name]) >= max(FEW_STAMPS, loss.count)
    ]  # fmt: skip
    if not concerned or loss.count < 2:
        return made
    name = max(concerned, key=lambda each: len(trace.streams[each]))
    stream = trace.streams[name]
    return replace(
        made, rule=clocks.ZERO_STAMPS, stream=name, at_ns=int(stream.arrival_ns[0]),
        evidence=f"{loss.count} of {len(stream)} stamps are 0; their arrivals stand in for them",
        values={"share": loss.count / len(stream)},
    )  # fmt: skip


def _of_times(trace: EpisodeTrace, twins: dict[str, str]) -> list[Finding]:
    """Findings about clocks and timing, each stream's captures believed as far as they can be."""
    if (restart := placing.restarts(trace)) is not None:
        return [restart]  # every other finding about time would be a consequence
    clocked = list(clocks.check(trace))
    unbelievable = {f.stream for f in clocked if f.name in clocks.UNBELIEVABLE}
    timed = timing.check(trace, unbelievable=unbelievable)
    return _with_twins([*clocked, *timed, *placing.appended(trace)], twins)


def _twins(trace: EpisodeTrace) -> dict[str, str]:
    """For every stream the one that stands for all with the same times: the one that says most."""
    alike: dict[tuple[bytes, bytes], list[str]] = {}
    for name, stream in trace.streams.items():
        alike.setdefault(_times(stream), []).append(name)
    chosen = (min(names, key=lambda n: _dullness(trace.streams[n])) for names in alike.values())
    return {name: one for names, one in zip(alike.values(), chosen, strict=True) for name in names}


def _dullness(stream: StreamTrace) -> int:
    """0 for pictures; then numbers that change, numbers that may, and at last a frame's name."""
    if stream.spec.kind in {Kind.IMAGE, Kind.VIDEO}:
        return 0
    if stream.spec.kind is not Kind.VECTOR:
        return 3 if stream.spec.kind is Kind.BYTES else 4
    if stream.values is None or not len(stream):
        return 2
    return 1 if (stream.values.changes > 0).any() else 3


def _times(stream: StreamTrace) -> tuple[bytes, bytes]:
    return (
        hashlib.blake2b(stream.capture_ns.tobytes(), digest_size=16).digest(),
        hashlib.blake2b(stream.arrival_ns.tobytes(), digest_size=16).digest(),
    )


def _with_twins(found: Iterable[Finding], twins: dict[str, str]) -> list[Finding]:
    """Say how many other streams a finding about times holds for."""
    return [
        replace(
            f, evidence=f"{f.evidence} (and so {others} more stream{'s' if others > 1 else ''} "
            "with the same times)",
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
