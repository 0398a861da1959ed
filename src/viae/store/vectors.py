"""Embedded windows: a table per embedder, and the nearest among them.

Rows are appended and never changed; another embedder has another table. The distance is that of
cosine, in [0, 2]. Vectors are stored with zeros up to a multiple of eight elements, which changes
no distance: the index packs a bit of each element into bytes.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import SchemaError, UsageError
from viae.schema import JsonValue, TimesNs
from viae.schema.tables import VECTORS_PREFIX, vectors_schema
from viae.store.store import Store

if TYPE_CHECKING:
    import lance

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Spans: TypeAlias = Sequence[tuple[int, int]]
Within: TypeAlias = Mapping[str, Spans | None]
"""Where to look: per episode the spans in which a window decides, both ends in; None for all."""

INDEX_FROM = 65_536
"""Fewer rows than these are compared one by one, which is exact and as fast."""
PROBES = 24
REFINE = 4
"""Partitions of the index that are looked into, and for each window that is asked for, how many
candidates are compared exactly. Chosen by `benchmarks/search.py`."""
MOST_WIDER = 8
"""How many times as many partitions are looked into where only some episodes count."""
EIGHT = 8
CARD_KEY = b"viae.vectors"
COLUMNS = ["episode_id", "write_id", "start_ns", "end_ns", "decision_ns"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """Windows of one episode and their vectors.

    Args:
        episode_id: whose.
        start_ns: int64 [N], log clock: the first arrival of what each window shows.
        end_ns: int64 [N]: the last.
        decision_ns: int64 [N].
        vectors: [N, D].

    Raises:
        SchemaError: a vector is zero or not finite: it has no direction to compare.
    """

    episode_id: str
    start_ns: TimesNs
    end_ns: TimesNs
    decision_ns: TimesNs
    vectors: Floats

    def __post_init__(self) -> None:
        norm = np.linalg.norm(self.vectors.astype(np.float64), axis=1)
        bad = np.flatnonzero(~(np.isfinite(norm) & (norm > 0)))
        if len(bad):
            raise SchemaError(
                f"episode {self.episode_id}: the vector of the window that decides at "
                f"{self.decision_ns[bad[0]] / 1e9:.3f} s is zero or not finite, as are {len(bad)} "
                f"of {len(norm)}; see what the embedder was shown"
            )

    def __len__(self) -> int:
        return len(self.decision_ns)


class Vectors:
    """The windows that one embedder has embedded, as they are when this is made.

    Args:
        store: at its newest state or at a snapshot.
        embedder: the embedder's id.

    Raises:
        UsageError: it has embedded nothing in this store.
    """

    def __init__(self, store: Store, embedder: str) -> None:
        name = f"{VECTORS_PREFIX}{embedder}"
        if name not in store.vector_tables():
            raise UsageError(_nothing(store, embedder))
        self.store, self.embedder = store, embedder
        self._name = name
        self._open()

    def __len__(self) -> int:
        return int(self._dataset.count_rows())

    @classmethod
    def create(
        cls,
        store: Store,
        embedder: str,
        *,
        dimension: int,
        dtype: Literal["float32", "float16"] = "float32",
        config: Mapping[str, JsonValue] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> Vectors:
        """Open the table of an embedder, making it first if there is none.

        Args:
            store: where.
            embedder: its id: letters, digits, ``_`` and ``-``.
            dimension: D.
            dtype: of the elements as stored.
            config: what made the vectors, for the run's row.
            now_ns: the clock, for the run's row.

        Raises:
            SchemaError: the id is none, or the table there has another dimension or dtype.
        """
        if not _NAME.fullmatch(embedder):
            raise SchemaError(f"{embedder!r} is no id of an embedder: letters, digits, _ and -")
        name = f"{VECTORS_PREFIX}{embedder}"
        if name not in store.vector_tables():
            card = json.dumps({"dimension": dimension, "dtype": dtype})
            schema = vectors_schema(_stored(dimension), dtype, {CARD_KEY: card.encode()})
            store.append(name, schema.empty_table())
            store.add_run(  # after the table: a run names only what is there
                run_id=f"embed-{embedder}", kind="embed", bundle=embedder,
                config=dict(config or {}), metrics={}, time_ns=now_ns(),
            )  # fmt: skip
        made = cls(store, embedder)
        if (made.dimension, made.dtype) != (dimension, dtype):
            raise SchemaError(
                f"{store.uri}: the vectors of '{embedder}' are {made.dtype}[{made.dimension}], and "
                f"these are {dtype}[{dimension}]; give another embedder another id"
            )
        return made

    def append(self, embedded: Sequence[Embedded]) -> None:
        """Append the windows of episodes, all or none of them, in one commit.

        Raises:
            StoreFullError: no space is left.
            StoreError: the view is pinned to a snapshot, or the write failed.
        """
        parts = [self._rows(each) for each in embedded if len(each)]
        if parts:
            self.store.append(self._name, pa.concat_tables(parts))
            self._open()

    def episode_ids(self) -> set[str]:
        """The episodes of which windows are here."""
        rows = self._dataset.to_table(columns=["episode_id"])
        return set(rows["episode_id"].unique().to_pylist())

    # -- the index --------------------------------------------------------------------------------

    @property
    def unindexed(self) -> int:
        """Rows that the index does not know; each is compared at every search."""
        if not self._indexed:
            return len(self)
        return int(self._dataset.stats.index_stats("vector")["num_unindexed_rows"])

    def index(self, *, rows: int = INDEX_FROM) -> bool:
        """Build the index, or bring it up to date, where that pays; whether it did.

        Args:
            rows: so many unindexed rows make it worth it.
        """
        unindexed = self.unindexed
        if unindexed < rows:
            return False
        if 2 * unindexed < len(self):
            self._dataset.optimize.optimize_indices()
        else:
            self._dataset.create_index(
                "vector", "IVF_RQ", name="vector", replace=True, metric="cosine",
                num_partitions=max(1, round(math.sqrt(len(self)))),
            )  # fmt: skip
            self._dataset.create_scalar_index("episode_id", "BTREE", name="episode_id")
        self._open()
        return True

    def load(self) -> None:
        """Read the index into memory, so that the first search is as fast as the next."""
        if self._indexed:
            self._dataset.prewarm_index("vector")

    # -- reading ----------------------------------------------------------------------------------

    def at(self, episode_id: str, time_ns: int) -> Embedded | None:
        """The last window of an episode that decides at a time or before, else its first.

        Returns:
            That one window; None where the episode has none here.
        """
        where = f"episode_id = {_quote(episode_id)}"
        rows = self._seen(self._dataset.to_table(columns=[*COLUMNS, "vector"], filter=where))
        if not rows.num_rows:
            return None
        decisions = rows["decision_ns"].to_numpy()
        before = np.where(decisions <= time_ns, decisions, np.iinfo(np.int64).min)
        row = int(before.argmax()) if (decisions <= time_ns).any() else int(decisions.argmin())
        one = rows.slice(row, 1)
        return Embedded(
            episode_id=episode_id,
            start_ns=one["start_ns"].to_numpy(),
            end_ns=one["end_ns"].to_numpy(),
            decision_ns=one["decision_ns"].to_numpy(),
            vectors=_matrix(one)[:, : self.dimension],
        )

    def nearest(self, vector: Floats, k: int, *, within: Within | None = None) -> pa.Table:
        """The windows nearest to a vector.

        Without spans by the index, where there is one, and so nearly exact; with spans every
        window of those episodes is compared.

        Args:
            vector: [D].
            k: how many.
            within: look only there.

        Returns:
            At most k visible rows, nearest first: ``episode_id``, ``start_ns``, ``end_ns``,
            ``decision_ns`` and ``_distance``, float32, 1 - cosine.

        Raises:
            SchemaError: the vector has another dimension, is zero or not finite.
        """
        query = np.zeros(_stored(self.dimension), np.dtype(self.dtype))
        if vector.shape != (self.dimension,):
            raise SchemaError(
                f"the vectors of '{self.embedder}' have {self.dimension} elements, this one has "
                f"the shape {list(vector.shape)}"
            )
        query[: self.dimension] = vector
        norm = np.linalg.norm(query.astype(np.float64))
        if not np.isfinite(norm) or norm == 0:
            raise SchemaError("a vector that is zero or not finite is near to nothing")
        if within is not None and any(spans is not None for spans in within.values()):
            return self._compared(query, k, within)
        asked = k
        while True:
            rows = self._nearest(query, asked, within)
            seen = self._seen(rows)
            if seen.num_rows >= k or rows.num_rows < asked:
                return seen.slice(0, k).drop_columns(["write_id"])
            asked *= 2

    def _nearest(self, query: Floats, k: int, within: Within | None) -> pa.Table:
        near = {"column": "vector", "q": query, "k": k, "metric": "cosine"}
        if self._indexed:
            share = len(within) / max(1, len(self._write_ids)) if within else 1.0
            wider = min(MOST_WIDER, 1 / share)  # the nearest of a few lie farther off
            near |= {"minimum_nprobes": round(PROBES * wider), "refine_factor": REFINE}
        return self._dataset.to_table(
            columns=[*COLUMNS, "_distance"], nearest=near,
            filter=None if within is None else _among(within), prefilter=within is not None,
        )  # fmt: skip

    def _compared(self, query: Floats, k: int, within: Within) -> pa.Table:
        """The same, by comparing all in some spans, a batch at a time."""
        unit = query.astype(np.float32) / np.float32(np.linalg.norm(query.astype(np.float32)))
        best = pa.table({"_distance": pa.array([], pa.float32())})
        batches = self._dataset.to_batches(columns=[*COLUMNS, "vector"], filter=_among(within))
        for batch in batches:
            rows = self._seen(pa.Table.from_batches([batch]))
            rows = rows.filter(pa.array(_inside(rows, within)))
            if not rows.num_rows:
                continue
            vectors = _matrix(rows).astype(np.float32)
            distance = 1 - vectors @ unit / np.linalg.norm(vectors, axis=1)
            rows = rows.drop_columns(["vector"]).append_column("_distance", pa.array(distance))
            best = rows if not best.num_rows else pa.concat_tables([best, rows])
            best = best.sort_by("_distance").slice(0, k)
        if best.num_rows:
            return best.drop_columns(["write_id"])
        empty = self._dataset.schema.empty_table().drop_columns(["write_id", "vector"])
        return empty.append_column("_distance", pa.array([], pa.float32()))

    # -- private ----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._dataset: lance.LanceDataset = self.store.table(self._name)
        card = json.loads(self._dataset.schema.metadata[CARD_KEY])
        self.dimension: int = card["dimension"]
        self.dtype: Literal["float32", "float16"] = card["dtype"]
        self._indexed = any(i.name == "vector" for i in self._dataset.describe_indices())
        self._write_ids = self.store.write_ids()

    def _seen(self, rows: pa.Table) -> pa.Table:
        """Rows whose episode is visible, and that were written for it or said later."""
        write_ids = self._write_ids
        found = zip(rows["episode_id"].to_pylist(), rows["write_id"].to_pylist(), strict=True)
        seen = [e in write_ids and write in (None, write_ids[e]) for e, write in found]
        return rows if all(seen) else rows.filter(pa.array(seen, pa.bool_()))

    def _rows(self, embedded: Embedded) -> pa.Table:
        vectors = np.zeros((len(embedded), _stored(self.dimension)), np.dtype(self.dtype))
        if embedded.vectors.shape[1:] != (self.dimension,):
            raise SchemaError(
                f"the vectors of '{self.embedder}' have {self.dimension} elements, those of "
                f"episode {embedded.episode_id} have {embedded.vectors.shape[1]}"
            )
        vectors[:, : self.dimension] = embedded.vectors
        schema = self._dataset.schema
        count = len(embedded)
        columns = [
            pa.array([embedded.episode_id] * count), pa.nulls(count, pa.string()),
            pa.array(embedded.start_ns), pa.array(embedded.end_ns), pa.array(embedded.decision_ns),
            pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.reshape(-1)), vectors.shape[1]
            ),
        ]  # fmt: skip
        return pa.Table.from_arrays(columns, schema=schema)


def _nothing(store: Store, embedder: str) -> str:
    there = [name.removeprefix(VECTORS_PREFIX) for name in store.vector_tables()]
    has = f"it has those of {', '.join(there)}" if there else "nothing is embedded in it yet"
    return (
        f"{store!r} has no vectors of '{embedder}'; {has}. Make them with  "
        f"viae embed --bundle BUNDLE --store {store.uri}"
    )


def _stored(dimension: int) -> int:
    return -(-dimension // EIGHT) * EIGHT


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _among(episode_ids: Collection[str]) -> str:
    quoted = ", ".join(sorted(map(_quote, episode_ids))) or "NULL"
    return f"episode_id IN ({quoted})"


def _inside(rows: pa.Table, within: Within) -> npt.NDArray[np.bool_]:
    decisions = rows["decision_ns"].to_numpy()
    episodes = np.array(rows["episode_id"].to_pylist())
    inside = np.zeros(len(decisions), np.bool_)
    for episode_id in np.unique(episodes).tolist():
        own, spans = episodes == episode_id, within[episode_id]
        if spans is None:
            inside |= own
            continue
        for start, end in spans:
            inside |= own & (decisions >= start) & (decisions <= end)
    return inside


def _matrix(rows: pa.Table) -> Floats:
    """The vectors, [N, stored elements]."""
    column = rows["vector"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(rows.num_rows, -1)
