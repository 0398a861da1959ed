"""ROS 2 bags: folders and lone files, split, compressed, damaged; and rosbag2's own test bags."""

import json
import os
import shutil
import sqlite3
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml
import zstandard
from mcap.reader import NonSeekingReader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs import find_logs, open_log
from viae.logs.messages import one_by_one
from viae.logs.rosbag.compressed import opened_messages
from viae.logs.rosbag.metadata import MAX_DEPTH, parse_metadata
from viae.schema import LossKind
from viae.testing.bags import (
    START_NS,
    STEP_NS,
    robot_messages,
    write_database,
    write_mcap,
    write_ros2_bag,
)

STORAGES = ["sqlite3", "mcap"]
COUNT = 30


@pytest.fixture(scope="module")
def sent():
    return robot_messages(COUNT, ros=2)


def names(losses) -> list[str]:
    return sorted(loss.name for loss in losses)


def rewrite(folder: Path, **changes) -> None:
    """Change what a bag's metadata says; None takes it away."""
    path = folder / "metadata.yaml"
    said = yaml.safe_load(path.read_text())
    inner = said["rosbag2_bagfile_information"] | changes
    said["rosbag2_bagfile_information"] = {k: v for k, v in inner.items() if v is not None}
    path.write_text(yaml.safe_dump(said))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("parts", [1, 3])
def test_equals_rosbags(tmp_path: Path, read, sent, storage: str, parts: int):
    folder = write_ros2_bag(tmp_path / "bag", sent, storage=storage, parts=parts)
    ours = read(folder)
    assert not ours.losses
    theirs: defaultdict[str, list] = defaultdict(list)
    with AnyReader([folder]) as reader:
        for connection, log_ns, data in reader.messages():
            theirs[connection.topic].append((log_ns, reader.deserialize(data, connection.msgtype)))
    for topic, stream in [
        ("/joints", "/joints.position"), ("/imu", "/imu.linear_acceleration"),
        ("/words", "/words"), ("/scan", "/scan.data"), ("/tf", "/tf.world.base"),
    ]:  # fmt: skip
        assert ours.arrival[stream] == [log_ns for log_ns, _ in theirs[topic]]
        assert ours.seq[stream] == list(range(COUNT))
    assert ours.values["/words"] == [m.data for _, m in theirs["/words"]]
    assert ours.values["/scan.data"] == [m.data.tolist() for _, m in theirs["/scan"]]
    assert ours.values["/joints.position"] == [m.position.tolist() for _, m in theirs["/joints"]]
    assert ours.capture["/joints.position"] == [START_NS + i * STEP_NS for i in range(COUNT)]
    assert ours.statements["rosbag2.metadata"]["storage_identifier"] == storage


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compression", ["file", "message"])
def test_compression(tmp_path: Path, read, sent, storage: str, compression: str):
    plain = write_ros2_bag(tmp_path / "plain", sent, storage=storage, parts=2)
    folder = write_ros2_bag(
        tmp_path / "bag", sent, storage=storage, parts=2, compression=compression
    )
    ours = read(folder)
    assert not ours.losses
    assert ours.values == read(plain).values


def test_a_bag_in_a_folder_is_one_log(tmp_path: Path, sent):
    for storage in STORAGES:
        write_ros2_bag(tmp_path / storage, sent, storage=storage, parts=2)
    write_mcap(tmp_path / "alone.mcap", sent)
    write_database(tmp_path / "alone.db3", sent)
    found = find_logs(tmp_path)
    assert [path.name for path in found.logs] == ["alone.db3", "alone.mcap", "mcap", "sqlite3"]
    assert not found.skipped
    formats = [open_log(path).format for path in found.logs]
    assert formats == ["ros2bag", "mcap", "ros2bag", "ros2bag"]


