"""From a table's entry to its rows, whichever format its files have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.logs.tabular.arrays import MAGIC as NPY_MAGIC
from viae.logs.tabular.arrays import map_array
from viae.logs.tabular.columns import Column, Frame, Report, column_of_numpy
from viae.logs.tabular.description import Description, TableEntry
from viae.logs.tabular.records import MISSING, RecordTable, at_path, load_json, load_lines
from viae.logs.tabular.tables import CsvTable, ParquetTable
from viae.schema import Loss, LossKind

SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet", ".npy": "npy",
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
TIME, ARRIVAL = "\0time", "\0arrival"
"""Columns of NPY tables that are no stream's."""
ARRAY_ROWS = 4096


class AbsentError(Exception):
    """A table, or the rows in it, are not there; its text says which."""


class Rows(Protocol):
    """An opened table."""

    names: tuple[str, ...]

    def frames(self) -> Iterator[Frame]:
        """All rows, some at a time; again from the start each time."""


@dataclass(slots=True, kw_only=True)
class Place:
    """Where the files of one episode are.

    Args:
        description: of all.
        base: the folder from which files are named.
        file: the file that the episode is, or its record is in; None where there is none.
        record: the record that the episode is; `MISSING` where it is none.
    """

    description: Description
    base: Path
    file: Path | None = None
    record: Any = MISSING
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.description.root.resolve()

    def path(self, name: str) -> Path:
        """A file by its name in the description.

        Raises:
            LogError: it leads out of the root.
        """
        path = self.base / name
        if not Path(name).is_absolute() and not path.resolve().is_relative_to(self.root):
            raise LogError(
                self.description.path,
                found=f"'{name}' leads out of the root, to {path.resolve()}",
                expected=f"files below {self.root}",
                todo="set root higher, or name the file by its absolute path",
            )
        return path

    def files(self, table: TableEntry) -> list[Path]:
        """Every file that a table names."""
        names = [table.file, table.time.file, table.time.arrival_file]
        names += [stream.file for stream in table.streams or ()]
        paths = [self.path(name) for name in dict.fromkeys(names) if name]
        return paths if table.file or self.file is None else [self.file, *paths]


def open_table(place: Place, entry: TableEntry, report: Report) -> tuple[Path, Rows]:
    """A table, and the file that errors in it name.

    Raises:
        AbsentError: it is not there.
        DamagedLogError: a file of it cannot be read.
        LogError: it is not what the description says.
    """
    own = [stream.file for stream in entry.streams or () if stream.file]
    path = place.path(entry.file or own[0]) if entry.file or own else place.file
    if path is None:
        raise LogError(place.description.path, found=f"{entry.place}: no file", expected="a file")
    if place.record is not MISSING and not entry.file and not own:
        return path, _records(place.record, entry, path)
    for file in place.files(entry):
        if not is_file(file):
            raise AbsentError(f"there is no file {file}")
        if not file.stat().st_size:
            raise EmptyLogError(file, found="the file holds no bytes", todo="copy it again")
    format_ = entry.format or _format_of(path, place.description.path, entry)
    beside = own or entry.time.file or entry.time.arrival_file
    if format_ != "npy" and beside:
        raise LogError(
            place.description.path,
            found=f"{entry.place}: a {format_} table with files of its own for times or streams",
            expected="columns of the one file; only NPY tables have several",
            todo="name columns instead",
        )
    match format_:
        case "npy":
            return path, _ArrayTable(place, entry, report)
        case "csv" | "tsv":
            dtypes = _dtypes(entry)
            return path, CsvTable(path, "," if format_ == "csv" else "\t", dtypes, report)
        case "parquet":
            return path, ParquetTable(path)
        case "jsonl":
            return path, _records(load_lines(path, report), entry, path)
        case _:
            return path, _records(load_json(path), entry, path)


def is_file(path: Path) -> bool:
    """Whether there is such a file; no name that the system refuses is one."""
    try:
        return path.is_file()
    except OSError:
        return False


def _records(tree: Any, entry: TableEntry, path: Path) -> RecordTable:
    found = at_path(tree, entry.rows)
    if found is MISSING:
        raise AbsentError(f"nothing is at '{entry.rows}' in {path}")
    if isinstance(found, Mapping):
        return RecordTable([found])
    if isinstance(found, list):
        return RecordTable(found)
    raise LogError(
        path,
        found=f"a {type(found).__name__} at '{entry.rows}'",
        expected="a list of rows",
        todo=f"correct {entry.place}.rows in the description",
    )


