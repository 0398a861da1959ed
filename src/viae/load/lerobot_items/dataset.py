"""LeRobot's items from a store, as a PyTorch dataset."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from viae.errors import UsageError
from viae.load.lerobot_items.deltas import Rows, row_deltas, shifted
from viae.load.lerobot_items.meta import Metadata
from viae.load.lerobot_items.pictures import Pictures, open_cameras
from viae.load.lerobot_items.said import read_said
from viae.load.lerobot_items.table import PICTURES, read_table
from viae.store import Store

Item: TypeAlias = dict[str, Any]
"""Features by name: tensors and strings."""

KEPT_IN_MEMORY_GB = 4.0


class LeRobotItems(torch.utils.data.Dataset[Item]):
    """Rows of a LeRobot dataset in a store, each as `LeRobotDataset` gives it.

    A `torch.utils.data.DataLoader` fetches batches through ``__getitems__``, which reads each
    feature once for all of them. See `viae.load.lerobot` for the arguments.

    Raises:
        UsageError: the store has no such dataset, or not as LeRobot wants it; an episode or an
            offset that is none.
    """

    def __init__(
        self,
        store: Store | str | Path,
        *,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        episodes: Sequence[int] | None = None,
        image_transforms: Callable[[torch.Tensor], torch.Tensor] | None = None,
        tolerance_s: float = 1e-4,
        dataset: str | None = None,
        repo_id: str | None = None,
        memory_gb: float = KEPT_IN_MEMORY_GB,
    ) -> None:
        opened = store if isinstance(store, Store) else Store.open(store)
        said = read_said(opened.at(opened.snapshot()), dataset)
        self.meta = Metadata(said, repo_id)
        self.repo_id, self.root = self.meta.repo_id, self.meta.root
        self.revision = self.meta.revision
        self.episodes = None if episodes is None else list(episodes)
        chosen = _chosen(self.episodes, self.meta.total_episodes)
        self.image_transforms = image_transforms
        self.tolerance_s = tolerance_s
        self.delta_timestamps = delta_timestamps
        self.delta_indices = (
            None if delta_timestamps is None
            else row_deltas(delta_timestamps, self.features, fps=self.fps, tolerance_s=tolerance_s)
        )  # fmt: skip
        self._table = read_table(said, chosen)
        self._plain = [n for n, f in self.features.items() if f["dtype"] not in PICTURES]
        self._order = [n for n, f in self.features.items() if f["dtype"] != "video"]
        self._cameras = open_cameras(
            said,
            self.meta.camera_keys,
            chosen,
            self._table.starts,
            np.asarray(self._table.columns["timestamp"]),
            tolerance_s=tolerance_s,
            memory_gb=memory_gb,
        )
        self._check_tasks()

    @property
    def fps(self) -> Any:
        """Rows per second."""
        return self.meta.fps

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features, by name."""
        return self.meta.features

    @property
    def num_frames(self) -> int:
        """Rows of the selected episodes."""
        return len(self._table)

    @property
    def num_episodes(self) -> int:
        """Selected episodes."""
        return self.meta.total_episodes if self.episodes is None else len(self.episodes)

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: int) -> Item:
        [item] = self.__getitems__([index])
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Items of one batch, read together.

        Args:
            indices: rows of the selected episodes; negative ones count from the end.

        Raises:
            IndexError: there is no such row.
            WindowError: a picture cannot be decoded.
        """
        rows = self._rows(indices)
        at, pads = self._queries(rows)
        values: dict[str, Any] = {}
        for key in self.meta.camera_keys:
            values[key] = self._pictures(key, at.get(key, self._now(rows, at)))
        for key in self._plain:
            column = self._table.columns[key]
            if isinstance(column, list):
                values[key] = [column[row] for row in rows.tolist()]
            else:
                values[key] = self._table.tensor(key, at.get(key, rows))
        order = [*self.meta.video_keys, *self._order]
        return [
            self._item(
                {key: values[key][place] for key in order}
                | {f"{key}_is_pad": pad[place] for key, pad in pads.items()}
            )
            for place in range(len(rows))
        ]

    def _item(self, item: Item) -> Item:
        """What LeRobot does last: transforms of pictures, and texts."""
        if self.image_transforms is not None:
            for key in self.meta.camera_keys:
                item[key] = self.image_transforms(item[key])
        item["task"] = self.meta.task_texts[int(item["task_index"].item())]
        if "subtask_index" in self.features and self.meta.subtask_texts:
            item["subtask"] = self.meta.subtask_texts[int(item["subtask_index"].item())]
        return item

    def _rows(self, indices: Sequence[int]) -> Rows:
        numbers = np.array([operator.index(index) for index in indices], np.int64)
        n = len(self)
        if ((numbers < -n) | (numbers >= n)).any():
            wrong = int(numbers[(numbers < -n) | (numbers >= n)][0])
            raise IndexError(f"there is no row {wrong}: the selected episodes have {n}")
        return np.where(numbers < 0, numbers + n, numbers)

    def _queries(self, rows: Rows) -> tuple[dict[str, Rows], dict[str, torch.Tensor]]:
        """Per feature with offsets the rows [B, T] to read, and which are padding."""
        starts = self._table.starts
        episode = np.searchsorted(starts, rows, side="right") - 1
        at: dict[str, Rows] = {}
        pads: dict[str, torch.Tensor] = {}
        for key, steps in (self.delta_indices or {}).items():
            at[key], pad = shifted(rows, steps, starts[episode], starts[episode + 1])
            pads[key] = torch.from_numpy(pad)
        return at, pads

    def _now(self, rows: Rows, at: Mapping[str, Rows]) -> Rows:
        """Where pictures without offsets are: at the item's timestamp, which may have one."""
        return at["timestamp"][:, 0] if "timestamp" in at else rows

    def _pictures(self, key: str, at: Rows) -> Pictures:
        """Pictures of rows [B] or [B, T], an entry an item."""
        found = self._cameras[key].read(at.reshape(-1))
        if at.ndim == 1:
            return found
        count, steps = at.shape
        stacks: Pictures
        if isinstance(found, torch.Tensor):
            stacks = found.reshape(count, steps, *found.shape[1:])
        else:
            stacks = [torch.stack(found[i * steps : (i + 1) * steps]) for i in range(count)]
        is_video = self.features[key]["dtype"] == "video"  # LeRobot squeezes these, and only these
        return [stack[0] for stack in stacks] if is_video and steps == 1 else stacks

    def _check_tasks(self) -> None:
        """Every row's texts are there, and one timestamp says where its pictures are."""
        known = {"task_index": len(self.meta.task_texts)}
        if self.meta.subtask_texts:
            known["subtask_index"] = len(self.meta.subtask_texts)
        for key, texts in known.items():
            column = np.asarray(self._table.columns.get(key, []))
            if len(column) and (column.min() < 0 or column.max() >= texts):
                raise UsageError(
                    f"{self.meta.repo_id}: a row has {key} {column.max()}, and the dataset has "
                    f"{texts} texts; it was continued after it was ingested. Ingest it into a new "
                    "store"
                )
        deltas = self.delta_indices or {}
        if self.meta.video_keys and len(deltas.get("timestamp", [0])) > 1:
            raise UsageError(
                "with cameras, delta_timestamps['timestamp'] has one offset, in LeRobot too"
            )

    def __repr__(self) -> str:
        return (
            f"LeRobotItems({self.repo_id!r}, {self.num_episodes} episodes, {self.num_frames} "
            f"frames, features: {', '.join(self.features)})"
        )


def _chosen(episodes: Sequence[int] | None, total: int) -> list[int]:
    if episodes is None:
        return list(range(total))
    unknown = sorted({int(number) for number in episodes} - set(range(total)))
    if unknown or not episodes:
        raise UsageError(f"there are episodes 0 to {total - 1}, not {unknown or 'none'}")
    return sorted({int(number) for number in episodes})
