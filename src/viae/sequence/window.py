"""Windows as indices: which samples a decision may see, and which it is asked for.

The future never changes a window: an input index depends only on samples that had arrived by the
decision, in the causal order of `viae.sequence.order`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.schema import NS_PER_S, Role, Samples, Take, TimesNs, VideoGroup, to_ns
from viae.sequence.lookup import known_at, latest_known
from viae.sequence.order import decision_bound


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """The times of one stream, without its values.

    Args:
        role: of the stream.
        capture_ns: int64 [N], log clock.
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


def input_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Which samples enter a window as input.

    Args:
        timeline: times of the stream.
        take: which ones, relative to the decision; none ahead of it.
        decisions_ns: int64 [Q].

    Returns:
        int64 [Q, len(take)], positions in the stream; -1 where there was none, or it was too old.
    """
    capture, arrival = timeline.capture_ns, timeline.arrival_ns
    bounds = decision_bound(timeline.role, decisions_ns)
    if take.offsets_s:
        columns = [latest_known(capture, arrival, bounds + to_ns(s)) for s in take.offsets_s]
        found = np.stack(columns, axis=1)
    elif len(capture) == 0:
        found = np.full((len(decisions_ns), len(take)), -1, np.int64)
    elif (np.diff(capture) >= 0).all() and (np.diff(arrival) >= 0).all():
        found = latest_known(capture, arrival, bounds)[:, None] + np.array(take.steps)
        found = np.maximum(found, -1)
    else:
        back = -np.array(take.steps)
        found = (
            np.stack(
                [known_at(capture, arrival, int(at), count=back.max() + 1)[back] for at in bounds]
            )
            if len(bounds)
            else np.empty((0, len(take)), np.int64)
        )
    if take.max_age_s is not None and len(capture):
        age_ns = decisions_ns[:, None] - capture[found]
        found = np.where((found >= 0) & (age_ns > to_ns(take.max_age_s)), -1, found)
    return found


def target_indices(timeline: Timeline, take: Take, decisions_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Which samples a window asks for: those that follow the decision in the causal order.

    Args:
        timeline: times of the stream.
        take: which ones, relative to the decision; none before it.
        decisions_ns: int64 [Q].

    Returns:
        int64 [Q, len(take)], positions in the stream; -1 past its end.
    """
    by_arrival = np.argsort(timeline.arrival_ns, kind="stable")
    arrivals = timeline.arrival_ns[by_arrival]
    padded = np.append(by_arrival, -1)
    bounds = decision_bound(timeline.role, decisions_ns)
    if take.steps:
        first = np.searchsorted(arrivals, bounds, side="right")
        wanted = first[:, None] + np.array(take.steps)
        steps: npt.NDArray[np.int64] = padded[np.minimum(wanted, len(arrivals))]
        return steps
    offsets = np.array([to_ns(s) for s in take.offsets_s])
    wanted_ns = decisions_ns[:, None] + offsets
    in_force = np.searchsorted(arrivals, wanted_ns, side="right") - 1
    past_end = wanted_ns > (arrivals[-1] if len(arrivals) else -1)
    known_before = in_force < np.searchsorted(arrivals, bounds, side="right")[:, None]
    return np.where(past_end | known_before, -1, padded[in_force])


def decision_times(timeline: Timeline, rate_hz: float | None) -> TimesNs:
    """When decisions are made.

    Args:
        timeline: of the decision stream.
        rate_hz: None decides at each arrival; else at this rate from the first arrival on, to the
            last.

    Returns:
        int64 [Q], increasing, distinct, log clock.
    """
    arrivals = np.unique(timeline.arrival_ns)
    if rate_hz is None or not len(arrivals):
        return arrivals
    span_s = (arrivals[-1] - arrivals[0]) / NS_PER_S
    steps = np.arange(int(span_s * rate_hz + 1e-9) + 1)
    since: TimesNs = np.rint(steps * (NS_PER_S / rate_hz)).astype(np.int64)
    return arrivals[0] + since


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