@pytest.mark.parametrize("storage", STORAGES)
def test_missing_empty_damaged_and_undeclared_files(tmp_path: Path, read, sent, storage: str):
    folder = write_ros2_bag(tmp_path / "bag", sent, storage=storage, parts=5)
    whole = read(folder)
    files = sorted(each for each in folder.iterdir() if each.suffix != ".yaml")
    files[0].unlink()
    files[1].write_bytes(b"")
    files[3].write_bytes(b"x" * 100)
    shutil.copy(files[2], folder / f"other{files[2].suffix}")
    ours = read(folder)
    losses = {loss.name: loss for loss in ours.losses}
    assert names(ours.losses) == [
        "file-undeclared",
        "split-damaged",
        "split-empty",
        "split-missing",
    ]
    lost = [losses[f"split-{what}"] for what in ("missing", "empty", "damaged")]
    assert [(loss.kind, loss.count) for loss in lost] == [(LossKind.LOST, 30)] * 3
    assert losses["file-undeclared"].kind is LossKind.SKIPPED
    assert files[0].name in losses["split-missing"].detail
    times = whole.arrival["/words"]
    assert ours.arrival["/words"] == times[12:18] + times[24:]
    assert ours.seq["/words"] == list(range(12))


@pytest.mark.parametrize("storage", STORAGES)
def test_other_counts_than_declared(tmp_path: Path, read, sent, storage: str):
    folder = write_ros2_bag(tmp_path / "bag", sent, storage=storage)
    topics = read(folder).statements["rosbag2.metadata"]["topics_with_message_count"]
    topics[0]["message_count"] += 2
    rewrite(folder, topics_with_message_count=topics, files=None)
    loss = read(folder).loss("count-differs")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 2, "/joints")
    rewrite(folder, files=[{"path": next(folder.glob("bag_0*")).name, "message_count": 140}])
    loss = read(folder).loss("count-differs")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.REPAIRED, 10, "")


@pytest.mark.parametrize(
    "text", ["", "[1, 2", "\xff", "a: &a [*a]", "rosbag2_bagfile_information: 7", "x: y", "- " * 99]
)
def test_metadata_that_says_nothing(tmp_path: Path, read, sent, text: str):
    folder = write_ros2_bag(tmp_path / "bag", sent, parts=2)
    whole = read(folder)
    for number in (9, 10):  # the order is that of the numbers
        (folder / f"bag_{number - 9}.db3").rename(folder / f"bag_{number}.db3")
    (folder / "metadata.yaml").write_bytes(text.encode("latin-1"))
    ours = read(folder)
    assert ours.values == whole.values
    assert ours.loss("metadata-damaged").kind is LossKind.REPAIRED


def test_aliases_without_end_are_refused():
    laughs = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert "too many values" in parse_metadata(laughs).damage
    deep = "[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5)
    assert "too deep" in parse_metadata(f"a: {deep}").damage


def test_old_metadata(tmp_path: Path, read, sent):
    """Version 2: names with the folder in them, no counts per file."""
    folder = write_ros2_bag(tmp_path / "bag", sent, parts=2)
    whole = read(folder)
    rewrite(
        folder, version=2, files=None, ros_distro=None, custom_data=None, compression_format=None,
        compression_mode=None, relative_file_paths=["bag/bag_0.db3", "bag/bag_1.db3"],
    )  # fmt: skip
    ours = read(folder)
    assert not ours.losses
    assert ours.values == whole.values


def test_names_that_lead_out_of_the_folder(tmp_path: Path, sent):
    outside = write_database(tmp_path / "secret.db3", sent)
    folder = write_ros2_bag(tmp_path / "bag", sent)
    rewrite(folder, relative_file_paths=["../secret.db3", str(outside)])
    with pytest.raises(DamagedLogError, match=r"missing: \.\./secret\.db3"):
        open_log(folder)


