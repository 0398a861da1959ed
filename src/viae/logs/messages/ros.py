"""ROS messages, of ROS 1 and of ROS 2 (CDR), decoded by ``rosbags``.

Message by message that is `rosbags`' own work. Runs of messages in which every field lies at the
same place, which nearly all are, are decoded by column (`viae.logs.messages.layout`): an order of
magnitude faster, and proved equal.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

from viae.logs.messages.batch import Channel, Messages
from viae.logs.messages.layout import HEADER, Layouts, Run, is_little
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
    UnfitError,
)

TIMES = frozenset({"builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"})
DTYPES = {
    "bool": "bool", "byte": "uint8", "char": "uint8", "octet": "uint8",
    "float32": "float32", "float64": "float64",
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16",
    "int32": "int32", "uint32": "uint32", "int64": "int64", "uint64": "uint64",
}  # fmt: skip

PLACEHOLDER = "structure_needs_at_least_one_member"
"""The field that ROS 2 puts into a message that has none."""

SEPARATOR = re.compile(r"^=+\s*$", re.MULTILINE)

SERVICE = re.compile(r"^---\s*$", re.MULTILINE)
"""What stands between the request and the response of a service."""

EVENT = """
service_msgs/ServiceEventInfo info
{package}/{service}_Request[<=1] request
{package}/{service}_Response[<=1] response
"""
EVENT_INFO = """MSG: service_msgs/ServiceEventInfo
uint8 event_type
builtin_interfaces/Time stamp
char[16] client_gid
int64 sequence_number
"""
SURPLUS = 4
SURPLUS_NOTE = (
    "four bytes behind each message were ignored: its writer counted the length before it, too"
)
"""What the RealSense SDK does to its images; ROS 1 itself ignores whatever follows."""

TIME = """MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
"""ROS 2's own definitions of service events (REP 2012)."""


def message_type(channel: Channel) -> MessageType:
    """The message type of a channel.

    Raises:
        Exception: of any kind, where the schema's text makes no sense.
    """
    store, name = _typestore(channel)
    is_cdr = channel.encoding == "cdr"
    layouts = Layouts(store, name, is_cdr=is_cdr)
    notes: Counter[str] = Counter()
    decode = _cdr_decoder(store, name) if is_cdr else _ros1_decoder(store, name, notes)

    def columns(messages: Messages, paths: list[FieldPath]) -> Iterator[Run]:
        return layouts.runs(messages, paths)

    return MessageType(
        shape=_struct(store, name),
        decode=decode,
        pick=_pick,
        plain=_plain,
        ns=_ns,
        columns=columns,
        notes=notes,
        items=lambda field: _items(store, name, field),
    )


def _items(store: Typestore, name: str, field: str) -> Items | None:
    kind, of = dict(store.fielddefs[name][1])[field]
    if kind not in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return None
    item: Any = of[0]
    is_struct = item[0] is Nodetype.NAME and item[1] not in TIMES
    return Items(shape=_struct(store, item[1]), pick=_pick, ns=_ns) if is_struct else None


def _pick(paths: list[FieldPath]) -> Callable[[Any], tuple[Any, ...]]:
    return pick_attributes([tuple(map(normalize_fieldname, path)) for path in paths])


def _typestore(channel: Channel) -> tuple[Typestore, str]:
    """The types that a schema defines, and the name of its own."""
    package, *_, type_ = channel.schema_name.split("/")
    name = f"{package}/msg/{type_}"
    text = channel.schema.decode()
    if channel.schema_encoding == "ros2idl":
        types = get_types_from_idl(text)
    else:
        if name.endswith("_Event") and SERVICE.search(text):
            text = _event_definition(text, package, type_.removesuffix("_Event"))
        types = get_types_from_msg(SEPARATOR.sub("=" * 80, text), name)
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store, name


def _event_definition(text: str, package: str, service: str) -> str:
    """What a service event is, from the service's own definition, which is what bags hold."""
    definition, *others = SEPARATOR.split(text)
    request, response = SERVICE.split(definition, maxsplit=1)
    used = {f"{package}/{service}_Request": request, f"{package}/{service}_Response": response}
    parts = [EVENT.format(package=package, service=service), EVENT_INFO]
    parts += [f"MSG: {name}\n{fields}" for name, fields in used.items()]
    for needed in (TIME, *others):
        if not any(needed.strip().partition("\n")[0] in part for part in parts):
            parts.append(needed)
    return "\n".join(part.strip() + "\n" + "=" * 80 for part in parts).removesuffix("=" * 80)


def _cdr_decoder(store: Typestore, name: str) -> Callable[[bytes], Any]:
    definition, cls = store.get_msgdef(name), store.types[name]

    def decode(data: bytes) -> Any:
        read = definition.deserialize_cdr_le if is_little(data) else definition.deserialize_cdr_be
        message, end = read(memoryview(data)[HEADER:], 0, cls, store)
        return _whole(message, end + HEADER, data, padding=3)

    return decode


def _ros1_decoder(store: Typestore, name: str, notes: Counter[str]) -> Callable[[bytes], Any]:
    definition, cls = store.get_msgdef(name), store.types[name]

    def decode(data: bytes) -> Any:
        message, end = definition.deserialize_ros1(data, 0, cls, store)
        if end + SURPLUS == len(data):
            notes[SURPLUS_NOTE] += 1
            return message
        return _whole(message, end, data, padding=0)

    return decode


def _whole(message: Any, end: int, data: bytes, *, padding: int) -> Any:
    """The message, if its type takes the bytes that it has; the decoder reads on regardless."""
    if not end <= len(data) <= end + padding:
        raise UnfitError(f"it has {len(data)} bytes; its type takes {end}")
    return message


def _struct(store: Typestore, name: str) -> Struct:
    _, declared = store.fielddefs[name]
    return Struct(
        name, {field: _field(store, *of) for field, of in declared if field != PLACEHOLDER}
    )


def _field(store: Typestore, kind: Nodetype, of: Any) -> Shape:
    if kind is Nodetype.NAME:
        return Stamp() if of in TIMES else _struct(store, of)
    if kind is Nodetype.BASE:
        dtype = DTYPES.get(of[0])
        return Number(dtype) if dtype else Text()
    (inner, base), size = of
    dtype = DTYPES.get(base[0]) if inner is Nodetype.BASE else None
    if dtype is None:
        return Opaque()
    if kind is Nodetype.ARRAY:
        return Numbers(dtype, size)
    return Blob() if dtype == "uint8" else Numbers(dtype)


def _ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8:
            return base64.b64encode(value.tobytes()).decode()
        return value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        kept = [name for name in names if name not in (PLACEHOLDER, "__msgtype__")]
        return {name: _plain(getattr(value, name)) for name in kept}
    return value
