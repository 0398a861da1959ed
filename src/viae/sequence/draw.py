"""In which order windows are drawn: a function of a seed, an epoch and a place, computed anywhere.

No permutation is kept: the i-th window of an epoch is computed from i. So where a loader stands
is two integers, any rank computes its own part of the one global order, and resuming costs nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError

Ints = npt.NDArray[np.int64]

ROUNDS = 8
"""Of the Feistel network. Four are enough to pass for random (Luby and Rackoff 1988), were the
round function perfect; ours is a mixer, and no cipher."""


class Order(Protocol):
    """A global order of windows, epoch after epoch."""

    def __len__(self) -> int:
        """Windows per epoch."""

    def take(self, epoch: int, start: int, stop: int) -> Ints:
        """The windows at places ``start`` to ``stop`` (exclusive) of an epoch: int64."""


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Each window once per epoch, in an order that passes for random.

    A pseudo-random permutation: a balanced Feistel network over the smallest even number of bits
    that holds n, walked until it lands below n.

    Args:
        n: number of windows.
        seed: of the order.
    """

    n: int
    seed: int

    def __len__(self) -> int:
        return self.n

    def take(self, epoch: int, start: int, stop: int) -> Ints:
        """See `Order`."""
        half = max(1, (max(self.n - 1, 1).bit_length() + 1) // 2)
        keys = _keys(self.seed, epoch, ROUNDS)
        places = _feistel(np.arange(start, stop, dtype=np.uint64), keys, half)
        while (outside := places >= self.n).any():
            places[outside] = _feistel(places[outside], keys, half)
        return places.astype(np.int64)


@dataclass(frozen=True, slots=True)
class InOrder:
    """Each window once, as they are numbered: for evaluation.

    Args:
        n: number of windows.
    """

    n: int

    def __len__(self) -> int:
        return self.n

    def take(self, epoch: int, start: int, stop: int) -> Ints:
        """See `Order`."""
        return np.arange(start, stop, dtype=np.int64)


class Weighted:
    """Windows drawn independently, with replacement, by weight; as many per epoch as there are.

    Args:
        weights: float64 [n], relative chances, none negative, of a sum that is finite and not 0.
        seed: of the order.

    Raises:
        WindowError: these are no weights.
    """

    def __init__(self, weights: npt.NDArray[np.float64], seed: int) -> None:
        weights = np.asarray(weights, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            bounds = np.cumsum(weights)
        if not (weights >= 0).all() or not len(bounds) or not 0 < bounds[-1] < np.inf:
            raise WindowError("weights must be at least 0, and have a finite sum above 0")
        self.weights = weights
        self._bounds = bounds
        self.seed = seed

    def __len__(self) -> int:
        return len(self._bounds)

    def take(self, epoch: int, start: int, stop: int) -> Ints:
        """See `Order`."""
        key = _keys(self.seed, epoch, 2)
        # Philox gives four words a step: start at the step that holds the first one wanted.
        skip = start % 4
        source = np.random.Philox(key=key.astype(np.uint64), counter=[start // 4, 0, 0, 0])
        drawn = np.random.Generator(source).random(skip + stop - start)[skip:]
        found = np.searchsorted(self._bounds, drawn * self._bounds[-1], side="right")
        drawn_windows: Ints = np.minimum(found, len(self._bounds) - 1).astype(np.int64)
        return drawn_windows


def _keys(seed: int, epoch: int, count: int) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8 * count).digest()
    return np.frombuffer(digest, np.uint64)


def _feistel(
    places: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64], half: int
) -> npt.NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    left, right = places >> np.uint64(half), places & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << np.uint64(half)) | right


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
