"""One array of an episode, read slice by slice: what can be read is kept, the rest is counted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.logs.arrays.clock import Clock
from viae.logs.arrays.forms import Array, Form, Forms, forms_of
from viae.logs.arrays.names import is_next
from viae.logs.format import Item, Statement
from viae.schema import Loss, LossKind, Samples

BLOCK_SAMPLES = 4096
BLOCK_BYTES = 1 << 20
OBJECTS_AT_ONCE = 64
"""Rows of a dtype that does not say how large its values are."""

MAX_AT_ONCE = 1 << 29
"""Bytes of the largest row or chunk that is decoded; more is skipped, with a loss."""

MAX_FAILURES = 2048
"""Failed reads of one array after which the rest of it is given up: time is bounded, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Rows that an array declares and its file does not hold."""

    start: int
    stop: int
    name: str
    detail: str


class Column(ABC):
    """One array of an episode: [rows, *shape].

    Subclasses set the attributes and read. ``read`` may raise anything: its rows are then lost.
    """

    path: str
    """Below the episode; the stream's name."""
    topic: str
    """Where in the log, equal for all episodes of a log."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of one row."""
    rows: int
    chunk_rows: int = 1
    """Rows that are decoded together, 1 where any can be read alone."""
    cut_short: bool = False
    """Whether the episode has more rows than the array, which holds its first ones."""
    chunk_start: int = 0
    """Rows into its first chunk at which the episode begins."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Array:
        """Rows start to stop."""

    def refusal(self) -> tuple[str, str] | None:
        """Why nothing of it can be taken, as the name of a loss and a sentence."""
        return None

    def gaps(self) -> Iterable[Gap | Loss]:
        """Rows that are not there, in order and apart; a loss where something is to be said."""
        return ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, of pointers where the values are elsewhere."""
        return int(self.dtype.itemsize) * math.prod(self.shape)

    def too_large(self) -> tuple[str, str] | None:
        """The refusal of an array whose smallest readable piece does not fit into memory."""
        piece = self.row_bytes * max(1, min(self.chunk_rows, self.rows))
        if piece <= MAX_AT_ONCE:
            return None
        return "too-large", (
            f"rows of shape {list(self.shape)} in chunks of {self.chunk_rows} would take {piece:,} "
            f"bytes at once, and {MAX_AT_ONCE:,} is the limit; write it again in smaller chunks"
        )


