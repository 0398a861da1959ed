"""ROS 2 messages: CDR bytes with ``ros2msg`` schemas, decoded by ``mcap-ros2-support``."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from viae.logs.mcap.shape import (
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

TIMES = frozenset({"builtin_interfaces/Time", "builtin_interfaces/Duration"})
DTYPES = {
    "bool": "bool", "byte": "uint8", "char": "int8",
    "float32": "float32", "float64": "float64",
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16",
    "int32": "int32", "uint32": "uint32", "int64": "int64", "uint64": "uint64",
}  # fmt: skip
"""By the decoder's reading; it takes ``char`` for signed."""

FIELD = re.compile(
    r"^(?P<base>[\w/]+)(?P<bound><=\d+)?(?P<array>\[(?P<size>(<=)?\d*)\])?\s+(?P<name>\w+)"
    r"(?!\s*=)(\s|$)"
)


def message_type(schema: Schema) -> MessageType:
    """The message type of a schema.

    Raises:
        Exception: of any kind, where the schema's text makes no sense.
    """
    # One factory per schema: it caches by schema id, which means nothing in another file.
    decode = DecoderFactory().decoder_for("cdr", schema)
    if decode is None:
        raise ValueError(f"mcap-ros2-support has no decoder for {schema.name}")
    return MessageType(
        shape=_shape(schema), decode=decode, pick=pick_attributes, plain=_plain, ns=_ns
    )


def pick_attributes(paths: list[FieldPath]) -> Callable[[Any], tuple[Any, ...]]:
    """`MessageType.pick` for messages whose fields are attributes."""
    get = attrgetter(*(".".join(path) for path in paths))
    return get if len(paths) > 1 else lambda message: (get(message),)


def _shape(schema: Schema) -> Struct:
    """Parse a concatenated message definition: the message, then those it uses."""
    main, *others = re.split(r"^={3,}\s*$", schema.data.decode(), flags=re.MULTILINE)
    texts = {_short(schema.name): main}
    for text in others:
        head, _, body = text.strip().partition("\n")
        texts[_short(head.removeprefix("MSG:").strip())] = body
    return _struct(_short(schema.name), texts)


def _short(name: str) -> str:
    """``sensor_msgs/msg/Imu`` and ``sensor_msgs/Imu`` are the same type."""
    package, *_, type_ = name.split("/")
    return f"{package}/{type_}"


def _struct(name: str, texts: dict[str, str]) -> Struct:
    fields: dict[str, Shape] = {}
    for line in texts[name].splitlines():
        if match := FIELD.match(line.partition("#")[0].strip()):
            fields[match["name"]] = _field(match, name.partition("/")[0], texts)
    return Struct(name, fields)


def _field(match: re.Match[str], package: str, texts: dict[str, str]) -> Shape:
    base, is_array, size = match["base"], match["array"] is not None, match["size"] or ""
    if dtype := DTYPES.get(base):
        if not is_array:
            return Number(dtype)
        if size.isdigit():
            return Numbers(dtype, int(size))
        return Blob() if dtype == "uint8" else Numbers(dtype)
    if is_array:
        return Opaque()
    if base in ("string", "wstring"):
        return Text()
    # "Header" without a package is std_msgs's, by ROS's rule; others are of the same package.
    full = "std_msgs/Header" if base == "Header" else base if "/" in base else f"{package}/{base}"
    return Stamp() if _short(full) in TIMES else _struct(_short(full), texts)


def _ns(stamp: Any) -> int:
    # The decoder reads seconds as unsigned; in ROS 2 they are int32.
    sec = stamp.sec - (1 << 32) if stamp.sec >= 1 << 31 else stamp.sec
    return int(sec) * 1_000_000_000 + int(stamp.nanosec)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "__slots__"):
        return {name: _plain(getattr(value, name)) for name in value.__slots__}
    return value
