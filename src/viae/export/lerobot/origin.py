"""What a dataset said of itself, where episodes came from one: facts under ``lerobot.``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viae.export.source import EpisodeSource
from viae.logs.lerobot.whole import numbered_texts

FORMATS = frozenset({"lerobot"})
"""Formats whose episodes carry these facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The dataset that all episodes came from.

    Args:
        info: its ``info.json``.
        dataset: what is of it as a whole: ``tasks``, ``subtasks``, ``stats.json``, other files.
        tables: per episode what its table was like.
    """

    info: Mapping[str, Any]
    dataset: Mapping[str, Any]
    tables: Sequence[Mapping[str, Any]]

    @property
    def features(self) -> Mapping[str, Any]:
        """Declared features."""
        found = self.info.get("features")
        return found if isinstance(found, dict) else {}

    @property
    def tasks(self) -> list[tuple[int, str]]:
        """Index and instruction of every task, in the order of the file."""
        return numbered_texts(self.dataset.get("tasks"), "task_index")

    @property
    def is_kept(self) -> bool:
        """Whether the episodes have the places that they had: all of them, in order."""
        places = [table.get("episode_index") for table in self.tables]
        return places == list(range(len(places)))


def origin_of(episodes: Sequence[EpisodeSource]) -> Origin | None:
    """The one dataset that the episodes come from; None where they come from several or none."""
    infos = [source.fact("lerobot.info") for source in episodes]
    first = infos[0]
    if not isinstance(first, dict) or any(info != first for info in infos):
        return None
    if {source.episode.log_format for source in episodes} - FORMATS:
        return None
    if len({source.episode.log_uri for source in episodes}) > 1:
        return None
    tables = [source.fact("lerobot.table") for source in episodes]
    return Origin(
        info=first,
        dataset=_dataset_fact(episodes),
        tables=[table if isinstance(table, dict) else {} for table in tables],
    )


def _dataset_fact(episodes: Sequence[EpisodeSource]) -> Mapping[str, Any]:
    """What was said with the dataset's first episode, whether or not that one is exported."""
    store, uri = episodes[0].store, episodes[0].episode.log_uri
    homes = {e.episode_id for e in store.episodes() if e.log_uri == uri}
    for fact in store.facts(key="lerobot.dataset"):
        if fact.episode_id in homes and isinstance(fact.value, dict):
            return fact.value
    return {}