@dataclass(slots=True, kw_only=True)
class Tally:
    """Losses of one file, added up by name and stream."""

    path: str
    found: dict[tuple[LossKind, str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: LossKind, name: str, stream: str, count: int, detail: str) -> None:
        """Count rows; the first detail stays."""
        before, first = self.found.get((kind, name, stream), (0, detail))
        self.found[kind, name, stream] = (before + count, first)

    def losses(self) -> Iterator[Loss]:
        """One loss per name and stream."""
        for (kind, name, stream), (count, detail) in self.found.items():
            yield Loss(
                kind=kind, name=name, path=self.path, stream=stream, count=count, detail=detail
            )


def read_column(column: Column, clock: Clock, path: str, prefix: str) -> Iterator[Item]:
    """All of an array: its blocks, its facts, its losses.

    Args:
        column: the array.
        clock: the times of its rows.
        path: the file, for losses.
        prefix: what keys of statements begin with.
    """
    tally = Tally(path=path)
    if refused := refusal_of(column):
        name, detail = refused
        tally.add(LossKind.SKIPPED, name, column.path, column.rows, detail)
        yield from tally.losses()
        return
    forms: Forms | None = None
    ahead = int(is_next(column.path))
    for start, rows in read_slices(column, tally):
        if forms is None:
            forms = forms_of(column.path, column.topic, rows)
            for name, stream, detail in forms.skipped:
                tally.add(LossKind.SKIPPED, name, stream, column.rows, detail)
            for stream, names in forms.facts.items():
                yield Statement(key=f"{prefix}.{stream}.names", value=dict(names))
        times_ns, known = clock.at(start, start + len(rows), ahead=ahead)
        for form in forms.forms:
            yield from _blocks(form, rows, start, times_ns, known, tally)
    yield from tally.losses()


def refusal_of(column: Column) -> tuple[str, str] | None:
    """Why an array is not read at all, by its declaration alone."""
    if not column.rows:
        return "no-rows", "it is declared with no rows"
    if 0 in column.shape:
        return "zero-width", f"its rows have shape {list(column.shape)}: there are no values in it"
    return column.too_large() or column.refusal()


def read_slices(column: Column, tally: Tally) -> Iterator[tuple[int, Array]]:
    """What can be read of an array, about a megabyte or a chunk at a time; the rest is tallied."""
    rows = BLOCK_BYTES // max(1, column.row_bytes)
    if column.dtype.hasobject or column.dtype.kind == "T":
        rows = min(rows, OBJECTS_AT_ONCE)
    unit = min(max(1, rows), BLOCK_SAMPLES)
    unit = max(1, unit // column.chunk_rows) * column.chunk_rows  # whole chunks
    failures = 0
    for start, stop in _whole(column, tally):
        at = start
        end = min(stop, _next_border(column, at, unit))
        while at < stop:
            try:
                if failures >= MAX_FAILURES:
                    raise OSError(f"{failures} reads had failed, and the rest was not tried")
                values = column.read(at, end)
            except Exception as error:  # what a decoder raises on damaged bytes is anything
                failures += 1
                border = _next_border(column, at, column.chunk_rows)
                if failures >= MAX_FAILURES:
                    border = end = stop
                if end > border:  # try the first chunk alone, then twice as much at a time
                    end = border
                    continue
                detail = f"row {at} cannot be read ({_first_line(error)})"
                tally.add(LossKind.LOST, "rows-damaged", column.path, end - at, detail)
                at = end
                end = min(stop, _next_border(column, at, column.chunk_rows))
                continue
            yield at, values
            at, grown = end, max(column.chunk_rows, 2 * (end - at))
            end = min(stop, _next_border(column, at, min(unit, grown)))


def _whole(column: Column, tally: Tally) -> Iterator[tuple[int, int]]:
    """Runs of rows that are there."""
    at = 0
    try:
        gaps = list(column.gaps())
    except Exception as error:  # the index of the array's chunks is damaged
        detail = f"what of it is stored cannot be found out ({_first_line(error)})"
        tally.add(LossKind.LOST, "rows-damaged", column.path, column.rows, detail)
        return
    for gap in gaps:
        if isinstance(gap, Loss):
            tally.add(gap.kind, gap.name, column.path, gap.count or 0, gap.detail)
            continue
        if gap.start > at:
            yield at, gap.start
        tally.add(LossKind.LOST, gap.name, column.path, gap.stop - gap.start, gap.detail)
        at = gap.stop
    if at < column.rows:
        yield at, column.rows


def _next_border(column: Column, at: int, rows: int) -> int:
    """Where to read to, so that the next read begins with a chunk."""
    inside = (at + column.chunk_start) % column.chunk_rows
    return at - inside + max(rows, column.chunk_rows)


def _blocks(
    form: Form,
    rows: Array,
    start: int,
    times_ns: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_] | None,
    tally: Tally,
) -> Iterator[Samples]:
    spec = form.spec
    values, unfit = form.convert(rows)
    keep = np.ones(len(rows), bool)
    for i, why in unfit:
        keep[i] = False
        tally.add(LossKind.LOST, "value-damaged", spec.name, 1, f"row {start + i}: {why}")
    if known is not None and not known.all():
        detail = "the times of these rows cannot be read, and none were invented"
        tally.add(LossKind.LOST, "times-damaged", spec.name, int((keep & ~known).sum()), detail)
        keep &= known
    (kept,) = np.nonzero(keep)
    by_array = isinstance(values, np.ndarray)
    sizes = (
        np.full(len(kept), values[:1].nbytes)
        if by_array
        else np.array([_size(values[i]) for i in kept], np.int64)
    )
    for block in _split(kept, sizes):
        yield Samples(
            spec=spec,
            capture_ns=times_ns[block],
            arrival_ns=times_ns[block],
            seq=block + start,
            values=values[block] if by_array else [values[i] for i in block],
        )


def _split(kept: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Iterator[Any]:
    """Runs of at most a block's samples and about its bytes, and at least one sample."""
    if not len(kept):
        return
    ends = np.cumsum(sizes)
    start = 0
    while start < len(kept):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + BLOCK_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + BLOCK_SAMPLES)
        yield kept[start:stop]
        start = stop


def _size(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else len(value)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.160}"
