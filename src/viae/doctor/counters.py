"""Streams that count: what they skip was lost before the recorder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.times import LEAST
from viae.doctor.trace import EpisodeTrace

SEQUENCE_GAP = rule(
    "sequence-gap", Severity.WARNING, "a counter skips: samples were lost before the recorder",
    consequence="a step in samples is not always a step in time",
    fix="Use times, not sample numbers; look for drops between the driver and the recorder.",
)  # fmt: skip

COUNTERS = frozenset(
    {
        "seq", "sequence", "sequencenumber", "sequence_number", "seq_num", "frame", "frame_number",
        "framenumber", "frame_id", "frame_index", "frame_count", "counter", "count", "index",
    }
)  # fmt: skip
"""Last parts of names that say "counter"."""


def gaps(trace: EpisodeTrace, name: str) -> Iterator[Finding]:
    """Gaps in what a stream counts.

    A counter steps by one: mostly, if it is called one; almost always, if it is called anything.
    """
    stream = trace.streams[name]
    spec, head = stream.spec, stream.head
    if head is None or len(head) < LEAST or np.dtype(spec.dtype).kind not in "iuf":
        return
    for element in range(head.shape[1]):
        label = spec.names[element] if spec.names else name
        if head.shape[1] > 1 and not spec.names:
            return
        last = label.replace("/", ".").rsplit(".", 1)[-1].lower()
        column = head[:, element]
        if not np.isfinite(column).all() or (column != np.rint(column)).any():
            continue
        step = np.diff(column)
        share = 0.5 if last in COUNTERS else 0.95
        if np.dtype(spec.dtype).kind == "f" and last not in COUNTERS:
            continue
        if (step == 1).mean() < share:
            continue
        skips = np.flatnonzero(step > 1)  # after 8 or 16 bits a counter falls back, which is fine
        if not len(skips):
            continue
        missing = int((step[skips] - 1).sum())
        yield Finding(
            rule=SEQUENCE_GAP, path=trace.path, episode=trace.episode, stream=name,
            evidence=f"'{label}' skips {missing} numbers in {len(skips)} places, the most "
            f"{int(step[skips].max()) - 1} at once",
            values={"missing": missing, "longest": int(step[skips].max()) - 1},
            at_ns=int(stream.arrival_ns[skips[0] + 1]), count=missing,
        )  # fmt: skip
