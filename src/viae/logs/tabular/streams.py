"""The columns of a stream as its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import LogError
from viae.logs.chop import MAX_BYTES, chop
from viae.logs.images import Look, look_at_image
from viae.logs.tabular.columns import Column, Frame, Holds
from viae.logs.tabular.description import StreamEntry
from viae.logs.tabular.sources import is_file
from viae.schema import Kind, Samples, StreamSpec, TimesNs

EXACT = 1 << 53
"""Whole numbers beyond this are not all floats."""


class _LostImageError(Exception):
    """An image cannot be taken; its text says why, the same for all of a kind."""


@dataclass(slots=True)
class Stream:
    """One stream while its table is read.

    Args:
        path: the table's file, for errors.
        entry: its description.
        columns: the columns it is made of.
        clock: of its capture times.
        base: the folder in which image files are named.
        root: the folder out of which they may not lead.
    """

    path: Path
    entry: StreamEntry
    columns: tuple[str, ...]
    clock: str
    base: Path
    root: Path
    spec: StreamSpec | None = None
    nulls: int = 0
    """Rows without a value."""
    images_lost: Counter[str] = field(default_factory=Counter)
    """Image files that could not be taken, by why."""

    def blocks(
        self, frame: Frame, capture_ns: TimesNs, arrival_ns: TimesNs, seq: TimesNs,
        kept: npt.NDArray[np.bool_],
    ) -> Iterator[Samples]:  # fmt: skip
        """The samples of some rows; ``kept`` says which have times and belong to the episode."""
        columns = [frame.column(name) for name in self.columns]
        kept = kept & self._chosen(frame)
        has = kept.copy()
        for column in columns:
            if column.valid is not None:
                has &= column.valid
        self.nulls += int(kept.sum() - has.sum())
        rows = np.flatnonzero(has)
        if not len(rows):
            return
        times = {"capture_ns": capture_ns[rows], "arrival_ns": arrival_ns[rows]}
        if self.entry.kind == "image":
            yield from self._images(columns[0], rows, times, seq[rows])
            return
        spec, values = self._values(columns, rows)
        if self.spec is None:
            self.spec = spec
        elif self.spec != spec:
            raise self._wrong(f"rows of {spec.kind} {spec.dtype}{list(spec.shape)}", str(self.spec))
        yield from chop(self.spec, **times, values=values, seq=seq[rows])

    def image_files(self, frame: Frame) -> Iterator[Path]:
        """The image files that some rows name and that are there."""
        column = frame.column(self.columns[0])
        if self.entry.kind == "image" and column.holds is Holds.TEXTS:
            for name in column.values:
                path = self._inside(name)
                if name and path is not None and is_file(path):
                    yield path

    def _chosen(self, frame: Frame) -> npt.NDArray[np.bool_]:
        chosen = np.ones(frame.rows, bool)
        for name, allowed in self.entry.where:
            column = frame.column(name)
            values = column.values
            if isinstance(values, np.ndarray):
                values = values.reshape(frame.rows, -1)[:, 0].tolist()
            chosen &= np.array([value in allowed for value in values], bool)
            if column.valid is not None:
                chosen &= column.valid
        return chosen

    def _values(self, columns: list[Column], rows: TimesNs) -> tuple[StreamSpec, Any]:
        holds = {column.holds for column in columns}
        if len(columns) == 1 and holds & {Holds.TEXTS, Holds.BYTES, Holds.LISTS}:
            [column] = columns
            values = [column.values[i] for i in rows.tolist()]
            if column.holds is Holds.LISTS:
                dtype = np.dtype(self.entry.dtype or values[0].dtype)
                values = [self._cast(value, dtype) for value in values]
                return self._spec(Kind.VECTOR, str(dtype), (-1,)), values
            if self.entry.dtype:
                raise self._wrong(column.holds.value, f"numbers, to be {self.entry.dtype}")
            return self._spec(
                Kind.TEXT if column.holds is Holds.TEXTS else Kind.BYTES, "", ()
            ), values
        if not holds <= {Holds.NUMBERS, Holds.TIMES}:
            found = ", ".join(sorted(hold.value for hold in holds))
            raise self._wrong(f"columns of {found} together", "columns of numbers, or a single one")
        arrays = [
            (column.values if column.values.ndim > 1 else column.values[:, None])[rows]
            for column in columns
        ]
        array = arrays[0] if len(arrays) == 1 else self._joined(arrays)
        array = self._cast(array, np.dtype(self.entry.dtype or array.dtype))
        return self._spec(Kind.VECTOR, str(array.dtype), array.shape[1:]), array

    def _joined(self, arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Columns side by side, in a dtype that holds them all exactly."""
        dtype = np.dtype(self.entry.dtype or np.result_type(*arrays))
        return np.concatenate([self._cast(array, dtype) for array in arrays], axis=-1)

    def _cast(self, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        if array.dtype == dtype:
            return array
        if dtype.kind == "f" and array.dtype.kind in "iu":
            exact = not len(array) or bool((np.abs(array.astype(np.float64)) <= EXACT).all())
        elif dtype.kind == "f":
            exact = True  # a shorter float is what was asked for
        else:
            with np.errstate(invalid="ignore"):
                exact = bool((array.astype(dtype) == array).all())
        if not exact:
            raise self._wrong(f"{array.dtype} numbers that {dtype} does not hold", "another dtype")
        return array.astype(dtype)

    def _spec(
        self, kind: Kind, dtype: str, shape: tuple[int, ...], encoding: str = ""
    ) -> StreamSpec:
        names = self.entry.names
        numbers = int(np.prod(shape)) if kind is Kind.VECTOR and -1 not in shape else 0
        if names and len(names) != numbers:
            raise self._wrong(f"{len(names)} names for samples of shape {shape}", "one for each")
        if not names and len(self.columns) == numbers > 1:
            names = self.columns
        return StreamSpec(
            name=self.entry.name, kind=kind, dtype=dtype, shape=shape, names=names,
            unit=self.entry.unit, role=self.entry.role, clock=self.clock,
            topic=",".join(self.columns) or self.entry.name, encoding=encoding,
        )  # fmt: skip

    def _images(
        self, column: Column, rows: TimesNs, times: dict[str, TimesNs], seq: TimesNs
    ) -> Iterator[Samples]:
        """The files that a column names, a block at a time."""
        if column.holds is not Holds.TEXTS:
            raise self._wrong(column.holds.value, "the names of image files")
        held: list[tuple[int, bytes]] = []
        for n, row in enumerate(rows.tolist()):
            try:
                held.append((n, self._image(column.values[row])))
            except _LostImageError as lost:
                self.images_lost[str(lost)] += 1
            if sum(len(data) for _, data in held) >= MAX_BYTES or n == len(rows) - 1:
                at = np.array([n for n, _ in held], np.int64)
                values = [data for _, data in held]
                if self.spec is not None:
                    cut = {key: value[at] for key, value in times.items()}
                    yield from chop(self.spec, **cut, values=values, seq=seq[at])
                held = []

    def _image(self, name: str) -> bytes:
        path = self._inside(name)
        if path is None:
            raise _LostImageError("they lead out of the root")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _LostImageError("there are no such files") from error
        look: Look | None = look_at_image(data)
        if look is None:
            raise _LostImageError("they are no images")
        encoding, dtype, shape = look
        spec = self._spec(Kind.IMAGE, dtype, shape, encoding)
        self.spec = self.spec or spec
        if spec != self.spec:
            raise _LostImageError(
                f"they are not {self.spec.encoding} {self.spec.shape}, as the first"
            )
        return data

    def _inside(self, name: str) -> Path | None:
        """The file of this name, unless it is outside the root or no name at all."""
        try:
            path = (self.base / name).resolve()
        except (OSError, ValueError):
            return None
        return path if path.is_relative_to(self.root) else None

    def _wrong(self, found: str, expected: str) -> LogError:
        return LogError(
            self.path, stream=self.entry.name, found=found, expected=expected,
            todo="correct the stream's columns or dtype in the description",
        )  # fmt: skip
