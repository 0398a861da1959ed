"""The sequence room in its own words: short, obvious, slow. The fast functions are proved equal.

Each does what the docstring of its namesake says, sample by sample and decision by decision, in
Python's own integers, which never overflow. Cost: O(N Q), and more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from viae.schema import NS_PER_S, Role, StreamSpec, Take, TimesNs, to_ns
from viae.sequence.window import Timeline

Ints = npt.NDArray[np.int64]


def causal_order(
    streams: Sequence[StreamSpec], arrivals_ns: Sequence[TimesNs], seqs: Sequence[TimesNs]
) -> Ints:
    """See `viae.sequence.causal_order`."""
    samples = sorted(
        (int(arrivals_ns[s][i]), spec.role.rank, spec.name, int(seqs[s][i]), s, i)
        for s, spec in enumerate(streams)
        for i in range(len(arrivals_ns[s]))
    )
    return np.array([sample[-2:] for sample in samples], np.int64).reshape(-1, 2)


def latest_known(capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: TimesNs) -> Ints:
    """See `viae.sequence.latest_known`."""
    line = Timeline(role=Role.OBSERVATION, capture_ns=capture_ns, arrival_ns=arrival_ns)
    return np.array([_nth(_known(line, at), 0) for at in at_ns.tolist()], np.int64)


def known_at(capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: TimesNs, *, count: int) -> Ints:
    """See `viae.sequence.known_at`."""
    line = Timeline(role=Role.OBSERVATION, capture_ns=capture_ns, arrival_ns=arrival_ns)
    rows = [(_known(line, at) + [-1] * count)[:count] for at in at_ns.tolist()]
    return np.array(rows, np.int64).reshape(len(at_ns), count)


def input_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> Ints:
    """See `viae.sequence.input_indices`."""

    def row(decision_ns: int) -> list[int]:
        bound = _bound(timeline.role, decision_ns)
        if take.steps:
            found = [_nth(_known(timeline, bound), -step) for step in take.steps]
        else:
            found = [_nth(_known(timeline, bound + to_ns(s)), 0) for s in take.offsets_s]
        return [-1 if i < 0 or too_old(i, decision_ns) else i for i in found]

    def too_old(i: int, decision_ns: int) -> bool:
        age_ns = decision_ns - int(timeline.capture_ns[i])
        return take.max_age_s is not None and age_ns > to_ns(take.max_age_s)

    rows = [row(decision_ns) for decision_ns in decisions_ns.tolist()]
    return np.array(rows, np.int64).reshape(len(decisions_ns), len(take))


def target_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> Ints:
    """See `viae.sequence.target_indices`."""
    arrival_ns = timeline.arrival_ns.tolist()
    by_arrival = sorted(range(len(arrival_ns)), key=arrival_ns.__getitem__)

    def row(decision_ns: int) -> list[int]:
        bound = _bound(timeline.role, decision_ns)
        after = [i for i in by_arrival if arrival_ns[i] > bound]
        if take.steps:
            return [_nth(after, step) for step in take.steps]
        return [in_force(after, decision_ns + to_ns(s)) for s in take.offsets_s]

    def in_force(after: Sequence[int], at_ns: int) -> int:
        if not arrival_ns or at_ns > max(arrival_ns):
            return -1
        return ([-1] + [i for i in after if arrival_ns[i] <= at_ns])[-1]

    rows = [row(decision_ns) for decision_ns in decisions_ns.tolist()]
    return np.array(rows, np.int64).reshape(len(decisions_ns), len(take))


def decision_times(timeline: Timeline, rate_hz: float | None) -> TimesNs:
    """See `viae.sequence.decision_times`."""
    arrivals = sorted(set(timeline.arrival_ns.tolist()))
    if rate_hz is None or not arrivals:
        return np.array(arrivals, np.int64)
    times, step = list[int](), 0
    while (at_ns := arrivals[0] + round(step * (NS_PER_S / rate_hz))) <= arrivals[-1]:
        times.append(at_ns)
        step += 1
    return np.array(times, np.int64)


def until_stop(
    indices: Ints, timeline: Timeline, decisions_ns: TimesNs, boundaries_ns: TimesNs
) -> Ints:
    """See `viae.sequence.until_stop`."""
    found = indices.copy()
    for q, decision_ns in enumerate(decisions_ns.tolist()):
        for t, i in enumerate(indices[q].tolist()):
            ahead = [b for b in boundaries_ns.tolist() if b > decision_ns]
            if i >= 0 and any(b <= int(timeline.arrival_ns[i]) for b in ahead):
                found[q, t] = -1
    return found


def ages_s(indices: Ints, timeline: Timeline, decisions_ns: TimesNs) -> npt.NDArray[np.float32]:
    """See `viae.sequence.ages_s`."""
    ages = np.zeros(indices.shape, np.float32)
    for q, decision_ns in enumerate(decisions_ns.tolist()):
        for t, i in enumerate(indices[q].tolist()):
            if i >= 0:
                ages[q, t] = float(decision_ns - int(timeline.capture_ns[i])) / NS_PER_S
    return ages


def _known(timeline: Timeline, at_ns: int) -> list[int]:
    """What had arrived by a time, the newest first: by capture, then arrival, then place."""
    capture_ns, arrival_ns = timeline.capture_ns.tolist(), timeline.arrival_ns.tolist()
    arrived = [i for i, arrival in enumerate(arrival_ns) if arrival <= at_ns]
    return sorted(arrived, key=lambda i: (capture_ns[i], arrival_ns[i], i), reverse=True)


def _nth(found: Sequence[int], n: int) -> int:
    return found[n] if n < len(found) else -1


def _bound(role: Role, decision_ns: int) -> int:
    """The last arrival that a decision has seen: an action that shares its time answers it."""
    return decision_ns if role is Role.OBSERVATION else decision_ns - 1
