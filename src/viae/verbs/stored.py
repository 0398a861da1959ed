"""A store's episodes as if they were a log's, for verbs that read either."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from viae.logs import Item, LogEpisode, Statement
from viae.logs.format import EPISODE_KEYS
from viae.schema import Episode, Fact, Kind, Loss, LossKind, Samples
from viae.store import Store

BLOCK = 4096
LOSS_PREFIX = "loss."


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether there may be a store at an address: an object store, or a folder with its tables."""
    return "://" in os.fspath(path) or (Path(path) / "episodes.lance").is_dir()


@dataclass(slots=True)
class StoredEpisode(LogEpisode):
    """One episode of a store, read stream after stream, so that one stream is in memory at a time.

    Args:
        store: where it is.
        episode: which one.
        facts: all that is said about it.
    """

    store: Store
    episode: Episode
    facts: list[Fact]

    def __post_init__(self) -> None:
        self.uri = self.store.uri
        self.range = self.episode.episode_id

    def fingerprint(self) -> str:
        """The hash of the log that it comes from."""
        return self.episode.log_hash

    def read(self) -> Iterator[Item]:
        """Statements, the losses of its ingest, then its streams."""
        for key in sorted(EPISODE_KEYS):
            if (value := getattr(self.episode, key)) not in (None, "", {}):
                yield Statement(key=key, value=value)
        for fact in self.facts:
            if fact.key.startswith(LOSS_PREFIX) and isinstance(fact.value, dict):
                said = fact.value
                yield Loss(
                    kind=LossKind(str(said["kind"])), name=str(said["name"]),
                    path=str(said["path"]), stream=str(said["stream"]),
                    count=_whole(said["count"]), at_ns=_whole(said["at_ns"]),
                    detail=str(said["detail"]),
                )  # fmt: skip
        one = [self.episode.episode_id]
        for row in self.store.streams(one):
            name = row["stream"]
            if row["spec"].kind is Kind.VIDEO:
                for groups in self.store.video(one, [name]).values():
                    yield from groups
            else:
                for samples in self.store.samples(one, [name]).values():
                    yield from _blocks(samples)


def stored_episodes(store: Store) -> list[StoredEpisode]:
    """The episodes of a store, sorted by log and place in it."""
    facts: dict[str, list[Fact]] = {}
    for fact in store.facts():
        facts.setdefault(fact.episode_id, []).append(fact)
    episodes = sorted(store.episodes(), key=lambda e: (e.log_uri, e.log_range, e.episode_id))
    return [StoredEpisode(store, e, facts.get(e.episode_id, [])) for e in episodes]


def _blocks(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), BLOCK):
        end = start + BLOCK
        yield Samples(
            spec=samples.spec, capture_ns=samples.capture_ns[start:end],
            arrival_ns=samples.arrival_ns[start:end], seq=samples.seq[start:end],
            values=samples.values[start:end],
        )  # fmt: skip


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) else None