@pytest.mark.parametrize("storage", STORAGES)
def test_definitions_that_the_bag_does_not_hold(tmp_path: Path, read, sent, storage: str):
    whole = read(write_ros2_bag(tmp_path / "whole", sent, storage=storage))
    ours = read(write_ros2_bag(tmp_path / "bag", sent, storage=storage, definitions=False))
    assert ours.values == whole.values
    assert names(ours.losses) == ["definition-assumed"] * 5
    assert {loss.count for loss in ours.losses} == {COUNT}
    assert "ROS 2 humble" in ours.losses[0].detail


def test_a_lone_database(tmp_path: Path, read, sent):
    path = write_database(tmp_path / "a.db3", sent)
    ours = read(path)
    assert not ours.losses
    assert ours.values == read(write_ros2_bag(tmp_path / "bag", sent)).values
    assert ours.statements["rosbag2.topics"]["/words"]["type"] == "std_msgs/msg/String"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.db3", "bag"]
    compressed = tmp_path / "b.db3.zstd"
    compressed.write_bytes(zstandard.compress(path.read_bytes()))
    assert read(compressed).values == ours.values


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_what_a_killed_writer_left_beside(tmp_path: Path, read, sent, journal: str):
    """Committed messages in the log of a database are its messages; half a transaction is not."""
    made = write_database(tmp_path / "a.db3", sent)
    whole = read(made)
    folder = tmp_path / "killed"
    folder.mkdir()
    connection = sqlite3.connect(made, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO messages SELECT NULL, topic_id, timestamp, data FROM messages")
    if journal == "WAL":
        connection.execute("COMMIT")
    for file in tmp_path.glob("a.db3*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, folder)
    connection.close()
    path = folder / "a.db3"
    before = {each: zlib.crc32(each.read_bytes()) for each in folder.iterdir()}
    assert len(before) == 2
    ours = read(path)
    twice = 2 if journal == "WAL" else 1
    assert ours.values["/words"] == whole.values["/words"] * twice
    assert not ours.losses
    assert all(zlib.crc32(each.read_bytes()) == crc for each, crc in before.items())


def test_a_page_that_cannot_be_read(tmp_path: Path, read):
    """The rows on it are lost, and counted; those behind it are not."""
    sent = robot_messages(200, ros=2)
    path = write_database(tmp_path / "a.db3", sent)
    whole = read(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"step 100\0")
    page = at // 4096 * 4096
    data[page : page + 8] = b"\xff" * 8
    path.write_bytes(data)
    ours = read(path)
    loss = ours.loss("page-damaged")
    kept = sum(map(len, ours.arrival.values()))
    assert 3 <= loss.count <= 60
    assert loss.kind is LossKind.LOST
    assert ours.values["/words"][0] == "step 0"
    assert ours.values["/words"][-1] == "step 199"
    assert len(whole.values["/words"]) - len(ours.values["/words"]) <= loss.count
    assert kept < sum(map(len, whole.arrival.values()))
    topics = {ours.specs[name].topic: len(seq) for name, seq in ours.seq.items() if name[1] != "t"}
    tf = len(ours.seq["/tf.world.base"])
    assert sum(topics.values()) + tf + loss.count == len(sent)


def test_rows_and_topics_that_make_no_sense(tmp_path: Path, read, sent):
    path = write_database(tmp_path / "a.db3", sent)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO messages VALUES (NULL, 1, 'soon', x'00')")
    connection.execute("INSERT INTO messages VALUES (NULL, 1, 7, 'no bytes')")
    connection.execute("INSERT INTO messages VALUES (NULL, 99, 8, x'0102')")
    connection.commit()
    connection.close()
    ours = read(path)
    assert ours.loss("row-damaged").count == 2
    assert ours.loss("channel-missing").count == 1
    assert ours.values["topic 99"] == [b"\1\2"]
    assert len(ours.values["/words"]) == COUNT


def test_a_view_is_not_a_table(tmp_path: Path):
    """It could go on for ever."""
    path = tmp_path / "a.db3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE topics(id, name, type, serialization_format)")
    connection.execute(
        "CREATE VIEW messages AS WITH RECURSIVE n(rowid) AS (SELECT 1 UNION ALL SELECT 1 FROM n) "
        "SELECT rowid, 1 AS topic_id, 1 AS timestamp, x'' AS data FROM n"
    )
    connection.commit()
    connection.close()
    with pytest.raises(DamagedLogError, match="its tables are"):
        open_log(path)


def test_no_bag(tmp_path: Path):
    path = tmp_path / "a.db3"
    path.write_bytes(b"")
    with pytest.raises(EmptyLogError):
        open_log(path)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(300))
    with pytest.raises(DamagedLogError, match="cannot read it"):
        open_log(path)


