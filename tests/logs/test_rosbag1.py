"""ROS 1 bags: what is read equals what rosbags reads; and what a killed recorder leaves is read."""

import bz2
import struct
from collections import Counter
from pathlib import Path

import pytest
from rosbags.rosbag1 import Reader
from rosbags.typesys import get_types_from_msg

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs import open_log
from viae.logs.rosbag import bagrecord
from viae.logs.rosbag.bagfile import MAGIC
from viae.schema import LossKind
from viae.testing.bags import (
    START_NS,
    STEP_NS,
    robot_messages,
    types,
    without_index,
    write_ros1_bag,
)

COMPRESSIONS = ["none", "bz2", "lz4"]


def by_rosbags(path: Path) -> dict[str, list[tuple[int, object]]]:
    """Every message by topic, decoded by `rosbags` by the definitions in the bag."""
    found: dict[str, list[tuple[int, object]]] = {}
    stores = {}
    with Reader(path) as reader:
        for connection, log_ns, data in reader.messages():
            if connection.id not in stores:
                store = types.__wrapped__(1)
                store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
                stores[connection.id] = store
            message = stores[connection.id].deserialize_ros1(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message))
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_equals_rosbags(tmp_path: Path, read, compression: str):
    path = write_ros1_bag(
        tmp_path / "a.bag", robot_messages(50, ros=1), compression=compression, chunk_bytes=5000
    )
    ours, theirs = read(path), by_rosbags(path)
    assert not ours.losses
    for topic, stream in [
        ("/joints", "/joints.position"), ("/imu", "/imu.linear_acceleration"),
        ("/words", "/words"), ("/scan", "/scan.data"), ("/tf", "/tf.world.base"),
    ]:  # fmt: skip
        assert ours.arrival[stream] == [log_ns for log_ns, _ in theirs[topic]]
        assert ours.seq[stream] == list(range(50))
    assert ours.values["/words"] == [m.data for _, m in theirs["/words"]]
    assert ours.values["/joints.position"] == [m.position.tolist() for _, m in theirs["/joints"]]
    assert ours.values["/scan.data"] == [m.data.tolist() for _, m in theirs["/scan"]]
    assert ours.capture["/joints.position"] == [START_NS + i * STEP_NS for i in range(50)]
    xyz = [m.linear_acceleration for _, m in theirs["/imu"]]
    assert ours.values["/imu.linear_acceleration"] == [[v.x, v.y, v.z] for v in xyz]
    said = {each["topic"]: each for each in ours.statements["ros1.connections"]}
    assert said["/words"]["callerid"] == "/maker"
    assert said["/words"]["md5sum"] == types(1).generate_msgdef("std_msgs/msg/String")[1]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_without_its_index_it_is_read_whole(tmp_path: Path, read, compression: str):
    path = write_ros1_bag(
        tmp_path / "a.bag", robot_messages(30, ros=1), compression=compression, chunk_bytes=5000
    )
    active = without_index(path, tmp_path / "a.bag.active")
    assert open_log(active).format == "ros1bag"
    whole, ours = read(path), read(active)
    assert ours.values == whole.values
    assert [(loss.kind, loss.name) for loss in ours.losses] == [(LossKind.REPAIRED, "not-indexed")]


def test_a_chunk_that_was_never_closed_is_read(tmp_path: Path, read):
    """Its header still says 0 bytes; its records lie behind."""
    path = write_ros1_bag(tmp_path / "a.bag", robot_messages(30, ros=1))
    whole = read(path)
    data = bytearray(without_index(path, tmp_path / "cut").read_bytes())
    start = data.index(b"compression=none") - 8
    size = data.index(b"size=", start) + 5
    opened = struct.unpack_from("<I", data, size)[0]
    struct.pack_into("<I", data, size, 0)
    struct.pack_into("<I", data, size + 4, 0)
    active = tmp_path / "a.bag.active"
    active.write_bytes(data[: size + 8 + opened - 20])
    ours = read(active)
    assert {loss.name for loss in ours.losses} == {"truncated", "not-indexed"}
    assert ours.values["/words"] == whole.values["/words"]
    assert len(ours.values["/tf.world.base"]) == 29  # the last message is cut


@pytest.mark.parametrize("compression", ["bz2", "lz4"])
def test_a_damaged_chunk_costs_what_is_in_it(tmp_path: Path, read, compression: str):
    sent = robot_messages(60, ros=1)
    path = write_ros1_bag(tmp_path / "a.bag", sent, compression=compression, chunk_bytes=8000)
    whole = read(path)
    with Reader(path) as reader:
        chunk = list(reader.chunk_infos)[3]
        lost = sum(chunk.connection_counts.values())
    data = bytearray(path.read_bytes())
    place = data.index(b"compression=", chunk.pos) + 200
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    ours = read(path)
    assert [(loss.name, loss.count) for loss in ours.losses] == [("chunk-damaged", lost)]
    hole = range(chunk.start_time, chunk.end_time + 1)
    assert ours.arrival["/words"] == [t for t in whole.arrival["/words"] if t not in hole]


def test_damage_in_an_open_chunk_costs_one_message(tmp_path: Path, read):
    path = write_ros1_bag(tmp_path / "a.bag", robot_messages(60, ros=1), chunk_bytes=8000)
    whole = read(path)
    data = path.read_bytes()
    at = data.index(b"step 30") - 4 - 4 - 20
    path.write_bytes(data[:at] + b"\xff" * 12 + data[at + 12 :])
    ours = read(path)
    assert ours.values["/words"] == [f"step {i}" for i in range(60) if i != 30]
    assert len(ours.values["/imu.orientation"]) == len(whole.values["/imu.orientation"])
    assert [(loss.name, loss.count) for loss in ours.losses] == [("chunk-damaged", 1)]


