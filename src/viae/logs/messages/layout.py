"""Where the fields of ROS messages lie, so that a run of messages is read by column.

A message's layout follows from its type and from the lengths of its strings and arrays. Messages of
equal lengths have equal layouts: the first is walked, the others are compared with it at the places
of the lengths, and the columns are cut from all of them at once. Whatever has no column of its own
(arrays of strings or messages) must be equal, byte for byte, over the run. A message that differs
starts the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from viae.logs.messages.batch import Messages
from viae.logs.messages.shape import FieldPath, UnfitError

HEADER = 4
"""Bytes before a CDR message; the second says its byte order."""

SHORTEST_RUN = 4
"""Messages in a run that is worth a walk; fewer are decoded one by one."""

MOST_SHORT_RUNS = 8
"""Short runs in one batch after which the rest is decoded one by one."""

Column: TypeAlias = npt.NDArray[Any] | list[str] | list[bytes]
"""A leaf over a run: numbers [M] or [M, K], strings, byte strings."""


@dataclass(frozen=True, slots=True)
class Same:
    """A field without a column of its own, equal in all messages of a run."""


Run: TypeAlias = tuple[int, int, dict[FieldPath, Column | Same] | None]
"""First message, last message + 1, and the columns by path; None where there are none."""

NUMPY = {
    "bool": "?", "byte": "u1", "char": "u1", "octet": "u1", "float32": "f4", "float64": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8",
}  # fmt: skip
TIMES = frozenset({"builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field of fixed place: ``count`` numbers, text or bytes; count None is one number."""

    offset: int
    dtype: str
    count: int | None = None
    is_text: bool = False
    is_blob: bool = False
    is_time: bool = False

    @property
    def end(self) -> int:
        """Where it ends."""
        count = 1 if self.count is None else self.count
        return self.offset + count * np.dtype(self.dtype).itemsize


