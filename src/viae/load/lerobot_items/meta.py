"""The metadata of a dataset under LeRobot's names, from what a store knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import MissingExtraError, UsageError
from viae.load.lerobot_items.said import VERSION, Said

PLACES = ("data/", "videos/", "meta/")
"""Columns that say in which file an episode is."""


class EpisodeRows:
    """``meta.episodes``: rows by number, columns by name, as a Hugging Face dataset has them."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [dict(row) for row in rows]
        self.column_names = list(dict.fromkeys(name for row in self._rows for name in row))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            if key not in self.column_names:
                raise KeyError(key)
            return [row.get(key) for row in self._rows]
        return dict(self._rows[key])

    def to_pandas(self) -> Any:
        """As a table of pandas."""
        return _pandas().DataFrame(self._rows)


class Metadata:
    """What LeRobot calls ``LeRobotDatasetMetadata``, to be read only.

    Args:
        said: the dataset.
        repo_id: its name; the last part of where it was by default.
    """

    def __init__(self, said: Said, repo_id: str | None = None) -> None:
        self.repo_id, self.revision = repo_id or Path(said.uri).name, VERSION
        self.root = Path(said.store.uri)
        self._said = said
        self.info = {**said.info, "total_frames": sum(said.lengths)}
        self.episodes = EpisodeRows(_episode_rows(said))
        self.task_texts = [text for _, text in said.tasks]
        self.subtask_texts = [text for _, text in said.subtasks or []]

    @cached_property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Statistics per feature, as arrays.

        Raises:
            UsageError: the dataset stores none.
        """
        return {
            key: {name: np.array(value) for name, value in one.items()}
            for key, one in self._said.stats().items()
        }

    @cached_property
    def tasks(self) -> Any:
        """Indices of tasks, indexed by instruction: a `pandas.DataFrame`."""
        return _text_table(self._said.tasks, "task_index")

    @cached_property
    def subtasks(self) -> Any:
        """Likewise of subtasks; None where there are none."""
        rows = self._said.subtasks
        return None if rows is None else _text_table(rows, "subtask_index")

    @property
    def data_path(self) -> str:
        """Template of the tables' paths in the dataset that was ingested."""
        return str(self.info["data_path"])

    @property
    def video_path(self) -> str | None:
        """Likewise of the movies."""
        path = self.info.get("video_path")
        return None if path is None else str(path)

    @property
    def robot_type(self) -> str | None:
        """The robot."""
        robot = self.info.get("robot_type")
        return None if robot is None else str(robot)

    @property
    def fps(self) -> Any:
        """Rows per second."""
        return self.info["fps"]

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features, by name."""
        features: dict[str, dict[str, Any]] = self.info["features"]
        return features

    @property
    def image_keys(self) -> list[str]:
        """Cameras whose pictures are in the table."""
        return self._of("image")

    @property
    def video_keys(self) -> list[str]:
        """Cameras whose pictures are in movies."""
        return self._of("video")

    @property
    def camera_keys(self) -> list[str]:
        """All cameras."""
        return self._of("video", "image")

    @property
    def names(self) -> dict[str, Any]:
        """Names of elements, per feature."""
        return {key: feature["names"] for key, feature in self.features.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes, per feature."""
        return {key: tuple(feature["shape"]) for key, feature in self.features.items()}

    @property
    def total_episodes(self) -> int:
        """Episodes in all."""
        return int(self.info["total_episodes"])

    @property
    def total_frames(self) -> int:
        """Rows in all."""
        return int(self.info["total_frames"])

    @property
    def total_tasks(self) -> int:
        """Tasks in all."""
        return int(self.info["total_tasks"])

    @property
    def chunks_size(self) -> int:
        """Files per folder of the dataset that was ingested."""
        return int(self.info["chunks_size"])

    @property
    def data_files_size_in_mb(self) -> int:
        """Bound of its tables."""
        return int(self.info["data_files_size_in_mb"])

    @property
    def video_files_size_in_mb(self) -> int:
        """Bound of its movies."""
        return int(self.info["video_files_size_in_mb"])

    def get_task_index(self, task: str) -> int | None:
        """The index of an instruction; None where it is none."""
        return next((index for index, text in self._said.tasks if text == task), None)

    def _of(self, *dtypes: str) -> list[str]:
        return [key for key, feature in self.features.items() if feature["dtype"] in dtypes]

    def __repr__(self) -> str:
        return (
            f"Metadata({self.repo_id!r}, {self.total_episodes} episodes, {self.total_frames} "
            f"frames, {self.fps} fps, features: {', '.join(self.features)})"
        )


def _episode_rows(said: Said) -> Iterator[dict[str, Any]]:
    start = 0
    for index, (row, length) in enumerate(zip(said.rows, said.lengths, strict=True)):
        span = {"dataset_from_index": start, "dataset_to_index": start + length}
        own = {"episode_index": index, "length": length, **span}
        start += length
        if said.is_kept and said.is_version_3:
            wrong = {name: row[name] for name in own if row.get(name, own[name]) != own[name]}
            if wrong:
                raise UsageError(
                    f"{said.uri}, episode {index}: its metadata says {wrong}, its table "
                    f"{ {name: own[name] for name in wrong} }; LeRobot would mix episodes. "
                    "Repair it with  viae export OUT --to lerobot,  ingest OUT and load that"
                )
            yield {**row, **own}
        else:
            kept = {name: value for name, value in row.items() if not name.startswith(PLACES)}
            yield {**kept, **own}


def _text_table(rows: Sequence[tuple[int, str]], key: str) -> Any:
    pandas = _pandas()
    return pandas.DataFrame({key: [n for n, _ in rows]}, index=[text for _, text in rows])


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ImportError as error:
        raise MissingExtraError("pandas", extra="lerobot") from error