def test_compressed_bombs_are_left_closed():
    bomb = zstandard.compress(bytes(300 << 20))
    plain = zstandard.compress(b"hello")
    opened = opened_messages(one_by_one([bomb, plain, b"not"], [1, 2, 3], [0] * 3, [0] * 3))
    assert [data for piece in opened for data in piece.data()] == [bomb, b"hello", b"not"]


# rosbag2's own test bags

SETS = [
    "ros2bag/test/resources/empty_bag",
    *(
        f"rosbag2_py/test/resources/{storage}/{name}"
        for storage in STORAGES for name in ("convert_a", "convert_b", "talker", "wbag")
    ),
    *(
        f"rosbag2_tests/resources/{storage}/{name}"
        for storage in STORAGES
        for name in ("bag_with_topics_and_service_events", "cdr_test", "wrong_rmw_test")
    ),
    *(
        f"rosbag2_transport/test/resources/{storage}/{name}"
        for storage in STORAGES for name in ("rewriter_a", "rewriter_b", "test_bag_for_seek")
    ),
    *(f"rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.{end}" for end in ("db3", "mcap")),
    *(f"rosbag2_cpp/test/rosbag2_cpp/bags/only_{what}.mcap" for what in ("topics", "services")),
    *(
        f"rosbag2_py/test/resources/{storage}/reindex_test_bags/multiple_files/multiple_files_{n}"
        f".{'db3' if storage == 'sqlite3' else 'mcap'}"
        for storage in STORAGES for n in range(3)
    ),
]  # fmt: skip


