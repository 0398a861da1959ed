"""Which episodes are nearly the same: sketches of trajectories, and a search that is not pairwise.

Two kinds of copies are looked for:

- **the same samples**, even if one copy lacks the beginning or the end: the rows of values are
  hashed and the smallest hashes kept (a bottom-k sketch), of which two episodes share about as
  large a part as of their rows. Rows that several samples share, as of a robot at rest, say nothing
  and are left out.
- **the same movement with other numbers** (rounded, filtered, replayed): the trajectory at points
  evenly over the episode, in units of the dataset's spread. Only a distance of a hundredth of that
  spread makes a copy; repeated demonstrations by hand are ten times farther apart.

Written by hand, because the libraries for it (``datasketch``, ``faiss``) are heavy for forty lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.doctor.trace import StreamTrace

Floats: TypeAlias = npt.NDArray[np.float64]

KEPT = 256
POINTS = 48
MOST_ELEMENTS = 32
MOST_STREAMS = 4
COMMON = 20
"""Of a row that more episodes share, not every pair of them is looked at."""
SHARED = 0.5
CLOSE = 0.01
LEAST_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What is kept of an episode's trajectories.

    Args:
        hashes: uint64 [K], the smallest hashes of its rows, sorted; K <= 256.
        streams: the names of the streams in ``path``.
        path: float32 [48 * D], the trajectories at points evenly over the episode.
    """

    hashes: npt.NDArray[np.uint64]
    streams: tuple[str, ...]
    path: npt.NDArray[np.float32]


def sketch_of(streams: Mapping[str, StreamTrace]) -> Sketch | None:
    """Of streams of numbers that move; None where there are none."""
    hashes, paths, names = [], [], []
    for name in sorted(streams)[:MOST_STREAMS]:
        head = streams[name].head
        if head is None or len(head) < LEAST_ROWS:
            continue
        rows = np.nan_to_num(head.reshape(len(head), -1)) + 0.0  # -0.0 is 0.0
        once, counts = np.unique(_hash(rows, name), return_counts=True)
        hashes.append(once[counts == 1])
        at = np.linspace(0, len(rows) - 1, POINTS)
        columns = rows[:, :MOST_ELEMENTS].T
        paths.append(np.stack([np.interp(at, np.arange(len(rows)), c) for c in columns], axis=1))
        names.append(f"{name} {rows.shape[1]}")
    if not names:
        return None
    with np.errstate(over="ignore"):
        path = np.concatenate([p.reshape(-1) for p in paths]).astype(np.float32)
    return Sketch(
        hashes=np.sort(np.concatenate(hashes))[:KEPT],
        streams=tuple(names),
        path=np.nan_to_num(path),
    )


def near_duplicates(sketches: Sequence[Sketch | None]) -> list[list[int]]:
    """Groups of episodes that are nearly the same, each sorted, by their first.

    Args:
        sketches: one per episode; those without one are in no group.
    """
    groups = _Groups(len(sketches))
    for first, second in _sharing(sketches):
        groups.join(first, second)
    by_streams: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, sketch in enumerate(sketches):
        if sketch is not None:
            by_streams[sketch.streams].append(number)
    for numbers in by_streams.values():
        paths = np.stack([s.path for i in numbers if (s := sketches[i]) is not None])
        for first, second in _close(paths):
            groups.join(numbers[first], numbers[second])
    return groups.found()


def _sharing(sketches: Sequence[Sketch | None]) -> list[tuple[int, int]]:
    """Pairs of which at least half of the rows are equal."""
    holders: dict[int, list[int]] = defaultdict(list)
    for number, sketch in enumerate(sketches):
        if sketch is not None and len(sketch.hashes) >= LEAST_ROWS:
            for value in sketch.hashes.tolist():
                holders[value].append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in holders.values():
        if len(numbers) <= COMMON:
            shared.update((a, b) for i, a in enumerate(numbers) for b in numbers[i + 1 :])
        else:  # so many copies, or a pose: neighbours are enough to join copies
            shared.update(pairwise(numbers))
    found = []
    for (first, second), count in shared.items():
        a, b = sketches[first], sketches[second]
        assert a is not None
        assert b is not None
        union = np.union1d(a.hashes, b.hashes)[: min(KEPT, max(len(a.hashes), len(b.hashes)))]
        both = np.isin(union, a.hashes) & np.isin(union, b.hashes)
        if count >= 2 and both.mean() >= SHARED:
            found.append((first, second))
    return found


def _close(paths: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs whose trajectories are a hundredth of the dataset's spread apart, RMS."""
    from scipy.spatial import cKDTree

    if len(paths) < 3:  # the spread of two is their distance
        return []
    points = paths.reshape(len(paths), POINTS, -1).astype(np.float64)
    points -= points.mean(axis=(0, 1))
    between = np.sqrt(points.var(axis=0).mean(axis=0))  # between episodes, at the same moment
    moving = between > 1e-12 + 1e-6 * np.abs(points).max(axis=(0, 1))
    if not moving.any():
        return []
    scaled = (points[:, :, moving] / between[moving]).reshape(len(paths), -1)
    scaled /= np.sqrt(scaled.shape[1])  # a distance is now an RMS
    # Principal directions keep distances or shorten them, so a search among them misses no pair.
    kept = min(12, *scaled.shape)
    directions = np.linalg.svd(scaled[:512] - scaled.mean(axis=0), full_matrices=False)[2][:kept]
    near = cKDTree(scaled @ directions.T).query_pairs(CLOSE, output_type="ndarray")
    return [(int(a), int(b)) for a, b in near if np.linalg.norm(scaled[a] - scaled[b]) <= CLOSE]


def _hash(rows: Floats, name: str) -> npt.NDArray[np.uint64]:
    """uint64 [N], of each row's bits and the stream's name; for equality only."""
    salt = np.uint64(int.from_bytes(name.encode()[-8:].ljust(8, b"\0"), "little"))
    rng = np.random.default_rng(rows.shape[1])  # the same factors for every episode
    odd = rng.integers(0, 1 << 63, rows.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    with np.errstate(over="ignore"):  # wrapping around is the point
        bits = rows.astype(np.float32).view(np.uint32).astype(np.uint64)
        mixed = ((bits * odd) ^ ((bits * odd) >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
        mixed = (mixed ^ salt) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray(mixed ^ (mixed >> np.uint64(32)))


class _Groups:
    """Numbers that belong together (disjoint sets)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, first: int, second: int) -> None:
        self._parent[self._root(second)] = self._root(first)

    def found(self) -> list[list[int]]:
        groups: dict[int, list[int]] = defaultdict(list)
        for number in range(len(self._parent)):
            groups[self._root(number)].append(number)
        return sorted(sorted(group) for group in groups.values() if len(group) > 1)
