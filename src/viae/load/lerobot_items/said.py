"""What a store knows of a LeRobot dataset that was ingested: the facts under ``lerobot.``."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import UsageError
from viae.logs.lerobot.columns import BOOKKEEPING
from viae.logs.lerobot.whole import Stats, numbered_texts, over_episodes, vector_stats
from viae.schema import Episode
from viae.store import Store

VERSION = "v3.0"
FORMAT = "lerobot"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
SIZES = {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200}
"""What LeRobot's own conversion from version 2 writes into ``info.json``."""

DTYPES = {"timestamp": "float32"}
"""Of bookkeeping columns that are not declared; the others are int64."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One dataset in a store, seen as LeRobot sees version 3.0.

    Args:
        store: at a snapshot.
        uri: where it was ingested from.
        episodes: in the order of their indices.
        tables: per episode the fact ``lerobot.table``.
        rows: per episode the fact ``lerobot.episode``, or nothing.
        told_info: ``info.json`` as it was.
        dataset: the fact ``lerobot.dataset``.
    """

    store: Store
    uri: str
    episodes: Sequence[Episode]
    tables: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    told_info: Mapping[str, Any]
    dataset: Mapping[str, Any]

    @property
    def ids(self) -> list[str]:
        """Of the episodes."""
        return [episode.episode_id for episode in self.episodes]

    @cached_property
    def clock(self) -> str:
        """A feature that has one sample a row; movies may lack pictures.

        Raises:
            UsageError: the store lacks a feature.
        """
        streams = {row["stream"] for row in self.store.streams(self.ids)}
        plain = [name for name in self.features if name not in BOOKKEEPING]
        if missing := [name for name in plain if name not in streams]:
            raise UsageError(
                f"{self.uri}: info.json declares {missing}, of which the store has nothing, and "
                "LeRobot would not open the dataset either. Leave it out with  viae export OUT "
                "--to lerobot,  ingest OUT and load that"
            )
        if not plain:
            raise UsageError(f"{self.uri}: the dataset has no feature")
        return min(plain, key=lambda name: self.features[name]["dtype"] == "video")

    @cached_property
    def lengths(self) -> list[int]:
        """Rows of each episode."""
        rows = self.store.streams(self.ids)
        counts = {row["episode_id"]: row["samples"] for row in rows if row["stream"] == self.clock}
        return [int(counts.get(id_, 0)) for id_ in self.ids]

    @property
    def is_kept(self) -> bool:
        """Whether the episodes have the indices that they had: all of them, from 0."""
        indices = [table.get("episode_index") for table in self.tables]
        return indices == list(range(len(indices)))

    @property
    def is_version_3(self) -> bool:
        """Whether it was of version 3 when it was ingested."""
        return str(self.told_info["codebase_version"]).startswith("v3")

    @cached_property
    def info(self) -> dict[str, Any]:
        """``info.json``; that of version 2 as LeRobot's own conversion writes it."""
        info: dict[str, Any] = copy.deepcopy(dict(self.told_info))
        if not self.is_version_3:
            for gone in ("total_chunks", "total_videos"):
                info.pop(gone, None)
            info |= {"codebase_version": VERSION, **SIZES, "data_path": DATA_PATH}
            info["video_path"] = VIDEO_PATH if info.get("video_path") is not None else None
            info["fps"] = int(info["fps"])
            for feature in info["features"].values():
                if feature["dtype"] != "video":
                    feature["fps"] = info["fps"]
        for name in BOOKKEEPING:
            entry = {"dtype": DTYPES.get(name, "int64"), "shape": (1,), "names": None}
            info["features"].setdefault(name, entry)
        for feature in info["features"].values():
            feature["shape"] = tuple(feature["shape"])
        info["total_episodes"] = len(self.episodes)
        if not self.is_kept:
            info["splits"] = {"train": f"0:{len(self.episodes)}"}
        return info

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Declared features by name, shapes as tuples."""
        features: dict[str, dict[str, Any]] = self.info["features"]
        return features

    @property
    def tasks(self) -> list[tuple[int, str]]:
        """Index and instruction of every task, in the order of the file."""
        return numbered_texts(self.dataset.get("tasks"), "task_index")

    @property
    def subtasks(self) -> list[tuple[int, str]] | None:
        """Likewise of the subtasks, where there are any."""
        return numbered_texts(self.dataset.get("subtasks"), "subtask_index") or None

    def stats(self) -> dict[str, Any]:
        """Statistics of the dataset: as stored where it is whole, else from those of its episodes.

        Raises:
            UsageError: it stores none.
        """
        said = self.dataset.get("stats.json")
        whole = self.is_kept and self.told_info.get("total_episodes") == len(self.episodes)
        if whole and isinstance(said, dict):
            return said
        by_id = {fact.episode_id: fact.value for fact in self.store.facts(key="lerobot.stats")}
        each: list[Any] = [by_id.get(episode.episode_id) for episode in self.episodes]
        if not all(isinstance(stats, dict) for stats in each):
            raise UsageError(
                f"{self.uri}: the dataset does not store statistics of every episode. Write them "
                "with  viae export OUT --to lerobot,  ingest OUT and load that"
            )
        return over_episodes(each if self.is_kept else list(self._renumbered(each)))

    def _renumbered(self, each: Sequence[Mapping[str, Stats]]) -> Iterator[Mapping[str, Stats]]:
        """Statistics of episodes whose indices are new."""
        start = 0
        for number, (stats, length) in enumerate(zip(each, self.lengths, strict=True)):
            counted = np.arange(start, start + length)
            columns = {"episode_index": np.full(length, number), "index": counted}
            start += length
            fresh = {name: vector_stats(c) for name, c in columns.items() if name in stats}
            yield {**stats, **fresh}


def read_said(store: Store, dataset: str | None) -> Said:
    """The one LeRobot dataset of a store, or the one that is named.

    Args:
        store: at a snapshot.
        dataset: where it was ingested from, or the last parts of that path; None for the only one.

    Raises:
        UsageError: none, or several, fit; or an episode is there twice.
    """
    infos = {fact.episode_id: fact for fact in store.facts(key="lerobot.info")}
    found: dict[str, list[Episode]] = {}
    for episode in store.episodes():
        if episode.log_format == FORMAT and episode.episode_id in infos:
            found.setdefault(episode.log_uri, []).append(episode)
    if not found:
        raise UsageError(
            f"{store.uri}: no episode came from a LeRobot dataset, so it has no rows as LeRobot "
            "counts them. Make a dataset of it with  viae export OUT --to lerobot,  ingest OUT "
            "into a store and load that; or train on windows, see viae.Windows"
        )
    uri = _chosen(store, sorted(found), dataset)
    tables = _by_episode(store, "lerobot.table")
    rows = _by_episode(store, "lerobot.episode")

    def index(episode: Episode) -> int:
        return int(tables[episode.episode_id]["episode_index"])

    episodes = sorted(found[uri], key=index)
    for first, second in itertools.pairwise(episodes):
        if index(first) == index(second):
            raise UsageError(
                f"{uri}: the store has episode {index(first)} twice, as {first.episode_id} and "
                f"{second.episode_id}: the dataset was changed, or its pictures coded otherwise, "
                "and ingested again. Ingest it into a new store"
            )
    ids = {episode.episode_id for episode in episodes}
    newest = max((infos[id_] for id_ in ids), key=lambda fact: fact.time_ns)
    info: Any = newest.value
    for id_ in ids:
        other: Any = infos[id_].value
        for name in ("fps", "features", "codebase_version"):
            if other.get(name) != info.get(name):
                raise UsageError(
                    f"{uri}: '{name}' of info.json changed between two ingests; ingest the "
                    "dataset into a new store"
                )
    facts = [f for f in store.facts(key="lerobot.dataset") if f.episode_id in ids]
    whole: Any = max(facts, key=lambda fact: fact.time_ns).value if facts else {}
    return Said(
        store=store,
        uri=uri,
        episodes=episodes,
        tables=[tables[episode.episode_id] for episode in episodes],
        rows=[rows.get(episode.episode_id, {}) for episode in episodes],
        told_info=info,
        dataset=whole,
    )


def _by_episode(store: Store, key: str) -> dict[str, Any]:
    return {
        fact.episode_id: fact.value
        for fact in store.facts(key=key)
        if isinstance(fact.value, dict) and fact.start_ns is None
    }


def _chosen(store: Store, uris: Sequence[str], dataset: str | None) -> str:
    if dataset is None:
        fitting = list(uris)
    else:
        wanted = Path(dataset).parts
        fitting = [uri for uri in uris if Path(uri).parts[-len(wanted) :] == wanted]
    if len(fitting) != 1:
        what = "the dataset" if dataset is None else f"'{dataset}'"
        raise UsageError(
            f"{store.uri}: {what} could be {len(fitting)} of the LeRobot datasets here; name one "
            f"(dataset=…, or --dataset.repo_id=…): {', '.join(uris)}"
        )
    return fitting[0]
