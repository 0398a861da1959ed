"""A store: Lance tables under one address, readable at any snapshot."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from viae.errors import (
    NoSuchEpisodeError,
    StoreError,
    StoreFullError,
    StoreNotFoundError,
    StoreVersionError,
)
from viae.schema import Episode, Fact, JsonValue, Kind, Samples, StreamSpec, VideoGroup
from viae.schema.tables import COMPATIBILITY, COMPATIBILITY_KEY, TABLES, VECTORS_PREFIX
from viae.store.rows import groups_from_rows, samples_from_rows
from viae.store.snapshot import Snapshot

if TYPE_CHECKING:
    import lance

LARGE_FILE_BYTES = 4 << 20
"""A file of this size is worth opening by itself."""

SCAN_ROWS = 256
"""Rows read at a time by `Store.scan`: a row of ``chunks`` or ``video`` can be a megabyte."""

ENDPOINTS = ("aws_endpoint", "aws_endpoint_url", "endpoint", "endpoint_url")
ALLOW_HTTP = {"allow_http", "aws_allow_http"}

LANCE_FILES: Literal["2.1"] = "2.1"
"""The file format of new stores. Later ones write our lists of floats more slowly, no smaller."""


class Store:
    """A handle on a store, at its newest state or at a snapshot.

    Open one with `Store.open` or `Store.create`; `at` gives a read-only view of a snapshot.

    Args:
        uri: a folder, or an object-store address that Lance understands (``s3://…``).
        snapshot: read this state; None reads the newest at every call.
        storage_options: passed to Lance (credentials, endpoint); for what is not said here, the
            environment counts: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``,
            ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``.
    """

    def __init__(
        self,
        uri: str,
        *,
        snapshot: Snapshot | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.uri = uri
        self.pinned = snapshot
        self._options = _options(self.uri, storage_options or {})

    def __repr__(self) -> str:
        return f"Store({self.uri!r}{f', {self.pinned.snapshot_id}' if self.pinned else ''})"

    @classmethod
    def open(cls, uri: str | Path, *, storage_options: Mapping[str, str] | None = None) -> Store:
        """Open an existing store.

        Raises:
            StoreNotFoundError: there is none.
            StoreVersionError: it was written by a newer viae.
        """
        store = cls(str(uri), storage_options=storage_options)
        if not store._exists("episodes"):
            raise StoreNotFoundError(store.uri)
        found = int((store.table("episodes").schema.metadata or {}).get(COMPATIBILITY_KEY, b"0"))
        if found > COMPATIBILITY:
            raise StoreVersionError(store.uri, found=found, supported=COMPATIBILITY)
        return store

    @classmethod
    def create(cls, uri: str | Path, *, storage_options: Mapping[str, str] | None = None) -> Store:
        """Open a store, making it first if there is none. Safe to repeat after a kill."""
        store = cls(str(uri), storage_options=storage_options)
        if not store._exists("episodes"):
            for name, schema in TABLES.items():
                if not store._exists(name):
                    store.append(name, schema.empty_table())
        return cls.open(uri, storage_options=storage_options)

    # -- state ------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The newest state (or the pinned one). All rows of all its visible episodes are in it."""
        if self.pinned is not None:
            return self.pinned
        last_first = reversed(TABLES)  # episodes first: the rows that it makes visible came before
        names = [*last_first, *self.vector_tables()]
        return Snapshot(versions={name: self.table(name).version for name in names})

    def at(self, snapshot: Snapshot) -> Store:
        """A read-only view of this store at a snapshot."""
        return Store(self.uri, snapshot=snapshot, storage_options=self._options)

    def table(self, name: str) -> lance.LanceDataset:
        """A table as a Lance dataset, invisible rows included."""
        import lance

        if self.pinned and name not in self.pinned.versions:
            raise StoreError(f"{self!r} is a snapshot in which there was no table '{name}'")
        version = self.pinned.versions[name] if self.pinned else None
        try:
            return lance.dataset(
                self._address(name), version=version, storage_options=self._options
            )
        except (OSError, ValueError) as error:
            raise self._unopened(name, error) from error

    def vector_tables(self) -> list[str]:
        """The names of the tables of embedded windows, see `viae.store.vectors`."""
        if self.pinned:
            return sorted(n for n in self.pinned.versions if n.startswith(VECTORS_PREFIX))
        rows = self.table("runs").to_table(columns=["bundle"], filter="kind = 'embed'")
        return sorted({f"{VECTORS_PREFIX}{name}" for name in rows["bundle"].to_pylist()})

    def append(self, name: str, rows: pa.Table) -> None:
        """Append rows to a table, in one atomic commit.

        Raises:
            StoreFullError: no space is left.
            StoreError: the view is pinned to a snapshot, or the write failed.
        """
        import lance

        self._check_writable()
        is_new = not self._exists(name)
        with self._writing():
            lance.write_dataset(
                rows,
                self._address(name),
                mode="create" if is_new else "append",
                data_storage_version=LANCE_FILES if is_new else None,
                storage_options=self._options,
            )

    def commit_episodes(self, rows: pa.Table) -> int:
        """Append rows to ``episodes`` unless their ids are there already; how many were new.

        Of several rows with one id the first counts.

        Raises:
            StoreFullError: no space is left.
            StoreError: the view is pinned to a snapshot, or the write failed.
        """
        self._check_writable()
        ids = rows["episode_id"].to_pylist()
        rows = rows.take([i for i, episode in enumerate(ids) if ids.index(episode) == i])
        merge = self.table("episodes").merge_insert("episode_id").when_not_matched_insert_all()
        with self._writing():
            return int(merge.execute(rows)["num_inserted_rows"])

    def compact(self, *, fragments: int = 128) -> None:
        """Join the small files of every table that has more than so many of them.

        Snapshots stay valid. Large files are left as they are: rewriting them gains nothing.

        Raises:
            StoreFullError: no space is left.
            StoreError: the view is pinned to a snapshot, or the write failed.
        """
        self._check_writable()
        for name in TABLES:
            table = self.table(name)
            sizes = {
                fragment.fragment_id: sum(
                    file.file_size_bytes or 0 for file in fragment.data_files()
                )
                for fragment in table.get_fragments()
            }
            large = [id_ for id_, size in sizes.items() if size >= LARGE_FILE_BYTES]
            if len(sizes) - len(large) > fragments:
                with self._writing():
                    table.optimize.compact_files(
                        excluded_fragment_ids=large, batch_size=16, num_threads=1
                    )

    # -- reading ----------------------------------------------------------------------------------

    def episodes(self) -> list[Episode]:
        """All episodes, sorted by id, their outcome as the newest fact has it."""
        outcomes = {
            fact.episode_id: fact.value
            for fact in self.facts(key="outcome")
            if fact.start_ns is None and fact.other_episode_id is None
        }
        rows = sorted(self.table("episodes").to_table().to_pylist(), key=lambda r: r["episode_id"])
        episodes = []
        for row in rows:
            del row["write_id"], row["ingested_ns"]
            row["conditions"] = json.loads(row["conditions"])
            value = outcomes.get(row["episode_id"], row["outcome"])
            row["outcome"] = value if isinstance(value, bool) else None
            episodes.append(Episode(**row))
        return episodes

    def episode(self, prefix: str) -> Episode:
        """The one episode whose id begins with ``prefix``.

        Raises:
            NoSuchEpisodeError: none does, or several do.
        """
        found = [e for e in self.episodes() if e.episode_id.startswith(prefix)] if prefix else []
        if len(found) != 1:
            raise NoSuchEpisodeError(self.uri, prefix, candidates=len(found))
        return found[0]

    def episode_ids(self) -> set[str]:
        """The ids of all episodes."""
        return set(self.write_ids())

    def write_ids(self) -> dict[str, str]:
        """Per visible episode the ``write_id`` that its row names."""
        rows = self.table("episodes").to_table(columns=["episode_id", "write_id"])
        return dict(zip(rows["episode_id"].to_pylist(), rows["write_id"].to_pylist(), strict=True))

    def facts(self, *, key: str | None = None) -> list[Fact]:
        """The newest fact per subject and key, oldest first."""
        where = f"key = {_quote(key)}" if key else None
        rows = self._visible(self.table("facts").to_table(filter=where)).to_pylist()
        newest: dict[tuple[Any, ...], Fact] = {}
        for row in sorted(rows, key=lambda r: (r["time_ns"], r["fact_id"])):
            del row["write_id"], row["fact_id"]
            fact = Fact(**(row | {"value": json.loads(row["value"])}))
            subject = (fact.episode_id, fact.start_ns, fact.end_ns, fact.other_episode_id, fact.key)
            newest[subject] = fact
        return list(newest.values())

    def streams(self, episode_ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Rows of the table ``streams``, their spec as a `StreamSpec`, by episode and name."""
        where = _among("episode_id", episode_ids)
        rows = self._visible(self.table("streams").to_table(filter=where)).to_pylist()
        for row in rows:
            row["spec"] = StreamSpec.from_json(json.loads(row["spec"]))
        return sorted(rows, key=lambda row: (row["episode_id"], row["stream"]))

    def samples(
        self, episode_ids: Iterable[str], streams: Iterable[str]
    ) -> dict[tuple[str, str], Samples]:
        """The samples of streams that are not video, per (episode id, stream name)."""
        specs = self._specs(episode_ids, streams, video=False)
        groups = self._grouped("chunks", specs)
        return {key: samples_from_rows(specs[key], rows) for key, rows in groups}

    def video(
        self, episode_ids: Iterable[str], streams: Iterable[str]
    ) -> dict[tuple[str, str], list[VideoGroup]]:
        """The groups of pictures of video streams, per (episode id, stream name)."""
        specs = self._specs(episode_ids, streams, video=True)
        groups = self._grouped("video", specs)
        return {key: groups_from_rows(specs[key], rows) for key, rows in groups}

    def scan(
        self,
        table: Literal["chunks", "video"],
        columns: Sequence[str],
        episode_ids: Iterable[str],
        streams: Iterable[str],
    ) -> Iterator[pa.Table]:
        """Visible rows of some streams, a few at a time, in any order.

        Args:
            table: which.
            columns: of the table, beside ``episode_id``, ``stream`` and ``position``.
            episode_ids: of the rows.
            streams: of the rows.

        Yields:
            Tables with the named columns and ``row``, int64: its number in the table, by which
            `lance.LanceDataset.take` reads it again at the same snapshot.
        """
        wanted = set(episode_ids)
        write_ids = {id_: write for id_, write in self.write_ids().items() if id_ in wanted}
        if not write_ids:
            return
        visible = pa.array(write_ids.values(), pa.string())  # a write id belongs to one episode
        dataset = self.table(table)
        fragments = dataset.get_fragments()
        before = np.cumsum([0, *(fragment.count_rows() for fragment in fragments)])
        starts = np.zeros(max((f.fragment_id for f in fragments), default=0) + 1, np.int64)
        starts[[fragment.fragment_id for fragment in fragments]] = before[:-1]
        batches = dataset.to_batches(
            columns=["episode_id", "stream", "position", "write_id", *columns],
            filter=_among("stream", streams), batch_size=SCAN_ROWS, with_row_address=True,
        )  # fmt: skip
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pc.is_in(rows["write_id"], value_set=visible))
            if rows.num_rows:
                address = rows["_rowaddr"].to_numpy().astype(np.int64)
                row = starts[address >> 32] + (address & 0xFFFF_FFFF)
                yield rows.drop_columns(["write_id", "_rowaddr"]).append_column(
                    "row", pa.array(row, pa.int64())
                )

    # -- facts and runs ---------------------------------------------------------------------------

    def add_facts(self, facts: Sequence[Fact]) -> None:
        """Append facts."""
        if facts:
            self.append("facts", facts_table(facts, write_id=None))

    def add_run(
        self,
        *,
        run_id: str,
        kind: str,
        config: Mapping[str, JsonValue],
        metrics: Mapping[str, JsonValue],
        time_ns: int,
        snapshot: Snapshot | None = None,
        bundle: str = "",
    ) -> None:
        """Append a run; a later row with the same id replaces an earlier one in `runs`."""
        row = {
            "run_id": run_id, "kind": kind, "config": json.dumps(config),
            "snapshot": snapshot.to_json() if snapshot else "", "bundle": bundle,
            "metrics": json.dumps(metrics), "time_ns": time_ns,
        }  # fmt: skip
        self.append("runs", pa.Table.from_pylist([row], schema=TABLES["runs"]))

    def runs(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The newest row per run, oldest first, with config and metrics parsed."""
        where = f"kind = {_quote(kind)}" if kind else None
        newest: dict[str, dict[str, Any]] = {}
        rows = self.table("runs").to_table(filter=where).to_pylist()
        for row in sorted(rows, key=lambda row: row["time_ns"]):
            row["config"], row["metrics"] = json.loads(row["config"]), json.loads(row["metrics"])
            newest[row["run_id"]] = row
        return list(newest.values())

    # -- private ----------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self.pinned is not None:
            raise StoreError(f"{self!r} is a snapshot: it is read-only")

    def _address(self, name: str) -> str:
        return f"{self.uri.rstrip('/')}/{name}.lance"

    def _unopened(self, name: str, error: Exception) -> StoreError:
        todo = ""
        if self.uri.startswith("s3"):
            todo = (
                ". See that the server can be reached, and that the environment says which it is: "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and AWS_ENDPOINT_URL of "
                "another than Amazon's"
            )
        return StoreError(f"{self.uri}: table '{name}' cannot be opened: {error}{todo}")

    def _exists(self, name: str) -> bool:
        import lance

        try:
            lance.dataset(self._address(name), storage_options=self._options)
        except (OSError, ValueError) as error:
            if "not found" in str(error).lower():
                return False
            raise self._unopened(name, error) from error
        return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if "no space left" in str(error).lower():
                raise StoreFullError(self.uri, kept=self._count_episodes()) from error
            raise StoreError(f"{self.uri}: the store cannot be written: {error}") from error

    def _count_episodes(self) -> int:
        return int(self.table("episodes").count_rows()) if self._exists("episodes") else 0

    def _visible(self, rows: pa.Table) -> pa.Table:
        """Rows whose ``write_id`` is null or is the one that their episode names."""
        write_ids = self.write_ids()
        found = zip(rows["episode_id"].to_pylist(), rows["write_id"].to_pylist(), strict=True)
        visible = [write is None or write_ids.get(episode) == write for episode, write in found]
        return rows.filter(pa.array(visible, pa.bool_()))

    def _specs(
        self, episode_ids: Iterable[str], streams: Iterable[str], *, video: bool
    ) -> dict[tuple[str, str], StreamSpec]:
        wanted = set(streams)
        return {
            (row["episode_id"], row["stream"]): row["spec"]
            for row in self.streams(episode_ids)
            if row["stream"] in wanted and (row["kind"] == Kind.VIDEO) is video
        }

    def _grouped(
        self, table: str, keys: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], pa.Table]]:
        """Rows of ``chunks`` or ``video`` per key, by position."""
        wanted = set(keys)
        if not wanted:
            return
        episodes = _among("episode_id", {episode for episode, _ in wanted})
        streams = _among("stream", {stream for _, stream in wanted})
        rows = self._visible(self.table(table).to_table(filter=f"{episodes} AND {streams}"))
        by = [(name, "ascending") for name in ("episode_id", "stream", "position")]
        rows = rows.take(pc.sort_indices(rows, sort_keys=by))
        pairs = zip(rows["episode_id"].to_pylist(), rows["stream"].to_pylist(), strict=True)
        start = 0
        for key, group in itertools.groupby(pairs):
            count = sum(1 for _ in group)
            if key in wanted:
                yield key, rows.slice(start, count)
            start += count


