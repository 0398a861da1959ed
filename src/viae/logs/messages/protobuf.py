"""Protobuf messages, decoded by the schema in the log.

A field left out reads as its default: protobuf's own rule. Where the message could have said it
(a message inside a message), that value is invented, so the topic counts it (``field-absent``).
A member of a ``oneof``, and ``optional`` is one, is kept as JSON: null where it is not there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from mcap.records import Schema
from mcap_protobuf.decoder import DecoderFactory

from viae.logs.messages.batch import Channel
from viae.logs.messages.pick import pick_attributes
from viae.logs.messages.shape import (
    Blob,
    FieldPath,
    Items,
    MessageType,
    Number,
    Numbers,
    Opaque,
    Shape,
    Stamp,
    Struct,
    Text,
)

Kind: TypeAlias = FieldDescriptor
DTYPES = {
    Kind.CPPTYPE_BOOL: "bool", Kind.CPPTYPE_ENUM: "int32",
    Kind.CPPTYPE_FLOAT: "float32", Kind.CPPTYPE_DOUBLE: "float64",
    Kind.CPPTYPE_INT32: "int32", Kind.CPPTYPE_UINT32: "uint32",
    Kind.CPPTYPE_INT64: "int64", Kind.CPPTYPE_UINT64: "uint64",
}  # fmt: skip
TIMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


def message_type(channel: Channel) -> MessageType:
    """The message type of a channel.

    Raises:
        Exception: of any kind, where the schema is not a set of file descriptors with its type.
    """
    schema = Schema(
        id=1, name=channel.schema_name, encoding=channel.schema_encoding, data=channel.schema
    )
    decode = DecoderFactory().decoder_for("protobuf", schema)
    if decode is None:
        raise ValueError(f"mcap-protobuf-support has no decoder for {schema.name}")
    descriptor: Descriptor = decode(b"").DESCRIPTOR
    shape = _struct(descriptor, above=())
    return MessageType(
        shape=shape,
        decode=decode,
        pick=_picker(descriptor),
        plain=_plain,
        ns=_ns,
        absent=_absent(descriptor, shape),
        items=lambda field: _items(descriptor, field),
    )


def _items(descriptor: Descriptor, field: str) -> Items | None:
    declared = descriptor.fields_by_name[field]
    inner = declared.message_type
    if not declared.is_repeated or inner is None or inner.GetOptions().map_entry:
        return None
    shape = _struct(inner, above=(descriptor.full_name,))
    return Items(shape=shape, pick=_picker(inner), ns=_ns, absent=_absent(inner, shape))


def _struct(descriptor: Descriptor, *, above: tuple[str, ...]) -> Struct:
    above = (*above, descriptor.full_name)
    return Struct(
        descriptor.full_name, {field.name: _field(field, above) for field in descriptor.fields}
    )


def _field(field: FieldDescriptor, above: tuple[str, ...]) -> Shape:
    dtype = DTYPES.get(field.cpp_type)
    if field.is_repeated:
        return Numbers(dtype) if dtype else Opaque()
    inner = field.message_type
    if field.containing_oneof is not None:  # "optional" is a oneof of one
        return Opaque()
    if dtype:
        return Number(dtype)
    if inner is None:
        return Blob() if field.type == Kind.TYPE_BYTES else Text()
    if inner.full_name in TIMES:
        return Stamp()
    return Opaque() if inner.full_name in above else _struct(inner, above=above)


def _picker(
    descriptor: Descriptor,
) -> Callable[[list[FieldPath]], Callable[[Any], tuple[Any, ...]]]:
    """`pick_attributes`, except that a member of a oneof is None where it is not there.

    Members are `Opaque`, so they are always asked for one at a time.
    """

    def pick(paths: list[FieldPath]) -> Callable[[Any], tuple[Any, ...]]:
        *parents, name = paths[0]
        owner: Any = descriptor
        for parent in parents:
            owner = owner.fields_by_name[parent].message_type
        if owner.fields_by_name[name].containing_oneof is None:
            return pick_attributes(paths)

        def pick_optional(message: Any) -> tuple[Any]:
            for parent in parents:
                message = getattr(message, parent)
            return (getattr(message, name) if message.HasField(name) else None,)

        return pick_optional

    return pick


def _absent(descriptor: Descriptor, shape: Struct) -> Callable[[Any], list[FieldPath]]:
    """Looks for the fields that a message leaves out though it could say them, outermost only."""
    below: dict[str, Callable[[Any], list[FieldPath]]] = {}
    for field in descriptor.fields:
        if field.has_presence and field.containing_oneof is None:
            inner = shape.fields[field.name]
            if isinstance(inner, Struct) and field.message_type:
                below[field.name] = _absent(field.message_type, inner)
            else:
                below[field.name] = _nothing

    def find(message: Message) -> list[FieldPath]:
        found: list[FieldPath] = []
        for name, find_below in below.items():
            if message.HasField(name):
                found += [(name, *path) for path in find_below(getattr(message, name))]
            else:
                found.append((name,))
        return found

    return find if below else _nothing


def _nothing(_: Any) -> list[FieldPath]:
    return []


def _ns(stamp: Any) -> int:
    return int(stamp.seconds) * 1_000_000_000 + int(stamp.nanos)


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]
