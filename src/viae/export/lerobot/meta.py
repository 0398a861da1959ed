"""``meta/*``: info, tasks, episodes and their statistics, and what viae says of the export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from viae.export.lerobot.origin import Origin
from viae.export.lerobot.plan import BOOKKEEPING, Form, Plan, clock_words
from viae.export.lerobot.table import DATA, FILE, TableFiles
from viae.export.lerobot.videos import VIDEO
from viae.export.source import EpisodeSource
from viae.logs.lerobot.whole import Stats, numbered_texts, over_episodes
from viae.schema import Loss

VERSION = "v3.0"
EPISODES = f"meta/episodes/{FILE}.parquet"
RECORD = "viae_export.json"
EPISODES_AT_ONCE = 100


class EpisodeMeta:
    """``meta/episodes/*.parquet``: a row per episode, written a hundred at a time."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._files = TableFiles(
            folder, EPISODES, limit_mb=plan.data_mb, chunks_size=plan.chunks_size
        )
        self._rows: list[dict[str, Any]] = []
        self._schema: pa.Schema | None = None

    def append(self, row: Mapping[str, Any], stats: Mapping[str, Stats]) -> None:
        """Add an episode."""
        flat = {f"stats/{key}/{name}": v for key, one in stats.items() for name, v in one.items()}
        self._rows.append({**row, **flat})
        if len(self._rows) >= EPISODES_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._files.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        chunk, file = self._files.place_for(len(self._rows))
        place = {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        names = list(dict.fromkeys(name for row in self._rows for name in row)) + list(place)
        columns = {name: [{**row, **place}.get(name) for row in self._rows] for name in names}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        if self._schema is not None:
            missing = [field for field in self._schema if field.name not in table.column_names]
            for field in missing:
                table = table.append_column(field, pa.nulls(len(table), field.type))
            table = table.select(self._schema.names).cast(self._schema)
        self._schema = table.schema
        self._files.append(table)
        self._rows = []


class Tasks:
    """The instructions and their indices."""

    def __init__(self, origin: Origin | None) -> None:
        self.texts = list(origin.tasks) if origin else []
        self._index = {text: index for index, text in self.texts}

    def index(self, text: str) -> int:
        """The index of an instruction, a new one if it is new."""
        if text not in self._index:
            self._index[text] = max(self._index.values(), default=-1) + 1
            self.texts.append((self._index[text], text))
        return self._index[text]

    def named(self, index: int) -> str | None:
        """The instruction of an index."""
        return next((text for number, text in self.texts if number == index), None)


def text_index_table(rows: Sequence[tuple[int, str]], key: str) -> pa.Table:
    """A table that pandas reads as one column indexed by texts, as LeRobot stores tasks."""
    index = "__index_level_0__"
    said = {
        "index_columns": [index],
        "column_indexes": [
            {
                "name": None, "field_name": None, "pandas_type": "unicode",
                "numpy_type": "object", "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": key, "field_name": key, "pandas_type": "int64", "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": None, "field_name": index, "pandas_type": "unicode",
                "numpy_type": "object", "metadata": None,
            },
        ],
        "attributes": {}, "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }  # fmt: skip
    schema = pa.schema(
        [(key, pa.int64()), (index, pa.string())], metadata={"pandas": json.dumps(said)}
    )
    numbers, texts = [number for number, _ in rows], [text for _, text in rows]
    return pa.table([numbers, texts], schema=schema)


def write_meta(
    folder: Path,
    plan: Plan,
    episodes: Sequence[EpisodeSource],
    tasks: Tasks,
    *,
    frames: int,
    stats: Sequence[Mapping[str, Stats]],
    videos: Mapping[str, Mapping[str, Any]],
    losses: Sequence[Loss],
) -> None:
    """Everything in ``meta/`` but the episodes.

    Args:
        folder: the dataset.
        plan: what was written.
        episodes: in order.
        tasks: the instructions.
        frames: rows in all.
        stats: per episode.
        videos: per movie feature, what is said of its files.
        losses: what was given up or changed.
    """
    meta = folder / "meta"
    info = _info(plan, episodes, tasks, frames, videos)
    _write_json(meta / "info.json", info)
    kept = plan.origin if plan.origin and plan.origin.is_kept else None
    dataset = kept.dataset if kept else {}
    all_here = kept is not None and kept.info.get("total_episodes") == len(episodes)
    said = dataset.get("stats.json") if all_here else None
    whole = {key: said[key] for key in said if key in info["features"]} if said else None
    _write_json(meta / "stats.json", whole or over_episodes(stats))
    pq.write_table(text_index_table(tasks.texts, "task_index"), meta / "tasks.parquet")
    if plan.origin:
        subtasks = numbered_texts(plan.origin.dataset.get("subtasks"), "subtask_index")
        if subtasks:
            table = text_index_table(subtasks, "subtask_index")
            pq.write_table(table, meta / "subtasks.parquet")
        for name, value in plan.origin.dataset.items():
            _write_other(meta, name, value)
    _write_json(meta / RECORD, _record(plan, episodes, losses))


def _info(
    plan: Plan,
    episodes: Sequence[EpisodeSource],
    tasks: Tasks,
    frames: int,
    videos: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    said = dict(plan.origin.info) if plan.origin else {}
    features: dict[str, Any] = {}
    for column in plan.columns:
        entry = dict(column.declared)
        if column.form is Form.VIDEO and not (entry.get("info") or entry.get("video_info")):
            entry["info"] = dict(videos[column.key])
        features[column.key] = entry
    for name, dtype in BOOKKEEPING.items():
        declared = plan.origin.features.get(name) if plan.origin else None
        entry = dict(declared or {"dtype": dtype, "shape": [1], "names": None})
        if plan.origin and "v3" not in str(said.get("codebase_version")):
            entry["fps"] = plan.declared_fps  # as LeRobot's converter does
        features[name] = entry
    if plan.origin:  # in the order that they had
        order = [*plan.origin.features, *features]
        features = {name: features[name] for name in dict.fromkeys(order) if name in features}
    robots = {source.episode.robot for source in episodes}
    robot = robots.pop() or None if len(robots) == 1 else None
    total = len(episodes)
    made = {
        "codebase_version": VERSION,
        "robot_type": said.get("robot_type") if said else robot,
        "total_episodes": total, "total_frames": frames, "total_tasks": len(tasks.texts),
        "chunks_size": plan.chunks_size, "data_files_size_in_mb": plan.data_mb,
        "video_files_size_in_mb": plan.video_mb, "fps": plan.declared_fps,
        "splits": {"train": f"0:{total}"}, "data_path": DATA,
        "video_path": VIDEO if videos or said.get("video_path") else None, "features": features,
    }  # fmt: skip
    if plan.origin and plan.origin.is_kept and said.get("total_episodes") == total:
        made["splits"] = said.get("splits", made["splits"])
    gone = ("total_chunks", "total_videos")  # of version 2
    others = {k: v for k, v in said.items() if k not in made and k not in gone}
    order = [*said, *made]
    both = {**made, **others}
    return {name: both[name] for name in dict.fromkeys(order) if name in both}


def _record(
    plan: Plan, episodes: Sequence[EpisodeSource], losses: Sequence[Loss]
) -> dict[str, Any]:
    options = plan.options
    return {
        "clock": clock_words(plan),
        "late": str(options.late) if options.resamples else None,
        "rule": (
            "a row holds the latest known of each observation at its time, and the latest of each "
            "action and outcome before the next row" if options.resamples else "rows are samples"
        ),
        "streams": {column.key: column.spec.to_json() for column in plan.columns},
        "episodes": [
            {
                "episode_index": index, "episode_id": source.id,
                "log_uri": source.episode.log_uri, "log_range": source.episode.log_range,
                "agent": source.episode.agent, "outcome": source.episode.outcome,
                "conditions": dict(source.episode.conditions),
                "start_ns": source.episode.start_ns,
            }
            for index, source in enumerate(episodes)
        ],
        "losses": [loss.to_json() for loss in losses],
    }  # fmt: skip


def _write_other(meta: Path, name: str, value: object) -> None:
    """A file of others that was beside LeRobot's."""
    if name in (RECORD, "stats.json") or Path(name).name != name:
        return
    if name.endswith(".json"):
        _write_json(meta / name, value)
    elif name.endswith(".jsonl") and isinstance(value, list):
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in value]
        (meta / name).write_text("".join(lines), encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False), encoding="utf-8")
