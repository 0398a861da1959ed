"""The causal order: one total, stable order of every sample of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.schema import Role, StreamSpec, TimesNs

BLOCK = 1 << 16
"""Rows that are written at once: few enough to stay in a core's cache."""


def causal_order(
    streams: Sequence[StreamSpec], arrivals_ns: Sequence[TimesNs], seqs: Sequence[TimesNs]
) -> npt.NDArray[np.int64]:
    """Order the samples of several streams as they became known.

    By arrival; ties by role (observation < action < outcome), then stream name, then seq.

    Streams are laid one after another in the order that decides ties, and sorted by arrival in a
    way that keeps what is equal where it was. NumPy's stable sort of int64 finds runs that are in
    order and merges them, so it is fast where streams are in order, or nearly.

    Args:
        streams: S streams with distinct names.
        arrivals_ns: per stream int64 [N_s], any order.
        seqs: per stream int64 [N_s], distinct.

    Returns:
        int64 [N, 2], N the sum of N_s: rows of (stream, position in the stream).

    Raises:
        WindowError: lengths differ, or two streams share a name.

    Invariant: a permutation of all samples; the order of two samples does not depend on the others.
    Equal to `viae.sequence.reference.causal_order`.
    Cost: O(N log S) for streams in order, O(N log N) for any. Memory at most 26 bytes a sample
    beside the arguments, 16 of them returned.
    """
    names = [spec.name for spec in streams]
    if len(set(names)) != len(names):
        raise WindowError(f"two streams share a name among {names}")
    if not len(streams) == len(arrivals_ns) == len(seqs):
        raise WindowError(f"{len(streams)} streams, {len(arrivals_ns)} arrivals, {len(seqs)} seqs")
    counts = [len(arrival) for arrival in arrivals_ns]
    if counts != [len(seq) for seq in seqs]:
        raise WindowError("arrivals and seqs differ in length")
    ranked = sorted(range(len(streams)), key=lambda s: (streams[s].role.rank, names[s]))
    by_seq = {s: np.argsort(seqs[s]) for s in ranked if (seqs[s][1:] < seqs[s][:-1]).any()}
    arrivals = [arrivals_ns[s][by_seq[s]] if s in by_seq else arrivals_ns[s] for s in ranked]
    order = _stable_argsort(arrivals)
    return _rows(order, ranked, [counts[s] for s in ranked], by_seq)


def _stable_argsort(parts: Sequence[TimesNs]) -> npt.NDArray[np.int64]:
    """Of the parts laid one after another: int64 [N]."""
    return np.argsort(np.concatenate([np.empty(0, np.int64), *parts]), kind="stable")


def _rows(
    order: npt.NDArray[np.int64],
    ranked: Sequence[int],
    counts: Sequence[int],
    by_seq: Mapping[int, npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    """Places among all samples as (stream, position): int64 [N, 2].

    Args:
        order: int64 [N], places among the samples of the ranked streams, one after another.
        ranked: the streams.
        counts: samples of each.
        by_seq: positions in the order of seq, of the streams that are not in that order.
    """
    stream_at = np.repeat(np.array(ranked, np.min_scalar_type(len(ranked))), counts)
    starts = np.empty(len(ranked), np.int64)
    starts[np.array(ranked, np.int64)] = np.cumsum([0, *counts])[:-1]
    rows = np.empty((len(order), 2), np.int64)
    for start in range(0, len(order), BLOCK):
        places, block = order[start : start + BLOCK], rows[start : start + BLOCK]
        stream = stream_at[places]
        block[:, 0] = stream
        np.subtract(places, starts[stream], out=block[:, 1])
        for s, positions in by_seq.items():
            own = stream == s
            block[own, 1] = positions[block[own, 1]]
    return rows


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
