"""FlatBuffers messages, decoded by the binary schema (``.bfbs``) in the log.

``flatbuffers`` brings the accessors; what it does not bring is the reading of a schema at run time,
which is what the classes below do. The field numbers are those of FlatBuffers' ``reflection.fbs``.
A field left out reads as its default, as in FlatBuffers; a table left out is counted as absent.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viae.errors import MissingExtraError
from viae.logs.messages.batch import Channel
from viae.logs.messages.pick import pick_keys
from viae.logs.messages.shape import (
    Blob,
    FieldPath,
    MessageType,
    Number,
    Numbers,
    Opaque,
    Shape,
    Stamp,
    Struct,
    Text,
)

NUMBERS = {
    1: "uint8", 2: "bool", 3: "int8", 4: "uint8", 5: "int16", 6: "uint16", 7: "int32", 8: "uint32",
    9: "int64", 10: "uint64", 11: "float32", 12: "float64",
}  # fmt: skip
"""`reflection.BaseType` to dtype."""
STRING, VECTOR, OBJECT, UNION, ARRAY = 13, 14, 15, 16, 17

TIMES = (["sec", "nsec"], ["sec", "nanosec"], ["seconds", "nanos"])


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its type, and where it is (in the vtable of a table, in the bytes of a struct)."""

    base: int
    element: int
    index: int
    length: int
    offset: int
    default: int | float


@dataclass(slots=True)
class _Object:
    """A table or a struct."""

    name: str
    is_struct: bool
    size: int
    fields: dict[str, _Field] = field(default_factory=dict)


def message_type(channel: Channel) -> MessageType:
    """The message type of a channel.

    Raises:
        MissingExtraError: ``flatbuffers`` is not installed.
        Exception: of any kind, where the schema is not one, or has unions.
    """
    try:
        from flatbuffers.table import Table
    except ImportError as error:
        raise MissingExtraError("flatbuffers", extra="formats") from error

    schema = channel.schema
    root_at = struct.unpack_from("<I", schema)[0]
    objects, root = _read_schema(Table(bytearray(schema), root_at))
    reader = _Reader(Table, objects)

    def decode(data: bytes) -> dict[str, Any]:
        buffer = bytearray(data)
        return reader.read(buffer, struct.unpack_from("<I", buffer)[0], root)

    return MessageType(
        shape=_struct(objects, root, ()),
        decode=decode,
        pick=pick_keys,
        plain=_plain,
        ns=_ns,
        absent=lambda message: message.get("", []),
    )


def _read_schema(schema: Any) -> tuple[list[_Object], int]:
    objects = [_read_object(table) for table in _tables(schema, 0)]
    root_name = _text(next(_sub(schema, 4)), 0)
    return objects, [each.name for each in objects].index(root_name)


def _read_object(table: Any) -> _Object:
    found = _Object(
        _text(table, 0), bool(_scalar(table, 2, "<B", 0)), int(_scalar(table, 4, "<i", 0))
    )
    numbered: list[tuple[int, str, _Field]] = []
    for each in _tables(table, 1):
        type_ = next(_sub(each, 1))
        base = int(_scalar(type_, 0, "<B", 0))
        if base == UNION or int(_scalar(type_, 1, "<B", 0)) == UNION:
            raise ValueError(f"the field '{_text(each, 0)}' is a union, which is not read")
        is_real = NUMBERS.get(base, "").startswith("float")
        numbered.append((
            int(_scalar(each, 2, "<H", 0)),
            _text(each, 0),
            _Field(
                base=base,
                element=int(_scalar(type_, 1, "<B", 0)),
                index=int(_scalar(type_, 2, "<i", -1)),
                length=int(_scalar(type_, 3, "<H", 0)),
                offset=int(_scalar(each, 3, "<H", 0)),
                default=_scalar(each, 5, "<d", 0.0) if is_real else _scalar(each, 4, "<q", 0),
            ),
        ))  # fmt: skip
    found.fields = {name: each for _, name, each in sorted(numbered, key=lambda item: item[0])}
    return found


