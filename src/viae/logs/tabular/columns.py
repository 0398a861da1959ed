"""A column in one form, whichever file it is from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import LogError
from viae.schema import Loss


class Holds(Enum):
    """What the values of a column are."""

    NUMBERS = "numbers"
    """An array [N, …]."""
    TIMES = "times"
    """An array int64 [N], ns since 1970."""
    LISTS = "lists of numbers"
    """N arrays of one dtype and any length."""
    TEXTS = "text"
    """N strings."""
    BYTES = "bytes"
    """N byte strings."""
    NOTHING = "nothing"
    """No row has a value."""


@dataclass(frozen=True, slots=True)
class Column:
    """Some rows of a column.

    Args:
        holds: what they are.
        values: one per row, whatever it is where a row has none.
        valid: bool [N], which rows have a value; None for all.
    """

    holds: Holds
    values: Any
    valid: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """Some rows of a table, one after another.

    Args:
        start: the number of the first.
        rows: how many there are.
        column: a column by name.
    """

    start: int
    rows: int
    column: Callable[[str], Column]


Report = Callable[[Loss], None]
"""Where readers tell what they could not take."""


def column_of_arrow(array: pa.Array) -> Column:
    """An Arrow array; what is neither numbers, dates, text nor bytes becomes JSON."""
    types, kind = pa.types, array.type
    if types.is_dictionary(kind):
        return column_of_arrow(array.dictionary_decode())
    valid = None
    if array.null_count:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), bool)
    if array.null_count == len(array):
        return Column(Holds.NOTHING, [None] * len(array), np.zeros(len(array), bool))
    if found := _numbers_of(array) or _lists_of(array):
        return Column(*found, valid)
    values = array.to_pylist()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return Column(Holds.BYTES, [value or b"" for value in values], valid)
    return Column(Holds.TEXTS, ["" if value is None else _text(value) for value in values], valid)


def _numbers_of(array: pa.Array) -> tuple[Holds, Any] | None:
    kind = array.type
    if pa.types.is_timestamp(kind):
        nanoseconds = array.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64())
        return Holds.TIMES, _numpy(nanoseconds)
    if pa.types.is_decimal(kind):
        return Holds.NUMBERS, _numpy(array.cast(pa.float64()))
    return (Holds.NUMBERS, _numpy(array)) if _is_number(kind) else None


def _lists_of(array: pa.Array) -> tuple[Holds, Any] | None:
    """Lists of numbers: rows of an array where the schema says that all have one length."""
    kind = array.type
    fixed = pa.types.is_fixed_size_list(kind)
    if not (fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return None
    inner = array.flatten()
    if not _is_number(kind.value_type) or inner.null_count:
        return None
    if fixed and not array.null_count:
        return Holds.NUMBERS, _numpy(inner).reshape(len(array), kind.list_size)
    dtype = kind.value_type.to_pandas_dtype()
    return Holds.LISTS, [np.array(value or [], dtype) for value in array.to_pylist()]


def column_of_values(values: Sequence[Any]) -> Column:
    """Values from JSON; null, and what was never there, are no values."""
    present = np.array([value is not None for value in values], bool)
    valid = None if present.all() else present
    here = [value for value in values if value is not None]
    if not here:
        return Column(Holds.NOTHING, values, present)
    kinds = {type(value) for value in here}
    if kinds == {list} and (lists := _lists(values)):
        if valid is None and len({len(one) for one in lists}) == 1:
            return Column(Holds.NUMBERS, np.array(lists))
        return Column(Holds.LISTS, lists, valid)
    fill = False if kinds == {bool} else 0
    if numbers := _lists([[fill if value is None else value for value in values]]):
        return Column(Holds.NUMBERS, numbers[0], valid)
    return Column(Holds.TEXTS, ["" if value is None else _text(value) for value in values], valid)


def column_of_numpy(path: Any, array: npt.NDArray[Any]) -> Column:
    """A NumPy array, a row per value of its first dimension.

    Raises:
        LogError: it holds neither numbers nor text nor bytes.
    """
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        native = array.dtype.newbyteorder("=")
        rows = array.reshape(len(array), -1) if array.ndim == 1 else array
        return Column(Holds.NUMBERS, rows.astype(native, copy=False))
    if array.dtype.kind == "S" and array.ndim == 1:  # with its trailing zeros, which NumPy hides
        size = array.dtype.itemsize
        flat = np.ascontiguousarray(array).tobytes()
        return Column(Holds.BYTES, [flat[i : i + size] for i in range(0, len(flat), size)])
    if array.dtype.kind == "U" and array.ndim == 1:
        return Column(Holds.TEXTS, array.tolist())
    if array.dtype.kind == "M" and array.ndim == 1:
        times = array.astype("datetime64[ns]")
        return Column(Holds.TIMES, times.astype(np.int64), ~np.isnat(times))
    raise LogError(
        path, found=f"an array {array.dtype}{list(array.shape)}",
        expected="numbers of at most 64 bits, or one dimension of text, bytes or dates",
        todo="convert it",
    )  # fmt: skip


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    """Numbers of an Arrow array, 0 where there are none."""
    filled = array.fill_null(False if pa.types.is_boolean(array.type) else 0)
    numbers: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return numbers


def _lists(values: Sequence[Any]) -> list[npt.NDArray[Any]] | None:
    """Lists as arrays of one dtype; None where they hold something else than 64-bit numbers."""
    items = [item for value in values for item in value or ()]
    kinds = {type(item) for item in items}
    if not items or not (kinds <= {int, float} or kinds == {bool}):
        return None
    dtype = bool if kinds == {bool} else float if float in kinds else np.int64
    try:
        return [np.array(value or [], dtype) for value in values]
    except OverflowError:
        return None


def _text(value: Any) -> str:
    """Anything else, as JSON."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return clean(json.dumps(value, default=str, ensure_ascii=False))


def clean(text: str) -> str:
    """Text that is UTF-8: half a surrogate pair, which JSON can hold, stays an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
