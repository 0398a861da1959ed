"""One episode of described tables: what is said of it, then its tables one after another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.logs.format import Item, LogEpisode, Statement, fingerprint_files
from viae.logs.tabular.columns import Frame, clean
from viae.logs.tabular.description import ABSENT, Said, StreamEntry, TableEntry
from viae.logs.tabular.records import MISSING, RecordTable, at_path, load_json
from viae.logs.tabular.sources import ARRIVAL, TIME, AbsentError, Place, Rows, is_file, open_table
from viae.logs.tabular.streams import Stream
from viae.logs.tabular.times import every, to_times
from viae.schema import Loss, LossKind, TimesNs


class TabularEpisode(LogEpisode):
    """One episode.

    Args:
        uri: the log.
        range_: its part of the log.
        place: where its files are.
        value: the `episode_name` of its rows; `MISSING` where there is no column of episodes.
        digests: of files, shared by the episodes of a log, so that each is read once.
    """

    def __init__(
        self, uri: str, range_: str, place: Place, value: Any, digests: dict[Path, str]
    ) -> None:
        self.uri, self.range = uri, range_
        self.place, self.value, self.digests = place, value, digests
        self.description = place.description

    def fingerprint(self) -> str:
        """Of all files that it is read from, and of the description but its root."""
        if self.place.record is not MISSING:
            parts = [json.dumps(self.place.record, sort_keys=True)]
        else:
            parts = [repr(self.value) if self.value is not MISSING else ""]
        for table in self.description.tables:
            from_record = self.place.record is not MISSING and not table.file
            parts += [
                self._digest(path) for path in self.place.files(table)
                if not (from_record and path == self.place.file)
            ]  # fmt: skip
            if any(stream.kind == "image" for stream in table.streams or ()):
                parts += [self._digest(path) for path in self._image_files(table)]
        parts += [
            self._digest(self.place.path(said.file)) for said in self.description.said if said.file
        ]
        return hashlib.blake2b(
            "\n".join([repr(self.description.salt), *parts]).encode("utf-8", "surrogatepass"),
            digest_size=16,
        ).hexdigest()

    def read(self) -> Iterator[Item]:
        """Statements, then each table.

        Raises:
            LogError: the description does not fit the files, or none of them can be read.
        """
        losses: list[Loss] = []
        for said in self.description.said:
            yield self._statement(said)
        steps = {table.place: table.time.every_s for table in self.description.tables}
        if assumed := {place: step_s for place, step_s in steps.items() if step_s is not None}:
            yield Statement(key="times", value={"source": "description", "step_s": assumed})
        read, error = 0, None
        for table in self.description.tables:
            try:
                path, rows = open_table(self.place, table, losses.append)
                yield from self._table(table, path, rows, losses)
                read += 1
            except AbsentError as absent:
                if not table.optional:
                    losses.append(self._loss("table-missing", table, f"{absent}; it is left out"))
            except (DamagedLogError, EmptyLogError) as damage:  # the other tables are kept
                error = damage
                losses.append(self._loss("table-unreadable", table, str(damage)))
            yield from losses
            losses.clear()
        if not read:
            raise error or LogError(
                self.uri, found=f"none of the tables of episode '{self.range}' is there",
                expected="at least one", todo="check root and the tables' files",
            )  # fmt: skip

    def _table(
        self, table: TableEntry, path: Path, rows: Rows, losses: list[Loss]
    ) -> Iterator[Item]:
        self._check_columns(table, path, rows)
        streams = [
            Stream(
                path=path, entry=entry, columns=_columns(entry, rows), clock=table.time.clock,
                base=self.place.base, root=self.place.root,
            )
            for entry in self._entries(table, rows)
        ]  # fmt: skip
        untimed, count = 0, 0
        for frame in rows.frames():
            mine = self._mine(frame)
            seq = count + np.cumsum(mine, dtype=np.int64) - 1
            capture_ns, arrival_ns, timed = self._times(table, path, frame, seq)
            untimed += int((mine & ~timed).sum())
            for stream in streams:
                yield from stream.blocks(frame, capture_ns, arrival_ns, seq, mine & timed)
            count += int(mine.sum())
        losses += self._said_at_the_end(table, path, rows, streams, untimed, count)

    def _said_at_the_end(
        self, table: TableEntry, path: Path, rows: Rows, streams: list[Stream], untimed: int,
        count: int,
    ) -> Iterator[Loss]:  # fmt: skip
        if table.time.every_s is not None and count:
            detail = (
                f"the description places rows {table.time.every_s} s apart; nothing holds times"
            )
            yield self._loss("times-absent", table, detail, LossKind.REPAIRED, count)
        if untimed:
            detail = "these rows have no time, or none that int64 nanoseconds hold; left out"
            yield self._loss("time-missing", table, detail, LossKind.SKIPPED, untimed)
        for stream in streams:
            name = stream.entry.name
            if stream.nulls and not stream.entry.nulls_are_meant:
                detail = "rows without a value; say nulls: skip where that is meant"
                yield self._loss(
                    "value-missing", table, detail, LossKind.SKIPPED, stream.nulls, name
                )
            for why, lost in stream.images_lost.items():
                detail = f"image files that {path} names: {why}"
                yield self._loss("image-missing", table, detail, LossKind.LOST, lost, name)
        if left := self._unnamed(table, rows, streams):
            names = ", ".join(left[:8]) + (", …" if len(left) > 8 else "")
            detail = f"the description does not name these columns: {names}. Name or ignore them"
            yield self._loss("columns-unnamed", table, detail, LossKind.SKIPPED, len(left))

    def _unnamed(self, table: TableEntry, rows: Rows, streams: list[Stream]) -> list[str]:
        """Columns that the description neither takes nor ignores."""
        if table.ignore is None:
            return []
        named = {table.time.column, table.time.arrival_column, TIME, ARRIVAL, *table.ignore}
        for stream in streams:
            named |= {*stream.columns, *(name for name, _ in stream.entry.where)}
        named |= {said.column for said in self.description.said}
        if self.description.grouping == "column":
            named.add(self.description.pattern)
        inside = tuple(name.partition(".")[0] for name in named)  # "info.cost" takes from "info"
        return [name for name in rows.names if name not in named and name not in inside]

    def _entries(self, table: TableEntry, rows: Rows) -> tuple[StreamEntry, ...]:
        """The streams described, or one for each column that is nothing else."""
        if table.streams is not None:
            return table.streams
        taken = {table.time.column, table.time.arrival_column, *(table.ignore or ())}
        if self.description.grouping == "column":
            taken.add(self.description.pattern)
        return tuple(StreamEntry(name=name) for name in rows.names if name not in taken)

    def _check_columns(self, table: TableEntry, path: Path, rows: Rows) -> None:
        """See that a table has the columns that the description names."""
        if isinstance(rows, RecordTable):
            return  # records need not all have the same fields; absent ones are counted
        wanted = [table.time.column, table.time.arrival_column]
        if self.description.grouping == "column":
            wanted.append(self.description.pattern)
        for entry in table.streams or ():
            wanted += [*_columns(entry, rows), *(name for name, _ in entry.where)]
        for name in filter(None, wanted):
            if name not in rows.names:
                raise LogError(
                    path, found=f"there is no column '{name}'",
                    expected=f"one of {', '.join(n for n in rows.names if n.isprintable()):.300}",
                    todo=f"correct {table.place} in {self.description.path}",
                )  # fmt: skip

    def _mine(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Which rows belong to this episode."""
        if self.value is MISSING:
            return np.ones(frame.rows, bool)
        values = episode_values(frame, self.description.pattern)
        return np.array([episode_name(value) == self.value for value in values], bool)

    def _times(
        self, table: TableEntry, path: Path, frame: Frame, seq: TimesNs
    ) -> tuple[TimesNs, TimesNs, npt.NDArray[np.bool_]]:
        """Capture and arrival of each row, and which rows have both."""
        time, place = table.time, f"{table.place}.time"
        if time.every_s is not None:
            times = every(time.every_s, seq)
            return times, times, np.ones(frame.rows, bool)
        column = frame.column(TIME if time.file else time.column)
        capture_ns, timed = to_times(path, place, column, time.unit)
        arrival_ns = capture_ns
        if time.arrival_column or time.arrival_file:
            column = frame.column(ARRIVAL if time.arrival_file else time.arrival_column)
            arrival_ns, arrived = to_times(path, f"{place}.arrival", column, time.unit)
            timed = timed & arrived
        return capture_ns, arrival_ns, timed

    def _statement(self, said: Said) -> Statement | Loss:
        found: Any = said.value
        where, why = said.path or said.column, "nothing is there"
        try:
            if said.path:
                found = at_path(self._tree(said), said.path)
            elif said.column:
                found = self._first(said.column)
        except DamagedLogError as error:
            found, why = MISSING, str(error)
        if found is MISSING:
            return Loss(
                kind=LossKind.LOST, name="statement-missing", path=self.uri, count=1,
                detail=f"statements.{said.key} is looked up at '{where}': {why} "
                f"(episode '{self.range}')",
            )  # fmt: skip
        if said.equals is not ABSENT:
            found = found == said.equals
        return Statement(key=said.key, value=clean(found) if isinstance(found, str) else found)

    def _tree(self, said: Said) -> Any:
        """The JSON in which a statement is looked up."""
        if said.file:
            path = self.place.path(said.file)
            return load_json(path) if is_file(path) else MISSING
        if self.place.record is not MISSING:
            return self.place.record
        if self.place.file is None:
            raise LogError(
                self.description.path, found=f"statements.{said.key}: a path without a file",
                expected="a file, where an episode is neither a file nor a record",
                todo="add file: to the statement",
            )  # fmt: skip
        return load_json(self.place.file)

    def _first(self, column: str) -> Any:
        """The value of a column in the first row of the episode, in the first table that has it."""
        for table in self.description.tables:
            try:
                _, rows = open_table(self.place, table, lambda loss: None)
            except (AbsentError, DamagedLogError, EmptyLogError):
                continue  # which reading the table says
            if column not in rows.names:
                continue
            for frame in rows.frames():
                if (mine := self._mine(frame)).any():
                    return episode_values(frame, column)[int(np.argmax(mine))]
        return MISSING

    def _image_files(self, table: TableEntry) -> Iterator[Path]:
        try:
            path, rows = open_table(self.place, table, lambda loss: None)
            for entry in table.streams or ():
                stream = Stream(
                    path=path, entry=entry, columns=_columns(entry, rows), clock="log",
                    base=self.place.base, root=self.place.root,
                )  # fmt: skip
                if entry.kind == "image":
                    for frame in rows.frames():
                        yield from stream.image_files(frame)
        except (AbsentError, LogError):
            return  # which reading the table says

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            self.digests[path] = fingerprint_files([path]) if is_file(path) else "absent"
        return self.digests[path]

    def _loss(
        self, name: str, table: TableEntry, detail: str, kind: LossKind = LossKind.LOST,
        count: int | None = None, stream: str = "",
    ) -> Loss:  # fmt: skip
        where = f" (episode '{self.range}')" if self.range else ""
        return Loss(
            kind=kind, name=name, path=self.uri, stream=stream, count=count,
            detail=f"{table.place} {table.file}: {detail}{where}",
        )  # fmt: skip


def episode_values(frame: Frame, name: str) -> list[Any]:
    """The values of a column as plain ones, None where a row has none."""
    column = frame.column(name)
    values = column.values
    if isinstance(values, np.ndarray):
        values = values.reshape(frame.rows, -1)[:, 0].tolist()
    if column.valid is None:
        return list(values)
    return [value if has else None for value, has in zip(values, column.valid, strict=True)]


def episode_name(value: Any) -> str:
    """A value of the column of episodes, the same for 7, 7.0 and "7"; empty where it names none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _columns(entry: StreamEntry, rows: Rows) -> tuple[str, ...]:
    """The columns of a stream; those of an array are chosen where it is mapped."""
    if entry.columns and not any(isinstance(column, int) for column in entry.columns):
        return tuple(str(column) for column in entry.columns)
    return (entry.name,)
