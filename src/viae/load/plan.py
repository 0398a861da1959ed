"""What each access path would cost on these windows, on this machine; and which one they take.

Counts come from the windows themselves: packets, pictures, bytes. Seconds are measured here, on a
few of their own groups, as processor time: what is predicted is for a machine that does nothing
else. `viae.load.choose` decides, by a rule; this explains it.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.load.access import Access, AccessPath
from viae.load.choose import (
    Choice,
    Room,
    cache_room,
    choose,
    frame_shape,
    pool_size,
)
from viae.load.cost import (
    Costs,
    StreamCosts,
    Work,
    asked_of,
    decoded,
    in_groups_of,
    on_demand,
    once,
    pooled_times,
    used_frames,
)
from viae.load.frames import OnDemand
from viae.load.loader import ORDERED_AT_ONCE, PREFETCH, Loader
from viae.load.mixing import Mixing, measure
from viae.load.packets import TakenPackets, coded_bytes
from viae.load.slots import shared_memory
from viae.load.windows import Windows
from viae.schema import Kind
from viae.sequence import Shuffled
from viae.video import Canvas, Converter
from viae.video.decoder import Coding, GroupDecoder
from viae.video.pictures import open_image

Ints = npt.NDArray[np.int64]

GROUPS = 16
"""Groups of each stream that are decoded to measure."""
LONGEST = 32
"""Packets of a group that are decoded to measure."""
REQUESTS = 3
"""Batches on demand that are made to measure."""
LOADED = 3
"""Times that batches without pictures are loaded to measure."""
COPIED_BYTES = 1 << 26
FAST_GROUP = 2
"""Pictures in the groups that ``viae ingest --video fast`` makes."""
FASTER = 1.2
"""Another path is worth a word if it is faster by so much."""
LEAST_SIDE = 64
"""Pixels a side below which nobody is told to scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPlan:
    """What to expect of one access path.

    Args:
        path: its name.
        fits: whether memory and disk allow it, as a whole.
        note: what to know about it; why it does not fit.
        windows_s_thread: windows per second, of one thread.
        windows_s: of all threads.
        first_windows_s: of all threads in the first epoch.
        memory_bytes: for packets and decoded frames.
        disk_bytes: for decoded frames.
        packets_per_frame: packets decoded per frame asked for; of a cache, in its first epoch.
        mixing: of its order, measured; None where there are too few windows.
    """

    path: AccessPath
    fits: bool
    note: str
    windows_s_thread: float
    windows_s: float
    first_windows_s: float
    memory_bytes: int
    disk_bytes: int
    packets_per_frame: float
    mixing: Mixing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All paths, and the one taken.

    Args:
        windows: how many there are.
        frames: frames of pictures that they use, each counted once.
        decoded_bytes: what these take.
        batch: windows in a batch.
        threads: that make batches.
        costs: as measured.
        paths: what to expect of each.
        chosen: the one taken.
        why: one clause.
        shuffle: mixing of a full shuffle, measured alike.
        advice: sentences.
    """

    windows: int
    frames: int
    decoded_bytes: int
    batch: int
    threads: int
    costs: Costs
    paths: tuple[PathPlan, ...]
    chosen: AccessPath
    why: str
    shuffle: Mixing | None
    advice: tuple[str, ...]

    def of(self, path: AccessPath) -> PathPlan | None:
        """What to expect of a path; None where it makes no sense."""
        return next((found for found in self.paths if found.path == path), None)


def plan(windows: Windows, access: Access, *, batch: int, threads: int) -> Plan:
    """Plan, after measuring for a second or so.

    Args:
        windows: opened with the access path ``"decode"``.
        access: what may be used.
        batch: windows in a batch.
        threads: that make batches.

    Raises:
        UsageError: the path demanded does not fit.
        WindowError: a picture cannot be decoded.
    """
    return _Planner(windows, access, batch, threads).plan()


def calibrate(source: OnDemand) -> StreamCosts:
    """Measure what pictures of a stream take on one thread.

    Raises:
        WindowError: a picture cannot be decoded.
    """
    stream = source.stream
    rows = np.unique(np.linspace(0, len(stream.rows) - 1, GROUPS).astype(np.int64))
    begun = time.perf_counter()
    packets = list(source.packets.of(rows))
    taken = (time.perf_counter() - begun) / len(rows)
    decoder, converter = GroupDecoder(), Converter()
    canvas = Canvas(np.empty((1, *source.shape), np.uint8))
    video = stream.spec.kind is Kind.VIDEO
    lasts = [min(len(coded), LONGEST) - 1 if video else 0 for coded in packets]

    def take(number: int, place: int) -> tuple[float, Any]:
        coded = packets[number]
        if video:
            return _timed(_pictures, decoder, source.coding(int(rows[number])), coded, place)
        return _timed(open_image, bytes(coded[0]), stream.spec)

    firsts, wholes, conversions = np.zeros((3, len(rows)))
    for number, last in enumerate(lasts):  # all is warm then, and equally
        _, frame = take(number, last)
        converter.into(frame, source.view, canvas, 0)
    for number in range(len(rows)):
        firsts[number], frame = take(number, 0)
        conversions[number], _ = _timed(converter.into, frame, source.view, canvas, 0)
        other = (number + len(rows) // 2) % len(rows)  # so that neither follows its own other half
        wholes[other], _ = take(other, lasts[other])
    nexts = [
        (whole - first) / last
        for first, whole, last in zip(firsts, wholes, lasts, strict=True)
        if last
    ]
    return StreamCosts(
        first_s=median(firsts),
        next_s=max(0.0, median(nexts)) if nexts else 0.0,
        convert_s=median(conversions),
        row_s=taken if isinstance(source.packets, TakenPackets) else 0.0,
    )


def _pictures(decoder: GroupDecoder, coding: Coding, coded: Any, place: int) -> Any:
    """The picture at a place of a group."""
    [(_, frame)] = decoder.frames(coding, coded, (place,))
    return frame


def _timed(work: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds that this thread was at work, whatever else the machine does; and the result."""
    begun = time.thread_time()
    found = work(*args)
    return time.thread_time() - begun, found


