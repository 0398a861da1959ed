"""What was known at a time: the newest capture among the samples that had arrived."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.schema import TimesNs


def latest_known(capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: TimesNs) -> npt.NDArray[np.int64]:
    """Index of the newest sample known at each time.

    Among the samples with ``arrival_ns <= at_ns`` the one with the greatest ``capture_ns``; of
    equal captures the last to arrive; of equal arrivals the last recorded. A late packet never
    shadows a newer one.

    Args:
        capture_ns: int64 [N], log clock, ns.
        arrival_ns: int64 [N], ns; any order.
        at_ns: int64 [Q], ns; any order.

    Returns:
        int64 [Q]; -1 where nothing had arrived.

    Raises:
        WindowError: capture and arrival differ in length.

    Invariant: ``arrival_ns[i] <= at_ns[q]``. Cost: O((N + Q) log N).
    """
    if len(capture_ns) != len(arrival_ns):
        raise WindowError(f"{len(capture_ns)} captures for {len(arrival_ns)} arrivals")
    by_arrival = np.argsort(arrival_ns, kind="stable")
    newest = np.empty(len(by_arrival), np.int64)
    rank = _capture_rank(capture_ns, by_arrival)
    np.maximum.accumulate(rank, out=newest)  # the newest capture among the first 1, 2, … arrivals
    arrived = np.searchsorted(arrival_ns[by_arrival], at_ns, side="right")
    by_rank = np.empty(len(by_arrival), np.int64)
    by_rank[rank] = by_arrival
    padded = np.concatenate([[-1], by_rank[newest]]).astype(np.int64)
    return padded[arrived]


def known_at(
    capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: int, *, count: int
) -> npt.NDArray[np.int64]:
    """Indices of the ``count`` newest samples known at one time, newest first.

    The order is that of `latest_known`, whose answer is the first entry.

    Args:
        capture_ns: int64 [N], log clock, ns.
        arrival_ns: int64 [N], ns; any order.
        at_ns: ns.
        count: how many.

    Returns:
        int64 [count]; -1 where fewer had arrived.
    """
    arrived = np.flatnonzero(arrival_ns <= at_ns)
    newest_first = arrived[np.lexsort((arrived, arrival_ns[arrived], capture_ns[arrived]))][::-1]
    known = np.full(count, -1, np.int64)
    known[: min(count, len(newest_first))] = newest_first[:count]
    return known


def _capture_rank(capture_ns: TimesNs, by_arrival: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rank by capture, ties by arrival, of samples listed by arrival: int64 [N], distinct."""
    rank = np.empty(len(by_arrival), np.int64)
    rank[np.argsort(capture_ns[by_arrival], kind="stable")] = np.arange(len(by_arrival))
    return rank