@dataclass(slots=True)
class Layout:
    """Where everything lies in a message of this length, from its first byte."""

    size: int
    leaves: dict[FieldPath, Leaf] = field(default_factory=dict)
    same: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of bytes that messages of this layout share."""


def is_little(data: bytes) -> bool:
    """Whether a CDR message is little-endian.

    Raises:
        UnfitError: its header is not that of plain CDR.
    """
    if len(data) < HEADER or data[0] or data[1] > 1:
        raise UnfitError(f"its first bytes {data[:HEADER]!r} are not those of plain CDR")
    return bool(data[1])


class Layouts:
    """Cuts the messages of one type into runs of one layout.

    Args:
        store: the types.
        name: this one's.
        is_cdr: whether the messages are CDR; else ROS 1.
    """

    def __init__(self, store: Typestore, name: str, *, is_cdr: bool) -> None:
        self._store, self._name, self._is_cdr = store, name, is_cdr
        self._last: Layout | None = None
        self._first = np.empty(0, np.uint8)  # a message of that layout

    def runs(self, messages: Messages, paths: list[FieldPath]) -> Iterator[Run]:
        """The messages in order, in runs; see `Run`."""
        sizes = messages.ends - messages.starts
        start, short = 0, 0
        while start < len(messages):
            if short > MOST_SHORT_RUNS:
                yield start, len(messages), None
                return
            differs = np.flatnonzero(sizes[start:] != sizes[start])
            end = start + (int(differs[0]) if len(differs) else len(sizes) - start)
            run = messages[start:end]
            rows = _matrix(run)
            layout, count = self._match(run, rows)
            if layout is None or count < SHORTEST_RUN:
                short += 1
                yield start, start + max(count, 1), None
            else:
                cut = {path: _cut(layout, path, rows[:count]) for path in paths}
                columns = {path: column for path, column in cut.items() if column is not None}
                yield start, start + count, columns if len(columns) == len(cut) else None
            start += max(count, 1)

    def _match(self, run: Messages, rows: npt.NDArray[np.uint8]) -> tuple[Layout | None, int]:
        """The layout of the first message, and how many of the run share it."""
        if self._last and self._last.size == rows.shape[1]:
            count = _alike(self._last, rows, self._first)
            if count:
                return self._last, count
        data = rows[0].tobytes()
        try:
            layout = _Walk(self._store, data, is_cdr=self._is_cdr).message(self._name)
        except (ValueError, IndexError, UnfitError):
            return None, 1
        self._last, self._first = layout, rows[0].copy()
        return layout, _alike(layout, rows, self._first)


def _matrix(run: Messages) -> npt.NDArray[np.uint8]:
    """uint8 [M, size]: the messages, which are of one size; a view where they are evenly spaced."""
    size = int(run.ends[0] - run.starts[0])
    steps = np.diff(run.starts)
    if len(steps) and (steps == steps[0]).all() and steps[0] >= size:
        return np.ndarray(
            (len(run), size), np.uint8, run.buffer, int(run.starts[0]), (int(steps[0]), 1)
        )
    return np.frombuffer(b"".join(run.data()), np.uint8).reshape(len(run), size)


def _alike(layout: Layout, rows: npt.NDArray[np.uint8], first: npt.NDArray[np.uint8]) -> int:
    """How many of the first rows share what a layout says they share."""
    alike = np.ones(len(rows), bool)
    for start, end in layout.same:
        alike &= (rows[:, start:end] == first[start:end]).all(axis=1)
    return len(rows) if alike.all() else int(np.argmin(alike))


def _cut(layout: Layout, path: FieldPath, rows: npt.NDArray[np.uint8]) -> Column | Same | None:
    """One column; None where a text is no UTF-8."""
    leaf = layout.leaves.get(path)
    if leaf is None:
        return Same()
    cut = np.ascontiguousarray(rows[:, leaf.offset : leaf.end])
    if leaf.is_text:
        return _texts(cut)
    if leaf.is_blob:
        return [row.tobytes() for row in cut]
    dtype = np.dtype(leaf.dtype)
    count = 1 if leaf.count is None else leaf.count
    if leaf.is_time:  # seconds are signed, nanoseconds are not
        pairs = cut.view(dtype)
        seconds = pairs[:, 0].view(dtype.str.replace("u", "i")).astype(np.int64)
        return np.asarray(seconds * 1_000_000_000 + pairs[:, 1], np.int64)
    numbers: npt.NDArray[Any] = np.empty((len(rows), 0), dtype)
    if count:
        numbers = cut.view(dtype).reshape(len(rows), count)
    numbers = numbers.astype(dtype.newbyteorder("="), copy=False)
    return numbers if leaf.count is not None else numbers[:, 0]


def _texts(cut: npt.NDArray[np.uint8]) -> list[str] | None:
    try:
        if (cut == cut[0]).all():
            return [cut[0].tobytes().decode()] * len(cut)
        return [row.tobytes().decode() for row in cut]
    except UnicodeDecodeError:
        return None


class _Walk:
    """One message, walked field by field."""

    def __init__(self, store: Typestore, data: bytes, *, is_cdr: bool) -> None:
        self._store, self._data, self._is_cdr = store, data, is_cdr
        self._origin = HEADER if is_cdr else 0
        self._order = "<" if not is_cdr or is_little(data) else ">"
        self._at = self._origin
        self._layout = Layout(len(data))
        if is_cdr:
            self._layout.same.append((0, 2))

    def message(self, name: str) -> Layout:
        """The layout of a message of this type."""
        self._struct(name, (), leaves=True)
        padding = 3 if self._is_cdr else 0
        if not self._at <= len(self._data) <= self._at + padding:
            raise UnfitError(f"it has {len(self._data)} bytes; its type takes {self._at}")
        return self._layout

    def _struct(self, name: str, path: FieldPath, *, leaves: bool) -> None:
        for field_name, (kind, of) in self._store.fielddefs[name][1]:
            self._field(kind, of, (*path, field_name), leaves=leaves)

    def _field(self, kind: Nodetype, of: Any, path: FieldPath, *, leaves: bool) -> None:
        if kind is Nodetype.NAME:
            if of in TIMES:
                start = self._numbers("u4", 2)
                self._leaf(path, Leaf(start, self._order + "u4", 2, is_time=True), leaves)
            else:
                self._struct(of, path, leaves=leaves)
        elif kind is Nodetype.BASE and of[0] not in NUMPY:
            size = self._length()
            text = size - 1 if self._is_cdr and size else size  # CDR counts the closing zero
            self._leaf(path, Leaf(self._at, "u1", text, is_text=True), leaves)
            self._skip(size)
        elif kind is Nodetype.BASE:
            start = self._numbers(NUMPY[of[0]], 1)
            self._leaf(path, Leaf(start, self._order + NUMPY[of[0]]), leaves)
        else:
            self._array(kind, of, path, leaves=leaves)

    def _array(self, kind: Nodetype, of: Any, path: FieldPath, *, leaves: bool) -> None:
        (inner, item), size = of
        begin = self._at
        count = size if kind is Nodetype.ARRAY else self._length()
        if inner is Nodetype.BASE and item[0] in NUMPY:
            dtype = NUMPY[item[0]]
            start = self._numbers(dtype, count)
            is_blob = kind is Nodetype.SEQUENCE and dtype == "u1"
            self._leaf(path, Leaf(start, self._order + dtype, count, is_blob=is_blob), leaves)
            return
        if count > len(self._data):
            raise UnfitError(f"it claims {count} items in {len(self._data)} bytes")
        for _ in range(count):
            self._field(inner, item, path, leaves=False)
        if leaves:
            self._layout.same.append((begin, self._at))

    def _leaf(self, path: FieldPath, leaf: Leaf, leaves: bool) -> None:
        if leaves:
            self._layout.leaves[path] = leaf

    def _length(self) -> int:
        start = self._numbers("u4", 1)
        self._layout.same.append((start, self._at))
        return int(np.frombuffer(self._data, self._order + "u4", 1, start)[0])

    def _numbers(self, dtype: str, count: int) -> int:
        """Step over numbers; where they begin."""
        item = np.dtype(dtype).itemsize
        if self._is_cdr and count:
            self._skip(-(self._at - self._origin) % item)
        start = self._at
        self._skip(item * count)
        return start

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise UnfitError(f"it has {len(self._data)} bytes; its type takes {self._at} or more")
