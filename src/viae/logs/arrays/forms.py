"""dtype and shape of an array to streams.

- Numbers are vectors as they are, in native byte order. An enumeration is its numbers; its names
  become a fact. Truth values stay truth values.
- Pictures: ``uint8`` of [N, H, W, 1|3|4] is ``mono8``, ``rgb8``, ``rgba8``; ``uint16`` and
  ``float32`` of [N, H, W, 1] are ``mono16`` and ``32FC1``. Without a channel dimension, ``uint8``
  and ``uint16`` of [N, H, W] with at least 16 pixels a side are ``mono8`` and ``mono16``. Rows go
  without padding, little-endian. The order of colours is the writer's; no file of these formats
  states it, and RGB is what their writers mean.
- ``uint8`` of [N, L], or byte strings of varying length, whose first row is a JPEG or PNG, are
  coded pictures. Zeros that pad a row are cut off: neither a JPEG nor a PNG ends in one.
- Strings are text; rows of several strings are JSON lists.
- A compound dtype is one stream a field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.logs.arrays.names import role_of
from viae.logs.images import look_at_image
from viae.schema import Kind, StreamSpec

Array: TypeAlias = npt.NDArray[Any]
Converted: TypeAlias = tuple[Any, list[tuple[int, str]]]
"""Values, and the rows among them that do not fit, each with the reason."""

Made: TypeAlias = tuple[StreamSpec, Callable[[Array], Converted]]

RAW = {
    ("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8",
    ("uint16", 1): "mono16", ("float32", 1): "32FC1",
}  # fmt: skip
SIDE = 16
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """How rows of an array become samples of one stream."""

    spec: StreamSpec
    convert: Callable[[Array], Converted]


@dataclass(slots=True, kw_only=True)
class Forms:
    """The streams of one array.

    Args:
        forms: one per stream.
        skipped: what has no place in a stream: loss name, stream and why.
        facts: names of enumerations, by stream.
    """

    forms: list[Form] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    facts: dict[str, dict[str, int]] = field(default_factory=dict)


def forms_of(name: str, topic: str, first: Array) -> Forms:
    """How an array becomes streams, by its dtype, its shape and its first rows.

    Args:
        name: the stream's name.
        topic: where in the log the array is.
        first: at least one row [n, *shape].
    """
    found = Forms()
    for stream, fields, part in _fields(name, (), first):
        if 0 in part.shape[1:]:
            detail = f"its rows have shape {list(part.shape[1:])}: there are no values in it"
            found.skipped.append(("zero-width", stream, detail))
            continue
        enum = _note(part.dtype, "enum")
        if enum:
            found.facts[stream] = {str(key): int(value) for key, value in enum.items()}
        made = _form(stream, topic, part)
        if made is None:
            detail = f"{part.dtype} is nothing that viae has a kind of stream for; not taken"
            found.skipped.append(("unknown-dtype", stream, detail))
            continue
        spec, convert = made
        found.forms.append(Form(spec=spec, convert=_of_fields(fields, convert)))
    return found


def _fields(
    name: str, fields: tuple[str, ...], part: Array
) -> Iterator[tuple[str, tuple[str, ...], Array]]:
    """The array itself, or the fields of a compound one, however deep."""
    if part.dtype.names is None:
        yield name, fields, part
        return
    for field_ in part.dtype.names:
        yield from _fields(f"{name}.{field_}", (*fields, field_), part[field_])


def _of_fields(
    fields: tuple[str, ...], convert: Callable[[Array], Converted]
) -> Callable[[Array], Converted]:
    def take(rows: Array) -> Converted:
        for field_ in fields:
            rows = rows[field_]
        return convert(rows)

    return take


def _form(stream: str, topic: str, first: Array) -> Made | None:
    dtype, shape = first.dtype, first.shape[1:]
    role = role_of(stream.partition(".")[0])

    def spec(
        kind: Kind, dtype: str = "", shape: Sequence[int] = (), encoding: str = ""
    ) -> StreamSpec:
        return StreamSpec(
            name=stream, kind=kind, dtype=dtype, shape=tuple(shape), role=role, topic=topic,
            encoding=encoding,
        )  # fmt: skip

    if _is_text(first):
        return spec(Kind.TEXT), _texts
    rows_of_bytes = dtype.kind in "OSV" or (dtype == np.uint8 and first.ndim == 2)
    if rows_of_bytes and (look := look_at_image(_coded(first[0]))):
        encoding, pixels, size = look
        return spec(Kind.IMAGE, pixels, size, encoding), _coded_pictures(look)
    if dtype.kind == "O":
        return _of_objects(first, spec)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return None
    native = np.dtype(dtype.name)  # without metadata and byte order
    if picture := _raw_picture(native, shape):
        return spec(Kind.IMAGE, native.name, *picture), _raw_pictures(native)
    return spec(Kind.VECTOR, native.name, shape), _vectors(native)


def _of_objects(first: Array, spec: Callable[..., StreamSpec]) -> Made | None:
    """Values of varying length: numbers, or bytes that are no pictures."""
    inner = _note(first.dtype, "vlen")
    if first.ndim > 1:
        return None
    if isinstance(inner, np.dtype) and inner.kind in "biuf" and inner.itemsize <= 8:
        native = inner.newbyteorder("=")
        return spec(Kind.VECTOR, native.name, (-1,)), _varying(native)
    if isinstance(first[0], bytes):
        return spec(Kind.BYTES), lambda rows: ([bytes(row) for row in rows], [])
    return None


def _note(dtype: np.dtype[Any], key: str) -> Any:
    """What h5py notes of a dtype that NumPy lacks."""
    notes: Mapping[str, Any] = dtype.metadata or {}
    return notes.get(key)


def _vectors(dtype: np.dtype[Any]) -> Callable[[Array], Converted]:
    return lambda rows: (np.ascontiguousarray(rows, dtype), [])


def _raw_pictures(dtype: np.dtype[Any]) -> Callable[[Array], Converted]:
    little = dtype.newbyteorder("<")
    return lambda rows: ([row.astype(little, copy=False).tobytes() for row in rows], [])


def _raw_picture(
    dtype: np.dtype[Any], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], str] | None:
    if len(shape) == 3 and (encoding := RAW.get((dtype.name, shape[2]))):
        return shape, encoding
    if len(shape) == 2 and min(shape) >= SIDE and dtype.name in ("uint8", "uint16"):
        return (*shape, 1), RAW[dtype.name, 1]
    return None


def _coded(value: Any) -> bytes:
    """The bytes of a value that begins like a JPEG or PNG, without padding; else nothing."""
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            return b""
        data = value.tobytes()
    elif isinstance(value, np.void):
        data = value.tobytes()
    elif isinstance(value, bytes):
        data = bytes(value)
    else:
        return b""
    return data.rstrip(b"\0") if data.startswith(MAGIC) else b""


def _coded_pictures(look: Any) -> Callable[[Array], Converted]:
    def convert(rows: Array) -> Converted:
        values, unfit = [], []
        for i, row in enumerate(rows):
            data = _coded(row)
            seen = look_at_image(data) if data else None
            if seen != look:
                is_ = f"it is {seen}" if seen else "it is no picture"
                unfit.append((i, f"{is_}; the stream began with {look}"))
            values.append(data)
        return values, unfit

    return convert


def _varying(dtype: np.dtype[Any]) -> Callable[[Array], Converted]:
    return lambda rows: ([np.ascontiguousarray(row, dtype).reshape(-1) for row in rows], [])


def _is_text(first: Array) -> bool:
    if first.dtype.kind in "UT":
        return True
    if first.dtype.kind == "S":
        one = first.reshape(-1)[0]
        return not one.startswith(MAGIC)
    if first.dtype.kind != "O":
        return False
    inner = _note(first.dtype, "vlen")
    return inner in (str, bytes) or (inner is None and isinstance(first.reshape(-1)[0], str))


def _texts(rows: Array) -> Converted:
    values, unfit = [], []
    for i, row in enumerate(rows):
        parts = np.asarray(row, object).reshape(-1).tolist()
        try:
            texts = [p.decode() if isinstance(p, bytes) else str(p) for p in parts]
            "".join(texts).encode()
        except UnicodeError as error:
            texts = [""]
            unfit.append((i, f"it is not UTF-8 ({error})"))
        values.append(texts[0] if rows.ndim == 1 else json.dumps(texts, ensure_ascii=False))
    return values, unfit
