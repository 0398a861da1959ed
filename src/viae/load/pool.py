"""A decoded shuffle pool: windows drawn from a part of the video that is decoded at the time.

Where groups of pictures are long, a frame on demand costs the decoding of all before it in its
group. Here the windows are cut into chunks, runs of consecutive windows. At any moment those of
``held`` chunks are mixed; one chunk after another comes in and goes out, so a group is decoded
about once per epoch. The price is that windows of a chunk are drawn near each other:
`viae.load.mixing` says how near, and how many chunks have to be held.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.claims import Claims
from viae.load.frames import OnDemand
from viae.sequence import Shuffled, Weighted

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
Group: TypeAlias = tuple[int, Pixels]
"""Which of the used frames its first one is, and the frames."""

CHUNK_WINDOWS = 32
"""A chunk has at least so many, where its episode does, and whole groups of pictures."""
AT_ONCE_BYTES = 1 << 26
"""Decoded before it is copied to where it was asked for, so that a batch that misses many long
groups does not hold them all."""


def chunk_starts(episode_of: Ints, groups: Ints) -> Ints:
    """Cut windows into chunks: runs of one episode, of whole groups, of `CHUNK_WINDOWS` at least.

    Args:
        episode_of: int64 [W], ascending in runs: the episode of each window.
        groups: int64 [W], the group of pictures that each window's newest frame is in.

    Returns:
        int64 [C + 1], where chunks begin; the last is W.
    """
    count = len(episode_of)
    if not count:
        return np.zeros(1, np.int64)
    new_episode = np.flatnonzero(np.diff(episode_of)) + 1
    new_group = np.flatnonzero((np.diff(groups) != 0) | (np.diff(episode_of) != 0)) + 1
    starts, episodes = [0], {0, *new_episode.tolist()}
    for at in new_group.tolist():
        if at in episodes or at - starts[-1] >= CHUNK_WINDOWS:
            starts.append(at)
    return np.array([*starts, count], np.int64)


def masses(weights: npt.NDArray[np.float64], starts: Ints) -> npt.NDArray[np.float64]:
    """How many windows of each chunk an epoch of weighted draws has, expected: float64 [C].

    Args:
        weights: float64 [W], relative chances of windows.
        starts: int64 [C + 1], where chunks begin.
    """
    reached = np.concatenate([[0.0], np.cumsum(weights)])
    found: npt.NDArray[np.float64] = np.diff(reached[starts]) * (len(weights) / reached[-1])
    return found


class PoolOrder:
    """Each window once per epoch, mixed with those of the chunks held at the time.

    The chunks of an epoch lie in random order on a circle, one a unit. Each window goes to a place
    drawn evenly between its chunk's and ``held`` units further; the order is that of the places.
    So every part of the epoch is mixed alike, its beginning and end too; the chunks that lie across
    the end are decoded twice. With ``held`` as large as the number of chunks, all are shuffled.

    With weights an epoch has the very windows that `viae.sequence.Weighted` draws for it, some
    several times and some never; only their order is the pool's. Chunks of no weight are left out
    of the circle, so that the others still meet.

    A function of (chunks, held, seed, epoch, weights). An epoch's order is computed at once and
    kept: 4 bytes a window, and 24 while it is computed (40 with weights).

    Args:
        starts: int64 [C + 1], where chunks begin, see `chunk_starts`.
        held: chunks held at a time, at least 1.
        seed: of the order.
        weights: float64 [W], relative chances of windows, as `Weighted` takes them; None has each
            window once.

    Raises:
        WindowError: these are no weights.
    """

    def __init__(
        self,
        starts: Ints,
        held: int,
        seed: int,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.starts, self.held, self.seed, self.weights = starts, held, seed, weights
        self._drawn = None if weights is None else Weighted(weights, seed)
        self._lock = threading.Lock()
        self._computed: tuple[int, npt.NDArray[Any]] = (-1, np.empty(0, np.int32))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, epoch: int, start: int, stop: int) -> Ints:
        """See `viae.sequence.Order`."""
        with self._lock:
            if self._computed[0] != epoch:
                self._computed = (epoch, self._order(epoch))
            order = self._computed[1]
        return order[start:stop].astype(np.int64)

    def _order(self, epoch: int) -> npt.NDArray[Any]:
        count = len(self)
        digest = hashlib.blake2b(f"pool {self.seed} {epoch}".encode(), digest_size=16).digest()
        random = np.random.Generator(np.random.Philox(key=np.frombuffer(digest, np.uint64)))
        places = random.random(count)
        kind = np.int32 if count < 2**31 else np.int64
        if self._drawn is None or self.weights is None:
            sizes = np.diff(self.starts)
            self._mix(places, epoch, np.arange(len(sizes)), sizes)
            return np.argsort(places, kind="stable").astype(kind)
        drawn = np.sort(self._drawn.take(epoch, 0, count))
        sizes = np.diff(np.searchsorted(drawn, self.starts))
        lying = np.flatnonzero(masses(self.weights, self.starts))
        self._mix(places, epoch, lying, sizes)
        return drawn[np.argsort(places, kind="stable")].astype(kind)

    def _mix(self, places: npt.NDArray[np.float64], epoch: int, lying: Ints, sizes: Ints) -> None:
        """From places in [0, 1) to those on the circle of an epoch.

        Args:
            places: float64 [W], chunk after chunk; changed.
            epoch: which epoch.
            lying: int64 [L], the chunks that lie on the circle.
            sizes: int64 [C], how many of the places are of each chunk.
        """
        chunks = len(lying)
        places *= min(self.held, chunks)
        on_circle = np.zeros(len(sizes))
        on_circle[lying[Shuffled(chunks, self.seed).take(epoch, 0, chunks)]] = np.arange(chunks)
        places += np.repeat(on_circle, sizes)
        np.fmod(places, chunks, out=places)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("starts", "held", "seed", "weights")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class Pooled:
    """Frames of one picture stream, out of groups that stay decoded until others need the room.

    Those used longest ago go first. Any order of requests gives the right frames; the order of
    `PoolOrder` gives them without decoding groups again and again. Threads share the groups; each
    process has its own.

    Args:
        source: decodes them.
        used: int64 [U], the frames that windows use, ascending; of a group, only these are kept.
        memory_bytes: for decoded groups; the newest stays even if it is larger.
    """

    def __init__(self, source: OnDemand, used: Ints, memory_bytes: int) -> None:
        self.source = source
        self.shape = source.shape
        """(3, H, W)."""
        self.memory_bytes = memory_bytes
        self._used = used
        self._row_of: Ints = np.searchsorted(source.stream.row_starts, used, side="right") - 1
        self._claims = Claims()
        self._broken: set[int] = set()
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, Group] = OrderedDict()
        self.held_bytes = 0
        """Decoded groups in memory."""
        self.decoded = 0
        """Groups decoded so far."""

    def __len__(self) -> int:
        return len(self.source)

    def read(self, frames: Ints, out: Pixels) -> None:
        """See `viae.load.access.Frames`."""
        none = frames < 0
        out[none] = 0
        slots = np.searchsorted(self._used, frames)
        known = slots < len(self._used)
        known[known] = self._used[slots[known]] == frames[known]
        self._decode_alone(frames, np.flatnonzero(~known & ~none).tolist(), out)
        at = np.flatnonzero(known)
        at = at[np.argsort(slots[at], kind="stable")]
        rows, firsts = np.unique(self._row_of[slots[at]], return_index=True)
        bounds = [*firsts.tolist(), len(at)]
        where: list[int] = at.tolist()
        left = {
            row: where[first:last]
            for row, first, last in zip(rows.tolist(), bounds, bounds[1:], strict=False)
        }
        place = slots.tolist()

        def give(row: int, group: Group | None) -> None:
            """Write the frames of one group."""
            if group is None:
                self._decode_alone(frames, left.pop(row), out)
                return
            begin, pixels = group
            for i in left.pop(row):
                out[i] = pixels[place[i] - begin]

        while left:
            for row in list(left):  # others may have loaded it meanwhile
                if (group := self._held(row)) is not None:
                    give(row, group)
            if left:
                with self._claims.some_of(list(left)) as mine:
                    if mine:
                        for row, loaded in self._load(self._portion(mine)):
                            give(row, loaded)

    def _decode_alone(self, frames: Ints, at: Sequence[int], out: Pixels) -> None:
        """Frames that no group holds."""
        self.source.decode(frames[np.asarray(at, np.int64)], [out[i] for i in at])

    def _held(self, row: int) -> Group | None:
        with self._lock:
            group = self._groups.get(row)
            if group is not None:
                self._groups.move_to_end(row)
            return group

    def _portion(self, rows: Sequence[int]) -> list[int]:
        """The first of them that together do not need too much memory."""
        starts = self.source.stream.row_starts
        ends = np.searchsorted(self._used, starts[np.asarray(rows) + 1])
        begins = np.searchsorted(self._used, starts[np.asarray(rows)])
        sizes = np.cumsum(ends - begins) * int(np.prod(self.shape))
        fitting = int(np.searchsorted(sizes, AT_ONCE_BYTES, side="right"))
        return list(rows[: max(1, fitting)])

    def _load(self, rows: Sequence[int]) -> list[tuple[int, Group | None]]:
        """Decode groups; None for one that cannot be decoded as a whole."""
        broken = [(row, None) for row in rows if row in self._broken]
        rows = [row for row in rows if row not in self._broken]
        try:
            return [*broken, *self._decode(rows)]
        except WindowError:
            if len(rows) > 1:
                return [*broken, *(loaded for row in rows for loaded in self._load([row]))]
            self._broken.update(rows)
            return [*broken, (rows[0], None)]

    def _decode(self, rows: Sequence[int]) -> list[tuple[int, Group | None]]:
        starts = self.source.stream.row_starts
        begins = np.searchsorted(self._used, starts[np.asarray(rows, np.int64)]).tolist()
        ends = np.searchsorted(self._used, starts[np.asarray(rows, np.int64) + 1]).tolist()
        groups = [
            np.empty((b - a, *self.shape), np.uint8) for a, b in zip(begins, ends, strict=True)
        ]
        wanted = [self._used[a:b] for a, b in zip(begins, ends, strict=True)]
        self.source.decode(
            np.concatenate([np.empty(0, np.int64), *wanted]),
            [place for group in groups for place in group],
        )
        loaded = list(zip(rows, zip(begins, groups, strict=True), strict=True))
        with self._lock:
            self.decoded += len(rows)
            for row, group in loaded:
                replaced = self._groups.pop(row, None)
                self.held_bytes += group[1].nbytes - (replaced[1].nbytes if replaced else 0)
                self._groups[row] = group
            while self.held_bytes > self.memory_bytes and len(self._groups) > 1:
                _, (_, gone) = self._groups.popitem(last=False)
                self.held_bytes -= gone.nbytes
        return list(loaded)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("source", "shape", "memory_bytes", "_used", "_row_of", "_claims", "_broken")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()
