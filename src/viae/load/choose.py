"""Which access path the pictures of some windows take: a rule over sizes.

It measures nothing, so the same windows and options always take the same path. `viae.load.plan`
measures, to explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.load.access import MIXING, Access, AccessPath
from viae.load.cost import on_demand, once, typical, used_frames
from viae.load.index import Index
from viae.load.mixing import chunks_needed, expected_distance
from viae.load.pool import PoolOrder, chunk_starts, masses
from viae.load.slots import slots_bytes
from viae.load.timelines import StreamRows
from viae.video import PictureView

Ints = npt.NDArray[np.int64]
Streams = Sequence[tuple[StreamRows, PictureView]]

WORTH = 0.1
"""A cache that holds a smaller share of the frames is not begun by ``"auto"``."""
GAIN = 0.7
"""A pool is taken by ``"auto"`` where it needs less than this share of the time on demand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a decoded cache would hold.

    Args:
        memory: frames in memory, by stream.
        file: frames in a file, by stream.
        memory_bytes: what those in memory take.
        file_bytes: what the files take.
        needed_bytes: what all frames would take.
        share: of the bytes of all frames, those that are held.
    """

    memory: Mapping[str, int]
    file: Mapping[str, int]
    memory_bytes: int
    file_bytes: int
    needed_bytes: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolSize:
    """What a shuffle pool would hold.

    Args:
        starts: int64 [C + 1], where chunks of windows begin.
        held: chunks held at a time.
        distance: of the order from independent draws, expected; see `viae.load.mixing`.
        needed_bytes: for the decoded groups of these chunks.
        mixing: the bound on ``distance`` that ``held`` was chosen by.
        mixing_batch: windows in the batches that it is about.
        every_bytes: what all decoded frames would take.
        memory_bytes: what the pool may take.
    """

    starts: Ints
    held: int
    distance: float
    needed_bytes: int
    mixing: float
    mixing_batch: int
    every_bytes: int
    memory_bytes: int

    def order(self, seed: int, weights: npt.NDArray[np.float64] | None = None) -> PoolOrder:
        """The order in which it is fast.

        Args:
            seed: of the order.
            weights: float64 [W], relative chances of windows; None has each window once. Where few
                chunks have most of the weight, more are held, so that the order is as well mixed.

        Raises:
            UsageError: the memory allowed does not hold so many.
            WindowError: these are no weights.
        """
        if weights is None:
            return PoolOrder(self.starts, self.held, seed)
        order = PoolOrder(self.starts, self.held, seed, weights)
        expected = masses(weights, self.starts)
        lying = expected > 0
        held = chunks_needed(expected[lying], self.mixing_batch, self.mixing, drawn=True)
        sizes = np.diff(self.starts)
        theirs = int(self.every_bytes * float(sizes[lying].sum()) / len(weights)) + 1
        needed = _pool_bytes(sizes[lying], expected[lying], held, theirs)
        if needed > self.memory_bytes:
            raise UsageError(
                f"drawn by these weights, a pool as well mixed as asked holds {held} chunks "
                f"({self.held} without weights) and needs {needed:,} bytes of memory, which may be "
                f"{self.memory_bytes:,}: allow more, allow a larger mixing distance, or take "
                "path 'decode'"
            )
        order.held = held
        return order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The path that pictures take.

    Args:
        path: ``"decode"``, ``"cache"`` or ``"pool"``.
        why: one clause.
        room: of the cache; None for another path.
        pool: its size; None for another path.
    """

    path: AccessPath
    why: str
    room: Room | None = None
    pool: PoolSize | None = None


def frame_shape(stream: StreamRows, view: PictureView) -> tuple[int, int, int]:
    """(3, H, W) of a stream's frames as they are looked at."""
    height, width = view.shape(*stream.spec.shape[:2])
    return (3, height, width)


def cache_room(streams: Streams, index: Index, access: Access) -> Room:
    """What a cache would hold: all in a file that is kept, in memory, in a file; or a part."""
    shapes = {stream.spec.name: frame_shape(stream, view) for stream, view in streams}
    used = {name: len(used_frames(index, name)) for name in shapes}
    needs = {name: slots_bytes(used[name], shape) for name, shape in shapes.items()}
    total = sum(needs.values())
    in_memory, in_file = total <= access.memory_bytes, total <= access.disk_bytes
    left_memory, left_file = access.memory_bytes, access.disk_bytes
    if in_file and (access.folder is not None or not in_memory):
        left_memory = 0
    memory, file = {}, {}
    for name, shape in shapes.items():
        memory[name] = min(used[name], fitting(left_memory, shape))
        left_memory -= slots_bytes(memory[name], shape) if memory[name] else 0
        file[name] = min(used[name] - memory[name], fitting(left_file, shape))
        left_file -= slots_bytes(file[name], shape) if file[name] else 0
    held = sum((memory[name] + file[name]) * int(np.prod(s)) for name, s in shapes.items())
    every = sum(used[name] * int(np.prod(s)) for name, s in shapes.items())
    return Room(
        memory=memory,
        file=file,
        memory_bytes=sum(slots_bytes(n, shapes[name]) for name, n in memory.items() if n),
        file_bytes=sum(slots_bytes(n, shapes[name]) for name, n in file.items() if n),
        needed_bytes=total,
        share=held / every if every else 1.0,
    )


