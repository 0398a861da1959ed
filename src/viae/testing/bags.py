"""Small bags of ROS 1 and ROS 2, written by ``rosbags``, ``sqlite3`` and ``mcap``."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml
import zstandard
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

Sent: TypeAlias = tuple[str, int, Any]
"""A topic, when the recorder had it (ns), and a message of a `rosbags` type."""

TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
    serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
    type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL,
    encoding TEXT NOT NULL, encoded_message_definition TEXT NOT NULL,
    type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES (4, 'humble');
"""
"""Those of rosbag2's schema version 4."""

START_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
DELAY_NS = 250_000


@cache
def types(ros: int) -> Typestore:
    """The message types of a version of ROS."""
    if ros == 2:
        return get_typestore(Stores.ROS2_HUMBLE)
    store = get_typestore(Stores.ROS1_NOETIC)
    name = "tf2_msgs/msg/TFMessage"
    store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", name))
    return store


def robot_messages(count: int, *, ros: int, seed: int = 0) -> list[Sent]:
    """What a small robot says: joints, an IMU, a scan that varies, words, and transforms.

    Args:
        count: of each; the stamp of message i is ``START_NS + i * STEP_NS``.
        ros: 1 or 2.
        seed: of its random numbers.
    """
    kinds, rng = types(ros).types, np.random.default_rng(seed)
    vector, quaternion = (kinds[f"geometry_msgs/msg/{name}"] for name in ("Vector3", "Quaternion"))

    def header(i: int, frame: str) -> Any:
        stamp = START_NS + i * STEP_NS
        time = kinds["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
        kind = kinds["std_msgs/msg/Header"]
        return kind(i, time, frame) if ros == 1 else kind(time, frame)

    def xyz() -> Any:
        return vector(*rng.standard_normal(3).tolist())

    def transform(i: int, parent: str, child: str) -> Any:
        inner = kinds["geometry_msgs/msg/Transform"](xyz(), quaternion(0.0, 0.0, 0.0, 1.0))
        stamped = kinds["geometry_msgs/msg/TransformStamped"]
        return stamped(header(i, parent), child, inner)

    sent: list[Sent] = []
    for i in range(count):
        log_ns = START_NS + i * STEP_NS + DELAY_NS
        joints = kinds["sensor_msgs/msg/JointState"](
            header(i, "base"), ["a", "b"], rng.standard_normal(2), np.zeros(2), np.zeros(0)
        )
        imu = kinds["sensor_msgs/msg/Imu"](
            header(i, "imu"), quaternion(0.0, 0.0, 0.0, 1.0), np.zeros(9), xyz(), np.zeros(9),
            xyz(), np.zeros(9),
        )  # fmt: skip
        scan = kinds["std_msgs/msg/Float32MultiArray"](
            kinds["std_msgs/msg/MultiArrayLayout"]([], 0), np.arange(i % 7, dtype=np.float32)
        )
        words = kinds["std_msgs/msg/String"](f"step {i}")
        moving = [transform(i, "world", "base"), transform(i, "base", "arm")][: 1 + i % 2]
        frames = kinds["tf2_msgs/msg/TFMessage"](moving)
        sent += [
            ("/joints", log_ns, joints), ("/imu", log_ns + 1, imu), ("/scan", log_ns + 2, scan),
            ("/words", log_ns + 3, words), ("/tf", log_ns + 4, frames),
        ]  # fmt: skip
    return sent


def write_ros1_bag(
    path: Path, sent: Sequence[Sent], *, compression: str = "none", chunk_bytes: int = 1 << 20
) -> Path:
    """A ROS 1 bag; ``compression`` is none, bz2 or lz4."""
    store = types(1)
    writer = Ros1Writer(path)
    writer.chunk_threshold = chunk_bytes
    if compression != "none":
        writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
    with writer:
        known = {}
        for topic, log_ns, message in sent:
            type_ = message.__msgtype__
            if topic not in known:
                known[topic] = writer.add_connection(
                    topic, type_, typestore=store, callerid="/maker", latching=0
                )
            writer.write(known[topic], log_ns, store.serialize_ros1(message, type_))
    return path


def without_index(bag: Path, to: Path) -> Path:
    """A bag as a killed recorder leaves it: no index, and the header says so."""
    data = bag.read_bytes()
    at = data.index(b"index_pos=") + len(b"index_pos=")
    start = int.from_bytes(data[at : at + 8], "little")
    to.write_bytes(data[:at] + bytes(8) + data[at + 8 : start])
    return to


def write_ros2_bag(
    folder: Path,
    sent: Sequence[Sent],
    *,
    storage: str = "sqlite3",
    parts: int = 1,
    definitions: bool = True,
    compression: str = "",
) -> Path:
    """A ROS 2 bag as rosbag2 leaves it, in a folder that is made.

    Args:
        folder: the bag; its name is that of its files.
        sent: its messages.
        storage: ``"sqlite3"`` or ``"mcap"``.
        parts: files it is split into, of equally many messages.
        definitions: whether the types' definitions are in it.
        compression: ``"file"``, ``"message"`` or nothing.
    """
    folder.mkdir(parents=True)
    write = write_database if storage == "sqlite3" else write_mcap
    pack: Callable[[bytes], bytes] = zstandard.ZstdCompressor().compress
    size = -(-len(sent) // parts)
    files = []
    for number in range(parts):
        mine = sent[number * size : (number + 1) * size]
        path = folder / f"{folder.name}_{number}.{'db3' if storage == 'sqlite3' else 'mcap'}"
        write(path, mine, definitions, pack if compression == "message" else bytes)
        if compression == "file":
            compressed = path.with_name(path.name + ".zstd")
            compressed.write_bytes(pack(path.read_bytes()))
            path.unlink()
            path = compressed
        times = [log_ns for _, log_ns, _ in mine]
        files.append({
            "path": path.name,
            "starting_time": {"nanoseconds_since_epoch": min(times)},
            "duration": {"nanoseconds": max(times) - min(times)},
            "message_count": len(mine),
        })  # fmt: skip
    counts = Counter((topic, message.__msgtype__) for topic, _, message in sent)
    times = [log_ns for _, log_ns, _ in sent]
    said = {
        "version": 8, "storage_identifier": storage, "message_count": len(sent),
        "starting_time": {"nanoseconds_since_epoch": min(times)},
        "duration": {"nanoseconds": max(times) - min(times)},
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic, "type": type_, "serialization_format": "cdr",
                    "offered_qos_profiles": "", "type_description_hash": "",
                },
                "message_count": count,
            }
            for (topic, type_), count in counts.items()
        ],
        "compression_format": "zstd" if compression else "", "compression_mode": compression,
        "relative_file_paths": [file["path"] for file in files], "files": files,
        "custom_data": None, "ros_distro": "humble",
    }  # fmt: skip
    text = yaml.safe_dump({"rosbag2_bagfile_information": said}, sort_keys=False)
    (folder / "metadata.yaml").write_text(text)
    return folder


