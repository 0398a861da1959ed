"""Coded pictures by their row in the store: held in memory, or read when they are needed.

Coded video is fifty times smaller than its pictures, so most datasets fit: then every row is read
once, in one sweep. Where they do not, a batch's rows are taken from the table in one request.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import LoaderError, StoreError
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.store import Store

Ints = npt.NDArray[np.int64]
Packets: TypeAlias = Sequence[memoryview]

SAMPLED = 32
"""Rows looked at to estimate the size of all."""
AHEAD = 64
"""Requests that may run or wait ahead of their batches; more than that, and the oldest goes."""
AHEAD_BYTES = 128 << 20
"""And what they may bring together, about; a request beyond waits for its batch."""
THREADS = 16
"""That wait for the store: each request is a few round trips, and no work."""


class Rows:
    """Packets of some rows, as views, and where they lie as long as this lives.

    Args:
        addresses: of packets, in memory: int64 [P].
        sizes: of packets, bytes: int64 [P].
        firsts: the first packet of each row: int64 [K].
        counts: how many packets each row has: int64 [K].
        view: packets of a row, by its place in [0, K); keeps the memory.
    """

    __slots__ = ("_view", "addresses", "counts", "firsts", "sizes")

    def __init__(
        self, addresses: Ints, sizes: Ints, firsts: Ints, counts: Ints,
        view: Callable[[int], Packets],
    ) -> None:  # fmt: skip
        self.addresses, self.sizes = addresses, sizes
        self.firsts, self.counts = firsts, counts
        self._view = view

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, place: int) -> Packets:
        return self._view(place)

    def __iter__(self) -> Iterator[Packets]:
        return map(self._view, range(len(self)))


class PacketSource(Protocol):
    """Packets (or images) of rows of one stream. Safe for several threads."""

    def of(self, rows: Ints) -> Rows:
        """The packets of each row, in the order of ``rows``.

        Args:
            rows: int64 [K], positions in `StreamRows.rows`.
        """

    def ahead(self, rows: Ints) -> None:
        """These very rows will be asked for soon: begin to read them, where that takes time."""


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
        views = self._views = [_Views(piece) for piece in self._pieces]
        bounds = np.cumsum([0, *(len(piece) for piece in self._pieces)])
        self._piece = np.searchsorted(bounds, self._place, side="right") - 1
        self._local = self._place - bounds[self._piece]
        none = np.empty(0, np.int64)
        self._addresses = np.concatenate([none, *(each.addresses for each in views)])
        self._sizes = np.concatenate([none, *(each.sizes for each in views)])
        starts = np.cumsum([0, *(len(each.sizes) for each in views)])
        firsts = [start + each.firsts for start, each in zip(starts.tolist(), views, strict=False)]
        self._firsts = np.concatenate([none, *firsts])[self._place]
        self._counts = np.concatenate([none, *(each.counts for each in views)])[self._place]

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        return sum(piece.nbytes for piece in self._pieces)

    def of(self, rows: Ints) -> Rows:
        """See `PacketSource`."""

        def view(place: int) -> Packets:
            row = int(rows[place])
            return self._views[int(self._piece[row])].row(int(self._local[row]))

        return Rows(self._addresses, self._sizes, self._firsts[rows], self._counts[rows], view)

    def ahead(self, rows: Ints) -> None:
        """See `PacketSource`: they are there."""

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
        self._open()

    def _open(self) -> None:
        self._dataset: Any = self._store.table(self._table)
        self._process = os.getpid()
        self._coming: OrderedDict[bytes, Future[Rows]] = OrderedDict()
        self._lock = threading.Lock()
        self._coming_rows = 0
        self._row_bytes: float | None = None
        self._pool: ThreadPoolExecutor | None = None

    def of(self, rows: Ints) -> Rows:
        """See `PacketSource`.

        Raises:
            LoaderError: this process was forked.
            StoreError: the store cannot be read.
        """
        if os.getpid() != self._process:
            raise LoaderError(
                "this process was forked, which Lance does not survive: make batches with "
                "Loader(…, workers=N), or give DataLoader multiprocessing_context='spawn'"
            )
        with self._lock:
            coming = self._coming.pop(rows.tobytes(), None)
            self._coming_rows -= len(rows) if coming else 0
        return self._take(rows) if coming is None else coming.result()

    def ahead(self, rows: Ints) -> None:
        """See `PacketSource`: one request, beside others."""
        if os.getpid() != self._process or not len(rows):
            return
        with self._lock:
            nbytes = (self._coming_rows + len(rows)) * (self._row_bytes or 0)
            unknown = self._row_bytes is None and self._coming
            if unknown or nbytes > AHEAD_BYTES or rows.tobytes() in self._coming:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="viae-packets")
            self._coming[rows.tobytes()] = self._pool.submit(self._take, rows)
            self._coming_rows += len(rows)
            while len(self._coming) > AHEAD:  # of a loader that went away
                oldest, future = self._coming.popitem(last=False)
                self._coming_rows -= len(oldest) // rows.itemsize
                future.cancel()

    def _take(self, rows: Ints) -> Rows:
        unique, back = np.unique(self._rows[rows], return_inverse=True)
        try:
            found = self._dataset.take(unique.tolist(), columns=[self._column])[self._column]
        except OSError as error:
            raise StoreError(
                f"{self._store.uri}: table '{self._table}' cannot be read: {error}. Check disk or "
                "network, and run the same command again"
            ) from error
        self._row_bytes = found.nbytes / max(1, len(unique))
        views = _Views(found.combine_chunks())
        return Rows(
            views.addresses, views.sizes, views.firsts[back], views.counts[back],
            lambda place: views.row(int(back[place])),
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        mine = {"_dataset", "_coming", "_lock", "_pool"}
        return {name: value for name, value in vars(self).items() if name not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


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
        wide = bounds.astype(np.int64)
        self.addresses = (data.address if data is not None else 0) + wide[:-1]
        self.sizes = np.diff(wide)
        self.firsts = self._lists[:-1].astype(np.int64)
        self.counts = np.diff(self._lists).astype(np.int64)

    def row(self, number: int) -> Packets:
        first, last = self._lists[number : number + 2].tolist()
        bounds = self._bounds[first : last + 1].tolist()
        memory = self._memory
        return [memory[a:b] for a, b in itertools.pairwise(bounds)]


def _home(stream: StreamRows) -> tuple[Literal["chunks", "video"], str]:
    return ("video", "packets") if stream.spec.kind is Kind.VIDEO else ("chunks", "blobs")
