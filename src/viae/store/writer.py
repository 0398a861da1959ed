"""Writing episodes: rows of many episodes travel together, the episodes' own rows last."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from viae.errors import SchemaError
from viae.schema import NS_PER_S, Block, Episode, Fact, StreamSpec, VideoGroup
from viae.schema.tables import EPISODES, STREAMS
from viae.store.rows import chunk_row, video_row
from viae.store.store import Store, facts_table

CHILDREN = ("chunks", "video", "streams", "facts")


@dataclass(slots=True)
class _StreamTally:
    """What is known of a stream while its blocks go by."""

    spec: StreamSpec
    blocks: int = 0
    samples: int = 0
    first_ns: int = 2**63 - 1
    last_ns: int = -(2**63)

    def add(self, block: Block) -> None:
        if block.spec != self.spec:
            raise SchemaError(
                f"stream '{self.spec.name}' changes from {self.spec.to_json()} to "
                f"{block.spec.to_json()} within an episode"
            )
        self.blocks += 1
        self.samples += len(block)
        self.first_ns = min(self.first_ns, int(block.arrival_ns.min()))
        self.last_ns = max(self.last_ns, int(block.arrival_ns.max()))

    @property
    def rate_hz(self) -> float | None:
        span_s = (self.last_ns - self.first_ns) / NS_PER_S
        return (self.samples - 1) / span_s if span_s > 0 else None


@dataclass(slots=True)
class EpisodeDraft:
    """An episode being written: add its blocks, then finish it or abandon it."""

    writer: StoreWriter
    episode_id: str
    write_id: str
    tallies: dict[str, _StreamTally] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Samples added so far, over all streams."""
        return sum(tally.samples for tally in self.tallies.values())

    def add(self, block: Block) -> None:
        """Add a block. Its rows may reach the disk at once, but stay invisible until the commit."""
        if not len(block):
            return
        tally = self.tallies.setdefault(block.spec.name, _StreamTally(block.spec))
        position = tally.blocks
        tally.add(block)
        if isinstance(block, VideoGroup):
            row, table = video_row, "video"
            rows = row(block, episode_id=self.episode_id, write_id=self.write_id, position=position)
        else:
            table = "chunks"
            rows = chunk_row(
                block, episode_id=self.episode_id, write_id=self.write_id, position=position
            )
        self.writer.put(table, rows)

    def span_ns(self) -> tuple[int, int]:
        """First and last arrival over all streams; (0, 0) without samples."""
        if not self.tallies:
            return 0, 0
        tallies = self.tallies.values()
        return min(t.first_ns for t in tallies), max(t.last_ns for t in tallies)

    def finish(self, episode: Episode, facts: Sequence[Fact] = ()) -> None:
        """Everything is there: the episode becomes visible with the writer's next commit."""
        rows = [
            {
                "episode_id": self.episode_id, "write_id": self.write_id, "stream": name,
                "topic": tally.spec.topic, "kind": str(tally.spec.kind),
                "role": str(tally.spec.role), "spec": json.dumps(tally.spec.to_json()),
                "samples": tally.samples, "first_arrival_ns": tally.first_ns,
                "last_arrival_ns": tally.last_ns, "rate_hz": tally.rate_hz,
            }
            for name, tally in sorted(self.tallies.items())
        ]  # fmt: skip
        self.writer.put("streams", pa.Table.from_pylist(rows, schema=STREAMS))
        self.writer.put("facts", facts_table(facts, write_id=self.write_id))
        self.writer.put("episodes", episode_row(episode, self.write_id, self.writer.now_ns()))
        self.writer.finished += 1
        if self.writer.finished >= self.writer.episodes_per_commit:
            self.writer.commit()


class StoreWriter:
    """Collects rows and commits them so that an episode is seen whole or not at all.

    Rows go to the disk when they exceed ``bytes_per_commit`` or when enough episodes are finished,
    and every episode that is finished by then becomes visible, so that a kill costs little; rows of
    an unfinished one stay invisible, because no row of ``episodes`` names them. One thread writes
    while the next rows are read, so at most twice ``bytes_per_commit`` is held.

    Args:
        store: where to write.
        now_ns: the clock, for ``ingested_ns``.
        bytes_per_commit: memory bound of the rows held back.
        episodes_per_commit: how many finished episodes are committed together.
    """

    def __init__(
        self,
        store: Store,
        *,
        now_ns: Callable[[], int],
        bytes_per_commit: int = 32 << 20,
        episodes_per_commit: int = 64,
    ) -> None:
        self.store = store
        self.now_ns = now_ns
        self.episodes_per_commit = episodes_per_commit
        self.finished = 0
        self._bytes_per_commit = bytes_per_commit
        self._pending: dict[str, list[pa.Table]] = {}
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="viae-store")
        self._writing: Future[None] | None = None

    def begin(self, episode_id: str) -> EpisodeDraft:
        """Start an episode."""
        return EpisodeDraft(self, episode_id, secrets.token_hex(8))

    def put(self, table: str, rows: pa.Table) -> None:
        """Hold rows for the next commit."""
        if rows.num_rows:
            self._pending.setdefault(table, []).append(rows)
            self._bytes += rows.nbytes
            if self._bytes > self._bytes_per_commit and table in ("chunks", "video"):
                if self.finished:
                    self.commit()
                else:
                    self._flush_children()

    def commit(self) -> int:
        """Make every finished episode visible; how many were new to the store."""
        self._flush_children()
        self._wait()
        episodes = self._pending.pop("episodes", [])
        self.finished = 0
        return self.store.commit_episodes(pa.concat_tables(episodes)) if episodes else 0

    def _flush_children(self) -> None:
        """Write what is held, while the next rows are being read."""
        self._wait()
        rows = {name: pending for name in CHILDREN if (pending := self._pending.pop(name, None))}
        self._bytes = 0
        if rows:
            self._writing = self._thread.submit(self._append, rows)

    def _append(self, rows: dict[str, list[pa.Table]]) -> None:
        for name, tables in rows.items():
            self.store.append(name, pa.concat_tables(tables))

    def _wait(self) -> None:
        """Until everything given to the thread is on the disk; raises what went wrong there."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()


def episode_row(episode: Episode, write_id: str, ingested_ns: int) -> pa.Table:
    """The row that makes an episode visible."""
    row = {name: getattr(episode, name) for name in Episode.__dataclass_fields__}
    row |= {
        "conditions": json.dumps(dict(episode.conditions), sort_keys=True),
        "write_id": write_id,
        "ingested_ns": ingested_ns,
    }
    return pa.Table.from_pylist([row], schema=EPISODES)
