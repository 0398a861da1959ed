"""Table columns to values of streams, by what a feature is declared to be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from viae.logs.images import look_at_image
from viae.schema import Kind, Role, StreamSpec, Values

BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that say when and where a frame is; they become times, order and task, not streams."""

OUTCOMES = ("next.", "reward", "success", "done", "return")

VARIES = (-1,)


class ColumnError(ValueError):
    """A column that is not what its feature says: what was found, what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of ``features``, or a column that has none.

    Args:
        name: the column, or the video's key.
        dtype: ``"video"``, ``"image"``, ``"string"`` or a NumPy name.
        shape: shape of one frame's value.
        names: one per element of the flattened value, or empty.
        codec: the codec that a video is declared to have, or empty.
        size: the height and width that a video is declared to have, if it is.
        rate_hz: the frames per second that a video is declared to have, if it is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    codec: str = ""
    size: tuple[int, int] | None = None
    rate_hz: float | None = None

    @property
    def role(self) -> Role:
        """By LeRobot's naming convention."""
        if self.name.startswith("action"):
            return Role.ACTION
        return Role.OUTCOME if self.name.startswith(OUTCOMES) else Role.OBSERVATION

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Feature:
        """From its entry in ``info.json``."""
        dtype, said = str(fields["dtype"]), fields.get("names")
        shape = tuple(int(size) for size in fields["shape"])
        names = tuple(_flatten(said))
        if dtype not in ("video", "image"):
            fits = len(names) == math.prod(shape)
            return cls(name=name, dtype=dtype, shape=shape, names=names if fits else ())
        info = fields.get("info") or fields.get("video_info") or {}
        high, wide = info.get("video.height"), info.get("video.width")
        rate_hz = info.get("video.fps")
        return cls(
            name=name,
            dtype=dtype,
            shape=shape,
            codec=str(info.get("video.codec") or ""),
            size=(int(high), int(wide)) if high and wide else _size(shape, names),
            rate_hz=float(rate_hz) if isinstance(rate_hz, int | float) else None,
        )

    @classmethod
    def from_arrow(cls, name: str, column: pa.DataType) -> Feature | None:
        """From a column's type alone; None where viae has no kind of stream for it."""
        if _is_text(column):
            return cls(name=name, dtype="string", shape=(1,))
        if pa.types.is_struct(column):
            dtype = STRUCTS.get(frozenset(field.name for field in column))
            return cls(name=name, dtype=dtype, shape=()) if dtype else None
        sizes, inner = _sizes(column)
        known = pa.types.is_integer(inner) or pa.types.is_floating(inner) or inner == pa.bool_()
        if not known or (-1 in sizes and sizes != VARIES):
            return None
        return cls(name=name, dtype=_numpy_name(inner), shape=sizes or (1,))


STRUCTS = {frozenset({"bytes", "path"}): "image", frozenset({"path", "timestamp"}): "video"}
"""Columns of structs, by their fields."""


def _sizes(column: pa.DataType) -> tuple[tuple[int, ...], pa.DataType]:
    """Sizes of the lists that a column holds, -1 where they vary; and what is in the innermost."""
    if pa.types.is_fixed_size_list(column):
        sizes, inner = _sizes(column.value_type)
        return (column.list_size, *sizes), inner
    if pa.types.is_list(column) or pa.types.is_large_list(column):
        sizes, inner = _sizes(column.value_type)
        return (-1, *sizes), inner
    return (), column


def values_of(feature: Feature, column: pa.Array) -> Values:
    """A column, or a part of it, as a stream has it.

    Raises:
        ColumnError: it holds nulls, or something else than the feature says.
    """
    if column.null_count:
        raise ColumnError(f"{column.null_count} values are null", "none")
    if feature.dtype == "string":
        return [str(value) for value in column.to_pylist()]
    if feature.dtype == "image":
        return _images(column)
    if feature.shape == VARIES and pa.types.is_nested(column.type):
        return [
            np.asarray(value.values.to_numpy(zero_copy_only=False), feature.dtype)
            for value in column
        ]
    rows, even, inner = len(column), True, column
    while pa.types.is_nested(inner.type):
        if pa.types.is_struct(inner.type) or pa.types.is_map(inner.type):
            raise ColumnError(f"it holds {column.type}", f"{feature.dtype}{list(feature.shape)}")
        lengths = pc.list_value_length(inner)
        even = even and lengths.null_count == 0 and len(pc.unique(lengths)) <= 1
        inner = inner.flatten()
    array: npt.NDArray[Any] = inner.to_numpy(zero_copy_only=False)
    shape = (rows, *feature.shape)
    if not even or inner.null_count or array.size != math.prod(shape) or not _is_numbers(array):
        raise ColumnError(
            f"{rows} rows hold {array.size} values of type {inner.type}"
            + ("" if even else ", not as many in each"),
            f"{feature.dtype}{list(feature.shape)} in each",
        )
    return array.reshape(shape)


def spec_of(feature: Feature, first: Values) -> StreamSpec:
    """The stream that a feature becomes.

    Raises:
        ColumnError: its first image is none.
    """
    dtype, shape, encoding, kind = feature.dtype, feature.shape, "", Kind.VECTOR
    if feature.dtype == "string":
        dtype, shape, kind = "", (), Kind.TEXT
    elif feature.dtype == "image":
        look = look_at_image(cast(bytes, first[0]))
        if look is None:
            raise ColumnError("its first image cannot be read", "PNG or JPEG")
        (encoding, dtype, shape), kind = look, Kind.IMAGE
    elif isinstance(first, np.ndarray):
        dtype = str(first.dtype)
    return StreamSpec(
        name=feature.name,
        kind=kind,
        dtype=dtype,
        shape=shape,
        names=feature.names if kind is Kind.VECTOR else (),
        role=feature.role,
        topic=feature.name,
        encoding=encoding,
    )


def _images(column: pa.Array) -> list[bytes]:
    kind = column.type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise ColumnError(f"it holds {kind}", "images: a struct of bytes and path")
    data = column.field("bytes")
    if data.null_count:
        raise ColumnError(
            f"{data.null_count} images are not in the table", "the bytes of each image"
        )
    return [value.encode() if isinstance(value, str) else value for value in data.to_pylist()]


def _is_text(column: pa.DataType) -> bool:
    return bool(pa.types.is_string(column) or pa.types.is_large_string(column))


def _is_numbers(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind in "biuf"


def _numpy_name(column: pa.DataType) -> str:
    return str(np.dtype(column.to_pandas_dtype()))


def _size(shape: tuple[int, ...], names: tuple[str, ...]) -> tuple[int, int] | None:
    """Height and width of a picture's shape, whose axes the names name, if they do."""
    if len(shape) != 3:
        return None
    if "height" in names and "width" in names:
        return shape[names.index("height")], shape[names.index("width")]
    return (shape[1], shape[2]) if shape[0] <= 4 < shape[2] else (shape[0], shape[1])


def _flatten(names: Any) -> Iterator[str]:
    """Names come as a list, a list in a list, or lists in a dict."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, Mapping):
        for inner in names.values():
            yield from _flatten(inner)
    elif names is not None:
        for inner in names:
            yield from _flatten(inner)
