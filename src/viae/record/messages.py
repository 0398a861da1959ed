"""The protobuf messages that viae records.

::

    message viae.Vector { google.protobuf.Timestamp timestamp = 1; repeated double value = 2; }
    message viae.Text   { google.protobuf.Timestamp timestamp = 1; string value = 2; }
    message viae.Bytes  { google.protobuf.Timestamp timestamp = 1; bytes value = 2; }

and, so that viewers show pictures, ``foxglove.CompressedImage`` and ``foxglove.CompressedVideo`` as
Foxglove defines them. ``timestamp`` is the capture time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from foxglove.messages import CompressedImage, CompressedVideo
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP_FILE

from viae.schema import NS_PER_S, Kind

Field = FieldDescriptorProto
OWN = {
    Kind.VECTOR: ("Vector", Field.LABEL_REPEATED, Field.TYPE_DOUBLE),
    Kind.TEXT: ("Text", Field.LABEL_OPTIONAL, Field.TYPE_STRING),
    Kind.BYTES: ("Bytes", Field.LABEL_OPTIONAL, Field.TYPE_BYTES),
}
"""viae's own messages: name, and the label and type of the field ``value``."""

FOXGLOVE: dict[Kind, Any] = {Kind.IMAGE: CompressedImage, Kind.VIDEO: CompressedVideo}

VIDEO_FORMATS = {"h264": "h264", "h265": "h265", "hevc": "h265", "av1": "av1", "vp9": "vp9"}
"""What ``foxglove.CompressedVideo`` calls an encoding; FFmpeg calls H.265 ``hevc``."""

FIELD_NUMBERS = {
    **{kind: {"value": 2} for kind in OWN},
    Kind.IMAGE: {"data": 2, "format": 3},
    Kind.VIDEO: {"data": 3, "format": 4},
}
"""By kind, the numbers of the fields that are written; ``timestamp`` is 1 everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """The message in which streams of one kind are recorded.

    Args:
        name: full protobuf name.
        schema: its serialised FileDescriptorSet.
        message: its class.
        field: the field that holds the value.

    `viae.record.packing` makes the same bytes faster.
    """

    name: str
    schema: bytes
    message: type[Any]
    field: str

    def pack(self, capture_ns: int, value: Any, **more: Any) -> bytes:
        """One message, serialised."""
        message = self.message(**{self.field: value}, **more)
        message.timestamp.seconds, message.timestamp.nanos = divmod(capture_ns, NS_PER_S)
        return bytes(message.SerializeToString())


@cache
def recorded_message(kind: Kind) -> RecordedMessage:
    """The message for streams of a kind.

    Raises:
        KeyError: streams of this kind are not recorded.
    """
    if kind in FOXGLOVE:
        schema = FOXGLOVE[kind].get_schema()
        return _message(schema.name, FileDescriptorSet.FromString(schema.data), field="data")
    name, label, type_ = OWN[kind]
    return _message(f"viae.{name}", _own_files(name, label, type_), field="value")


def _own_files(
    name: str, label: Field.Label.ValueType, type_: Field.Type.ValueType
) -> FileDescriptorSet:
    timestamp = Field(
        name="timestamp",
        number=1,
        label=Field.LABEL_OPTIONAL,
        type=Field.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
    )
    value = Field(name="value", number=2, label=label, type=type_)
    own = FileDescriptorProto(
        name=f"viae/{name}.proto",
        package="viae",
        syntax="proto3",
        dependency=[TIMESTAMP_FILE.name],
        message_type=[DescriptorProto(name=name, field=[timestamp, value])],
    )
    return FileDescriptorSet(
        file=[FileDescriptorProto.FromString(TIMESTAMP_FILE.serialized_pb), own]
    )


def _message(name: str, files: FileDescriptorSet, *, field: str) -> RecordedMessage:
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName(name))
    return RecordedMessage(
        name=name, schema=files.SerializeToString(deterministic=True), message=message, field=field
    )
