"""The causal order: one total, stable order of every sample of an episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.schema import Role, StreamSpec, TimesNs


def causal_order(
    streams: Sequence[StreamSpec], arrivals_ns: Sequence[TimesNs], seqs: Sequence[TimesNs]
) -> npt.NDArray[np.int64]:
    """Order the samples of several streams as they became known.

    By arrival; ties by role (observation < action < outcome), then stream name, then seq.

    Args:
        streams: S streams with distinct names.
        arrivals_ns: per stream int64 [N_s], any order.
        seqs: per stream int64 [N_s], distinct.

    Returns:
        int64 [sum N_s, 2]: rows of (stream, position in the stream).

    Raises:
        WindowError: lengths differ, or two streams share a name.

    Invariant: a permutation of all samples; the order of two samples does not depend on the others.
    Cost: O(N log N).
    """
    names = [spec.name for spec in streams]
    if len(set(names)) != len(names):
        raise WindowError(f"two streams share a name among {names}")
    if not len(streams) == len(arrivals_ns) == len(seqs):
        raise WindowError(f"{len(streams)} streams, {len(arrivals_ns)} arrivals, {len(seqs)} seqs")
    counts = [len(arrival) for arrival in arrivals_ns]
    if counts != [len(seq) for seq in seqs]:
        raise WindowError("arrivals and seqs differ in length")
    if not sum(counts):
        return np.empty((0, 2), np.int64)
    by_name = sorted(range(len(streams)), key=names.__getitem__)
    name_rank = np.empty(len(streams), np.int64)
    name_rank[by_name] = np.arange(len(streams))
    stream = np.repeat(np.arange(len(streams)), counts)
    position = np.concatenate([np.arange(n) for n in counts])
    role = np.array([spec.role.rank for spec in streams])[stream]
    keys = (np.concatenate(seqs), name_rank[stream], role, np.concatenate(arrivals_ns))
    order = np.lexsort(keys)  # the last key is the primary one
    return np.stack([stream, position], axis=1)[order]


def decision_bound(role: Role, decision_ns: TimesNs) -> TimesNs:
    """The last arrival time that a decision may have seen, per stream role.

    A decision sits between the observations and the actions that share its time: observations
    that arrived at that very moment are known, the action that answers them is not.

    Args:
        role: role of the stream looked at.
        decision_ns: int64 [Q].

    Returns:
        int64 [Q], inclusive bounds.
    """
    return decision_ns if role is Role.OBSERVATION else decision_ns - 1
