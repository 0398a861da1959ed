"""Batches in one global order, made by threads or processes, resumable on any number of ranks.

The order of windows is a function of (snapshot, spec, seed, epoch). The ranks of a run share it:
each global batch is the next ``ranks * batch_size`` windows, of which rank r takes the r-th part.
So what has been seen is always a beginning of the global order, and its length is all there is to
remember.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import tee
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import LoaderError, UsageError
from viae.load.pool import PoolOrder
from viae.load.windows import Windows
from viae.schema import Batch
from viae.sequence import InOrder, Order, Shuffled, Weighted

Ints = npt.NDArray[np.int64]

PREFETCH = 2
"""Batches that may wait, where nothing else is said."""
ORDERED_AT_ONCE = 64
"""Global batches whose order is computed together."""
PROBED = 1024
"""Places of an order of another's making that tell it from others."""
_REMEDY = {
    "windows": "load the same snapshot, spec and episodes",
    "episodes": "load the same episodes, in the same order",
    "decisions": "load the same snapshot by the same spec",
    "kind": "give the same access path, shuffle and weights",
    "chunks": "load the same streams of pictures",
    "weights": "compute them on the snapshot that the run began with",
}
READ_AHEAD = 16
"""Batches whose packets are being read before their turn, where packets are not in memory."""


