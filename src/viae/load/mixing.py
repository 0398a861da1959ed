"""How far an order of windows is from independent draws.

Windows near each other in an episode look alike. Independent draws rarely put two of them into one
batch; a shuffle pool does so more often. At worst, windows of one chunk are all alike: then a batch
of B windows, n_c of them of chunk c, tells as much as B² / Σ n_c² independent ones (Kish 1965).

The **distance** of an order is the share of this effective size that its batches lose against
independent draws: 0 for a full shuffle, and 0.1 where a batch of 64 tells at worst as much as 58
independent windows would. Doubling the chunks held about halves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.sequence import Order

Ints = npt.NDArray[np.int64]

BATCHES = 512
"""Looked at to measure an order."""
Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """What an order's batches are like, measured.

    Args:
        distance: share of a batch's effective size lost against independent draws, windows of a
            chunk taken as alike.
        low, high: 95 % interval of it.
        by_episode: the same, windows of an episode taken as alike.
        time: rank correlation of a window's place in the epoch with its time in its episode.
        batch: windows in a batch.
        batches: how many were looked at.
    """

    distance: float
    low: float
    high: float
    by_episode: float
    time: float
    batch: int
    batches: int


def expected_distance(
    sizes: Ints | npt.NDArray[np.float64], held: int, batch: int, *, drawn: bool = False
) -> float:
    """The distance that `PoolOrder` has, by how it is made.

    Args:
        sizes: int64 [C], windows per chunk; of weighted draws float64 [C], how many are expected.
        held: chunks held at a time.
        batch: windows in a batch.
        drawn: whether windows are drawn by weight, so that one may come twice.
    """
    chunks, total = len(sizes), float(sizes.sum())
    if held >= chunks or total == 0:
        return 0.0
    alone = float((sizes.astype(np.float64) ** 2).sum()) / total**2
    mean = total / chunks
    same = float((sizes * (sizes - (0.0 if drawn else 1.0))).mean()) / mean**2 / held
    return max(0.0, 1 - (1 + (batch - 1) * alone) / (1 + (batch - 1) * same))


def chunks_needed(
    sizes: Ints | npt.NDArray[np.float64], batch: int, bound: float, *, drawn: bool = False
) -> int:
    """The fewest chunks to hold so that the expected distance is within a bound."""
    low, high = 1, max(1, len(sizes))
    while low < high:
        middle = (low + high) // 2
        if expected_distance(sizes, middle, batch, drawn=drawn) <= bound:
            high = middle
        else:
            low = middle + 1
    return low


def measure(
    order: Order,
    starts: Ints,
    episode_of: Ints,
    batch: int,
    *,
    epoch: int = 0,
    batches: int = BATCHES,
) -> Mixing:
    """Measure an order on batches spread over an epoch.

    Args:
        order: of all windows.
        starts: int64 [C + 1], where chunks begin.
        episode_of: int64 [W].
        batch: windows in a batch.
        epoch: which epoch.
        batches: how many batches to look at, at most.

    Raises:
        UsageError: there is less than one batch of windows.
    """
    whole = len(order) // batch
    if not whole or batch < 2:
        raise UsageError(f"{len(order)} windows are too few to measure batches of {batch}")
    which = np.unique(np.linspace(0, whole - 1, min(batches, whole)).astype(np.int64))
    drawn = np.stack([order.take(epoch, i * batch, (i + 1) * batch) for i in which.tolist()])
    chunk = np.searchsorted(starts, drawn, side="right") - 1
    pairs = _same_pairs(chunk)
    sizes = np.diff(starts)
    spread = Z * float(pairs.std(ddof=1)) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.inf
    mean = float(pairs.mean())
    bounds = (max(0.0, mean - spread), min(1.0, mean + spread))
    low, high = (float(_lost(same, sizes, batch)) for same in bounds)
    firsts = np.concatenate([[0], np.flatnonzero(np.diff(episode_of)) + 1, [len(episode_of)]])
    run = np.searchsorted(firsts, drawn, side="right") - 1
    in_episode = (drawn - firsts[run]) / np.diff(firsts)[run]
    return Mixing(
        distance=_lost(mean, sizes, batch),
        low=low,
        high=high,
        by_episode=_lost(float(_same_pairs(run).mean()), np.diff(firsts), batch),
        time=_rank_correlation(in_episode.reshape(-1)),
        batch=batch,
        batches=len(which),
    )


def _same_pairs(group: Ints) -> npt.NDArray[np.float64]:
    """Per batch [N, B], the share of its pairs that are of one group: float64 [N]."""
    found = np.sort(group, axis=1)
    batch = found.shape[1]
    same = np.zeros(len(found))
    run = np.zeros(len(found))
    for i in range(1, batch):
        run = np.where(found[:, i] == found[:, i - 1], run + 1, 0)
        same += run
    same /= batch * (batch - 1) / 2
    return same


def _lost(same: float, sizes: Ints, batch: int) -> float:
    """Share of the effective size lost, where so many pairs are of one group."""
    total = float(sizes.sum())
    alone = float((sizes.astype(np.float64) ** 2).sum()) / total**2
    return 1 - (1 + (batch - 1) * alone) / (1 + (batch - 1) * same)


def _rank_correlation(values: npt.NDArray[np.float64]) -> float:
    """Of values with their places: Spearman's."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
    places = np.arange(len(values), dtype=np.float64)
    if len(values) < 2:
        return 0.0
    return float(np.corrcoef(ranks, places)[0, 1])