def independent(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Every message by topic, in the order of the files, by `sqlite3` and the `mcap` package."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    files = [path]
    if path.is_dir():
        said = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        files = [path / name for name in said["relative_file_paths"]]
    for file in files:
        if file.suffix == ".mcap":
            with file.open("rb") as stream:
                messages = NonSeekingReader(stream).iter_messages(log_time_order=False)
                for _, channel, message in messages:
                    found[channel.topic].append((message.log_time, message.data))
        else:
            query = (
                "SELECT name, timestamp, data FROM messages JOIN topics ON topic_id = topics.id "
                "ORDER BY messages.id"
            )
            connection = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
            for topic, log_ns, data in connection.execute(query):
                found[topic].append((log_ns, data))
            connection.close()
    return found


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_counts_first_and_last_of_every_stream(data_dir: Path, read, name: str):
    path = data_dir / "rosbag2_testdata" / name
    theirs = independent(path)
    if not theirs:
        assert [loss.name for loss in open_log(path).losses] == ["no-messages"]
        assert not list(open_log(path).episodes)
        return
    ours = read(path)
    assert {ours.specs[stream].topic for stream in ours.specs} == set(theirs)
    for stream, spec in ours.specs.items():
        times = [log_ns for log_ns, _ in theirs[spec.topic]]
        assert ours.seq[stream] == list(range(len(times))), stream
        assert ours.arrival[stream] == times, stream
        if spec.kind == "bytes" and stream in (spec.topic, f"{spec.topic}#raw"):
            assert ours.values[stream] == [data for _, data in theirs[spec.topic]]
    assert not [loss for loss in ours.losses if loss.kind is LossKind.LOST]


@pytest.mark.data
def test_all_of_rosbag2s_bags_are_found(data_dir: Path):
    root = data_dir / "rosbag2_testdata"
    logs = {str(path.relative_to(root)) for path in find_logs(root).logs}
    assert logs == set(SETS)


@pytest.mark.data
def test_losses_of_rosbag2s_bags(data_dir: Path, read):
    """What ROS does not ship and the bag does not define stays bytes; nothing else is amiss."""
    root = data_dir / "rosbag2_testdata"
    found: Counter[tuple[str, str]] = Counter()
    for name in SETS[1:]:
        for loss in read(root / name).losses:
            found[name.split("/")[-1].split(".")[0], loss.name] += 1
    assert dict(found) == {
        ("convert_a", "unknown-encoding"): 2, ("convert_b", "unknown-encoding"): 2,
        ("rewriter_a", "unknown-encoding"): 2, ("rewriter_b", "unknown-encoding"): 2,
        ("test_bag_for_seek", "unknown-encoding"): 1, ("wrong_rmw_test", "unknown-encoding"): 4,
        ("wbag", "definition-assumed"): 8, ("talker", "undecodable"): 1,
        ("multiple_files_0", "definition-assumed"): 1,
        ("multiple_files_1", "definition-assumed"): 1,
        ("multiple_files_2", "definition-assumed"): 1,
    }  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("storage", STORAGES)
def test_values_of_rosbag2s_bags(data_dir: Path, read, storage: str):
    """Against `rosbags`' own types, and `mcap-ros2-support`."""
    root = data_dir / "rosbag2_testdata"
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, topic in (("wbag", "AAA"), ("wbag", "HHH"), ("talker", "/topic")):
        folder = root / "rosbag2_py/test/resources" / storage / name
        texts = [
            store.deserialize_cdr(data, "std_msgs/msg/String").data
            for _, data in independent(folder)[topic]
        ]
        assert read(folder).values[topic] == texts
    ours = read(root / "rosbag2_tests/resources" / storage / "cdr_test")
    with (root / "rosbag2_tests/resources/mcap/cdr_test/cdr_test_0.mcap").open("rb") as stream:
        reader = NonSeekingReader(stream, decoder_factories=[DecoderFactory()])
        decoded = defaultdict(list)
        for _, channel, _, message in reader.iter_decoded_messages(log_time_order=False):
            decoded[channel.topic].append(message)
    for field in ("float64_value", "int64_value", "uint8_value", "bool_value"):
        expected = [[getattr(message, field)] for message in decoded["/test_topic"]]
        assert ours.values[f"/test_topic.{field}"] == expected
    for field in ("float32_values", "string_values", "uint64_values"):
        values = ours.values[f"/array_topic.{field}"]
        values = [json.loads(v) if isinstance(v, str) else v for v in values]
        assert values == [list(getattr(message, field)) for message in decoded["/array_topic"]]


@pytest.mark.data
@pytest.mark.parametrize("storage", STORAGES)
def test_service_events(data_dir: Path, read, storage: str):
    """Bags hold the service's definition; the event's follows from it."""
    folder = "rosbag2_tests/resources", storage, "bag_with_topics_and_service_events"
    ours = read(data_dir.joinpath("rosbag2_testdata", *folder))
    for n in (1, 2):
        topic = f"/test_service{n}/_service_event"
        assert ours.values[f"{topic}.info.event_type"] == [[0], [3], [0], [3]]  # asked, answered
        delay = [
            arrival - capture
            for arrival, capture in zip(
                ours.arrival[f"{topic}.request"], ours.capture[f"{topic}.request"], strict=True
            )
        ]
        assert all(0 < each < 1_000_000 for each in delay)
        requests = [json.loads(text) for text in ours.values[f"{topic}.request"]]
        responses = [json.loads(text) for text in ours.values[f"{topic}.response"]]
        assert [len(each) for each in requests] == [1, 0, 1, 0]
        assert [len(each) for each in responses] == [0, 1, 0, 1]
        assert requests[0][0]["string_value"] == responses[1][0]["string_value"]
