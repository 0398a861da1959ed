"""CSV and Parquet, a batch of rows at a time."""

from __future__ import annotations

import codecs
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from viae.errors import DamagedLogError, LogError
from viae.logs.tabular.columns import Column, Frame, Report, column_of_arrow
from viae.schema import Loss, LossKind

BLOCK = 1 << 23
"""Bytes of CSV from which the types of columns are inferred, and which are held at once."""
BATCH_ROWS = 4096
NULLS = ["", "null", "NULL", "Null", "NA", "N/A", "#N/A", "None", "<NA>"]
"""Not "nan": that is a number that is not one, and the doctor's business."""


class CsvTable:
    """A CSV file with a header.

    Args:
        path: the file.
        delimiter: between values.
        dtypes: NumPy names of columns whose type the description states.
        report: told of rows that cannot be read.

    Raises:
        DamagedLogError: there is no header, or no CSV.
    """

    def __init__(
        self, path: Path, delimiter: str, dtypes: Mapping[str, str], report: Report
    ) -> None:
        self.path, self.report = path, report
        self.delimiter, self.dtypes = delimiter, dtypes
        self.malformed = 0
        self.whole_bytes = _last_line_end(path)
        try:
            with self._reader(_Beginning(path, self.whole_bytes)) as reader:
                self.names = tuple(reader.schema.names)
        except (pa.ArrowException, ValueError, StopIteration) as error:
            raise self._damaged(error) from error
        if twice := [name for name, n in Counter(self.names).items() if n > 1]:
            raise LogError(path, found=f"two columns are named '{twice[0]}'", todo="rename one")

    def frames(self) -> Iterator[Frame]:
        """All rows.

        Raises:
            LogError: a value does not fit the type of those before it.
        """
        self.malformed, start = 0, 0
        text = _Beginning(self.path, self.whole_bytes)
        try:
            with self._reader(text) as reader:
                for batch in reader:
                    for part in _parts(batch):
                        yield _frame(self.path, part, start)
                        start += part.num_rows
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise LogError(
                self.path,
                found=f"{str(error).partition(chr(10))[0]:.200}",
                expected="values of one type in each column",
                todo="state the type in the stream's dtype, or correct the value",
            ) from error
        if self.malformed:
            detail = f"they have not {len(self.names)} values, as the header does"
            self._tell(LossKind.LOST, "row-malformed", self.malformed, detail)
        if text.escaped:
            detail = "they are not UTF-8; kept as escapes like \\xff"
            self._tell(LossKind.REPAIRED, "bytes-escaped", text.escaped, detail)
        if self.whole_bytes < self.path.stat().st_size:
            detail = (
                "the last line has no line end, so it may be cut in the middle of a number; it is "
                "left out. Append a line end if it is whole"
            )
            self._tell(LossKind.LOST, "line-unterminated", 1, detail)

    def _reader(self, text: _Beginning) -> Any:
        kinds = {name: pa.from_numpy_dtype(dtype) for name, dtype in self.dtypes.items() if dtype}
        return pc.open_csv(
            text,
            read_options=pc.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=pc.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=self._skip
            ),
            convert_options=pc.ConvertOptions(column_types=kinds, null_values=NULLS),
        )

    def _skip(self, row: Any) -> str:
        self.malformed += 1
        return "skip"

    def _tell(self, kind: LossKind, name: str, count: int, detail: str) -> None:
        self.report(Loss(kind=kind, name=name, path=str(self.path), count=count, detail=detail))

    def _damaged(self, error: Exception) -> DamagedLogError:
        return DamagedLogError(
            self.path,
            found=f"this is no table ({str(error).partition(chr(10))[0]:.200})",
            expected="CSV with a header and line ends",
            todo="copy the file again",
        )


class ParquetTable:
    """A Parquet file.

    Raises:
        DamagedLogError: it is none, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self.names = tuple(file.schema_arrow.names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(error) from error

    def frames(self) -> Iterator[Frame]:
        """All rows.

        Raises:
            DamagedLogError: a page of it cannot be read.
        """
        start = 0
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    yield _frame(self.path, batch, start)
                    start += batch.num_rows
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DamagedLogError:
        return DamagedLogError(
            self.path,
            found=f"this is no whole Parquet file ({str(error).partition(chr(10))[0]:.200})",
            todo="copy the file again",
        )


class _Beginning(io.RawIOBase):
    r"""The first bytes of a file, as UTF-8: bytes that are none become escapes like ``\xff``.

    PyArrow hands on rows that it cannot take as text, and stumbles where they are no UTF-8.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._file, self._left, self._ready = path.open("rb"), size, b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._added = 0

    @property
    def escaped(self) -> int:
        """How many bytes were no UTF-8."""
        return self._added // 3

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready and self._left:
            data = self._file.read(min(len(buffer), self._left))
            self._left = self._left - len(data) if data else 0
            self._ready = self._decoder.decode(data, final=not self._left).encode()
            self._added += len(self._ready) - len(data)
        data, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _last_line_end(path: Path) -> int:
    """Where the last line end ends; 0 where there is none."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at:
            begin = max(0, at - (1 << 16))
            file.seek(begin)
            chunk = file.read(at - begin)
            found = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            if found >= 0:
                return begin + found + 1
            at = begin
    return 0


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _frame(path: Path, batch: pa.RecordBatch, start: int) -> Frame:
    def column(name: str) -> Column:
        try:
            return column_of_arrow(batch.column(name))
        except (pa.ArrowException, ValueError, OverflowError) as error:  # dates beyond int64 ns
            raise DamagedLogError(
                path,
                found=f"column '{name}' holds what cannot be taken ({error!s:.100})",
                todo="leave the column out in the description, or copy the file again",
            ) from error

    return Frame(start, batch.num_rows, column)