def test_a_chunk_with_a_wrong_length(tmp_path: Path, read):
    path = write_ros1_bag(
        tmp_path / "a.bag", robot_messages(60, ros=1), compression="lz4", chunk_bytes=8000
    )
    whole = read(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"size=") + 9
    for wrong in (struct.unpack_from("<I", data, place)[0] + 500, 100, 0xFFFFFFF0):
        struct.pack_into("<I", data, place, wrong)
        broken = tmp_path / f"{wrong}.bag"
        broken.write_bytes(data)
        ours = read(broken)
        if wrong == 100:
            assert "chunk-damaged" in {loss.name for loss in ours.losses}
        assert ours.values["/words"][-10:] == whole.values["/words"][-10:]


def test_a_bomb_is_damage(tmp_path: Path, read):
    """Two megabytes that would open to gigabytes, and a chunk that claims them."""
    path = write_ros1_bag(tmp_path / "a.bag", robot_messages(9, ros=1), compression="bz2")
    data = path.read_bytes()
    start = data.index(b"compression=bz2") - 8 - 4
    start = data.rindex(b"op=\x05", 0, data.index(b"compression=bz2")) - 8
    bomb = bz2.compress(bytes(50 << 20))
    fields = b"".join(
        struct.pack("<I", len(each)) + each
        for each in (b"op=\x05", b"compression=bz2", b"size=" + struct.pack("<I", 1000))
    )
    record = struct.pack("<I", len(fields)) + fields + struct.pack("<I", len(bomb)) + bomb
    path.write_bytes(data[:start] + record + data[start:])
    ours = read(path)
    assert len(ours.values["/words"]) == 9
    assert "opens to 1001 bytes" in ours.loss("chunk-damaged").detail or "no end" in (
        ours.loss("chunk-damaged").detail
    )


def test_a_file_full_of_beginnings_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every eight bytes could be a record; the search gives up."""
    looks: list[int] = []
    real = bagrecord.look
    monkeypatch.setattr(bagrecord, "look", lambda *args: looks.append(1) or real(*args))
    monkeypatch.setattr(bagrecord.Looks.__init__, "__defaults__", (1000,))
    path = tmp_path / "a.bag"
    path.write_bytes(MAGIC + b"\x14\0\0\0\x04\0\0\0op=\x02" * 20_000)
    with pytest.raises(DamagedLogError):
        open_log(path)
    assert len(looks) <= 2000


def test_messages_that_nothing_describes(tmp_path: Path, read):
    path = write_ros1_bag(tmp_path / "a.bag", robot_messages(9, ros=1))
    data = without_index(path, tmp_path / "b.bag").read_bytes()
    # connection 3 is that of /words; its record, not its messages, is renumbered
    old = struct.pack("<I", 9) + b"conn=" + struct.pack("<I", 3)
    at = data.index(old)
    path.write_bytes(data[:at] + old[:-4] + struct.pack("<I", 77) + data[at + len(old) :])
    ours = read(path)
    assert len(ours.values["connection 3"]) == 9
    assert ours.loss("channel-missing").count == 9


def test_not_a_bag(tmp_path: Path):
    path = tmp_path / "a.bag"
    path.write_bytes(b"")
    with pytest.raises(EmptyLogError):
        open_log(path)
    path.write_bytes(b"#ROSBAG V1.2\n" + bytes(100))
    with pytest.raises(DamagedLogError, match="rosbag fix"):
        open_log(path)
    path.write_bytes(MAGIC + b"\xff" * 5000)
    with pytest.raises(DamagedLogError, match="no message can be read"):
        open_log(path)


def test_a_bag_without_messages(tmp_path: Path):
    log = open_log(write_ros1_bag(tmp_path / "a.bag", []))
    assert not list(log.episodes)
    assert [loss.name for loss in log.losses] == ["no-messages"]


@pytest.mark.data
def test_realsense(data_dir: Path, read):
    """Counts, first and last values per stream; the images by rosbags' reader of records."""
    path = data_dir / "lerobot_artifacts" / "test_rs.bag"
    ours = read(path)
    with Reader(path) as reader:
        declared = {c.topic: c.msgcount for c in reader.connections}
        raw = {c.topic: [] for c in reader.connections}
        for connection, log_ns, data in reader.messages():
            raw[connection.topic].append((log_ns, bytes(data)))
    counts: Counter[str] = Counter()
    for name, seq in ours.seq.items():
        topic = ours.specs[name].topic
        counts[topic] = len(seq)
        assert seq == list(range(declared[topic])), name
        assert ours.arrival[name] == [log_ns for log_ns, _ in raw[topic]]
    assert counts == declared
    assert counts.total() == 375
    depth, color = (f"/device_0/sensor_{n}/image/data" for n in ("0/Depth_0", "1/Color_0"))
    assert ours.specs[depth].shape == (480, 640, 1)
    assert ours.specs[color].shape == (480, 640, 3)
    for topic, size in ((depth, 480 * 640 * 2), (color, 480 * 640 * 3)):
        assert ours.values[topic] == [data[-size - 4 : -4] for _, data in raw[topic]]
    assert ours.capture[depth][0] == 1_747_141_385_125_357_151
    assert ours.values["/device_0/info.value"][0] == "Intel RealSense D435"
    assert ours.values["/device_0/sensor_0/Depth_0/tf/0"] == [[0, 0, 0, 0, 0, 0, -1]]
    assert {(loss.name, loss.count) for loss in ours.losses} == {
        ("zero-stamp", 1), ("bytes-ignored", 6), ("bytes-ignored", 5),
    }  # fmt: skip
