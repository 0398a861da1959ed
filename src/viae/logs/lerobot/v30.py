"""Version 3.0: many episodes in a Parquet file, and in a video; their metadata in Parquet, too.

Rows belong to the episode that their column ``episode_index`` names, wherever the metadata says
that they are: LeRobot's own converter names the wrong file for the first episode of each new one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viae.errors import DamagedLogError
from viae.logs.lerobot.info import Info
from viae.logs.lerobot.place import Clip, Layout, Place, as_json, ranges
from viae.logs.lerobot.rows import UNREADABLE, ParquetPart, Tables, hash_rows
from viae.logs.remux import hash_video
from viae.schema import JsonValue, Loss, LossKind


class SharedFiles(Layout):
    """A dataset whose episodes share files.

    Args:
        info: the dataset's metadata.

    Raises:
        DamagedLogError: ``info.json`` does not say where files are.
    """

    def __init__(self, info: Info) -> None:
        self.info, self.root = info, info.root
        try:
            self._file(info.data_path, 0, 0), self._file(info.video_path, 0, 0, "")
        except (ValueError, KeyError, IndexError) as error:
            raise info.damaged(error) from error
        self._losses: list[Loss] = []
        self._tables, self._meta_tables = Tables(), Tables()
        self._meta, self._meta_at = self._read_episodes()
        self._rows = self._find_rows()
        self.episodes = sorted(self._rows)

    def _file(self, template: str, chunk: int, file: int, key: str = "") -> Path:
        return self.root / template.format(chunk_index=chunk, file_index=file, video_key=key)

    def _read_episodes(self) -> tuple[pa.Table, dict[int, tuple[int, Path, int]]]:
        """The metadata without statistics; by episode: row in it, file, row in the file."""
        tables: list[pa.Table] = []
        at: dict[int, tuple[int, Path, int]] = {}
        total = 0
        for path in sorted((self.root / "meta" / "episodes").glob("**/*.parquet")):
            try:
                names = pq.read_schema(path).names
                wanted = [name for name in names if not name.startswith("stats/")]
                table = pq.read_table(path, columns=wanted, partitioning=None)
                indices = table["episode_index"].to_pylist()
                tables = [pa.concat_tables([*tables, table], promote_options="permissive")]
            except (*UNREADABLE, KeyError) as error:
                detail = (
                    f"the metadata of episodes cannot be read ({_line(error)}); their rows are "
                    "kept, without their videos and statistics. Copy the file again"
                )
                self._losses.append(
                    self.info.loss(LossKind.LOST, "meta-unreadable", None, detail, path)
                )
                continue
            for row, index in enumerate(indices):
                if isinstance(index, int) and index >= 0:
                    at.setdefault(index, (total + row, path, row))
            total += len(indices)
        return (tables[0] if tables else pa.table({})), at

    def _find_rows(self) -> dict[int, list[ParquetPart]]:
        """Each episode's rows, by the column ``episode_index`` of every table."""
        found: dict[int, list[ParquetPart]] = {}
        for path in sorted(self.root.glob("data/**/*.parquet")):
            try:
                for index, start, stop in _runs(path):
                    found.setdefault(index, []).append(ParquetPart(self._tables, path, start, stop))
            except (*UNREADABLE, KeyError, DamagedLogError) as error:
                why = "it holds no bytes" if not path.stat().st_size else _line(error)
                detail = f"the table cannot be read ({why}); copy the file again"
                self._losses.append(
                    self.info.loss(LossKind.LOST, "table-unreadable", None, detail, path)
                )
        return found

    def _row(self, index: int) -> dict[str, Any]:
        """The metadata of an episode, without statistics; empty where there is none."""
        if index not in self._meta_at:
            return {}
        row = self._meta.slice(self._meta_at[index][0], 1)
        try:
            return dict(row.to_pylist()[0])
        except UNREADABLE as error:
            raise DamagedLogError(
                self._meta_at[index][1],
                found=f"the metadata of episode {index} cannot be read ({_line(error)})",
                todo="copy the dataset's meta folder again; the other episodes are kept",
            ) from error

    def _stats(self, index: int) -> dict[str, dict[str, JsonValue]] | None:
        """The statistics of an episode by feature and name."""
        if index not in self._meta_at:
            return None
        _, path, row = self._meta_at[index]
        part = ParquetPart(self._meta_tables, path, row, row + 1)
        names = [name for name in part.schema.names if name.startswith("stats/")]
        stats: dict[str, dict[str, JsonValue]] = {}
        for batch in part.batches(names, 64):
            for name, value in batch.to_pylist()[0].items():
                feature, _, statistic = name.removeprefix("stats/").rpartition("/")
                stats.setdefault(feature, {})[statistic] = as_json(value)
        return stats or None

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Instructions by task index."""
        tasks = {}
        for row in self._dataset_table("tasks.parquet") or []:
            text = next((value for value in row.values() if isinstance(value, str)), None)
            if isinstance(row.get("task_index"), int) and text is not None:
                tasks[row["task_index"]] = text
        return tasks

    def _dataset_table(self, name: str) -> list[dict[str, Any]] | None:
        """The rows of a small table in ``meta/``; None where it is not there."""
        path = self.root / "meta" / name
        if not path.is_file():
            return None
        try:
            return list(pq.read_table(path).to_pylist())
        except UNREADABLE as error:
            detail = f"meta/{name} cannot be read ({_line(error)}); copy it again"
            self._losses.append(self.info.loss(LossKind.LOST, "meta-unreadable", 1, detail, path))
            return None

    def place(self, index: int) -> Place:
        """Where an episode is."""
        row, losses = self._row(index), []
        parts = tuple(self._rows[index])
        said = _whole(row, "data/chunk_index"), _whole(row, "data/file_index")
        if row and (said[0] is None or said[1] is None or not self._is_at(said, parts)):
            detail = (
                f"meta/episodes places its rows in chunk {said[0]}, file {said[1]}; they are "
                f"in {parts[0].path.relative_to(self.root)}"
            )
            losses.append(self.info.loss(LossKind.REPAIRED, "table-elsewhere", 1, detail))
        if not row:
            detail = f"meta/episodes says nothing of episode {index}; its rows are kept"
            losses.append(self.info.loss(LossKind.REPAIRED, "episode-undeclared", 1, detail))
        tasks = row.get("tasks")
        return Place(
            index=index,
            parts=parts,
            clips=tuple(self._clip(row, feature.name) for feature in self.info.videos),
            columns=self.info.columns,
            robot=self.info.robot,
            rate_hz=self.info.rate_hz,
            tasks=self.tasks,
            said_tasks=tuple(map(str, tasks)) if isinstance(tasks, list) else (),
            length=_whole(row, "length"),
            first_index=_whole(row, "dataset_from_index"),
            source="meta/episodes",
            statements=lambda: self.info.statements(
                episode=as_json(row) if row else None,
                stats=as_json(self._stats(index)),
                dataset=self._dataset() if index == self.episodes[0] else None,
            ),
            losses=tuple(losses),
        )

    def _is_at(self, said: tuple[Any, Any], parts: tuple[ParquetPart, ...]) -> bool:
        return any(self._file(self.info.data_path, *said) == part.path for part in parts)

    def _clip(self, row: dict[str, Any], key: str) -> Clip:
        feature = self.info.features[key]
        chunk = _whole(row, f"videos/{key}/chunk_index")
        file = _whole(row, f"videos/{key}/file_index")
        span = row.get(f"videos/{key}/from_timestamp"), row.get(f"videos/{key}/to_timestamp")
        times = [float(s) for s in span if isinstance(s, int | float) and math.isfinite(s)]
        if chunk is None or file is None or len(times) != 2 or not self.info.video_path:
            return Clip(feature=feature, path=None)
        path = self._file(self.info.video_path, chunk, file, key)
        # a picture belongs to a span that begins less than half a frame after it: sums of
        # durations and ticks of the file's time base differ in their last digits
        slack_s = 0.5 / (self.info.rate_hz or feature.rate_hz or 1000.0)
        return Clip(feature=feature, path=path, span=(times[0] - slack_s, times[1] - slack_s))

    def _dataset(self) -> dict[str, JsonValue]:
        tables = {"tasks": "tasks.parquet", "subtasks": "subtasks.parquet"}
        rows = {key: self._dataset_table(name) for key, name in tables.items()}
        return {key: as_json(value) for key, value in rows.items() if value is not None}

    def fingerprint(self, index: int) -> str:
        """Of the episode's rows, its pictures' packets, and what the metadata says of it.

        Not of the files: a dataset that is continued, or whose files are divided otherwise, holds
        the same episodes.
        """
        place = self.place(index)
        digest = hashlib.blake2b(digest_size=16)
        tasks = [pair for pair in sorted(place.tasks.items()) if pair[1] in place.said_tasks]
        said = [*self.info.identity, sorted(place.said_tasks), place.length, tasks]
        digest.update(json.dumps(said, sort_keys=True).encode())
        digest.update(hash_rows(place.parts).encode())
        for clip in place.clips:
            here = clip.path is not None and clip.path.is_file()
            digest.update(hash_video(clip.path, clip.span).encode() if clip.path and here else b"-")
        return digest.hexdigest()

    def losses(self) -> Iterator[Loss]:
        """Declared episodes and frames that are not here, and files that cannot be read."""
        declared = sorted(self._meta_at) or list(range(min(self.info.total_episodes, 1 << 20)))
        if missing := sorted(set(declared) - set(self.episodes)):
            yield self.info.loss(
                LossKind.LOST,
                "episodes-missing",
                len(missing),
                f"{len(declared) - len(missing)} of {len(declared)} declared episodes are here; "
                f"missing {ranges(missing)}",
            )
        if self._meta_at and len(self._meta_at) != self.info.total_episodes:
            yield self.info.loss(
                LossKind.REPAIRED,
                "episodes-differ",
                abs(len(self._meta_at) - self.info.total_episodes),
                f"info.json declares {self.info.total_episodes} episodes, meta/episodes "
                f"{len(self._meta_at)}; the latter is taken",
            )
        frames = sum(part.stop - part.start for parts in self._rows.values() for part in parts
                     if part.stop is not None)  # fmt: skip
        yield from self.info.frame_losses(frames)
        if not self.tasks and self.episodes and not self._losses:
            detail = "meta/tasks.parquet is not there, or names no task"
            yield self.info.loss(LossKind.LOST, "tasks-missing", None, detail)
        yield from self._losses
        yield from self.info.dataset_losses


def _runs(path: Path) -> Iterator[tuple[int, int, int]]:
    """Episode, first row and last row + 1 of each run of rows in a file."""
    if not path.stat().st_size:
        raise pa.ArrowInvalid("it holds no bytes")
    with pq.ParquetFile(path) as file:
        if "episode_index" not in file.schema_arrow.names:
            raise pa.ArrowInvalid("it has no column episode_index")
        indices = [
            batch.column(0).to_numpy(zero_copy_only=False)
            for batch in file.iter_batches(1 << 16, columns=["episode_index"])
        ]
    if not indices:
        return
    column = np.concatenate(indices)
    if column.dtype.kind not in "iu":
        raise pa.ArrowInvalid("its column episode_index holds no whole numbers")
    edges = np.flatnonzero(np.diff(column)) + 1
    starts = [0, *edges.tolist()]
    for start, stop in zip(starts, [*edges.tolist(), len(column)], strict=True):
        yield int(column[start]), start, stop


def _whole(row: dict[str, Any], key: str) -> int | None:
    """A whole number of the metadata; None where it holds another thing."""
    value = row.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _line(error: Exception) -> str:
    return f"{str(error).partition(chr(10))[0]:.200}"