class _Blank:
    """Frames that cost nothing."""

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        self.shape, self._count = shape, count

    def __len__(self) -> int:
        return self._count

    def read(self, frames: Ints, out: npt.NDArray[np.uint8]) -> None:
        """Leave ``out`` as it is."""


class _Planner:
    def __init__(self, windows: Windows, access: Access, batch: int, threads: int) -> None:
        self.windows, self.access, self.index = windows, access, windows.index
        self.batch, self.threads = max(1, min(batch, len(windows))), threads
        self.sources = {
            name: source for name, source in windows.frames.items() if isinstance(source, OnDemand)
        }
        self.streams = [(source.stream, source.view) for source in self.sources.values()]
        self.used = {name: len(used_frames(self.index, name)) for name in self.sources}
        self.coded = sum(coded_bytes(windows.store, stream) for stream, _ in self.streams)
        self.choice: Choice = choose(self.streams, self.index, access, self.coded)
        self.costs = Costs(
            window_s=self._window_s(),
            copy_bytes_s=self._copy_bytes_s(),
            streams={n: self._stream_costs(s) for n, s in self.sources.items() if self.used[n]},
        )
        self.demand = {
            name: on_demand(source.stream, self.index, self.batch)
            for name, source in self.sources.items()
        }
        self.shuffle = self._mixing(None)

    def plan(self) -> Plan:
        paths = [self._decode()]
        if any(self.used.values()):
            paths += [self._cache(), self._pool()]
        return Plan(
            windows=len(self.windows),
            frames=sum(self.used.values()),
            decoded_bytes=self._decoded_bytes,
            batch=self.batch,
            threads=self.threads,
            costs=self.costs,
            paths=tuple(paths),
            chosen=self.choice.path,
            why=self.choice.why,
            shuffle=self.shuffle,
            advice=tuple(self._advice({path.path: path for path in paths})),
        )

    @property
    def _decoded_bytes(self) -> int:
        return sum(
            self.used[name] * int(np.prod(source.shape)) for name, source in self.sources.items()
        )

    # -- paths ------------------------------------------------------------------------------------

    def _decode(self) -> PathPlan:
        seconds = self.costs.window_s + self._decoding(self.demand)
        held = self.coded <= self.access.memory_bytes
        rate = self._rate(seconds)
        return PathPlan(
            path="decode", fits=True, note="" if held else "packets are read from the store",
            windows_s_thread=1 / seconds, windows_s=rate, first_windows_s=rate,
            memory_bytes=self.coded if held else 0, disk_bytes=0,
            packets_per_frame=_per_frame(self.demand), mixing=self.shuffle,
        )  # fmt: skip

    def _cache(self) -> PathPlan:
        room = self.choice.room or cache_room(self.streams, self.index, self.access)
        whole = room.share == 1
        filling = self._once(1.0)
        kept = self._copying() * room.share
        later = self.costs.window_s + kept + self._decoding(self.demand) * (1 - room.share)
        first = later + self._decoding(filling) * room.share
        return PathPlan(
            path="cache", fits=whole, note=_cache_note(room),
            windows_s_thread=1 / later, windows_s=self._rate(later),
            first_windows_s=self._rate(first), memory_bytes=room.memory_bytes,
            disk_bytes=room.file_bytes, packets_per_frame=_per_frame(filling), mixing=self.shuffle,
        )  # fmt: skip

    def _pool(self) -> PathPlan:
        pool = self.choice.pool or pool_size(self.streams, self.index, self.access)
        order = pool.order(0)
        memory = max(pool.needed_bytes, self.access.memory_bytes)
        total = max(1, self._decoded_bytes)
        work = {}
        for name, source in self.sources.items():
            own = self.used[name] * int(np.prod(source.shape)) * memory // total
            times = pooled_times(source.stream, self.index, order, own, self.batch, source.shape)
            work[name] = once(source.stream, self.index, times)
        copying = self.costs.window_s + self._copying()
        first = copying + self._decoding(work)
        seconds = first if memory < total else copying
        fits = pool.needed_bytes <= self.access.memory_bytes
        return PathPlan(
            path="pool", fits=fits,
            note=f"{pool.held} of {len(pool.starts) - 1} chunks held",
            windows_s_thread=1 / seconds, windows_s=self._rate(seconds),
            first_windows_s=self._rate(first), memory_bytes=pool.needed_bytes, disk_bytes=0,
            packets_per_frame=_per_frame(work),
            mixing=self._mixing(pool.held),
        )  # fmt: skip

    # -- what to do -------------------------------------------------------------------------------

    def _advice(self, paths: Mapping[str, PathPlan]) -> list[str]:
        now = paths[self.choice.path]
        said = []
        if fast := self._recoded():
            seconds = self.costs.window_s + self._decoding(fast)
            rate = self._rate(seconds)
            if self.choice.path != "cache" and rate > FASTER * now.windows_s:
                said.append(
                    f"groups of pictures are long: ingest again with --video fast, for about "
                    f"{rate:,.0f} windows/s on demand"
                )
        cache, pool = paths.get("cache"), paths.get("pool")
        if cache is not None and not cache.fits:
            said += self._to_fit()
        if (
            pool is not None and self.access.mixing is None and self.choice.path == "decode"
            and pool.fits and pool.windows_s > FASTER * now.windows_s
        ):  # fmt: skip
            said.append(
                f"a shuffle pool would give about {pool.windows_s:,.0f} windows/s, in an order "
                "that is less random: --mixing 0.1 allows it"
            )
        if self.threads < (cores := _cores()):
            said.append(f"this machine has {cores} cores: --threads {cores}")
        return said

    def _to_fit(self) -> list[str]:
        """How the decoded frames could all be kept."""
        need = cache_room(self.streams, self.index, self.access).needed_bytes
        rate = self._rate(self.costs.window_s + self._copying())
        said = [
            f"a cache of all decoded frames needs {need:,} bytes, --memory or --disk: about "
            f"{rate:,.0f} windows/s from the second epoch on, where the system keeps them in memory"
        ]
        shrink = (max(self.access.memory_bytes, self.access.disk_bytes) / max(1, need)) ** 0.5
        for stream, view in self.streams:
            _, height, width = frame_shape(stream, view)
            smaller = [int(side * shrink) // 2 * 2 for side in (height, width)]
            if min(smaller) >= LEAST_SIDE:
                said.append(
                    f"scaled to {smaller[0]}x{smaller[1]}, the frames of '{stream.spec.name}' "
                    "would fit: pictures in the SPEC"
                )
        return said

    def _recoded(self) -> dict[str, Work] | None:
        """What windows would need on demand, were all videos coded in short groups."""
        work = dict(self.demand)
        for name, source in self.sources.items():
            if source.spec.kind is Kind.VIDEO and self.used[name]:
                short = in_groups_of(source.stream, FAST_GROUP)
                work[name] = on_demand(short, self.index, self.batch)
        return work if work != self.demand else None

    # -- seconds ----------------------------------------------------------------------------------

    def _rate(self, seconds: float) -> float:
        """Windows per second of all threads: as many as cores, and Python's part one by one."""
        return min(min(self.threads, _cores()) / seconds, 1 / self.costs.window_s)

    def _decoding(self, work: Mapping[str, Work]) -> float:
        return sum(costs.seconds(work[name]) for name, costs in self.costs.streams.items())

    def _copying(self) -> float:
        asked = sum(
            self.demand[name].frames * int(np.prod(source.shape))
            for name, source in self.sources.items()
        )
        return asked / self.costs.copy_bytes_s

    def _once(self, times: float) -> dict[str, Work]:
        return {
            name: once(source.stream, self.index, times) for name, source in self.sources.items()
        }

    def _mixing(self, held: int | None) -> Mixing | None:
        """Of the pool's order, or of a full shuffle."""
        if len(self.windows) < self.access.mixing_batch or not self.streams:
            return None
        pool = self.choice.pool or pool_size(self.streams, self.index, self.access)
        order = Shuffled(len(self.windows), 0) if held is None else pool.order(0)
        return measure(order, pool.starts, self.windows.episode_of, self.access.mixing_batch)

    def _stream_costs(self, source: OnDemand) -> StreamCosts:
        """Of the parts, and of what a request takes beside them."""
        costs = calibrate(source)
        order = Shuffled(len(self.windows), 2)
        over, frames = 0.0, 0
        for number in range(REQUESTS):
            size = min(self.batch, LONGEST)
            first = number * size % max(1, len(order) - size + 1)
            asked = np.unique(
                asked_of(self.index, source.spec.name, order.take(0, first, first + size))
            )
            out = np.empty((len(asked), *source.shape), np.uint8)
            taken, _ = _timed(source.read, asked, out)
            groups, packets, pictures = decoded(source.stream, asked)
            work = Work(groups=groups, packets=packets, pictures=pictures, frames=pictures)
            over += taken - replace(costs, row_s=0.0).seconds(work)
            frames += len(asked)
        return replace(costs, asked_s=max(0.0, over / max(1, frames)))

    def _window_s(self) -> float:
        """Everything but pictures: the order, the rest of a batch, its way between threads.

        Processor time of all threads of a loader whose frames cost nothing.
        """
        bare = copy.copy(self.windows)
        bare.frames = {name: _Blank(f.shape, len(f)) for name, f in self.windows.frames.items()}
        if not len(bare):
            return _timed(bare.batch, np.empty(0, np.int64))[0]
        many = min(len(bare), ORDERED_AT_ONCE * self.batch)
        seconds = []
        for _ in range(LOADED):
            loader = Loader(bare, batch_size=self.batch, threads=self.threads)
            begun, count = time.process_time(), 0
            for batch in loader:
                count += len(batch)
                if count >= many:
                    break
            seconds.append((time.process_time() - begun) / count)
        return min(seconds)

    def _copy_bytes_s(self) -> float:
        """Bytes per second gathered from memory as a cache has it."""
        shapes = [source.shape for name, source in self.sources.items() if self.used[name]]
        if not shapes:
            return float("inf")
        shape = max(shapes)
        frame = int(np.prod(shape))
        room = shared_memory(max(1, min(COPIED_BYTES, self._decoded_bytes) // frame), shape)
        room.frames[:] = 1
        size = max(1, min(self.batch, COPIED_BYTES // frame))
        held = self.threads + PREFETCH + 1  # batches that a loader holds: they share the cache
        outs = [np.ones((size, *shape), np.uint8) for _ in range(held)]
        random = np.random.default_rng(0)
        times = []
        for number in range(GROUPS):
            some, out = random.integers(0, room.count, size), outs[number % len(outs)]
            times.append(_timed(np.take, room.frames, some, 0, out, "clip")[0])
        return size * frame / median(times)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _per_frame(work: Mapping[str, Work]) -> float:
    """Packets decoded per frame asked for."""
    frames = sum(part.frames for part in work.values())
    return sum(part.packets for part in work.values()) / frames if frames else 0.0


def _cache_note(room: Room) -> str:
    if room.share < 1:
        return f"holds {room.share:.0%} of {room.needed_bytes:,} bytes; the rest on demand"
    return ""
