"""Batches in one global order, made by threads or processes, resumable on any number of ranks.

The order of windows is a function of (snapshot, spec, seed, epoch). The ranks of a run share it:
each global batch is the next ``ranks * batch_size`` windows, of which rank r takes the r-th part.
So what has been seen is always a beginning of the global order, and its length is all there is to
remember.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import LoaderError, UsageError
from viae.load.windows import Windows
from viae.schema import Batch
from viae.sequence import InOrder, Order, Weighted

Ints = npt.NDArray[np.int64]

ORDERED_AT_ONCE = 64
"""Global batches whose order is computed together."""
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
        prefetch: int = 2,
        order: Order | None = None,
    ) -> None:
        if not 0 <= rank < ranks:
            raise UsageError(f"rank {rank} is none of {ranks} ranks")
        if min(batch_size, threads, prefetch) < 1 or workers < 0:
            raise UsageError("batch_size, threads and prefetch are at least 1, workers at least 0")
        if workers and windows.choice.pool is not None:
            raise UsageError(
                "threads share a pool, and each process would fill one of its own: use threads "
                "with the access path 'pool', or another path with workers"
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
        return sum(stop - start > self.rank for start, stop in self._bounds())

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

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands: what it takes to go on, on any number of ranks and workers."""
        return {"epoch": self.epoch, "position": self.position, "windows": len(self.order)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a state of any rank of a loader of the same order.

        Raises:
            UsageError: the state is of other windows.
        """
        if state["windows"] != len(self.order):
            raise UsageError(
                f"the state is of {state['windows']} windows per epoch, these are "
                f"{len(self.order)}: load the same snapshot, spec and episodes"
            )
        self.epoch, self.position = state["epoch"], state["position"]

    def _bounds(self) -> list[tuple[int, int]]:
        """From where to where each global batch to come reaches in the order."""
        size, n = self.batch_size * self.ranks, len(self.order)
        starts = range(self.position, n, size)
        return [(a, min(a + size, n)) for a in starts if a + size <= n or not self.drop_last]

    def _parts(self) -> Iterator[tuple[int, Ints]]:
        """Of each global batch to come: where it ends, and this rank's windows of it."""
        bounds = self._bounds()
        for some in range(0, len(bounds), ORDERED_AT_ONCE):
            block = bounds[some : some + ORDERED_AT_ONCE]
            base = block[0][0]
            order = self.order.take(self.epoch, base, block[-1][1])
            for start, stop in block:
                first = start + (stop - start) * self.rank // self.ranks
                last = start + (stop - start) * (self.rank + 1) // self.ranks
                yield stop, order[first - base : last - base]

    def _by_threads(self) -> Iterator[tuple[int, Batch | None]]:
        def make(which: Ints) -> Batch | None:
            return self.windows.batch(which) if len(which) else None

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

        parts = list(self._parts())  # by this process, so that no worker has a random state
        loader = DataLoader(
            WindowDataset(self.windows),
            batch_sampler=[which.tolist() for _, which in parts if len(which)],
            collate_fn=_whole,
            num_workers=self.workers,
            prefetch_factor=self.prefetch,
            multiprocessing_context="spawn",  # Lance does not survive a fork
        )
        batches = iter(loader)
        died = ""
        try:
            for stop, which in parts:
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


def _order(
    windows: Windows, seed: int, shuffle: bool, weights: npt.NDArray[np.float64] | None
) -> Order:
    if weights is not None:
        if len(weights) != len(windows):
            raise UsageError(f"{len(weights)} weights for {len(windows)} windows")
        if windows.choice.pool is not None:
            raise UsageError(
                "windows drawn by weight come from anywhere, and a pool holds a part: take another "
                "access path with weights"
            )
        if not shuffle:
            raise UsageError("windows drawn by weight come in no order: weights need shuffle")
        return Weighted(weights, seed)
    return windows.order(seed) if shuffle else InOrder(len(windows))
