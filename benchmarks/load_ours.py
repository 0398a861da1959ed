"""viae as a contender (see ``load_timing``): the job is a `Job` as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from load_frames import BATCH, FRAMES
from load_store import window
from load_timing import serve
from viae.load import Access, Loader, Windows
from viae.sequence import Shuffled
from viae.store import Store

EPOCHS = 100
"""In one pass of the loader."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to load, and how.

    Args:
        store: made by ``load_store``.
        cameras: in each window.
        threads: that make batches.
        workers: processes that make them instead, where above 0.
        frames: of each camera in a window.
        access: fields of `Access`.
        epochs_before: that pass before anything is timed.
        floats: each batch of pictures is also made float32 in [0, 1], as LeRobot hands them out.
    """

    store: str
    cameras: tuple[str, ...] = ("top",)
    threads: int = 1
    workers: int = 0
    frames: int = FRAMES
    access: dict[str, Any] = field(default_factory=lambda: {"path": "decode"})
    epochs_before: int = 0
    floats: bool = False


class Endless:
    """Epoch after epoch in one: none of the contenders pays for the turn of an epoch."""

    def __init__(self, count: int) -> None:
        self.count, self.epochs = count, Shuffled(count, 0)

    def __len__(self) -> int:
        return self.count * EPOCHS

    def take(self, _epoch: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """See `viae.sequence.Order`."""
        parts = []
        while start < stop:
            epoch, place = divmod(start, self.count)
            end = min(self.count, place + stop - start)
            parts.append(self.epochs.take(epoch, place, end))
            start += end - place
        return np.concatenate(parts)


def loader_of(job: Job) -> Loader:
    """The loader of a job."""
    store = Store.open(job.store)
    windows = Windows(
        store, window(job.cameras, frames=job.frames), store.episodes(),
        access=Access(**job.access),
    )  # fmt: skip
    return Loader(
        windows, batch_size=BATCH, order=Endless(len(windows)), threads=job.threads,
        workers=job.workers,
    )  # fmt: skip


def batches(loader: Loader, job: Job) -> Iterator[int]:
    """Sizes of batches as they arrive, their pictures made tensors, without end."""
    import torch

    torch.set_num_threads(1)
    while True:
        for batch in loader:
            for camera in job.cameras:
                pixels = torch.from_numpy(batch.inputs[camera])
                if job.floats:
                    pixels = pixels.float().div_(255)
            yield len(batch)


def load(job: Job) -> None:
    """Be a contender."""
    loader = loader_of(job)
    made = batches(loader, job)
    left = job.epochs_before * len(loader.windows)
    while left > 0:
        left -= next(made)
    serve(made, ahead=2 * max(job.threads, job.workers) + 1)


if __name__ == "__main__":
    load(Job(**json.loads(sys.argv[1])))
