"""Versions 2.0 and 2.1: a Parquet file for each episode, and a video for each camera of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from viae.errors import DamagedLogError
from viae.logs.format import fingerprint_files
from viae.logs.lerobot.info import Info
from viae.logs.lerobot.place import Clip, Layout, Place, as_json, ranges
from viae.logs.lerobot.rows import UNREADABLE, ParquetPart, Tables
from viae.schema import JsonValue, Loss, LossKind


class EpisodeFiles(Layout):
    """A dataset with files for each episode.

    Args:
        info: the dataset's metadata.

    Raises:
        DamagedLogError: the metadata cannot be read.
    """

    def __init__(self, info: Info) -> None:
        self.info, self.root = info, info.root
        try:
            self._chunks_size = int(info.json["chunks_size"])
            self.table(0), self.video(0, "")  # the templates have no other fields
        except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError) as error:
            raise info.damaged(error) from error
        self._tables = Tables()
        self.said = sorted({*range(min(info.total_episodes, MAX_EPISODES)), *self.declared})
        self.episodes = [index for index in self.said if self.table(index).is_file()]

    def table(self, episode: int) -> Path:
        """The Parquet file of an episode."""
        return self.root / self._fill(self.info.data_path, episode)

    def video(self, episode: int, key: str) -> Path:
        """The video file of an episode and camera."""
        return self.root / self._fill(self.info.video_path, episode, video_key=key)

    def _fill(self, template: str, episode: int, **fields: str) -> str:
        chunk = episode // self._chunks_size
        return template.format(episode_chunk=chunk, episode_index=episode, **fields)

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Instructions by task index."""
        lines = self._lines("tasks.jsonl", task_index=int, task=str)
        return {line["task_index"]: line["task"] for line in lines}

    @cached_property
    def declared(self) -> dict[int, dict[str, Any]]:
        """The lines of ``episodes.jsonl``, by episode index."""
        lines = self._lines("episodes.jsonl", episode_index=int, tasks=list, length=int)
        return {line["episode_index"]: line for line in lines}

    @cached_property
    def _firsts(self) -> dict[int, int]:
        """Place in the dataset of each episode's first frame, as far as all before are declared."""
        firsts, total = {}, 0
        for index in range(len(self.declared)):
            firsts[index] = total
            if index not in self.declared:
                break
            total += self.declared[index]["length"]
        return firsts

    @cached_property
    def _stats_at(self) -> dict[int, tuple[int, int]]:
        """Where each episode's line of ``episodes_stats.jsonl`` is: offset and size, bytes."""
        path = self.root / "meta" / "episodes_stats.jsonl"
        found, offset = {}, 0
        if path.is_file():
            with path.open("rb") as file:
                for line in file:
                    if stats := _stats_line(line):
                        found[stats[0]] = offset, len(line)
                    offset += len(line)
        return found

    def _stats(self, index: int) -> JsonValue:
        if index not in self._stats_at:
            return None
        offset, size = self._stats_at[index]
        with (self.root / "meta" / "episodes_stats.jsonl").open("rb") as file:
            file.seek(offset)
            stats = _stats_line(file.read(size))
        return as_json(stats[1]) if stats else None

    def place(self, index: int) -> Place:
        """Where an episode is."""
        line = self.declared.get(index, {})
        first = index == self.episodes[0] if self.episodes else False
        losses = []
        if self._stats_at and index not in self._stats_at:
            detail = f"episodes_stats.jsonl has no whole line for episode {index}"
            losses.append(self.info.loss(LossKind.LOST, "stats-missing", 1, detail))
        tasks: JsonValue = [{"task_index": i, "task": task} for i, task in self.tasks.items()]
        return Place(
            index=index,
            parts=(ParquetPart(self._tables, self.table(index)),),
            clips=tuple(
                Clip(feature=feature, path=self.video(index, feature.name))
                for feature in self.info.videos
            ),
            columns=self.info.columns,
            robot=self.info.robot,
            rate_hz=self.info.rate_hz,
            tasks=self.tasks,
            said_tasks=tuple(map(str, line.get("tasks", ()))),
            length=line.get("length"),
            first_index=self._firsts.get(index),
            source="episodes.jsonl",
            statements=lambda: self.info.statements(
                episode=as_json(line) if line else None,
                stats=self._stats(index),
                dataset={"tasks": tasks} if first else None,
            ),
            losses=tuple(losses),
        )

    def fingerprint(self, index: int) -> str:
        """Of the table, the videos that are there, and what the metadata says of the episode."""
        videos = [self.video(index, feature.name) for feature in self.info.videos]
        here = [video for video in videos if video.is_file()]
        robot, features = self.info.identity
        said = [
            robot, sorted(self.tasks.items()), self.declared.get(index), features,
            [video.is_file() for video in videos],
        ]  # fmt: skip
        return fingerprint_files(
            [self.table(index), *here], salt=json.dumps(said, sort_keys=True).encode()
        )

    def losses(self) -> Iterator[Loss]:
        """Declared episodes and frames that are not here, and tables that nobody declares."""
        if missing := sorted(set(self.said) - set(self.episodes)):
            yield self.info.loss(
                LossKind.LOST,
                "episodes-missing",
                len(missing),
                f"{len(self.episodes)} of {len(self.said)} declared episodes are here; "
                f"missing {ranges(missing)}",
            )
        yield from self.info.frame_losses(sum(_rows(self.table(i)) for i in self.episodes))
        expected = {self.table(index) for index in self.episodes}
        if extra := sorted(set(self.root.glob("data/**/*.parquet")) - expected):
            yield self.info.loss(
                LossKind.SKIPPED,
                "table-undeclared",
                len(extra),
                f"no declared episode has these tables, the first {extra[0].name}; not read",
            )
        yield from self.info.dataset_losses

    def _lines(self, name: str, **types: type) -> Iterator[dict[str, Any]]:
        """The lines of a JSONL file, none where it is not there; each has the fields given."""
        path = self.info.path.with_name(name)
        for number, text in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
            try:
                line = json.loads(text)
                for key, type_ in types.items():
                    if not isinstance(line[key], type_):
                        raise TypeError(f"{key} is {line[key]!r:.40}")
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedLogError(
                    path,
                    found=f"line {number} cannot be read ({type(error).__name__}: {error})",
                    expected=f"JSON with {', '.join(types)}",
                    todo="repair that line, or copy the dataset's meta folder again",
                ) from error
            yield line


MAX_EPISODES = 10_000_000
"""More are not believed: a number of episodes that is damaged must not fill the memory."""


def _stats_line(text: bytes) -> tuple[int, Any] | None:
    """Episode index and statistics of a line; None where it is not whole."""
    try:
        line = json.loads(text)
        return int(line["episode_index"]), line["stats"]
    except (ValueError, KeyError, TypeError):
        return None


def _rows(table: Path) -> int:
    """Rows by the file's footer; 0 where there is none to read, which the episode then says."""
    try:
        return int(pq.read_metadata(table).num_rows)
    except UNREADABLE:
        return 0
