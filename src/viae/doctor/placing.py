"""Where streams lie in the log against each other: restarts, appended topics, early ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.times import LEAST, STALL_PERIODS, Times, seconds
from viae.doctor.trace import EpisodeTrace
from viae.schema import NS_PER_S

TIME_RESTARTS = rule(
    "time-restarts", Severity.ERROR, "the log's time starts again inside the file",
    consequence="several recordings lie on top of each other: a window mixes their samples",
    fix="Split the file where the time restarts, one episode each.",
)  # fmt: skip
APPENDED_TOPICS = rule(
    "appended-topics", Severity.NOTE, "topics lie one after another in the file",
    consequence="none in viae, which orders by arrival; to play the file one has to read all of it",
    fix="Nothing, or sort the log when it is exported.",
)  # fmt: skip
ENDS_EARLY = rule(
    "stream-ends-early", Severity.WARNING, "the stream dies before the episode ends",
    consequence="until the end the policy sees its last sample as if it were the present",
    fix="Trim the episode where the stream ends, or mask it after (max_age).",
)  # fmt: skip
MESSAGE_LOGS = frozenset({"mcap", "ros1bag", "ros2bag", "ulog"})
"""Formats whose file has one order over all streams."""


def restarts(trace: EpisodeTrace) -> Finding | None:
    """Arrivals that fall back to near where they began, in most streams that are long enough."""
    fallen: list[tuple[str, int, int]] = []
    regular = 0
    for name, stream in trace.streams.items():
        arrival_ns = stream.arrival_ns
        if len(arrival_ns) < LEAST:
            continue
        regular += 1
        reached = np.maximum.accumulate(arrival_ns)[:-1] - arrival_ns[0]
        falls = -np.diff(arrival_ns)
        at = np.flatnonzero((falls >= 0.5 * reached) & (falls >= NS_PER_S))
        if len(at):
            fallen.append((name, len(at), int(arrival_ns[at[0]])))
    if not fallen:
        return None
    name, times, at_ns = fallen[0]
    alone = name if len(fallen) == 1 < regular else ""
    return Finding(
        rule=TIME_RESTARTS, path=trace.path, episode=trace.episode, stream=alone,
        evidence=f"log time falls back to near its start {times} times in {len(fallen)} of "
        f"{regular} streams, first after {at_ns / NS_PER_S:.3f} s in '{name}'",
        values={"restarts": times, "streams": len(fallen)}, at_ns=at_ns, count=times,
    )  # fmt: skip


def split(path: str, log_format: str, episodes: int) -> list[Finding]:
    """What is left to say where the reader has split a file at its restarts."""
    if log_format not in MESSAGE_LOGS or episodes < 2:
        return []
    return [
        Finding(
            rule=replace(
                TIME_RESTARTS, severity=Severity.NOTE,
                consequence="none in viae, which reads each recording as an episode of its own; "
                "others lay them on top of each other",
                fix="Nothing, or export each episode to a file of its own.",
            ),
            path=path, values={"restarts": episodes - 1}, count=episodes - 1,
            evidence=f"the file holds {episodes} recordings: its time starts again "
            + ("once" if episodes == 2 else f"{episodes - 1} times"),
        )
    ]  # fmt: skip


def appended(trace: EpisodeTrace) -> Iterator[Finding]:
    """Streams that come up long after what other streams had shown by then."""
    if trace.format not in MESSAGE_LOGS or not trace.streams:
        return
    full = [stream.arrival_ns for stream in trace.streams.values() if len(stream)]
    if not full:
        return
    span = max(int(a.max()) for a in full) - min(int(a.min()) for a in full)
    behind = {
        name: stream.behind_ns
        for name, stream in trace.streams.items()
        if stream.behind_ns > max(2 * NS_PER_S, span // 5) and np.ptp(stream.arrival_ns)
    }
    if behind:
        name = max(behind, key=lambda name: behind[name])
        yield Finding(
            rule=APPENDED_TOPICS, path=trace.path, episode=trace.episode, stream="",
            evidence=f"{len(behind)} streams come up to {seconds(behind[name])} late in the file, "
            f"'{name}' the latest",
            values={"behind_s": behind[name] / NS_PER_S, "streams": sorted(behind)},
            count=len(behind),
        )  # fmt: skip


def ends_early(trace: EpisodeTrace, views: Mapping[str, Times]) -> Iterator[Finding]:
    """Streams of a steady rate that are silent while the others go on."""
    steady = {name: view for name, view in views.items() if view.steady and len(view) >= 2 * LEAST}
    if len(steady) < 2:
        return
    ends = sorted(int(view.arrival_ns.max()) for view in steady.values())
    start = min(int(view.arrival_ns.min()) for view in steady.values())
    end = ends[-2] if len(ends) > 2 else ends[-1]  # one stream that goes on alone proves nothing
    for name, view in steady.items():
        last = int(view.arrival_ns.max())
        early = end - last
        if early > max(STALL_PERIODS * view.period_ns, NS_PER_S, 0.05 * (end - start)):
            yield Finding(
                rule=ENDS_EARLY, path=trace.path, episode=trace.episode, stream=name,
                evidence=f"the last sample is {seconds(early)} before the other streams' end, at a "
                f"rate of {NS_PER_S / view.period_ns:.3g} Hz",
                values={"early_s": early / NS_PER_S}, at_ns=last,
            )  # fmt: skip
