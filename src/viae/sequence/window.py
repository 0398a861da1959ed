"""Windows as indices: which samples a decision may see, and which it is asked for.

The future never changes a window: an input index depends only on samples that had arrived by the
decision, in the causal order of `viae.sequence.order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from viae.schema import NS_PER_S, Role, Samples, Take, TimesNs, VideoGroup, to_ns
from viae.sequence.lookup import Arrivals
from viae.sequence.order import decision_bound


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """The times of one stream, without its values.

    Args:
        role: of the stream.
        capture_ns: int64 [N], log clock; less than 2^62 (146 years) from 0, as all times here.
        arrival_ns: int64 [N], any order.
    """

    role: Role
    capture_ns: TimesNs
    arrival_ns: TimesNs

    @classmethod
    def of(cls, samples: Samples | list[VideoGroup]) -> Timeline:
        """The times of samples, or of all groups of a video."""
        blocks = [samples] if isinstance(samples, Samples) else samples
        return cls(
            role=blocks[0].spec.role,
            capture_ns=np.concatenate([block.capture_ns for block in blocks]),
            arrival_ns=np.concatenate([block.arrival_ns for block in blocks]),
        )

    @cached_property
    def arrivals(self) -> Arrivals:
        """The samples in the order in which they arrived; sorted once, at the first lookup."""
        return Arrivals.of(self.capture_ns, self.arrival_ns)


def input_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Which samples enter a window as input.

    Args:
        timeline: times of the stream.
        take: which ones, relative to the decision; none ahead of it.
        decisions_ns: int64 [Q].

    Returns:
        int64 [Q, len(take)], positions in the stream; -1 where there was none, or it was too old.

    Invariant: equal to `viae.sequence.reference.input_indices`.
    """
    arrivals = timeline.arrivals
    bounds = decision_bound(timeline.role, decisions_ns)
    if take.steps:
        found = arrivals.newest(bounds, [-step for step in take.steps])
    else:
        at_ns = bounds[:, None] + np.array([to_ns(s) for s in take.offsets_s])
        found = arrivals.newest(at_ns.ravel(), (0,)).reshape(at_ns.shape)
    if take.max_age_s is not None and len(arrivals):
        oldest_ns = decisions_ns[:, None] - to_ns(take.max_age_s)
        found[timeline.capture_ns[found] < oldest_ns] = -1
    return found


def target_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Which samples a window asks for: those that follow the decision in the causal order.

    Args:
        timeline: times of the stream.
        take: which ones, relative to the decision; none before it.
        decisions_ns: int64 [Q].

    Returns:
        int64 [Q, len(take)], positions in the stream; -1 past its end.

    Invariant: equal to `viae.sequence.reference.target_indices`.
    """
    arrivals = timeline.arrivals
    first = arrivals.arrived(decision_bound(timeline.role, decisions_ns))[:, None]
    if take.steps:
        return arrivals.at(first + np.array(take.steps))
    wanted_ns = decisions_ns[:, None] + np.array([to_ns(s) for s in take.offsets_s])
    in_force = arrivals.arrived(wanted_ns) - 1
    missing = in_force < first  # known before
    if len(arrivals):
        missing |= wanted_ns > arrivals.arrival_ns[-1]
    return np.where(missing, -1, arrivals.at(in_force))


def decision_times(timeline: Timeline, rate_hz: float | None) -> TimesNs:
    """When decisions are made.

    Args:
        timeline: of the decision stream.
        rate_hz: None decides at each arrival; else at this rate from the first arrival on, to the
            last: the k-th is k / ``rate_hz`` after it, to the nearest nanosecond.

    Returns:
        int64 [Q], increasing, distinct, log clock.
    """
    arrival_ns = timeline.arrivals.arrival_ns
    if not len(arrival_ns):
        return arrival_ns
    if rate_hz is None:
        distinct: TimesNs = arrival_ns[np.append(True, arrival_ns[1:] > arrival_ns[:-1])]
        return distinct
    span_ns = int(arrival_ns[-1]) - int(arrival_ns[0])
    steps = np.arange(int(span_ns / NS_PER_S * rate_hz) + 2)
    since: TimesNs = np.rint(steps * (NS_PER_S / rate_hz)).astype(np.int64)
    times: TimesNs = arrival_ns[0] + since[since <= span_ns]
    return times


def until_stop(
    indices: npt.NDArray[np.int64],
    timeline: Timeline,
    decisions_ns: TimesNs,
    boundaries_ns: TimesNs,
) -> npt.NDArray[np.int64]:
    """Targets up to the first boundary after the decision.

    Args:
        indices: int64 [Q, T] of `target_indices`.
        timeline: times of the same stream.
        decisions_ns: int64 [Q].
        boundaries_ns: int64 [B], where targets stop, e.g. where an intervention begins or ends.

    Returns:
        int64 [Q, T]; -1 also where a boundary lies after the decision and not after the target.
    """
    if not len(boundaries_ns) or not len(timeline.arrival_ns):
        return indices
    ahead = np.append(np.sort(boundaries_ns), np.iinfo(np.int64).max)
    first = ahead[np.searchsorted(ahead[:-1], decisions_ns, side="right")]
    return np.where(timeline.arrival_ns[indices] >= first[:, None], -1, indices)


def ages_s(
    indices: npt.NDArray[np.int64], timeline: Timeline, decisions_ns: TimesNs
) -> npt.NDArray[np.float32]:
    """How old each input was at its decision.

    Args:
        indices: int64 [Q, T] of `input_indices`.
        timeline: times of the same stream, captures on the log clock.
        decisions_ns: int64 [Q].

    Returns:
        float32 [Q, T], seconds; 0 where the index is -1.
    """
    if not len(timeline.capture_ns):
        return np.zeros(indices.shape, np.float32)
    age_ns = decisions_ns[:, None] - timeline.capture_ns[indices]
    return np.where(indices >= 0, age_ns / NS_PER_S, 0).astype(np.float32)
