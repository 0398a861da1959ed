"""Which parts of episodes a model is trained on: windows of T events, in one global order.

The order is that of `viae.sequence.draw`: a function of a seed, an epoch and a place. So ranks take
their parts of it, and a run goes on from (epoch, position), as of `viae.load.Loader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.load.weights import Mass, window_weights
from viae.sequence import Order, Shuffled, Weighted

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


class EventWindows:
    """Windows of T events, as many of an episode as it has events.

    The windows of an episode of N events begin at -T//2, …, N - T//2 - 1, clipped to lie inside it:
    to [0, N - T], or to 0 where N <= T. So no window is shorter than it must be; an event that is T
    or more from both ends is in T windows, others in T/2 to 3T/2, those of an episode of N <= T
    events in N.

    Args:
        lengths: events of each episode.
        size: T.

    Raises:
        UsageError: a length below 0, or a size below 1.
    """

    def __init__(self, lengths: Sequence[int] | Ints, size: int) -> None:
        self.lengths: Ints = np.asarray(lengths, np.int64)
        self.size = size
        if size < 1 or (self.lengths < 0).any():
            raise UsageError(f"windows of {size} events, of episodes of {self.lengths.tolist()}")
        self._ends: Ints = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def episode_of(self) -> Ints:
        """int64 [W], the episode of each window."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def at(self, numbers: Ints) -> tuple[Ints, Ints, Ints]:
        """Windows by number.

        Args:
            numbers: int64 [B], each in [0, len(self)), as an order gives them.

        Returns:
            int64 [B] each: episode, first event, and how many events: T, or all there are.
        """
        episode = np.searchsorted(self._ends, numbers, side="right")
        lengths = self.lengths[episode]
        place = numbers - (self._ends[episode] - lengths)
        first = np.clip(place - self.size // 2, 0, np.maximum(lengths - self.size, 0))
        return episode, first, np.minimum(lengths, self.size)

    def order(self, seed: int, weights: Floats | None = None, *, mass: Mass = "window") -> Order:
        """The global order of windows.

        Args:
            seed: of the order.
            weights: float64 [E], relative chances of episodes: windows are then drawn with
                replacement; None takes each once per epoch.
            mass: what a weight is of: each ``"window"``, or all of an ``"episode"`` together.

        Raises:
            UsageError: there are weights for another number of episodes.
            WindowError: these are no weights, or they let nothing be drawn.
        """
        if weights is None:
            return Shuffled(len(self), seed)
        if len(weights) != len(self.lengths):
            raise UsageError(f"{len(weights)} weights for {len(self.lengths)} episodes")
        return Weighted(window_weights(self.episode_of, weights, mass=mass), seed)


def window_starts(
    lengths: Sequence[int] | Ints,
    size: int,
    seed: int,
    epoch: int,
    *,
    weights: Floats | None = None,
) -> Ints:
    """All windows of an epoch in their order: int64 [W, 2], episode and first event.

    Args:
        lengths: see `EventWindows`.
        size: T.
        seed: of the order.
        epoch: from 0 on.
        weights: see `EventWindows.order`.
    """
    windows = EventWindows(lengths, size)
    order = windows.order(seed, weights)
    episode, first, _ = windows.at(order.take(epoch, 0, len(order)))
    return np.stack([episode, first], axis=1)