class _Reader:
    """Reads messages of a schema into dicts; the key ``""`` holds the paths that are absent."""

    def __init__(self, table: Any, objects: list[_Object]) -> None:
        self._table, self._objects = table, objects

    def read(self, buffer: bytearray, at: int, index: int) -> dict[str, Any]:
        absent: list[FieldPath] = []
        message = self._object(buffer, at, index, (), absent)
        if absent:
            message[""] = absent
        return message

    def _object(
        self, buffer: bytearray, at: int, index: int, path: FieldPath, absent: list[FieldPath]
    ) -> dict[str, Any]:
        found = self._objects[index]
        table = self._table(buffer, at)
        message = {}
        for name, each in found.fields.items():
            offset = each.offset if found.is_struct else int(table.Offset(each.offset))
            if offset:
                place = at + offset
                message[name] = self._value(buffer, table, place, each, (*path, name), absent)
            elif found.is_struct:
                message[name] = self._value(buffer, table, at, each, (*path, name), absent)
            else:
                message[name] = self._default(each, (*path, name), absent)
        return message

    def _value(
        self,
        buffer: bytearray,
        table: Any,
        place: int,
        each: _Field,
        path: FieldPath,
        absent: list[FieldPath],
    ) -> Any:
        if dtype := NUMBERS.get(each.base):
            return np.frombuffer(buffer, np.dtype(dtype).newbyteorder("<"), 1, place)[0].item()
        if each.base == STRING:
            return bytes(table.String(place)).decode()
        if each.base == OBJECT:
            at = place if self._objects[each.index].is_struct else int(table.Indirect(place))
            return self._object(buffer, at, each.index, path, absent)
        count, start = each.length, place
        if each.base == VECTOR:
            start = int(table.Indirect(place))
            count = struct.unpack_from("<I", buffer, start)[0]
            start += 4
        if dtype := NUMBERS.get(each.element):
            return np.frombuffer(buffer, np.dtype(dtype).newbyteorder("<"), count, start)
        inline = self._objects[each.index] if each.element == OBJECT else None
        step = inline.size if inline and inline.is_struct else 4
        if count * step > len(buffer):
            raise ValueError(f"it claims {count} items in {len(buffer)} bytes")
        one = _Field(each.element, 0, each.index, 0, 0, 0)
        return [self._value(buffer, table, start + step * i, one, path, []) for i in range(count)]

    def _default(self, each: _Field, path: FieldPath, absent: list[FieldPath]) -> Any:
        if dtype := NUMBERS.get(each.base):
            return np.dtype(dtype).type(each.default).item()
        if each.base == STRING:
            return ""
        if each.base == OBJECT:
            absent.append(path)
            inner = self._objects[each.index].fields
            return {name: self._default(sub, (*path, name), []) for name, sub in inner.items()}
        dtype = NUMBERS.get(each.element)
        return np.empty(0, dtype) if dtype else []


def _struct(objects: list[_Object], index: int, above: tuple[int, ...]) -> Struct:
    return Struct(
        objects[index].name,
        {
            name: _shape(objects, each, (*above, index))
            for name, each in objects[index].fields.items()
        },
    )


def _shape(objects: list[_Object], each: _Field, above: tuple[int, ...]) -> Shape:
    if dtype := NUMBERS.get(each.base):
        return Number(dtype)
    if each.base == STRING:
        return Text()
    if each.base == OBJECT:
        if list(objects[each.index].fields) in TIMES:
            return Stamp()
        return Opaque() if each.index in above else _struct(objects, each.index, above)
    return _items(each)


def _items(each: _Field) -> Shape:
    dtype = NUMBERS.get(each.element)
    if dtype is None:
        return Opaque()
    if each.base == ARRAY:
        return Numbers(dtype, each.length)
    return Blob() if dtype == "uint8" else Numbers(dtype)


def _ns(stamp: Any) -> int:
    seconds, nanoseconds = stamp.values()
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        is_bytes = value.dtype == np.uint8
        return base64.b64encode(value.tobytes()).decode() if is_bytes else value.tolist()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _scalar(table: Any, number: int, form: str, default: float) -> Any:
    offset = table.Offset(4 + 2 * number)
    return struct.unpack_from(form, table.Bytes, table.Pos + offset)[0] if offset else default


def _text(table: Any, number: int) -> str:
    offset = table.Offset(4 + 2 * number)
    return bytes(table.String(table.Pos + offset)).decode() if offset else ""


def _sub(table: Any, number: int) -> Any:
    offset = table.Offset(4 + 2 * number)
    if offset:
        yield type(table)(table.Bytes, table.Indirect(table.Pos + offset))


def _tables(table: Any, number: int) -> Any:
    offset = table.Offset(4 + 2 * number)
    if not offset:
        return
    start = table.Vector(offset)
    for i in range(table.VectorLen(offset)):
        yield type(table)(table.Bytes, table.Indirect(start + 4 * i))
