"""Sorted runs merged block by block: what does not fit in memory is ordered as if it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.uint64]
"""uint64 [N, 2]: a key is its row; the first column decides, the second one breaks ties."""
Ints = npt.NDArray[np.int64]


def merge(runs: Sequence[Iterator[Keys]]) -> Iterator[tuple[Ints, Ints]]:
    """Merge sorted runs, holding one block of each.

    Of the held blocks, one ends first; everything up to its end can be put in order, as no block to
    come has anything before. Then the run of that block gives its next one.

    Args:
        runs: R runs as blocks of keys, sorted inside each block and from block to block.

    Yields:
        What comes next, as (int64 [M], int64 [M]): the run, and the position in the block that the
        run gave last. Blocks are taken only between two of these.

    Invariant: all of it is a stable sort of the runs laid one after another: equal keys keep their
    order, those of an earlier run come first.
    Cost: O(N log N), and O(R) a block; memory of one block a run.
    """
    held: dict[int, Keys] = {}
    firsts: dict[int, tuple[int, int]] = {}  # of what is left of each block
    lasts: dict[int, tuple[int, int]] = {}
    starts: dict[int, int] = {}

    def take(run: int) -> None:
        block = next((block for block in runs[run] if len(block)), None)
        if block is None:
            for each in (held, firsts, lasts, starts):
                each.pop(run, None)
        else:
            held[run], starts[run] = block, 0
            firsts[run], lasts[run] = _key(block, 0), _key(block, -1)

    for run in range(len(runs)):
        take(run)
    while held:
        bound, ends_first = min((last, run) for run, last in lasts.items())
        parts: list[tuple[int, int, int]] = []
        for run in sorted(held):
            if firsts[run] > bound:
                continue
            # The run that ends first may go on with its last key, before the same key of a later.
            end = _count(held[run], bound, equal=run <= ends_first)
            if end > starts[run]:
                parts.append((run, starts[run], end))
                starts[run] = end
            if end < len(held[run]):
                firsts[run] = _key(held[run], end)
        yield _in_order(held, parts)
        take(ends_first)


def key_order(keys: Keys) -> Ints | None:
    """What sorts keys, stably: int64 [N]; None where they are sorted."""
    first, second = keys[:, 0], keys[:, 1]
    ahead = first[1:] > first[:-1]
    if (ahead | ((first[1:] == first[:-1]) & (second[1:] >= second[:-1]))).all():
        return None
    order: Ints = np.lexsort((second, first))
    return order


def _key(block: Keys, at: int) -> tuple[int, int]:
    return int(block[at, 0]), int(block[at, 1])


def _count(block: Keys, bound: tuple[int, int], *, equal: bool) -> int:
    """How many keys of a block are before the bound, or equal to it."""
    first, second = np.uint64(bound[0]), np.uint64(bound[1])
    low, high = np.searchsorted(block[:, 0], first), np.searchsorted(block[:, 0], first, "right")
    side = "right" if equal else "left"
    return int(low + np.searchsorted(block[low:high, 1], second, side))  # type: ignore[call-overload]


def _in_order(held: dict[int, Keys], parts: Sequence[tuple[int, int, int]]) -> tuple[Ints, Ints]:
    """Parts of blocks, (run, start, end) each, as one order."""
    run = np.concatenate([np.full(end - start, run) for run, start, end in parts])
    position = np.concatenate([np.arange(start, end) for _, start, end in parts])
    if len(parts) == 1:
        return run, position
    order = key_order(np.concatenate([held[run][start:end] for run, start, end in parts]))
    return (run, position) if order is None else (run[order], position[order])
