"""Transforms become a stream for every pair of frames, in whatever encoding they come."""

import json

import numpy as np
import pytest
from foxglove import messages as schemas
from rosbags.typesys import get_types_from_msg

from viae.logs.messages import Channel, one_by_one
from viae.logs.messages import transforms as transforms_module
from viae.logs.messages.plan import SPEC_KEY
from viae.logs.messages.topics import TopicSet
from viae.logs.messages.transforms import NAMES, TransformTopic
from viae.schema import Kind, Samples
from viae.testing.bags import START_NS, STEP_NS, robot_messages, types

TF = "tf2_msgs/msg/TFMessage"


def take(channel: Channel, data: list[bytes]) -> tuple[dict[str, Samples], TopicSet]:
    """What messages at log times 1000, 1001, … become; every stream is one block."""
    topics = TopicSet("made")
    topic = topics.topic(channel)
    times = list(range(1000, 1000 + len(data)))
    blocks = [*topics.add(topic, one_by_one(data, times, [0] * len(data), [0] * len(data)))]
    blocks += topics.finish()
    found = {block.spec.name: block for block in blocks}
    assert len(found) == len(blocks)
    return found, topics


def ros(type_: str, ros_version: int = 2) -> Channel:
    text, _ = types(ros_version).generate_msgdef(type_, ros_version=ros_version)
    encodings = ("cdr", "ros2msg") if ros_version == 2 else ("ros1", "ros1msg")
    return Channel(
        topic="/tf", encoding=encodings[0], schema_name=type_, schema_encoding=encodings[1],
        schema=text.encode(),
    )  # fmt: skip


def serialise(message, ros_version: int = 2) -> bytes:
    store = types(ros_version)
    write = store.serialize_cdr if ros_version == 2 else store.serialize_ros1
    return bytes(write(message, message.__msgtype__))


def frames(count: int, ros_version: int = 2) -> list:
    return [m for topic, _, m in robot_messages(count, ros=ros_version) if topic == "/tf"]


@pytest.mark.parametrize("ros_version", [1, 2])
def test_a_stream_for_every_pair(ros_version: int):
    messages = frames(6, ros_version)
    found, topics = take(ros(TF, ros_version), [serialise(m, ros_version) for m in messages])
    assert not [*topics.losses()]
    assert found.keys() == {"/tf.world.base", "/tf.base.arm"}
    base, arm = found["/tf.world.base"], found["/tf.base.arm"]
    assert base.spec.names == NAMES
    assert (base.spec.kind, base.spec.dtype, base.spec.shape) == (Kind.VECTOR, "float64", (7,))
    assert (base.spec.clock, base.spec.topic) == ("/tf", "/tf")
    assert base.capture_ns.tolist() == [START_NS + i * STEP_NS for i in range(6)]
    assert base.arrival_ns.tolist() == [1000, 1001, 1002, 1003, 1004, 1005]
    assert arm.arrival_ns.tolist() == [1001, 1003, 1005]
    assert base.seq.tolist() == [0, 1, 2, 3, 4, 5]
    assert arm.seq.tolist() == [0, 1, 2]
    first = messages[1].transforms[1].transform
    moved = first.translation
    expected = [moved.x, moved.y, moved.z, 0.0, 0.0, 0.0, 1.0]
    assert np.asarray(arm.values)[0].tolist() == expected


def test_one_stamped_transform_is_one_sample():
    messages = [m.transforms[0] for m in frames(3)]
    found, _ = take(ros("geometry_msgs/msg/TransformStamped"), [serialise(m) for m in messages])
    assert list(found) == ["/tf.world.base"]
    assert len(found["/tf.world.base"]) == 3


def test_a_type_of_ones_own_that_has_the_form():
    text = "string parent_frame\nstring child_frame\nbuiltin_interfaces/Time stamp\n"
    text += "geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation\n"
    store, name = types(2), "my_msgs/msg/Pose"
    if name not in store.fielddefs:
        store.register(get_types_from_msg(text, name))
    one = frames(1)[0].transforms[0]
    own = store.types[name](
        "a", "b", one.header.stamp, one.transform.translation, one.transform.rotation
    )
    found, _ = take(ros(name), [serialise(own)])
    assert list(found) == ["/tf.a.b"]


def foxglove_transform(child: str = "b", **parts) -> schemas.FrameTransform:
    given = {
        "timestamp": schemas.Timestamp(1, 2),
        "translation": schemas.Vector3(x=1.0, y=2.0, z=3.0),
        "rotation": schemas.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
    }
    return schemas.FrameTransform(parent_frame_id="a", child_frame_id=child, **given | parts)


def protobuf(kind) -> Channel:
    schema = kind.get_schema()
    return Channel(
        topic="tf", encoding="protobuf", schema_name=schema.name, schema_encoding="protobuf",
        schema=schema.data,
    )  # fmt: skip