class Loader:
    """Iterates over batches: one pass over the loader is the rest of one epoch.

    Args:
        windows: what to load.
        batch_size: windows per batch and rank.
        seed: of the order.
        shuffle: False keeps the order of episodes and decisions, for evaluation.
        weights: float64 [W]: draw windows with replacement by these chances; None takes each once.
        rank: which part of each global batch is made here.
        ranks: how many parts there are.
        drop_last: whether the windows left over at the end of an epoch, too few for a global batch,
            are left out. Otherwise they are shared out as evenly as they go, and a rank may get
            none: use True where ranks must take equally many steps.
        threads: that make batches; decoding releases Python's lock.
        workers: processes that make batches instead; where many cores make batches of many small
            pictures, Python's lock holds threads back.
        prefetch: batches that may wait, beside those being made; of processes, for each.
        order: another global order; then ``seed``, ``shuffle`` and ``weights`` mean nothing.

    Raises:
        UsageError: options that contradict each other.
    """

    def __init__(
        self,
        windows: Windows,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        weights: npt.NDArray[np.float64] | None = None,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = False,
        threads: int = 1,
        workers: int = 0,
        prefetch: int = PREFETCH,
        order: Order | None = None,
    ) -> None:
        counts = {
            "batch_size": batch_size, "rank": rank, "ranks": ranks, "threads": threads,
            "workers": workers, "prefetch": prefetch,
        }  # fmt: skip
        for name, count in counts.items():
            if not _whole_number(count):
                raise UsageError(f"{name} is a whole number, not {count!r}")
        if not 0 <= rank < ranks:
            raise UsageError(f"rank {rank} is none of {ranks} ranks")
        if min(batch_size, threads, prefetch) < 1 or workers < 0:
            raise UsageError("batch_size, threads and prefetch are at least 1, workers at least 0")
        if workers and windows.choice.pool is not None:
            raise UsageError(
                "a batch out of a pool needs groups from all over it, so that each worker process "
                "would decode the whole pool again: give threads instead (they share one pool, and "
                "decoding releases Python's lock), or with workers the path 'decode' or 'cache'"
            )
        self.windows = windows
        self.batch_size = batch_size
        self.rank, self.ranks = rank, ranks
        self.drop_last = drop_last
        self.threads, self.workers, self.prefetch = threads, workers, prefetch
        self.order = order or _order(windows, seed, shuffle, weights)
        self.epoch = 0
        """The epoch that the next batch belongs to."""
        self.position = 0
        """Windows of this epoch that all ranks together have been given."""

    def __len__(self) -> int:
        """Batches in the rest of this epoch, on this rank."""
        return sum(first < last for first, last in map(self._part, self._bounds()))

    def __iter__(self) -> Iterator[Batch]:
        """The rest of this epoch; afterwards the loader stands at the next one.

        Raises:
            LoaderError: a worker died.
            WindowError: a picture cannot be decoded.
        """
        made = self._by_workers() if self.workers else self._by_threads()
        for stop, batch in made:
            self.position = stop
            if batch is not None:
                yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, JSON-ready: what it takes to go on, on any number of ranks.

        ``epoch`` and ``position`` say where in the order; ``windows``, ``drop_last``,
        ``global_batch`` and ``order`` which order it is, for `load_state_dict` to compare.
        """
        return {
            "epoch": self.epoch, "position": self.position, "windows": len(self.order),
            "drop_last": self.drop_last, "global_batch": self.batch_size * self.ranks,
            "order": dict(self._said),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of any rank of a loader of the same order.

        Threads, workers, ranks and the size of batches may be others: they do not change the order.
        But with ``drop_last`` the size of a global batch (``batch_size * ranks``) says which
        windows an epoch leaves out; these must stay the same.

        Raises:
            LoaderError: the state is of another order, or is no state; the text says what differs.
                The loader stays where it is.
        """
        if not isinstance(state, Mapping):
            raise LoaderError(f"this is no state of viae.Loader, but {type(state).__name__}")
        if not isinstance(state.get("order"), Mapping):
            raise LoaderError(
                "this state does not say of which order it is: it is none of viae.Loader, or of an "
                "older viae. Begin the epoch anew"
            )
        was, here = _facts(state), _facts(self.state_dict())
        for name in dict.fromkeys([*was, *here]):
            if was.get(name) != here.get(name):
                raise LoaderError(
                    f"{name} is {here.get(name)}; the state was saved with {was.get(name)}. The "
                    "order of windows depends on it, and the run would not go on as it was: "
                    f"{_REMEDY.get(name, 'give it as before')}"
                )
        epoch, position = _count(state, "epoch"), _count(state, "position")
        if not 0 <= position <= len(self.order) or epoch < 0:
            raise LoaderError(
                f"position {position} of epoch {epoch} is none of {len(self.order)} windows"
            )
        if self.drop_last:
            then, now = _count(state, "global_batch"), self.batch_size * self.ranks
            if then < 1:
                raise LoaderError(f"global_batch of the state is {then}; it is at least 1")
            left = [((len(self.order) - at) % then, (len(self.order) - at) % now)
                    for at in (position, 0)]  # fmt: skip
            if any(one != other for one, other in left):
                raise LoaderError(
                    f"batch_size * ranks is {now}; the state was saved with {then}. With drop_last "
                    "it says which windows an epoch leaves out, and they would be others: keep the "
                    "product, or run without drop_last"
                )
        self.epoch, self.position = epoch, position

    @cached_property
    def _said(self) -> dict[str, Any]:
        """What the order is a function of."""
        return {**_windows_said(self.windows), **_order_said(self.order, self.windows)}

    def _bounds(self) -> list[tuple[int, int]]:
        """From where to where each global batch to come reaches in the order."""
        size, n = self.batch_size * self.ranks, len(self.order)
        starts = range(self.position, n, size)
        return [(a, min(a + size, n)) for a in starts if a + size <= n or not self.drop_last]

    def _part(self, bounds: tuple[int, int]) -> tuple[int, int]:
        """Of a global batch: from where to where this rank's part reaches; both equal for none."""
        start, stop = bounds
        size = stop - start
        return start + size * self.rank // self.ranks, start + size * (self.rank + 1) // self.ranks

    def _parts(self) -> Iterator[tuple[int, Ints]]:
        """Of each global batch to come: where it ends, and this rank's windows of it."""
        bounds = self._bounds()
        for some in range(0, len(bounds), ORDERED_AT_ONCE):
            block = bounds[some : some + ORDERED_AT_ONCE]
            base = block[0][0]
            order = self.order.take(self.epoch, base, block[-1][1])
            for start, stop in block:
                first, last = self._part((start, stop))
                yield stop, order[first - base : last - base]

    def _by_threads(self) -> Iterator[tuple[int, Batch | None]]:
        def make(which: Ints) -> Batch | None:
            return self.windows.batch(which) if len(which) else None

        self.windows.reserve(self.batch_size, self.threads + self.prefetch + 1)  # one is the user's
        ahead: deque[tuple[int, Future[Batch | None]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="viae-load")
        try:
            for stop, which in self._read_ahead():
                ahead.append((stop, pool.submit(make, which)))
                if len(ahead) >= self.threads + self.prefetch:
                    yield _result(*ahead.popleft())
            while ahead:
                yield _result(*ahead.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read_ahead(self) -> Iterator[tuple[int, Ints]]:
        """`_parts`, each known to the windows a few batches before it comes."""
        coming: deque[tuple[int, Ints]] = deque()
        for part in self._parts():
            self.windows.ahead(part[1])
            coming.append(part)
            if len(coming) > READ_AHEAD:
                yield coming.popleft()
        yield from coming

    def _by_workers(self) -> Iterator[tuple[int, Batch | None]]:
        from torch.utils.data import DataLoader

        from viae.load.dataset import WindowDataset, as_batch

        # By this process, so that no worker has a random state; a few batches at a time.
        asked, given = tee(self._parts())
        loader = DataLoader(
            WindowDataset(self.windows),
            batch_sampler=(which.tolist() for _, which in asked if len(which)),
            collate_fn=_whole,
            num_workers=self.workers,
            prefetch_factor=self.prefetch,
            multiprocessing_context="spawn",  # Lance does not survive a fork
        )
        batches = iter(loader)
        died = ""
        try:
            for stop, which in given:
                yield stop, as_batch(next(batches)) if len(which) else None
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            died = f"{type(error).__name__}: {error}"
        finally:
            del batches, loader  # stops the other workers; a traceback would keep them
        if died:
            raise LoaderError(
                f"a worker died at window {self.position} of epoch {self.epoch}: {died}. "
                "Where memory ran out, use fewer workers, or threads instead"
            )


def _result(stop: int, future: Future[Batch | None]) -> tuple[int, Batch | None]:
    """By itself, so that no local variable keeps a batch's memory in use."""
    return stop, future.result()


def _whole(batch: Any) -> Any:
    """`WindowDataset` gives whole batches already."""
    return batch


def _whole_number(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _count(state: Mapping[str, Any], name: str) -> int:
    """A whole number of a state."""
    value = state.get(name)
    if not _whole_number(value):
        raise LoaderError(
            f"{name} of the state is {value!r}, not a whole number: it is none of viae.Loader, or "
            "damaged. Begin the epoch anew"
        )
    return int(state[name])


def _facts(state: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal in two states, by name."""
    plain = {name: state.get(name) for name in ("windows", "drop_last")}
    return {**plain, **state["order"]}


def _order(
    windows: Windows, seed: int, shuffle: bool, weights: npt.NDArray[np.float64] | None
) -> Order:
    if weights is None:
        return windows.order(seed) if shuffle else InOrder(len(windows))
    if len(weights) != len(windows):
        raise UsageError(f"{len(weights)} weights for {len(windows)} windows")
    if not shuffle:
        raise UsageError("windows drawn by weight come in no order: weights need shuffle")
    pool = windows.choice.pool
    return Weighted(weights, seed) if pool is None else pool.order(seed, weights)


def _windows_said(windows: Windows) -> dict[str, Any]:
    """Which windows there are, as digests."""
    ids = json.dumps([episode.episode_id for episode in windows.episodes])
    return {
        "episodes": _digest(ids.encode()),
        "decisions": _digest(windows.episode_of, windows.decisions_ns),
    }


def _order_said(order: Order, windows: Windows) -> dict[str, Any]:
    """What an order is, its parameters by name; of one that we do not know, how it begins."""
    match order:
        case Shuffled():
            return {"kind": "shuffled", "seed": order.seed}
        case InOrder():
            return {"kind": "in order"}
        case Weighted():
            return {"kind": "weighted", "seed": order.seed, "weights": _digest(order.weights)}
        case PoolOrder():
            pool = windows.choice.pool
            bound = {"mixing": pool.mixing, "mixing_batch": pool.mixing_batch} if pool else {}
            weights = {} if order.weights is None else {"weights": _digest(order.weights)}
            return {
                "kind": "pool", "seed": order.seed, **weights, **bound,
                "chunks_held": order.held, "chunks": _digest(order.starts),
            }  # fmt: skip
    head = order.take(0, 0, min(len(order), PROBED))
    return {"kind": type(order).__name__, "begins": _digest(np.asarray(head, np.int64))}


def _digest(*parts: bytes | npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
    return digest.hexdigest()
