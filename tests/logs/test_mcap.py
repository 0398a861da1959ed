"""Which streams MCAP messages become (the rules of viae.logs.messages.plan)."""

import hashlib
import io
import json

import numpy as np
import pytest
from foxglove.messages import CompressedImage, PoseInFrame, Quaternion, Timestamp, Vector3
from foxglove.messages import Pose as FoxglovePose
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from mcap.writer import Writer
from PIL import Image

from viae.logs import open_log
from viae.schema import Kind, LossKind, Samples

Field = FieldDescriptorProto
HEADER = """std_msgs/Header header
{body}
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""


def header(sec: int, nanosec: int = 0) -> dict:
    return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": "base"}


# --- ROS 2 ------------------------------------------------------------------------------------


def test_ros2_fields_become_streams(make, read):
    body = """
float64[3] fixed
float32[] ragged   # a comment
geometry_msgs/Vector3 force
uint8[] blob
string[] words
bool on
int16 CONSTANT=3
uint16 count 7
builtin_interfaces/Time other
"""
    message = {
        "header": header(5, 7),
        "fixed": [1.0, 2.0, 3.0],
        "ragged": [0.5],
        "force": {"x": 1.0, "y": 2.0, "z": -0.0},
        "blob": b"\x00\x01",
        "words": ["a", "b"],
        "on": True,
        "count": 9,
        "other": {"sec": 1, "nanosec": 2},
    }
    log = read(make.ros2(HEADER.format(body=body), [message, message]))
    assert log.losses == []
    specs = {name: (s.kind, s.dtype, s.shape, s.names) for name, s in log.specs.items()}
    assert specs == {
        "/made.header.frame_id": (Kind.TEXT, "", (), ()),
        "/made.fixed": (Kind.VECTOR, "float64", (3,), ()),
        "/made.ragged": (Kind.VECTOR, "float32", (-1,), ()),
        "/made.force": (Kind.VECTOR, "float64", (3,), ("x", "y", "z")),
        "/made.blob": (Kind.BYTES, "", (), ()),
        "/made.words": (Kind.TEXT, "", (), ()),
        "/made.on": (Kind.VECTOR, "bool", (1,), ()),
        "/made.count": (Kind.VECTOR, "uint16", (1,), ()),
        "/made.other": (Kind.VECTOR, "int64", (1,), ()),
    }
    first = {name.removeprefix("/made."): values[0] for name, values in log.values.items()}
    assert first == {
        "header.frame_id": "base",
        "fixed": [1.0, 2.0, 3.0],
        "ragged": [0.5],
        "force": [1.0, 2.0, 0.0],
        "blob": b"\x00\x01",
        "words": '["a", "b"]',
        "on": [True],
        "count": [9],
        "other": [1_000_000_002],
    }
    for name, spec in log.specs.items():
        assert (spec.topic, spec.clock) == ("/made", "/made")
        assert log.capture[name] == [5_000_000_007] * 2
        assert log.arrival[name] == [1000, 1001]
        assert log.seq[name] == [0, 1]


def test_ros2_message_of_one_field_has_the_name_of_its_topic(make, read):
    log = read(make.ros2("string data", [{"data": "hi"}]))
    assert (log.specs["/made"].kind, log.values["/made"]) == (Kind.TEXT, ["hi"])
    assert (log.specs["/made"].clock, log.capture["/made"]) == ("log", [1000])


def test_ros2_empty_message_still_counts(make, read):
    log = read(make.ros2("", [{}, {}]))
    assert log.values["/made"] == ["{}", "{}"]


def test_zero_stamp_is_repaired_and_counted(make, read):
    definition = HEADER.format(body="float64 x")
    messages = [{"header": header(s), "x": 1.0} for s in (0, 4, 0)]
    log = read(make.ros2(definition, messages))
    assert log.capture["/made"] == [1000, 4_000_000_000, 1002]
    loss = log.loss("zero-stamp")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.REPAIRED, 2, "/made")
    assert loss.detail == "the field 'header.stamp' is zero; capture is taken as arrival there"


JOINTS = HEADER.format(body="string[] name\nfloat64[] position\nfloat64[] velocity")


def joints(names, position, velocity=()):
    return {
        "header": header(1), "name": names, "position": position, "velocity": list(velocity),
    }  # fmt: skip


def test_named_arrays_are_vectors_with_names(make, read):
    arm, hand = ["a", "b"], ["thumb"]
    messages = [
        *[joints(arm, [i, i + 0.5]) for i in range(20)],
        *[m for i in range(6) for m in (joints(hand, [7.0]), joints(arm, [i, i]))],
    ]
    log = read(make.ros2(JOINTS, messages))
    assert log.losses == []
    position, other = log.specs["/made.position"], log.specs["/made#2.position"]
    assert (position.shape, position.names) == ((2,), ("a", "b"))
    assert (other.shape, other.names) == ((1,), ("thumb",))
    assert log.specs["/made.velocity"].shape == (-1,)  # it is always empty: nothing to name
    assert log.values["/made.position"][:2] == [[0.0, 0.5], [1.0, 1.5]]
    assert log.values["/made#2.position"] == [[7.0]] * 6
    assert log.seq["/made.position"] == [*range(20), *range(21, 32, 2)]
    assert log.seq["/made#2.position"] == list(range(20, 31, 2))
    assert log.values["/made.name"] == ['["a", "b"]'] * 26


def test_arrays_longer_than_their_names_still_vary(make, read):
    log = read(make.ros2(JOINTS, [joints(["a"], [1.0, 2.0]), joints(["a"], [1.0, 2.0])]))
    assert log.specs["/made.position"].shape == (-1,)
    log = read(make.ros2(JOINTS, [joints(["a", "a"], [1.0, 2.0])]))
    assert log.specs["/made.position"].shape == (-1,)


def test_names_that_keep_changing_are_no_names(make, read):
    log = read(make.ros2(JOINTS, [joints([f"n{i}"], [i]) for i in range(20)]))
    assert log.losses == []
    assert log.specs["/made#8.position"].names == ("n7",)
    rest = log.specs["/made#9.position"]
    assert (rest.shape, rest.names) == ((-1,), ())
    assert log.values["/made#9.position"] == [[float(i)] for i in range(8, 20)]


def test_arrays_of_any_length_beside_names_vary(make, read):
    messages = [joints(["a", "b"], [1.0] * n) for n in range(3, 40)]
    log = read(make.ros2(JOINTS, messages))
    assert log.specs["/made.position"].shape == (-1,)
    assert len(log.values["/made.position"]) == 37


def test_schema_ids_of_two_files_do_not_mix(make, read):
    assert read(make.ros2("float64 x", [{"x": 2.5}])).values["/made"] == [[2.5]]
    assert read(make.ros2("int32 n", [{"n": 7}])).values["/made"] == [[7]]


def test_ros2_image_loses_its_padding(make, read):
    definition = HEADER.format(
        body="uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
        "uint8[] data"
    )
    rows = b"abcdef__ghijkl__"  # 2 rows of 2 pixels of 3 bytes, 2 bytes of padding
    message = {
        "header": header(1), "height": 2, "width": 2, "encoding": "rgb8", "is_bigendian": 0,
        "step": 8, "data": rows,
    }  # fmt: skip
    other = message | {"width": 1, "step": 3, "data": b"abcdef"}
    log = read(make.ros2(definition, [message, other], "sensor_msgs/msg/Image"))
    spec = log.specs["/made"]
    assert (spec.kind, spec.encoding, spec.shape) == (Kind.IMAGE, "rgb8", (2, 2, 3))
    assert log.values["/made"] == [b"abcdefghijkl"]
    assert log.seq["/made#raw"] == [1]  # another size than the stream began with
    assert "the stream began with ('rgb8', 'uint8', (2, 2, 3))" in log.loss("undecodable").detail


# --- protobuf ---------------------------------------------------------------------------------


def protobuf_schema(*fields: FieldDescriptorProto, optional: bool = False) -> bytes:
    message = DescriptorProto(name="Made", field=fields)
    if optional:
        message.oneof_decl.add(name="_x")
    inner = DescriptorProto(
        name="Inner", field=[Field(name="v", number=1, type=Field.TYPE_FLOAT, label=1)]
    )
    file = FileDescriptorProto(
        name="made.proto", package="t", syntax="proto3", message_type=[message, inner]
    )
    return FileDescriptorSet(file=[file]).SerializeToString()


def test_protobuf_pose(make, read):
    schema = PoseInFrame.get_schema()
    pose = PoseInFrame(
        timestamp=Timestamp(3, 4),
        frame_id="map",
        pose=FoxglovePose(
            position=Vector3(x=1, y=2, z=3), orientation=Quaternion(x=0, y=0, z=0, w=1)
        ),
    )
    log = read(
        make.raw(
            [("/pose", pose.encode())],
            encoding="protobuf",
            schema=(schema.name, schema.encoding, schema.data),
        )
    )
    assert log.losses == []
    assert log.values == {"/pose.frame_id": ["map"], "/pose": [[1, 2, 3, 0, 0, 0, 1]]}
    assert log.specs["/pose"].names[:2] == ("pose.position.x", "pose.position.y")
    assert log.capture["/pose"] == [3_000_000_004]


def test_protobuf_image_is_kept_coded(make, read):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(buffer, "jpeg")
    schema = CompressedImage.get_schema()
    image = CompressedImage(timestamp=Timestamp(1), data=buffer.getvalue(), format="jpeg")
    log = read(
        make.raw(
            [("/eye", image.encode())],
            encoding="protobuf",
            schema=(schema.name, schema.encoding, schema.data),
        )
    )
    spec = log.specs["/eye"]
    assert (spec.kind, spec.encoding, spec.shape) == (Kind.IMAGE, "jpeg", (4, 6, 3))
    assert log.values["/eye"] == [buffer.getvalue()]


def test_protobuf_absent_message_is_counted_and_absent_optional_is_null(make, read):
    schema = protobuf_schema(
        Field(
            name="x", number=1, type=Field.TYPE_INT32, label=1, oneof_index=0, proto3_optional=True
        ),
        Field(name="inner", number=2, type=Field.TYPE_MESSAGE, label=1, type_name=".t.Inner"),
        Field(name="many", number=3, type=Field.TYPE_UINT64, label=3),
        optional=True,
    )
    messages = [("/m", b""), ("/m", b"\x08\x00\x12\x00\x1a\x02\x05\x06")]
    log = read(make.raw(messages, encoding="protobuf", schema=("t.Made", "protobuf", schema)))
    assert log.values == {
        "/m.x": ["null", "0"],
        "/m.inner": [[0.0], [0.0]],
        "/m.many": [[], [5, 6]],
    }
    loss = log.loss("field-absent")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 1)
    assert loss.detail == "the field 'inner' was left out; it reads as its default"


# --- JSON -------------------------------------------------------------------------------------


def as_json(*values: object, topic: str = "j") -> list[tuple[str, bytes]]:
    return [(topic, json.dumps(value).encode()) for value in values]


def test_json_without_schema(make, read):
    value = {
        "timestamp": {"sec": 2, "nsec": 3}, "frame_id": "f", "p": {"x": 1, "y": 2.5}, "on": True,
        "a": [1, 2], "none": None, "things": [{"k": 1}], "s": "é",
    }  # fmt: skip
    log = read(make.raw(as_json(value)))
    assert log.losses == []
    assert log.capture["j.p"] == [2_000_000_003]
    assert log.values == {
        "j.frame_id": ["f"], "j.p": [[1.0, 2.5]], "j.on": [[True]], "j.a": [[1.0, 2.0]],
        "j.none": ["null"], "j.things": ['[{"k": 1}]'], "j.s": ["é"],
    }  # fmt: skip


def test_json_schema_says_what_numbers_mean(make, read):
    schema = {
        "properties": {
            "n": {"type": "integer"}, "x": {"type": "number"},
            "a": {"type": "array", "items": {"type": "integer"}},
        }
    }  # fmt: skip
    path = make.raw(
        as_json({"n": 1, "x": 1, "a": []}, {"n": 2**60, "x": 2.5, "a": [3]}),
        schema=("S", "jsonschema", json.dumps(schema).encode()),
    )
    log = read(path)
    assert {name: spec.dtype for name, spec in log.specs.items()} == {
        "j.n": "int64", "j.x": "float64", "j.a": "int64",
    }  # fmt: skip
    assert log.values["j.n"] == [[1], [2**60]]


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ({"x": 1}, "it should be an object of ['s', 'x']"),
        ({"x": 1, "s": "a", "new": 0}, "it should be an object of ['s', 'x']"),
        ({"x": "1", "s": "a"}, "x should be a number that float64 holds, not '1'"),
        ({"x": 2**53 + 1, "s": "a"}, "x should be a number that float64 holds"),
        ({"x": 1, "s": None}, "s should be a string"),
        ({"x": 1, "s": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_json_that_does_not_fit_is_kept_whole(make, read, later, why):
    good = {"x": 0.5, "s": "a"}
    messages = as_json(good, later, good)
    log = read(make.raw(messages))
    assert log.seq == {"j.x": [0, 2], "j.s": [0, 2], "j#raw": [1]}
    assert log.values["j#raw"] == [messages[1][1]]
    loss = log.loss("undecodable")
    assert (loss.kind, loss.count, loss.at_ns) == (LossKind.REPAIRED, 1, 1)
    assert why in loss.detail


def test_json_that_is_no_object(make, read):
    assert read(make.raw(as_json(1, 2))).values == {"j": [[1.0], [2.0]]}
    assert read(make.raw(as_json([1, "a"]))).values == {"j": ['[1, "a"]']}


# --- any encoding -----------------------------------------------------------------------------


def test_unknown_encoding_is_kept_as_bytes(make, read):
    path = make.raw(
        [("t", b"one"), ("t", b"two")], encoding="morse", schema=("S", "telegraph", b"x")
    )
    log = read(path)
    assert (log.specs["t"].kind, log.values["t"]) == (Kind.BYTES, [b"one", b"two"])
    loss = log.loss("unknown-encoding")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.REPAIRED, 2, "t")
    assert loss.detail == (
        "message/schema encoding is morse/telegraph, not one of cdr/ros2msg, cdr/ros2idl, "
        "ros1/ros1msg, protobuf/protobuf, flatbuffer/flatbuffer, json/jsonschema, json; "
        "the messages are kept as bytes. "
        "Record them in one of these to have them as numbers"
    )


@pytest.mark.parametrize(
    ("encoding", "schema_encoding"), [("cdr", "ros2msg"), ("protobuf", "protobuf")]
)
def test_schema_that_makes_no_sense(make, read, encoding, schema_encoding):
    path = make.raw([("t", b"one")], encoding=encoding, schema=("a/B", schema_encoding, b"\xff?!"))
    log = read(path)
    assert log.values["t"] == [b"one"]
    loss = log.loss("unknown-encoding")
    assert loss.count == 1
    assert "the schema 'a/B' cannot be read: " in loss.detail


def test_publish_time_is_the_capture_where_there_is_no_other(make, read):
    path = make.raw(as_json({"x": 1}, {"x": 2}), stamps=lambda i: (100 + i, (90, 0)[i]))
    log = read(path)
    assert (log.capture["j"], log.specs["j"].clock) == ([90, 101], "j")


def test_names_never_collide(make, read):
    """A topic named like another's field, and two types on one topic."""
    messages = as_json({"b": 1, "c": "x"}, topic="a") + as_json({"y": 2}, topic="a.b")
    log = read(make.raw(messages))
    assert log.values == {"a.b": [[1.0]], "a.c": ["x"], "a.b#2": [[2.0]]}
    assert log.specs["a.b#2"].topic == "a.b"


