"""What was known at a time: the newest captures among the samples that had arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.schema import TimesNs

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """The samples of a stream in the order in which they arrived, ready for lookups.

    Args:
        arrival_ns: int64 [N], never going back.
        positions: int64 [N], where in the stream each is; None where it is in this order itself.
        ranks: int64 [N], distinct: how new each is among all, 0 the oldest. The greater capture is
            newer; of equal captures the last to arrive; of equal arrivals the last recorded. None
            where each is newer than all before it.
    """

    arrival_ns: TimesNs
    positions: Ints | None
    ranks: Ints | None

    @classmethod
    def of(cls, capture_ns: TimesNs, arrival_ns: TimesNs) -> Arrivals:
        """Sort what is not sorted yet.

        Args:
            capture_ns: int64 [N], log clock, ns.
            arrival_ns: int64 [N], ns; any order.

        Raises:
            WindowError: capture and arrival differ in length.

        Cost: O(N) where both never go back, else O(N log N).
        """
        if len(capture_ns) != len(arrival_ns):
            raise WindowError(f"{len(capture_ns)} captures for {len(arrival_ns)} arrivals")
        positions = ranks = None
        if _goes_back(arrival_ns):
            positions = np.argsort(arrival_ns, kind="stable")
            capture_ns, arrival_ns = capture_ns[positions], arrival_ns[positions]
        if _goes_back(capture_ns):
            ranks = np.empty(len(capture_ns), np.int64)
            ranks[np.argsort(capture_ns, kind="stable")] = np.arange(len(capture_ns))
        return cls(arrival_ns, positions, ranks)

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def arrived(self, at_ns: TimesNs) -> Ints:
        """How many had arrived by each time: int64, of the shape of ``at_ns``."""
        return np.searchsorted(self.arrival_ns, at_ns, side="right")

    def at(self, places: Ints) -> Ints:
        """Positions in the stream of places in the order of arrival; -1 outside of it."""
        outside = (places < 0) | (places >= len(self))
        if self.positions is None or not len(self):
            return np.where(outside, -1, places)
        return np.where(outside, -1, self.positions[np.where(outside, 0, places)])

    def newest(self, at_ns: TimesNs, back: Sequence[int]) -> Ints:
        """Positions of samples known at each time, counted back from the newest.

        Args:
            at_ns: int64 [Q], ns; any order.
            back: T numbers: 0 the newest, 1 the one before it, …

        Returns:
            int64 [Q, T]; -1 where fewer had arrived.

        Cost: O(Q log N + Q T), and O(N max(back)) where captures go back.
        """
        arrived = self.arrived(at_ns)
        if self.ranks is None:
            return self.at(arrived[:, None] - (1 + np.array(back, np.int64)))
        place_of = np.empty(len(self), np.int64)
        place_of[self.ranks] = np.arange(len(self))
        found = np.empty((len(at_ns), len(back)), np.int64)
        # The newest so far is a running maximum. What it beat, or what it was when it was beaten,
        # are all the others; the newest of them so far is the second newest, and so on.
        others = self.ranks
        for depth in range(max(back, default=-1) + 1):
            so_far = np.maximum.accumulate(others)
            if depth in back:
                rank = np.append(so_far, -1)[arrived - 1]  # nothing arrived: the last, -1
                place = np.append(place_of, -1)[rank]
                found[:, [i for i, b in enumerate(back) if b == depth]] = self.at(place)[:, None]
            others = np.minimum(others, np.concatenate([[-1], so_far[:-1]]))
        return found


def latest_known(capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: TimesNs) -> Ints:
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

    Invariant: ``arrival_ns[i] <= at_ns[q]``. Equal to `viae.sequence.reference.latest_known`.
    Cost: O((N + Q) log N).
    """
    return Arrivals.of(capture_ns, arrival_ns).newest(at_ns, (0,))[:, 0]


def known_at(capture_ns: TimesNs, arrival_ns: TimesNs, at_ns: TimesNs, *, count: int) -> Ints:
    """Indices of the ``count`` newest samples known at each time, newest first.

    The order is that of `latest_known`, whose answer is the first entry.

    Args:
        capture_ns: int64 [N], log clock, ns.
        arrival_ns: int64 [N], ns; any order.
        at_ns: int64 [Q], ns; any order.
        count: how many.

    Returns:
        int64 [Q, count]; -1 where fewer had arrived.

    Raises:
        WindowError: capture and arrival differ in length.

    Invariant: equal to `viae.sequence.reference.known_at`. Cost: O((N + Q) (log N + count)).
    """
    return Arrivals.of(capture_ns, arrival_ns).newest(at_ns, range(count))


def _goes_back(times_ns: TimesNs) -> bool:
    return bool((times_ns[1:] < times_ns[:-1]).any())