def test_foxglove_protobuf():
    one, two = foxglove_transform(), foxglove_transform("c", timestamp=None)
    found, topics = take(
        protobuf(schemas.FrameTransforms),
        [schemas.FrameTransforms(transforms=[one, two]).encode()],
    )
    assert found["tf.a.b"].capture_ns.tolist() == [1_000_000_002]
    assert np.asarray(found["tf.a.b"].values).tolist() == [[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0]]
    assert found["tf.a.c"].capture_ns.tolist() == [1000]  # it has no stamp
    assert [(loss.name, loss.count) for loss in topics.losses()] == [("zero-stamp", 1)]
    alone, topics = take(
        protobuf(schemas.FrameTransform), [foxglove_transform(rotation=None).encode()]
    )
    assert np.asarray(alone["tf.a.b"].values).tolist() == [[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]]
    assert [(loss.name, loss.count) for loss in topics.losses()] == [("field-absent", 1)]


def test_json_by_its_schema():
    def objects(**fields) -> dict:
        return {"type": "object", "properties": fields}

    number = {"type": "number"}
    one = objects(
        timestamp=objects(sec={"type": "integer"}, nsec={"type": "integer"}),
        parent_frame_id={"type": "string"}, child_frame_id={"type": "string"},
        translation=objects(x=number, y=number, z=number),
        rotation=objects(x=number, y=number, z=number, w=number),
    )  # fmt: skip
    schema = objects(transforms={"type": "array", "items": one})
    channel = Channel(
        topic="tf", encoding="json", schema_name="foxglove.FrameTransforms",
        schema_encoding="jsonschema", schema=json.dumps(schema).encode(),
    )  # fmt: skip
    transform = {
        "timestamp": {"sec": 1, "nsec": 2}, "parent_frame_id": "a", "child_frame_id": "b",
        "translation": {"x": 1, "y": 2, "z": 3}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1},
    }  # fmt: skip
    wrong = transform | {"translation": {"x": "1", "y": 2, "z": 3}}
    data = [json.dumps({"transforms": each}).encode() for each in ([transform], [wrong], 7)]
    found, topics = take(channel, data)
    assert found["tf.a.b"].capture_ns.tolist() == [1_000_000_002]
    assert found["tf#raw"].seq.tolist() == [1, 2]
    assert [(loss.name, loss.count) for loss in topics.losses()] == [("undecodable", 2)]


def test_what_holds_no_transform_is_kept():
    message, empty = frames(1)[0], types(2).types[TF]([])
    data = [serialise(empty), serialise(message), b"\0\1\0\0\1", serialise(message)]
    found, topics = take(ros(TF), data)
    assert found["/tf.world.base"].seq.tolist() == [0, 1]
    assert found["/tf.world.base"].arrival_ns.tolist() == [1001, 1003]
    assert list(found["/tf#raw"].values) == [data[0], data[2]]
    assert found["/tf#raw"].seq.tolist() == [0, 2]
    losses = {loss.name: loss for loss in topics.losses()}
    assert {name: loss.count for name, loss in losses.items()} == {
        "undecodable": 1, "no-transforms": 1,
    }  # fmt: skip
    assert losses["undecodable"].at_ns == 1002


def test_pairs_whose_names_collide():
    one = frames(1)[0].transforms[0]
    kind, header = types(2).types["geometry_msgs/msg/TransformStamped"], one.header
    other = type(header)(header.stamp, "world.base")
    pairs = [kind(header, "base.x", one.transform), kind(other, "x", one.transform)]
    found, _ = take(ros(TF), [serialise(types(2).types[TF](pairs))])
    assert list(found) == ["/tf.world.base.x", "/tf.world.base.x#2"]


def test_no_more_pairs_than_a_robot_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transforms_module, "MAX_PAIRS", 1)
    found, topics = take(ros(TF), [serialise(m) for m in frames(4)])
    assert len(found["/tf.world.base"]) == 2
    assert found["/tf#raw"].seq.tolist() == [1, 3]
    [loss] = topics.losses()
    assert "more than 1 pairs" in loss.detail


def test_a_message_of_more_than_a_block():
    message = types(2).types[TF]([frames(1)[0].transforms[0]] * 10_000)
    topics = TopicSet("made")
    messages = one_by_one([serialise(message)], [0], [0], [0])
    blocks = [*topics.add(topics.topic(ros(TF)), messages), *topics.finish()]
    assert [len(block) for block in blocks] == [4096, 4096, 1808]
    assert np.concatenate([block.seq for block in blocks]).tolist() == list(range(10_000))


def test_other_types_are_not_transforms():
    topics = TopicSet("made")
    for type_ in ("nav_msgs/msg/Odometry", "geometry_msgs/msg/Transform", "sensor_msgs/msg/Imu"):
        assert not isinstance(topics.topic(ros(type_)), TransformTopic)


def test_a_recorded_spec_comes_first():
    channel = protobuf(schemas.FrameTransform)
    recorded = Channel(
        topic="tf", encoding=channel.encoding, schema_name=channel.schema_name,
        schema_encoding=channel.schema_encoding, schema=channel.schema, metadata={SPEC_KEY: "{}"},
    )  # fmt: skip
    assert not isinstance(TopicSet("made").topic(recorded), TransformTopic)
