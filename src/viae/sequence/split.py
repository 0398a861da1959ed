"""Which episodes are held out, and in which order windows are drawn: functions of a seed only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError

Member = TypeVar("Member", str, int)


def split_episodes(
    tasks: Mapping[str, str],
    *,
    fraction: float,
    seed: int,
    tied: Iterable[Collection[str]] = (),
) -> frozenset[str]:
    """Choose episodes to hold out: the same share of each task, and never a part of what is tied.

    Episodes that are tied, directly or through others, form a *group*, which is held out as a whole
    or not at all. Of a task's n episodes, ``round(fraction * n)`` are wanted. Groups are shuffled.
    A task that shares no group with another one takes the first groups whose sizes add up to what
    is wanted, or else comes as near as any choice can (of two as near, the smaller). Tasks that
    share groups are chosen for together: each group is moved, in the shuffled order and again until
    none is, where that lowers the sum over the tasks of the episodes too many or too few. No move
    of one group would lower it then; a move of several might.

    A task always keeps an episode to train on: one whose episodes are all in one group gives none.

    Args:
        tasks: by episode id, its task.
        fraction: share of each task, 0 to 1.
        seed: of the choice. For a task that shares no group with others, it depends besides only on
            the task's own ids and ties.
        tied: sets of ids that must not be separated: of one operator session, near-duplicates. Ids
            that are no key of ``tasks`` tie others all the same.

    Returns:
        The ids held out.

    Raises:
        UsageError: the fraction is no share.

    Cost: about O(N) where single episodes make the shares up; at worst, for a task of N episodes in
    G groups, O(G N) operations on single bits, 64 at a time.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"a fraction of {fraction} cannot be held out; give one from 0 to 1")
    groups = _joined(sorted(tasks), tied)
    sizes = [_counts(tasks[member] for member in group) for group in groups]
    chosen: set[str] = set()
    for together in _joined(range(len(groups)), _by_task(sizes)):
        shuffled = np.random.default_rng([seed, len(together)]).permutation(len(together))
        order = [together[i] for i in shuffled.tolist()]
        held = _nearest([sizes[i] for i in order], fraction)
        chosen.update(*(groups[order[i]] for i in held))
    return frozenset(chosen)


def held_out(groups: Mapping[str, Sequence[str]], *, fraction: float, seed: int) -> frozenset[str]:
    """`split_episodes` of episodes that nothing ties.

    Args:
        groups: distinct episode ids per group, e.g. per task.
        fraction: share of each group, rounded to nearest; a group never loses its last episode.
        seed: of the choice, which depends on each group's own ids only.

    Returns:
        The ids held out.
    """
    tasks = {member: name for name, ids in groups.items() for member in ids}
    return split_episodes(tasks, fraction=fraction, seed=seed)


def _joined(members: Sequence[Member], ties: Iterable[Collection[Member]]) -> list[list[Member]]:
    """Members in groups that ties connect; groups by their first members, members in order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = {member: i for i, member in enumerate(members)}
    known, edges = len(number), list[tuple[int, int]]()
    for tie in ties:
        numbers = [number.setdefault(member, len(number)) for member in tie]
        edges += [(numbers[0], other) for other in numbers[1:]]
    ends = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), np.bool_), (ends[0], ends[1])), (len(number),) * 2)
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[Member]] = {}
    for member, label in zip(members, labels[:known].tolist(), strict=True):
        groups.setdefault(label, []).append(member)
    return list(groups.values())


def _counts(tasks: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task] = counts.get(task, 0) + 1
    return counts


def _by_task(sizes: Sequence[Mapping[str, int]]) -> Iterable[Collection[int]]:
    """Per task, the groups that have episodes of it."""
    groups: dict[str, list[int]] = {}
    for i, counts in enumerate(sizes):
        for task in counts:
            groups.setdefault(task, []).append(i)
    return groups.values()


def _nearest(sizes: Sequence[Mapping[str, int]], fraction: float) -> list[int]:
    """Which groups to hold out, by place in an order; sizes are per task."""
    total: dict[str, int] = {}
    for counts in sizes:
        for task, size in counts.items():
            total[task] = total.get(task, 0) + size
    wanted = {task: min(round(fraction * n), n - 1) for task, n in total.items()}
    if len(total) == 1:
        [(task, n)] = total.items()
        return _nearest_sum([counts[task] for counts in sizes], wanted[task], most=n - 1)
    return _no_move_better(sizes, wanted, total)


def _nearest_sum(sizes: Sequence[int], wanted: int, *, most: int) -> list[int]:
    """The places whose sizes sum up to the number nearest to the one wanted, at most ``most``."""
    most = min(most, 2 * wanted)  # nothing at all is as near as twice of it
    within = (1 << (most + 1)) - 1
    reached, last = 1, {0: -1}  # bit s: the sum s; the place that first reached it
    for place, size in enumerate(sizes):
        if wanted in last:
            break
        new = (reached << size) & within & ~reached
        reached |= new
        while new:
            lowest = new & -new
            last[lowest.bit_length() - 1] = place
            new ^= lowest
    left = min(last, key=lambda total: (abs(total - wanted), total))
    held = []
    while left:
        held.append(last[left])
        left -= sizes[last[left]]
    return held


def _no_move_better(
    sizes: Sequence[Mapping[str, int]], wanted: Mapping[str, int], total: Mapping[str, int]
) -> list[int]:
    """The places held out once no move of a single group brings the shares nearer."""
    held, count = set[int](), dict.fromkeys(wanted, 0)
    moved = True
    while moved:
        moved = False
        for place, counts in enumerate(sizes):
            sign = -1 if place in held else 1
            after = {task: count[task] + sign * size for task, size in counts.items()}
            farther = sum(abs(after[t] - wanted[t]) - abs(count[t] - wanted[t]) for t in counts)
            if farther < 0 and all(after[t] < total[t] for t in counts):
                held ^= {place}
                count |= after
                moved = True
    return sorted(held)


def iid_order(
    n: int,
    *,
    seed: int,
    draw: int,
    size: int,
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.int64]:
    """Draw ``size`` of ``n`` windows, independently, with replacement.

    A function of its arguments only: the state of a loader is the integer ``draw``.

    Args:
        n: number of windows, at least 1.
        seed: of the whole run.
        draw: number of the draw, 0, 1, 2, …
        size: windows per draw.
        weights: float64 [n], relative chances, not negative; None draws uniformly.

    Returns:
        int64 [size], each in [0, n).
    """
    rng = np.random.default_rng([seed, draw])
    if weights is None:
        return rng.integers(0, n, size)
    bounds = np.cumsum(weights)
    drawn: npt.NDArray[np.int64] = np.searchsorted(bounds, rng.random(size) * bounds[-1], "right")
    return drawn
