"""Rows of tables, read forward: many episodes lie in one file, and reading them costs it once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from viae.errors import DamagedLogError

UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What PyArrow raises on a file that is not whole."""

BATCH_ROWS = 1024
BATCH_ROWS_WITH_IMAGES = 16
HASHED_ROWS = 64

BUFFER_BYTES = 1 << 20
"""Read ahead this much of a column, not all of its row group: images fill groups with gigabytes."""


class Part(Protocol):
    """Some rows of one file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""

    def __len__(self) -> int:
        """How many rows."""

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Those columns, at most so many rows at a time."""


@dataclass(slots=True)
class _Cursor:
    batches: Iterator[pa.RecordBatch]
    at: int
    pending: pa.RecordBatch | None = None


class ParquetTable:
    """A Parquet file from which runs of rows are read, cheapest in ascending order.

    A row group is decoded from its start. Where a run begins behind the end of the one that was
    read last, decoding goes on from there.

    Args:
        path: the file.

    Raises:
        pyarrow.ArrowException, OSError: it is no Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES)
        metadata = self.file.metadata
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._cursors: dict[tuple[int, tuple[str, ...]], _Cursor] = {}

    @property
    def num_rows(self) -> int:
        """Rows in the file."""
        return int(self._starts[-1])

    def batches(
        self, start: int, stop: int, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the rows from start to stop, at most ``rows`` at a time."""
        key = rows, tuple(columns)
        cursor = self._cursors.pop(key, None)
        group = int(np.searchsorted(self._starts, start, side="right")) - 1
        if cursor is None or cursor.at > start or self._starts[group] > cursor.at:
            groups = range(group, len(self._starts) - 1)
            found = self.file.iter_batches(rows, row_groups=groups, columns=list(columns))
            cursor = _Cursor(found, int(self._starts[group]))
        while cursor.at < stop:
            batch = cursor.pending or next(cursor.batches, None)
            if batch is None:
                raise pa.ArrowInvalid(f"rows end at {cursor.at}, not at {stop}")
            cursor.pending = None
            low, high = max(start - cursor.at, 0), min(stop - cursor.at, len(batch))
            if low < high:
                yield batch.slice(low, high - low)
            if high < len(batch):
                cursor.pending = batch
                break
            cursor.at += len(batch)
        self._cursors[key] = cursor


class Tables:
    """Parquet files by path; the last few stay open."""

    def __init__(self, keep: int = 2) -> None:
        self._keep = keep
        self._open: dict[Path, ParquetTable] = {}

    def __getitem__(self, path: Path) -> ParquetTable:
        """The file at a path.

        Raises:
            DamagedLogError: it is not Parquet, or cut short.
        """
        if path not in self._open:
            if not path.stat().st_size:
                raise damaged(path, "the file holds no bytes")
            try:
                table = ParquetTable(path)
            except UNREADABLE as error:
                raise damaged(path, error) from error
            while len(self._open) >= self._keep:
                del self._open[next(iter(self._open))]
            self._open[path] = table
        return self._open[path]


@dataclass(frozen=True, slots=True)
class ParquetPart:
    """Rows of a Parquet file; None for stop is its end."""

    tables: Tables
    path: Path
    start: int = 0
    stop: int | None = None

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return self.tables[self.path].file.schema_arrow

    def __len__(self) -> int:
        stop = self.tables[self.path].num_rows if self.stop is None else self.stop
        return stop - self.start

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Those columns, at most so many rows at a time.

        Raises:
            DamagedLogError: the file is damaged here.
        """
        table = self.tables[self.path]
        stop = table.num_rows if self.stop is None else self.stop
        try:
            yield from table.batches(self.start, stop, columns, rows)
        except UNREADABLE as error:
            raise damaged(self.path, error) from error


def damaged(path: Path, error: Exception | str) -> DamagedLogError:
    """A table that cannot be read, in a sentence."""
    why = str(error).partition("\n")[0]
    return DamagedLogError(
        path,
        found=why if isinstance(error, str) else f"this is no whole Parquet file ({why:.200})",
        expected="the episode's table",
        todo="copy the file again; the other episodes are kept",
    )


def hash_rows(parts: Iterable[Part]) -> str:
    """Hex digest of the values of all columns: equal however rows are divided into files."""
    digests: dict[str, Any] = {}
    for part in parts:
        names = sorted(set(part.schema.names))
        for batch in part.batches(names, HASHED_ROWS):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                _hash_column(digests, name, column)
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(digests):
        total.update(name.encode() + b"\0" + digests[name].digest())
    return total.hexdigest()


LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def _hash_column(digests: dict[str, Any], name: str, column: pa.Array) -> None:
    """Nulls, lengths and values go to digests of their own, so that batches do not show."""

    def update(what: str, data: bytes) -> None:
        digests.setdefault(name + what, hashlib.blake2b(digest_size=16)).update(data)

    kind = column.type
    update("?", column.is_null().to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_struct(kind):
        for field, inner in zip(kind, column.flatten(), strict=True):
            _hash_column(digests, f"{name}.{field.name}", inner)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        lengths = pc.list_value_length(column).fill_null(0).cast(pa.int64())
        update("#", lengths.to_numpy(zero_copy_only=False).tobytes())
        _hash_column(digests, f"{name}[]", column.flatten())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        whole = column.fill_null(False if pa.types.is_boolean(kind) else 0)
        update("=", whole.to_numpy(zero_copy_only=False).tobytes())
    else:
        for value in column.to_pylist():
            data = value if isinstance(value, bytes) else repr(value).encode()
            update("=", len(data).to_bytes(8, "little") + data)
