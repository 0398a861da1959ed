"""The protobuf message ``tf.train.Example``, built from its definition.

::

    message BytesList { repeated bytes value = 1; }
    message FloatList { repeated float value = 1 [packed = true]; }
    message Int64List { repeated int64 value = 1 [packed = true]; }
    message Feature {
      oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; }
    }
    message Features { map<string, Feature> feature = 1; }
    message Example { Features features = 1; }

It has its own descriptor pool, so it does not collide with TensorFlow in one process.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MessageOptions,
    OneofDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

Field = FieldDescriptorProto
LISTS = {
    "BytesList": Field.TYPE_BYTES,
    "FloatList": Field.TYPE_FLOAT,
    "Int64List": Field.TYPE_INT64,
}
PACKAGE = "tensorflow"

Values: TypeAlias = npt.NDArray[Any] | list[bytes]
"""What a feature holds, flat: float32, int64, or byte strings."""


@cache
def example_class() -> type[Any]:
    """The class of ``tf.train.Example``."""
    pool = DescriptorPool()
    pool.Add(
        FileDescriptorProto(
            name="viae/tf_example.proto",
            package=PACKAGE,
            syntax="proto3",
            message_type=[
                *(
                    _message(name, _field("value", 1, type_, many=True))
                    for name, type_ in LISTS.items()
                ),
                _feature(),
                _features(),
                _message("Example", _field("features", 1, "Features")),
            ],
        )
    )
    return GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Example"))


def features_of(example: Any) -> dict[str, Values]:
    """The features of a parsed example by name; one that holds nothing is an empty list."""
    found: dict[str, Values] = {}
    for name, feature in example.features.feature.items():
        match feature.WhichOneof("kind"):
            case "float_list":
                found[name] = np.array(feature.float_list.value, np.float32)
            case "int64_list":
                found[name] = np.array(feature.int64_list.value, np.int64)
            case _:
                found[name] = list(feature.bytes_list.value)
    return found


def _feature() -> DescriptorProto:
    kinds = ("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")
    fields = [_field(name, number, type_) for number, (name, type_) in enumerate(kinds, 1)]
    for field in fields:
        field.oneof_index = 0
    feature = _message("Feature", *fields)
    feature.oneof_decl.append(OneofDescriptorProto(name="kind"))
    return feature


def _features() -> DescriptorProto:
    entry = _message(
        "FeatureEntry", _field("key", 1, Field.TYPE_STRING), _field("value", 2, "Feature")
    )
    entry.options.CopyFrom(MessageOptions(map_entry=True))
    features = _message("Features", _field("feature", 1, "Features.FeatureEntry", many=True))
    features.nested_type.append(entry)
    return features


def _message(name: str, *fields: FieldDescriptorProto) -> DescriptorProto:
    return DescriptorProto(name=name, field=fields)


def _field(
    name: str, number: int, type_: FieldDescriptorProto.Type.ValueType | str, *, many: bool = False
) -> FieldDescriptorProto:
    label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
    if isinstance(type_, str):
        return Field(
            name=name, number=number, label=label,
            type=Field.TYPE_MESSAGE, type_name=f".{PACKAGE}.{type_}",
        )  # fmt: skip
    return Field(name=name, number=number, label=label, type=type_)