def test_blocks_are_bounded(make):
    path = make.raw([("j", b'{"x": 1}')] * 6000 + [("k", b'{"s": "%s"}' % (b"x" * 400_000))] * 5)
    [episode] = open_log(path).episodes
    sizes = [(b.spec.name, len(b)) for b in episode.read() if isinstance(b, Samples)]
    assert sizes == [("j", 4096), ("k", 3), ("j", 1904), ("k", 2)]


def test_metadata_and_attachments_are_statements(tmp_path, read):
    path = tmp_path / "made.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.add_metadata("calibration", {"fx": "500"})
        writer.add_metadata("viae.episode", {"task": '"wave"', "outcome": "true", "odd": "{"})
        writer.add_attachment(1, 2, "notes.txt", "text/plain", b"hi")
        writer.add_message(writer.register_channel("j", "json", 0), 5, b'{"x": 1}', 5)
        writer.finish()
    log = read(path)
    assert log.statements == {
        "mcap.metadata.calibration": {"fx": "500"},
        "task": "wave",
        "outcome": True,
        "odd": "{",
        "mcap.attachment.notes.txt": {
            "media_type": "text/plain",
            "size": 2,
            "log_time": 2,
            "create_time": 1,
            "blake2b": hashlib.blake2b(b"hi", digest_size=16).hexdigest(),
            "base64": "aGk=",
        },
    }
