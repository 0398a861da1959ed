"""One episode of a store, read a stream at a time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from viae.errors import UsageError
from viae.load.clocks import CLOCK_KEY, read_clocks
from viae.schema import (
    Episode,
    Fact,
    JsonValue,
    Kind,
    Loss,
    LossKind,
    Samples,
    StreamSpec,
    TimesNs,
    VideoGroup,
)
from viae.sequence.clock import Clock
from viae.store import Store, query


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stamps:
    """The times of a stream, in recorded order.

    Args:
        capture_ns: int64 [N].
        arrival_ns: int64 [N].
        seq: int64 [N].
    """

    capture_ns: TimesNs
    arrival_ns: TimesNs
    seq: TimesNs

    def __len__(self) -> int:
        return len(self.arrival_ns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeSource:
    """An episode that is to be exported.

    Args:
        store: where it is; pinned to a snapshot, so that every read sees the same.
        episode: its row.
        specs: its streams by name.
        counts: samples per stream.
        facts: what is said about it, newest per key.
        clocks: by stream, what puts its captures on the log's clock, as the newest fact says;
            streams without are stamped by it.
    """

    store: Store
    episode: Episode
    specs: Mapping[str, StreamSpec]
    counts: Mapping[str, int]
    facts: Sequence[Fact]
    clocks: Mapping[str, Clock] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The episode's id."""
        return self.episode.episode_id

    @property
    def where(self) -> str:
        """The episode, for people: its log and its place in it."""
        return f"{self.episode.log_uri} {self.episode.log_range}".strip()

    def fact(self, key: str) -> JsonValue:
        """What is said under a key of the whole episode; None where nothing is."""
        for fact in self.facts:
            if fact.key == key and fact.start_ns is None and fact.other_episode_id is None:
                return fact.value
        return None

    def samples(self, stream: str) -> Samples:
        """All samples of a stream that is not video, stamped as recorded."""
        [samples] = self.store.samples([self.id], [stream]).values()
        return samples

    def groups(self, stream: str) -> list[VideoGroup]:
        """All groups of pictures of a video stream, stamped as recorded."""
        [groups] = self.store.video([self.id], [stream]).values()
        return groups

    def on_log_clock(self, stream: str, stamps: Stamps) -> Stamps:
        """The times of a stream with captures by the log's clock, where a fact corrects them."""
        if (clock := self.clocks.get(stream)) is None:
            return stamps
        return replace(stamps, capture_ns=clock.apply(stamps.capture_ns, stamps.arrival_ns))

    def corrected(self) -> list[Loss]:
        """What a target that holds captures by the log's clock has to say about that."""
        return [
            Loss(
                kind=LossKind.REPAIRED, name="clock-corrected", path=self.where, stream=name,
                count=self.counts[name],
                detail=f"captures are put on the log's clock, as the fact {CLOCK_KEY}{name} says",
            )
            for name in self.specs if name in self.clocks
        ]  # fmt: skip

    def stamps(self) -> dict[str, Stamps]:
        """The times of every stream, captures by the log's clock; values are not read."""
        parts = " UNION ALL ".join(
            f"SELECT stream, position, capture_ns, arrival_ns, seq FROM {table} "
            f"WHERE episode_id = '{self.id}'"
            for table in ("chunks", "video")
        )
        found = query(self.store, f"SELECT * FROM ({parts}) ORDER BY stream, position")
        columns = {
            name: [row.values.to_numpy() for row in found[name]]
            for name in ("capture_ns", "arrival_ns", "seq")
        }
        runs: dict[str, list[int]] = {}
        for number, stream in enumerate(found["stream"].to_pylist()):
            runs.setdefault(stream, []).append(number)
        recorded = {
            stream: Stamps(
                **{
                    name: np.concatenate([values[i] for i in numbers]).astype(np.int64)
                    for name, values in columns.items()
                }
            )
            for stream, numbers in runs.items()
        }
        return {stream: self.on_log_clock(stream, own) for stream, own in recorded.items()}


def episode_sources(
    store: Store, episodes: Iterable[Episode], *, streams: Collection[str] = ()
) -> list[EpisodeSource]:
    """Episodes ready to be exported, in the order of their logs.

    Args:
        store: where they are.
        episodes: which.
        streams: only these streams; all where empty.

    Raises:
        UsageError: no episode, or a stream that none of them has.
    """
    ordered = sorted(episodes, key=lambda e: (e.log_uri, natural(e.log_range), e.start_ns))
    if not ordered:
        raise UsageError(f"{store.uri}: there is no such episode. List them with  viae ls")
    ids = [episode.episode_id for episode in ordered]
    rows: dict[str, list[dict[str, Any]]] = {episode: [] for episode in ids}
    for row in store.streams(ids):
        if not streams or row["stream"] in streams:
            rows[row["episode_id"]].append(row)
    known = {row["stream"] for each in rows.values() for row in each}
    if unknown := sorted(set(streams) - known):
        raise UsageError(
            f"no episode asked for has the streams {unknown}; there is {sorted(known)}"
        )
    clocks: dict[str, dict[str, Clock]] = {episode: {} for episode in ids}
    for (episode, stream), clock in read_clocks(store, ids).items():
        clocks[episode][stream] = clock
    facts: dict[str, list[Fact]] = {episode: [] for episode in ids}
    for fact in store.facts():
        if fact.episode_id in facts:
            facts[fact.episode_id].append(fact)
    return [
        EpisodeSource(
            store=store,
            episode=episode,
            specs={row["stream"]: row["spec"] for row in rows[episode.episode_id]},
            counts={row["stream"]: row["samples"] for row in rows[episode.episode_id]},
            facts=facts[episode.episode_id],
            clocks=clocks[episode.episode_id],
        )
        for episode in ordered
    ]


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A sorting key by which ``"2"`` comes before ``"10"``."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)
    )


def stamps_of(samples: Samples) -> Stamps:
    """The times of samples, as recorded."""
    return Stamps(capture_ns=samples.capture_ns, arrival_ns=samples.arrival_ns, seq=samples.seq)


def join_stamps(blocks: Sequence[VideoGroup]) -> Stamps:
    """The times of groups of pictures, one after another, as recorded."""
    if not blocks:
        none = np.empty(0, np.int64)
        return Stamps(capture_ns=none, arrival_ns=none, seq=none)
    return Stamps(
        capture_ns=np.concatenate([block.capture_ns for block in blocks]),
        arrival_ns=np.concatenate([block.arrival_ns for block in blocks]),
        seq=np.concatenate([block.seq for block in blocks]),
    )


def is_picture(spec: StreamSpec) -> bool:
    """Whether samples of the stream can be looked at."""
    return spec.kind in (Kind.IMAGE, Kind.VIDEO)