def _dtypes(entry: TableEntry) -> dict[str, str]:
    """The dtypes that streams state, by column."""
    return {
        str(column): stream.dtype
        for stream in entry.streams or ()
        for column in stream.columns or (stream.name,)
        if stream.dtype
    }


def _format_of(path: Path, description: Path, entry: TableEntry) -> str:
    """By the name, else by the first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    with path.open("rb") as file:
        head = file.read(64)
    for magic, format_ in ((NPY_MAGIC, "npy"), (b"PAR1", "parquet")):
        if head.startswith(magic):
            return format_
    if head.lstrip()[:1] in (b"{", b"["):
        return "json"
    if not head.strip(b"\0"):  # what a lost disk block leaves: no description can help it
        raise DamagedLogError(path, found="it begins with zeros", todo="copy the file again")
    raise LogError(
        description,
        found=f"{entry.place}: nothing tells the format of {path}, which begins with {head[:8]!r}",
        expected="format: csv, tsv, parquet, npy, json or jsonl",
        todo="state the table's format",
    )


class _ArrayTable:
    """Arrays that have a row per time, each in a file; a stream's column has the stream's name."""

    def __init__(self, place: Place, entry: TableEntry, report: Report) -> None:
        self.place, self.entry = place, entry
        if entry.streams is None:
            raise self._wrong("streams: all", "named streams, because arrays have no names")
        if entry.time.column or entry.time.arrival_column:
            raise self._wrong("a column of times", "time.file, because arrays have no columns")
        files: dict[str, tuple[str, tuple[str | int, ...]]] = {
            stream.name: (stream.file or entry.file, stream.columns) for stream in entry.streams
        }
        for name, file in ((TIME, entry.time.file), (ARRIVAL, entry.time.arrival_file)):
            if file:
                files[name] = (file, ())
        for stream in entry.streams:
            if stream.where:
                raise self._wrong(f"where in stream {stream.name}", "none, arrays have no columns")
        default = str(place.file) if place.file else ""
        self.arrays = {
            name: self._select(map_array(place.path(file or default), report), columns, name)
            for name, (file, columns) in files.items()
        }
        self.names = tuple(self.arrays)
        lengths = {name: len(array) for name, array in self.arrays.items()}
        self.rows = min(lengths.values())
        for name, length in lengths.items():
            if length > self.rows:
                what = "times" if name in (TIME, ARRIVAL) else f"values of '{name}'"
                detail = f"{length} {what}, but only {self.rows} rows are in all files of the table"
                report(
                    Loss(
                        kind=LossKind.LOST,
                        name="length-differs",
                        count=length - self.rows,
                        path=str(place.path(files[name][0] or default)),
                        detail=detail,
                        stream="" if name in (TIME, ARRIVAL) else name,
                    )
                )

    def frames(self) -> Iterator[Frame]:
        for start in range(0, self.rows, ARRAY_ROWS):
            rows = min(ARRAY_ROWS, self.rows - start)
            yield Frame(start, rows, self._part(slice(start, start + rows)))

    def _part(self, rows: slice) -> Any:
        def column(name: str) -> Column:
            return column_of_numpy(self.place.description.path, np.asarray(self.arrays[name][rows]))

        return column

    def _select(
        self, array: npt.NDArray[Any], columns: tuple[str | int, ...], name: str
    ) -> npt.NDArray[Any]:
        if not columns:
            return array
        numbers = [column for column in columns if isinstance(column, int)]
        fits = array.ndim == 2 and all(0 <= number < array.shape[1] for number in numbers)
        if len(numbers) != len(columns) or not fits:
            raise self._wrong(
                f"columns {list(columns)} of stream {name}, shape {list(array.shape)}",
                "numbers of columns of an array of two dimensions",
            )
        chosen: npt.NDArray[Any] = array[:, numbers]
        return chosen

    def _wrong(self, found: str, expected: str) -> LogError:
        return LogError(
            self.place.description.path, found=f"{self.entry.place}: {found}", expected=expected,
            todo="correct the description",
        )  # fmt: skip