def _options(uri: str, said: Mapping[str, str]) -> dict[str, str] | None:
    """Storage options. An endpoint whose address begins with http:// was meant to be one."""
    options = dict(said)
    names = {name.lower() for name in options}
    endpoints = [options[n] for n in options if n.lower() in ENDPOINTS]
    endpoints += [os.environ[n.upper()] for n in ENDPOINTS if n.upper() in os.environ]
    if uri.startswith("s3") and endpoints and not names & ALLOW_HTTP:
        plain = endpoints[0].startswith("http://")
        if plain and not {n.upper() for n in ALLOW_HTTP} & os.environ.keys():
            options["allow_http"] = "true"
    return options or None


def facts_table(facts: Sequence[Fact], *, write_id: str | None) -> pa.Table:
    """Facts as rows of the table ``facts``."""
    rows = [
        {
            "fact_id": fact.fact_id, "episode_id": fact.episode_id, "write_id": write_id,
            "key": fact.key, "value": json.dumps(fact.value), "author": fact.author,
            "time_ns": fact.time_ns, "start_ns": fact.start_ns, "end_ns": fact.end_ns,
            "other_episode_id": fact.other_episode_id,
        }
        for fact in facts
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["facts"])


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _among(column: str, values: Iterable[str] | None) -> str | None:
    if values is None:
        return None
    quoted = ", ".join(sorted(map(_quote, values))) or "NULL"
    return f"{column} IN ({quoted})"
