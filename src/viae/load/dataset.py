"""Windows as a PyTorch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from viae.load.windows import Windows
from viae.schema import Batch


def tensors(batch: Batch) -> dict[str, Any]:
    """A batch as tensors that share its memory.

    Returns:
        ``"inputs/STREAM"``, ``"targets/STREAM"`` [B, T, *shape]; ``"masks/inputs/STREAM"`` and so
        on, ``"ages/STREAM"`` [B, T]; ``"tasks"`` a tuple of B strings; ``"episodes"`` and
        ``"decisions_ns"`` [B].
    """
    named: dict[str, Any] = {}
    for group in ("inputs", "targets", "masks"):
        for name, array in getattr(batch, group).items():
            named[f"{group}/{name}"] = torch.from_numpy(array)
    for name, array in batch.ages.items():
        named[f"ages/{name}"] = torch.from_numpy(array)
    named["tasks"] = batch.tasks
    named["episodes"] = torch.from_numpy(batch.episodes)
    named["decisions_ns"] = torch.from_numpy(batch.decisions_ns)
    return named


def as_batch(named: dict[str, Any]) -> Batch:
    """The inverse of `tensors`; shares memory too."""
    groups: dict[str, dict[str, Any]] = {"inputs": {}, "targets": {}, "masks": {}, "ages": {}}
    for key, tensor in named.items():
        group, slash, name = key.partition("/")
        if slash:
            groups[group][name] = tensor.numpy()
    return Batch(
        tasks=named["tasks"],
        episodes=named["episodes"].numpy(),
        decisions_ns=named["decisions_ns"].numpy(),
        **groups,
    )


class WindowDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """A map-style dataset of windows.

    A `torch.utils.data.DataLoader` fetches a whole batch through ``__getitems__``: give it
    ``collate_fn=WindowDataset.collate``.

    Args:
        windows: what to serve.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        return tensors(self.windows.batch(np.asarray(indices, np.int64)))

    @staticmethod
    def collate(batch: dict[str, Any]) -> dict[str, Any]:
        """`__getitems__` returns whole batches already."""
        return batch


class IidSampler(torch.utils.data.Sampler[list[int]]):
    """Batches of windows drawn independently and uniformly, a function of (seed, draw) only.

    Args:
        windows: number of windows.
        batch_size: windows per batch.
        batches: how many batches to draw.
        seed: of the order.
        start: first draw, to resume.
    """

    def __init__(
        self, windows: int, *, batch_size: int, batches: int, seed: int, start: int = 0
    ) -> None:
        self.windows = windows
        self.batch_size = batch_size
        self.batches = batches
        self.seed = seed
        self.start = start

    def __len__(self) -> int:
        return self.batches - self.start

    def __iter__(self) -> Any:
        from viae.sequence import iid_order

        for draw in range(self.start, self.batches):
            order = iid_order(self.windows, seed=self.seed, draw=draw, size=self.batch_size)
            yield order.tolist()
