"""What a LeRobot dataset says about itself: ``info.json``, ``tasks.jsonl``, ``episodes.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import DamagedLogError, LogError
from viae.schema import Role

VERSION = "v2.1"
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that say when and where a frame is; they become times, order and task, not streams."""

OUTCOMES = ("next.", "reward", "success", "done", "return")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of ``features``.

    Args:
        name: the column, or the video's key.
        dtype: ``"video"``, ``"image"``, ``"string"`` or a NumPy name.
        shape: shape of one frame's value.
        names: one per element of the flattened value, or empty.
        codec: the codec that a video is declared to have, or empty.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    codec: str

    @property
    def role(self) -> Role:
        """By LeRobot's naming convention."""
        if self.name.startswith("action"):
            return Role.ACTION
        return Role.OUTCOME if self.name.startswith(OUTCOMES) else Role.OBSERVATION

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Feature:
        """From its entry in ``info.json``."""
        shape = tuple(int(size) for size in fields["shape"])
        names = tuple(_flatten(fields.get("names")))
        fits = len(names) == int(np.prod(shape)) and fields["dtype"] not in ("video", "image")
        info = fields.get("info") or fields.get("video_info") or {}
        return cls(
            name=name,
            dtype=fields["dtype"],
            shape=shape,
            names=names if fits else (),
            codec=info.get("video.codec") or "",
        )


class Info:
    """The metadata of one dataset, read when asked for.

    Args:
        root: the dataset's folder.

    Raises:
        DamagedLogError: ``info.json`` is not JSON, or lacks what every version 2.1 has.
        LogError: another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "meta" / "info.json"
        try:
            fields = json.loads(self.path.read_bytes())
            version = fields["codebase_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error
        if version != VERSION:
            later = (
                "is not read yet (it comes with a later viae)" if version == "v3.0" else "is not"
            )
            raise LogError(
                root,
                found=f"a LeRobot dataset of version {version}, which {later}",
                expected=f"version {VERSION}",
                todo=f"convert the dataset to {VERSION} with LeRobot's own scripts",
            )
        try:
            self.robot: str = fields.get("robot_type") or ""
            self.total_episodes = int(fields["total_episodes"])
            self.total_frames = int(fields["total_frames"])
            self.features = {
                name: Feature.from_json(name, feature)
                for name, feature in fields["features"].items()
            }
            self._data_path: str = fields["data_path"]
            self._video_path: str = fields.get("video_path") or ""
            self._chunks_size = int(fields["chunks_size"])
            self.table(0), self.video(0, "")  # the templates have no other fields
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._damaged(error) from error

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

    @property
    def columns(self) -> list[Feature]:
        """Features in the table that become streams."""
        return [
            feature
            for feature in self.features.values()
            if feature.dtype != "video" and feature.name not in BOOKKEEPING
        ]

    @property
    def videos(self) -> list[Feature]:
        """Features in files of their own."""
        return [feature for feature in self.features.values() if feature.dtype == "video"]

    def table(self, episode: int) -> Path:
        """The Parquet file of an episode."""
        return self.root / self._fill(self._data_path, episode)

    def video(self, episode: int, key: str) -> Path:
        """The video file of an episode and camera."""
        return self.root / self._fill(self._video_path, episode, video_key=key)

    def _fill(self, template: str, episode: int, **fields: str) -> str:
        chunk = episode // self._chunks_size
        return template.format(episode_chunk=chunk, episode_index=episode, **fields)

    def _lines(self, name: str, **types: type) -> Iterator[dict[str, Any]]:
        """The lines of a JSONL file, none where it is not there; each has the fields given."""
        path = self.path.with_name(name)
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

    def _damaged(self, error: Exception) -> DamagedLogError:
        return DamagedLogError(
            self.path,
            found=f"it does not describe a dataset ({type(error).__name__}: {error})",
            expected=f"the info.json of a LeRobot {VERSION} dataset",
            todo="copy the dataset's meta folder again",
        )


def _flatten(names: Any) -> Iterator[str]:
    """Names come as a list, a list in a list, or lists in a dict."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, Mapping):
        for inner in names.values():
            yield from _flatten(inner)
    elif names is not None:
        for inner in names:
            yield from _flatten(inner)