def write_database(
    path: Path,
    sent: Sequence[Sent],
    definitions: bool = True,
    pack: Callable[[bytes], bytes] = bytes,
) -> Path:
    """One ``.db3``."""
    store = types(2)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(TABLES)
    topics: dict[str, int] = {}
    for topic, log_ns, message in sent:
        type_ = message.__msgtype__
        if topic not in topics:
            topics[topic] = len(topics) + 1
            row = topics[topic], topic, type_, "cdr", "", ""
            connection.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?)", row)
            if definitions:
                text, _ = store.generate_msgdef(type_, ros_version=2)
                connection.execute(
                    "INSERT INTO message_definitions VALUES (NULL, ?, 'ros2msg', ?, '')",
                    (type_, text),
                )
        data = pack(bytes(store.serialize_cdr(message, type_)))
        connection.execute(
            "INSERT INTO messages VALUES (NULL, ?, ?, ?)", (topics[topic], log_ns, data)
        )
    connection.commit()
    connection.close()
    return path


def write_mcap(
    path: Path,
    sent: Sequence[Sent],
    definitions: bool = True,
    pack: Callable[[bytes], bytes] = bytes,
) -> Path:
    """One ``.mcap`` of the profile ros2."""
    store = types(2)
    with path.open("wb") as file:
        writer: Any = McapWriter(file)
        writer.start(profile="ros2", library="viae.testing")
        channels: dict[str, int] = {}
        for number, (topic, log_ns, message) in enumerate(sent):
            type_ = message.__msgtype__
            if topic not in channels:
                text = store.generate_msgdef(type_, ros_version=2)[0] if definitions else ""
                encoding = "ros2msg" if definitions else ""
                schema = writer.register_schema(type_, encoding, text.encode())
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            data = pack(bytes(store.serialize_cdr(message, type_)))
            writer.add_message(channels[topic], log_ns, data, log_ns, number)
        writer.finish()
    return path
