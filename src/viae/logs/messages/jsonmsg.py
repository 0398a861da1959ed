"""JSON messages. The first one says what fields there are; a JSON Schema, if any, what they mean.

JSON has one kind of number, so it is float64 unless the schema says ``integer``. A later message
with other fields or types does not fit; nothing of it is guessed, it is kept whole, as bytes.
"""

from __future__ import annotations

import json
from typing import Any

from viae.logs.messages.pick import pick_keys
from viae.logs.messages.shape import (
    Items,
    MessageType,
    Number,
    Numbers,
    Opaque,
    Shape,
    Stamp,
    Struct,
    Text,
    UnfitError,
)

TIMES = (
    frozenset({"sec", "nsec"}), frozenset({"sec", "nanosec"}),
    frozenset({"seconds", "nanos"}), frozenset({"seconds", "nanoseconds"}),
)  # fmt: skip
"""Objects of these fields are times, as Foxglove, ROS, protobuf and DepthAI write them."""

EXACT = 1 << 53
"""A float64 holds every integer up to here."""


def message_type(schema_text: bytes, first: bytes) -> MessageType:
    """The message type of a topic, from its schema (possibly empty) and its first message.

    Raises:
        ValueError: the first message is not JSON.
    """
    hints = _load(schema_text) if schema_text.strip() else {}
    shape = _shape(_load(first), hints)
    # A message that is not an object is one field, without a name.
    is_struct = isinstance(shape, Struct)
    root = shape if isinstance(shape, Struct) else Struct("", {"": shape})

    def decode(data: bytes) -> Any:
        message = _load(data)
        message = message if is_struct else {"": message}
        _check(message, root, "")
        return message

    return MessageType(shape=root, decode=decode, pick=pick_keys, plain=lambda value: value, ns=_ns)


def declared_type(schema_text: bytes) -> MessageType | None:
    """The message type that a JSON Schema declares by itself; None where it declares no object.

    Raises:
        ValueError: the schema is not JSON.
    """
    declared: Any = _load(schema_text) if schema_text.strip() else None
    shape = _declared(declared)
    if not isinstance(shape, Struct) or not shape.fields:
        return None

    def items(field: str) -> Items | None:
        item = _declared(declared["properties"][field].get("items"))
        if not isinstance(shape.fields[field], Opaque) or not isinstance(item, Struct):
            return None
        return Items(shape=item, pick=pick_keys, ns=_ns)

    return MessageType(
        shape=shape, decode=_load, pick=pick_keys, plain=lambda value: value, ns=_ns, items=items
    )


def _declared(hint: Any) -> Shape:
    hint = hint if isinstance(hint, dict) else {}
    inner = hint.get("properties")
    match hint.get("type"):
        case "object" if isinstance(inner, dict) and inner.keys() in TIMES:
            return Stamp()
        case "object" if isinstance(inner, dict):
            return Struct("", {key: _declared(value) for key, value in inner.items()})
        case "integer":
            return Number("int64")
        case "number":
            return Number("float64")
        case "string":
            return Text()
    return Opaque()


def _load(data: bytes) -> Any:
    return json.loads(data)


def _shape(value: Any, hint: Any) -> Shape:
    hint = hint if isinstance(hint, dict) else {}
    number = "int64" if hint.get("type") == "integer" else "float64"
    shape: Shape = Opaque()
    match value:
        case bool():
            shape = Number("bool")
        case int() | float():
            shape = Number(number)
        case str():
            shape = Text()
        case dict() if value.keys() in TIMES and all(type(v) is int for v in value.values()):
            shape = Stamp()
        case dict():
            hints = hint.get("properties")
            hints = hints if isinstance(hints, dict) else {}
            shape = Struct("", {key: _shape(v, hints.get(key)) for key, v in value.items()})
        case list():
            shape = _array(value, hint.get("items"))
    return shape


def _array(values: list[Any], hint: Any) -> Shape:
    kind = hint.get("type") if isinstance(hint, dict) else None
    if kind == "integer":
        return Numbers("int64")
    all_numbers = bool(values) and all(type(value) in (int, float) for value in values)
    return Numbers("float64") if kind == "number" or all_numbers else Opaque()


def _check(value: Any, shape: Shape, where: str) -> None:
    """Raise UnfitError where a value is not of the shape that was planned."""
    match shape:
        case Struct(fields=fields):
            if not isinstance(value, dict) or value.keys() != fields.keys():
                raise UnfitError(f"{where or 'it'} should be an object of {sorted(fields)}")
            for name, inner in fields.items():
                _check(value[name], inner, f"{where}.{name}" if where else name)
        case Number(dtype=dtype):
            _check_number(value, dtype, where)
        case Numbers(dtype=dtype):
            if not isinstance(value, list):
                raise UnfitError(f"{where} should be an array")
            for item in value:
                _check_number(item, dtype, where)
        case Text():
            if not isinstance(value, str):
                raise UnfitError(f"{where} should be a string")
            value.encode()
        case Stamp():
            if not isinstance(value, dict) or value.keys() not in TIMES:
                raise UnfitError(f"{where} should be a time")
            for part in value.values():
                _check_number(part, "int64", where)


def _check_number(value: Any, dtype: str, where: str) -> None:
    if dtype == "bool":
        fits = isinstance(value, bool)
    elif dtype == "int64":
        fits = type(value) is int and -(1 << 63) <= value < 1 << 63
    else:
        fits = type(value) is float or (type(value) is int and -EXACT <= value <= EXACT)
    if not fits:
        raise UnfitError(f"{where} should be a number that {dtype} holds, not {value!r:.40}")


def _ns(stamp: Any) -> int:
    sec, nsec = (stamp[key] for key in sorted(stamp, key=lambda key: key.startswith("n")))
    return int(sec) * 1_000_000_000 + int(nsec)
