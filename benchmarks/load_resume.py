"""Elastic resume: stop at a random step, go on with other ranks, threads or processes.

What all ranks saw, before and after, is put together in the global order, batch by batch and in a
batch rank by rank, and compared with what one loader sees that is never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rows import Row
from viae.load import Loader, Windows
from viae.schema import Batch, Take, WindowSpec
from viae.store import Store

STOPS = 50
EPOCHS = 2
CHANGES = ((1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3))
BY_PROCESSES = 4
"""Stops after which worker processes make the batches."""
SPEC = WindowSpec(
    decision="observation.state",
    inputs=(Take(stream="observation.state", steps=(-1, 0)),),
    targets=(Take(stream="action", steps=(0, 1)),),
)
"""No pictures: the order does not depend on what is in a window."""

Seen = list[tuple[int, int]]


def resume(work: Path) -> Iterator[Row]:
    """Share of stops after which the union is the same, in multiset and order."""
    from load_rates import make_store_of

    store = Store.open(make_store_of("96", work))
    windows = Windows(store, SPEC, store.episodes())
    random = np.random.default_rng(0)
    same = same_multiset = 0
    for stop in range(STOPS):
        before, after = CHANGES[stop % len(CHANGES)]
        size, seed = int(random.integers(1, 65)), int(random.integers(1 << 30))
        threads = [int(n) for n in random.integers(1, 4, 2)]
        whole = see([Loader(windows, batch_size=size, seed=seed)], EPOCHS)
        ranks = loaders(windows, before, batch_size=size, seed=seed, threads=threads[0])
        epoch = int(random.integers(EPOCHS))
        seen = see(ranks, epoch)
        seen += see(ranks, 1, steps=int(random.integers(1, len(ranks[0]) + 1)))
        state = ranks[int(random.integers(before))].state_dict()
        workers = 1 if stop < BY_PROCESSES else 0
        resumed = loaders(
            windows, after, batch_size=size, seed=seed, threads=threads[1], workers=workers
        )
        for rank in resumed:
            rank.load_state_dict(state)
        seen += see(resumed, EPOCHS - resumed[0].epoch)
        same += seen == whole
        same_multiset += sorted(seen) == sorted(whole)
    yield Row(name="resume", value=same / STOPS, unit="share", target=">= 1.0", n=STOPS)
    yield Row(name="resume_multiset", value=same_multiset / STOPS, unit="share", n=STOPS)


def loaders(windows: Windows, ranks: int, **options: int) -> list[Loader]:
    """One loader a rank."""
    return [Loader(windows, rank=rank, ranks=ranks, **options) for rank in range(ranks)]  # type: ignore[arg-type]


def see(ranks: Sequence[Loader], epochs: int, steps: int | None = None) -> Seen:
    """What ranks that go in step are given: the rest of so many epochs, or so many steps of one."""
    seen: Seen = []
    for _ in range(epochs):
        streams = [iter(rank) for rank in ranks]
        step = 0
        while steps is None or step < steps:
            batches = [batch for stream in streams if (batch := next(stream, None)) is not None]
            if not batches:
                break
            for batch in batches:
                seen += _keys(batch)
            step += 1
        for stream in streams:
            stream.close()  # type: ignore[attr-defined]
    return seen


def _keys(batch: Batch) -> Seen:
    return list(zip(batch.episodes.tolist(), batch.decisions_ns.tolist(), strict=True))
