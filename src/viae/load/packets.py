"""Coded pictures by their row in the store: held in memory, or read when they are needed.

Coded video is fifty times smaller than its pictures, so most datasets fit: then every row is read
once, in one sweep. Where they do not, a batch's rows are taken from the table in one request.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import LoaderError
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.store import Store

Ints = npt.NDArray[np.int64]
Packets: TypeAlias = Sequence[memoryview]

SAMPLED = 32
"""Rows looked at to estimate the size of all."""


class PacketSource(Protocol):
    """Packets (or images) of rows of one stream. Safe for several threads."""

    def of(self, rows: Ints) -> Iterator[Packets]:
        """The packets of each row, in the order of ``rows``.

        Args:
            rows: int64 [K], positions in `StreamRows.rows`.
        """


class HeldPackets:
    """All rows in memory, as Arrow read them: one buffer a piece, no copy.

    Sent to another process, they travel as a memory-mapped file: processes share one copy.

    Args:
        pieces: the rows' packets, list of binary.
        place: int64 [R], where in all pieces, one after another, each row of the stream is.
    """

    def __init__(self, pieces: Sequence[pa.ListArray], place: Ints) -> None:
        self._place = place
        self._pieces = pieces
        self._file: Any = None
        self._look()

    def _look(self) -> None:
        self._views = [_Views(piece) for piece in self._pieces]
        bounds = np.cumsum([0, *(len(piece) for piece in self._pieces)])
        self._piece = np.searchsorted(bounds, self._place, side="right") - 1
        self._local = self._place - bounds[self._piece]

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        return sum(piece.nbytes for piece in self._pieces)

    def of(self, rows: Ints) -> Iterator[Packets]:
        """See `PacketSource`."""
        for piece, local in zip(
            self._piece[rows].tolist(), self._local[rows].tolist(), strict=True
        ):
            yield self._views[piece].row(local)

    def __getstate__(self) -> dict[str, Any]:
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (lives as long as this)
                prefix="viae-packets-", suffix=".arrow"
            )
            schema = pa.schema([("packets", pa.list_(pa.binary()))])
            with pa.ipc.new_file(self._file, schema) as writer:
                for piece in self._pieces:
                    writer.write_batch(pa.record_batch([piece], schema=schema))
            self._file.flush()
            weakref.finalize(self, _remove, self._file, os.getpid())
        return {"place": self._place, "file": self._file.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._place, self._file = state["place"], Path(state["file"])
        reader = pa.ipc.open_file(pa.memory_map(state["file"]))
        batches = map(reader.get_batch, range(reader.num_record_batches))
        self._pieces = [batch.column(0) for batch in batches]
        self._look()


def _remove(file: Any, owner: int) -> None:
    if os.getpid() == owner:  # a forked process must not take it from the others
        file.close()


class TakenPackets:
    """Rows read from the table when asked for, those of a call together.

    Args:
        store: at a snapshot.
        stream: whose packets.
    """

    def __init__(self, store: Store, stream: StreamRows) -> None:
        self._store = store
        self._table, self._column = _home(stream)
        self._rows = stream.rows
        self._dataset: Any = store.table(self._table)
        self._process = os.getpid()

    def of(self, rows: Ints) -> Iterator[Packets]:
        """See `PacketSource`."""
        if os.getpid() != self._process:
            raise LoaderError(
                "this process was forked, which Lance does not survive: make batches with "
                "Loader(…, workers=N), or give DataLoader multiprocessing_context='spawn'"
            )
        unique, back = np.unique(self._rows[rows], return_inverse=True)
        found = self._dataset.take(unique.tolist(), columns=[self._column])[self._column]
        views = _Views(found.combine_chunks())
        return map(views.row, back.tolist())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_dataset"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._dataset = self._store.table(self._table)
        self._process = os.getpid()


def coded_bytes(store: Store, stream: StreamRows) -> int:
    """About how many bytes all packets of a stream have, by a sample of its rows."""
    if not len(stream.rows):
        return 0
    some = np.linspace(0, len(stream.rows) - 1, SAMPLED).astype(np.int64)
    some = np.unique(some)
    sizes = [sum(map(len, packets)) for packets in TakenPackets(store, stream).of(some)]
    return int(np.mean(sizes) * len(stream.rows))


def hold(store: Store, stream: StreamRows, episode_ids: Sequence[str]) -> HeldPackets:
    """Read all packets of a stream, in one sweep."""
    table, column = _home(stream)
    pieces, rows = [], []
    for part in store.scan(table, [column], episode_ids, [stream.spec.name]):
        pieces.extend(part[column].chunks)
        rows.append(part["row"].to_numpy())
    if not rows:
        return HeldPackets([], np.empty(0, np.int64))
    read = np.concatenate(rows)
    order = np.argsort(read)
    return HeldPackets(pieces, order[np.searchsorted(read[order], stream.rows)])


class _Views:
    """A list array of binaries as views of its memory."""

    def __init__(self, column: pa.ListArray) -> None:
        binaries = column.values
        _, offsets, data = binaries.buffers()
        width = np.int64 if pa.types.is_large_binary(binaries.type) else np.int32
        start = binaries.offset
        bounds = np.frombuffer(offsets, width)[start : start + len(binaries) + 1]
        self._bounds: npt.NDArray[Any] = bounds
        self._lists: npt.NDArray[Any] = column.offsets.to_numpy()
        self._memory = memoryview(data) if data is not None else memoryview(b"")

    def row(self, number: int) -> Packets:
        first, last = int(self._lists[number]), int(self._lists[number + 1])
        bounds = self._bounds[first : last + 1].tolist()
        return [self._memory[a:b] for a, b in itertools.pairwise(bounds)]


def _home(stream: StreamRows) -> tuple[Literal["chunks", "video"], str]:
    return ("video", "packets") if stream.spec.kind is Kind.VIDEO else ("chunks", "blobs")