def fitting(limit_bytes: int, shape: tuple[int, int, int]) -> int:
    """How many frames fit."""
    count = limit_bytes // int(np.prod(shape))
    while count > 0 and slots_bytes(count, shape) > limit_bytes:
        over = slots_bytes(count, shape) - limit_bytes
        count -= -(-over // int(np.prod(shape)))
    return max(0, count)


def pool_size(streams: Streams, index: Index, access: Access) -> PoolSize:
    """The smallest pool whose order is mixed as asked: a function of windows and bound alone."""
    newest = np.full(len(index), -1, np.int64)
    first = streams[0][0]
    for key, samples in index.samples.items():
        if key.split("/", 1)[1] == first.spec.name and len(samples):
            newest = np.maximum(newest, samples.max(axis=1))
    groups = np.searchsorted(first.row_starts, newest, side="right") - 1
    starts = chunk_starts(index.episode_of, groups)
    sizes = np.diff(starts)
    bound = MIXING if access.mixing is None else access.mixing
    held = chunks_needed(sizes, access.mixing_batch, bound)
    total = sum(
        len(used_frames(index, s.spec.name)) * int(np.prod(frame_shape(s, view)))
        for s, view in streams
    )
    return PoolSize(
        starts=starts,
        held=held,
        distance=expected_distance(sizes, held, access.mixing_batch),
        needed_bytes=_pool_bytes(sizes, sizes, held, total),
        mixing=bound,
        mixing_batch=access.mixing_batch,
        every_bytes=total,
        memory_bytes=access.memory_bytes,
    )


def _pool_bytes(sizes: Ints, asked: Ints | npt.NDArray[np.float64], held: int, total: int) -> int:
    """What the decoded groups of the chunks held take: on average, and as chance has it.

    Beside them lie groups that nobody will ask for again, until the longest pause between two
    requests for a group in use has passed.

    Args:
        sizes: int64 [C], windows per chunk, to which its frames are in proportion.
        asked: [C], how many of an epoch are of each chunk.
        held: chunks held at a time.
        total: bytes of all frames of these chunks.
    """
    if held >= len(sizes):
        return total
    mean, spread, often = float(sizes.mean()), float(sizes.std()), max(float(asked.mean()), 2)
    windows = held * mean + 3 * np.sqrt(held) * spread
    windows *= 1 + 2 * np.log(often) / often
    return min(total, int(total * windows / float(sizes.sum())) + 1)


def choose(streams: Streams, index: Index, access: Access, coded: int = 0) -> Choice:
    """Choose a path, by sizes alone.

    Args:
        streams: of pictures, with how they are looked at.
        index: the windows.
        access: what may be used.
        coded: bytes of all packets; where only a part of the frames fits, these come first.

    Raises:
        UsageError: the path demanded does not fit; the text says what it needs.
    """
    if access.path == "decode":
        return Choice(path="decode", why="on demand, as asked")
    if not streams:
        if access.path == "pool":
            raise UsageError("the windows have no pictures: there is nothing to pool; leave it out")
        return Choice(path="decode", why="the windows have no pictures")
    if access.path == "pool":
        return _demanded_pool(streams, index, access)
    room = cache_room(streams, index, access)
    whole = sum(room.memory.values()) + sum(room.file.values()) == sum(
        len(used_frames(index, stream.spec.name)) for stream, _ in streams
    )
    if access.path == "cache":
        if not whole:
            raise UsageError(
                f"the decoded frames need {room.needed_bytes:,} bytes; the cache may take "
                f"{access.memory_bytes:,} in memory and {access.disk_bytes:,} on disk: allow more, "
                "scale the pictures, or take path 'auto', which keeps a part"
            )
        return Choice(path="cache", why="decoded once, as asked", room=room)
    if not whole and coded <= access.memory_bytes:
        access = replace(access, memory_bytes=access.memory_bytes - coded)
        room = cache_room(streams, index, access)
    return _best(streams, index, access, room, whole=whole)


def _best(streams: Streams, index: Index, access: Access, room: Room, *, whole: bool) -> Choice:
    """The path that nobody demanded."""
    if whole:
        places = (("in memory", room.memory_bytes), ("on disk", room.file_bytes))
        where = " and ".join(place for place, used in places if used) or "in memory"
        return Choice(path="cache", why=f"all decoded frames fit {where}", room=room)
    if access.mixing is not None:
        pool = pool_size(streams, index, access)
        if pool.needed_bytes <= access.memory_bytes and pool_saves(streams, index, pool, access):
            return Choice(
                path="pool", pool=pool,
                why="decoded frames do not fit, groups are long, and a pool mixed as asked does",
            )  # fmt: skip
    if room.share < WORTH:
        return Choice(path="decode", why="decoded frames do not fit")
    return Choice(
        path="cache", room=room,
        why=f"{room.share:.0%} of the decoded frames fit; the rest is decoded on demand",
    )  # fmt: skip


def _demanded_pool(streams: Streams, index: Index, access: Access) -> Choice:
    pool = pool_size(streams, index, access)
    if pool.needed_bytes > access.memory_bytes:
        raise UsageError(
            f"a pool as well mixed as asked holds {pool.held} chunks and needs "
            f"{pool.needed_bytes:,} bytes of memory, which may be {access.memory_bytes:,}: "
            "allow more, allow a larger mixing distance, or scale the pictures"
        )
    return Choice(path="pool", why="a shuffle pool, as asked", pool=pool)


def pool_saves(streams: Streams, index: Index, pool: PoolSize, access: Access) -> bool:
    """Whether decoding for a pool takes much less time than on demand, as it usually goes."""
    times = 2.0 + pool.held / max(1, len(pool.starts) - 1)  # chunks share groups at their borders
    ours = theirs = 0.0
    for stream, view in streams:
        costs = typical(stream, frame_shape(stream, view))
        ours += costs.seconds(once(stream, index, times))
        theirs += costs.seconds(on_demand(stream, index, access.mixing_batch))
    return ours < GAIN * theirs
