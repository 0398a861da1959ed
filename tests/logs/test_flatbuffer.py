"""FlatBuffers messages by their binary schema, against Foxglove's generated classes."""

from importlib.resources import files

import flatbuffers
import numpy as np
import pytest

fox = pytest.importorskip("foxglove_schemas_flatbuffer")

from foxglove_schemas_flatbuffer import (  # noqa: E402
    JointState,
    JointStates,
    LaserScan,
    Pose,
    PoseInFrame,
    Quaternion,
    Time,
    Vector3,
)

from viae.logs.messages import Channel, Topic, one_by_one  # noqa: E402
from viae.schema import Kind  # noqa: E402


def channel(name: str) -> Channel:
    schema = (files(fox) / f"{name}.bfbs").read_bytes()
    return Channel(
        topic="/made", encoding="flatbuffer", schema_name=f"foxglove.{name}",
        schema_encoding="flatbuffer", schema=schema,
    )  # fmt: skip


def read(name: str, data: list[bytes]):
    topic = Topic("log", channel(name), set())
    times = list(range(1000, 1000 + len(data)))
    blocks = [*topic.add(one_by_one(data, times, times, [0] * len(data))), *topic.flush()]
    return {block.spec.name: block for block in blocks}, list(topic.losses())


def pose_in_frame(i: int, *, with_pose: bool = True) -> bytes:
    b = flatbuffers.Builder(0)
    frame = b.CreateString("base")
    if with_pose:
        Vector3.Start(b), Vector3.AddX(b, 1.0 + i), Vector3.AddY(b, 2.0), Vector3.AddZ(b, 3.0)
        position = Vector3.End(b)
        Quaternion.Start(b), Quaternion.AddW(b, 0.5)
        orientation = Quaternion.End(b)
        Pose.Start(b), Pose.AddPosition(b, position), Pose.AddOrientation(b, orientation)
        pose = Pose.End(b)
    PoseInFrame.Start(b)
    PoseInFrame.AddTimestamp(b, Time.CreateTime(b, 5, 7 + i))
    PoseInFrame.AddFrameId(b, frame)
    if with_pose:
        PoseInFrame.AddPose(b, pose)
    b.Finish(PoseInFrame.End(b))
    return bytes(b.Output())


def test_tables_and_times():
    found, losses = read("PoseInFrame", [pose_in_frame(0), pose_in_frame(1)])
    assert losses == []
    assert set(found) == {"/made.frame_id", "/made"}
    block = found["/made"]
    assert block.capture_ns.tolist() == [5_000_000_007, 5_000_000_008]
    by_name = dict(zip(block.spec.names, block.values[1].tolist(), strict=True))
    assert by_name["pose.position.x"] == 2.0
    assert by_name["pose.orientation.w"] == 0.5
    assert found["/made.frame_id"].values == ["base", "base"]


def test_an_absent_table_reads_as_its_default_and_is_counted():
    found, [loss] = read("PoseInFrame", [pose_in_frame(0), pose_in_frame(1, with_pose=False)])
    assert (loss.name, loss.count) == ("field-absent", 1)
    assert len(found["/made"]) == 2


def test_vectors_of_numbers_and_of_tables():
    b = flatbuffers.Builder(0)
    ranges = b.CreateNumpyVector(np.array([1.5, 2.5, 3.5]))
    LaserScan.Start(b), LaserScan.AddRanges(b, ranges), LaserScan.AddStartAngle(b, -1.0)
    b.Finish(LaserScan.End(b))
    found, _ = read("LaserScan", [bytes(b.Output())])
    assert found["/made.ranges"].values[0].tolist() == [1.5, 2.5, 3.5]
    assert found["/made.start_angle"].values.tolist() == [[-1.0]]

    b = flatbuffers.Builder(0)
    name = b.CreateString("elbow")
    JointState.Start(b), JointState.AddName(b, name), JointState.AddPosition(b, 0.25)
    joint = JointState.End(b)
    JointStates.StartJointsVector(b, 1), b.PrependUOffsetTRelative(joint)
    joints = b.EndVector()
    JointStates.Start(b), JointStates.AddJoints(b, joints)
    b.Finish(JointStates.End(b))
    found, _ = read("JointStates", [bytes(b.Output())])
    block = found["/made"]
    assert block.spec.kind is Kind.TEXT
    assert '"name": "elbow"' in block.values[0]


def test_damaged_bytes_are_kept():
    good = pose_in_frame(0)
    bad = [good[: len(good) // 2], b"", b"\xff" * 40, *(good[:i] for i in range(4, 40, 7))]
    found, losses = read("PoseInFrame", [good, *bad, good])
    kept = sum(len(block) for name, block in found.items() if name in ("/made", "/made#raw"))
    assert kept == len(bad) + 2
    assert {loss.name for loss in losses} <= {"undecodable", "field-absent", "zero-stamp"}
