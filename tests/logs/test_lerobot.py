"""LeRobot v2.1 datasets, whole and broken."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viae.errors import DamagedLogError, LogError
from viae.logs import open_log
from viae.logs.remux import read_video
from viae.schema import Kind, Loss, LossKind, Role, VideoGroup
from viae.testing import write_lerobot
from viae.testing.making import CAMERA, write_video

TABLE = "data/chunk-000/episode_000000.parquet"
VIDEO = f"videos/chunk-000/{CAMERA}/episode_000000.mp4"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_lerobot(tmp_path / "dataset")


def edit_table(path: Path, **columns: object) -> None:
    """Replace columns; None removes one."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.remove_column(at)
        if values is not None:
            table = table.add_column(at, name, pa.array(values))
    pq.write_table(table, path)


def edit_info(dataset: Path, **fields: object) -> None:
    path = dataset / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_whole_dataset(dataset: Path, read):
    log = open_log(dataset)
    assert log.losses == []
    assert [episode.range for episode in log.episodes] == ["episode_000000", "episode_000001"]
    episode = read(dataset, 1)
    table = pq.read_table(dataset / "data/chunk-000/episode_000001.parquet")
    specs = {n: (s.kind, s.dtype, s.shape, s.names, s.role) for n, s in episode.specs.items()}
    assert specs == {
        "observation.state": (Kind.VECTOR, "float32", (3,), ("x", "y", "z"), Role.OBSERVATION),
        "action": (Kind.VECTOR, "float32", (2,), ("left", "right"), Role.ACTION),
        "next.reward": (Kind.VECTOR, "float32", (1,), (), Role.OUTCOME),
        CAMERA: (Kind.VIDEO, "uint8", (48, 64, 3), (), Role.OBSERVATION),
    }
    assert episode.values["action"] == table["action"].to_pylist()
    assert episode.values["next.reward"] == [[r] for r in table["next.reward"].to_pylist()]
    times_ns = np.rint(table["timestamp"].to_numpy().astype(np.float64) * 1e9).astype(np.int64)
    for name in episode.specs:
        assert episode.seq[name] == list(range(12))
        assert episode.capture[name] == episode.arrival[name] == times_ns.tolist()
    said = {key: value for key, value in episode.statements.items() if "lerobot" not in key}
    assert said == {"robot": "toy", "task": "push the block"}
    assert episode.losses == []


@pytest.mark.parametrize(
    ("codec", "options"),
    [("mpeg4", {"g": "4"}), ("libx264", {"g": "5", "bf": "2", "x264-params": "open-gop=0"})],
)
def test_video_is_moved_not_coded_again(tmp_path: Path, codec: str, options: dict[str, str]):
    """Packets byte for byte, and groups that decode alone to the same pictures."""
    path = tmp_path / "made.mp4"
    write_video(path, frames=23, codec=codec, options=options)
    times_ns = np.arange(23, dtype=np.int64) * 100 + 7
    groups = list(read_video(path, name="v", role=Role.OBSERVATION, times_ns=times_ns))
    with av.open(path) as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert all(isinstance(group, VideoGroup) for group in groups)
    assert [packet for group in groups for packet in group.packets] == stored
    assert len(groups) > 3
    seq = [s for group in groups for s in group.seq.tolist()]
    assert seq == list(range(23))
    assert [t for group in groups for t in group.capture_ns.tolist()] == times_ns.tolist()
    for group in groups:
        assert group.spec.encoding == {"mpeg4": "mpeg4", "libx264": "h264"}[codec]
        decoder = av.CodecContext.create(group.spec.encoding, "r")
        decoder.extradata = group.extradata or None
        decoded = []
        for data, pts in zip(group.packets, group.pts.tolist(), strict=True):
            packet = av.Packet(data)
            packet.pts = pts
            decoded += decoder.decode(packet)
        decoded += decoder.decode(None)
        for picture, place in zip(decoded, group.seq.tolist(), strict=True):
            assert (picture.to_ndarray(format="rgb24") == frames[place]).all()


def test_partial_dataset_says_what_is_missing(tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset", episodes=3, total_episodes=10)
    (dataset / "data/chunk-000/episode_000001.parquet").unlink()
    log = open_log(dataset)
    assert [episode.range for episode in log.episodes] == ["episode_000000", "episode_000002"]
    episodes, frames = log.losses
    assert (episodes.kind, episodes.name, episodes.count) == (LossKind.LOST, "episodes-missing", 8)
    assert episodes.detail == "2 of 10 declared episodes are here; missing 1, 3-9"
    assert (frames.kind, frames.name, frames.count) == (LossKind.LOST, "frames-missing", 96)
    assert frames.detail == "120 frames are declared, 24 are here"


def test_a_table_that_nobody_declares_is_skipped(dataset: Path):
    (dataset / TABLE).with_name("episode_000077.parquet").write_bytes(b"")
    [loss] = open_log(dataset).losses
    assert (loss.kind, loss.name, loss.count) == (LossKind.SKIPPED, "table-undeclared", 1)


def test_missing_column_refuses_that_episode_only(dataset: Path, read):
    edit_table(dataset / TABLE, action=None)
    with pytest.raises(LogError) as caught:
        read(dataset, 0)
    assert str(caught.value) == (
        f"{dataset / TABLE}, stream 'action': the table has no such column; expected every feature "
        "that info.json declares. Repair the dataset; the other episodes are kept"
    )
    assert len(read(dataset, 1).seq["action"]) == 12


def test_frames_out_of_order_are_refused(dataset: Path, read):
    edit_table(dataset / TABLE, frame_index=[0, 1, 3, *range(3, 12)])
    with pytest.raises(LogError, match=r"row 2 has frame 3; expected frames 0 to n-1 in order"):
        read(dataset)


def test_column_of_another_shape_is_refused(dataset: Path, read):
    edit_table(dataset / TABLE, action=[[1.0, 2.0, 3.0]] * 12)
    with pytest.raises(LogError, match=r"12 rows hold 36 values of type double; expected float32"):
        read(dataset)


def test_nulls_are_refused(dataset: Path, read):
    edit_table(dataset / TABLE, **{"next.reward": [None, *range(11)]})
    with pytest.raises(LogError, match=r"stream 'next\.reward': 1 values are null; expected none"):
        read(dataset)


def test_other_dtype_is_kept_and_said(dataset: Path, read):
    edit_table(dataset / TABLE, **{"next.reward": np.arange(12.0)})
    episode = read(dataset)
    assert episode.specs["next.reward"].dtype == "float64"
    loss = episode.loss("dtype-differs")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.REPAIRED, "next.reward", 12)
    assert loss.detail == "declared as float32, stored and kept as float64"


def test_truncated_table(dataset: Path, read):
    path = dataset / TABLE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedLogError, match="this is no whole Parquet file"):
        read(dataset, 0)
    assert len(read(dataset, 1).seq["action"]) == 12


def test_short_video_invents_no_frames(tmp_path: Path, read):
    episode = read(write_lerobot(tmp_path / "dataset", video_frames=9))
    assert episode.seq[CAMERA] == list(range(9))
    assert len(episode.seq["action"]) == 12
    loss = episode.loss("video-short")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 3, CAMERA)
    assert loss.detail == (
        "the video has 9 frames, its table 12; all that are there are kept. "
        "Copy the video again if the original still exists"
    )


def test_long_video_keeps_the_frames_that_have_times(tmp_path: Path, read):
    episode = read(write_lerobot(tmp_path / "dataset", video_frames=14))
    assert episode.seq[CAMERA] == list(range(12))
    loss = episode.loss("video-long")
    assert (loss.kind, loss.count) == (LossKind.SKIPPED, 2)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda path: path.unlink(), "video-missing"),
        (lambda path: path.write_bytes(b""), "video-unreadable"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "video-unreadable"),
        (lambda path: path.write_text("no video"), "video-unreadable"),
    ],
)
def test_video_missing_or_corrupt_keeps_the_numbers(dataset: Path, read, damage, name):
    damage(dataset / VIDEO)
    episode = read(dataset)
    assert len(episode.seq["action"]) == 12
    assert CAMERA not in episode.specs
    loss = episode.loss(name)
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 12, CAMERA)
    assert loss.path == str(dataset / VIDEO)


def test_codec_that_lies(tmp_path: Path, read):
    episode = read(write_lerobot(tmp_path / "dataset", declared_codec="av1"))
    assert episode.specs[CAMERA].encoding == "mpeg4"
    loss = episode.loss("codec-differs")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 12)
    assert loss.detail == "declared as av1, is and is kept as mpeg4"


def test_video_without_a_first_key_frame(tmp_path: Path):
    """Leading packets that nothing decodes are lost, and said."""
    path, cut = tmp_path / "made.mp4", tmp_path / "cut.mkv"
    write_video(path, frames=12)
    with av.open(path) as source, av.open(cut, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(video=0)):
            if i > 0 and packet.size:
                packet.stream = stream
                target.mux(packet)
    items = list(
        read_video(cut, name="v", role=Role.OBSERVATION, times_ns=np.arange(11, dtype=np.int64))
    )
    loss = items[-1]
    assert isinstance(loss, Loss)
    assert (loss.name, loss.count) == ("video-no-key-frame", 3)
    assert [s for group in items[:-1] for s in group.seq.tolist()] == list(range(3, 11))


def test_other_versions_are_refused_by_name(dataset: Path):
    edit_info(dataset, codebase_version="v1.6")
    with pytest.raises(LogError) as caught:
        open_log(dataset)
    assert str(caught.value) == (
        f"{dataset}: a LeRobot dataset of version v1.6, which is not read; expected version v2.0, "
        "v2.1 or v3.0. Convert the dataset to v3.0 with LeRobot's own scripts"
    )


def test_version_2_0_is_read(dataset: Path, read):
    """Its statistics are of the dataset, not of episodes."""
    edit_info(dataset, codebase_version="v2.0")
    (dataset / "meta" / "stats.json").write_text('{"action": {"max": [1.0, 2.0]}}')
    episode = read(dataset)
    assert episode.losses == []
    assert episode.statements["lerobot.dataset"]["stats.json"] == {"action": {"max": [1.0, 2.0]}}


def test_what_lerobot_stores_beside_streams_is_kept(dataset: Path, read):
    stats = [{"episode_index": e, "stats": {"action": {"min": [0.5, e]}}} for e in range(2)]
    lines = "\n".join(map(json.dumps, stats))
    (dataset / "meta" / "episodes_stats.jsonl").write_text(lines)
    (dataset / "meta" / "modality.json").write_text('{"state": {}}')
    first, second = read(dataset, 0).statements, read(dataset, 1).statements
    assert first["lerobot.info"] == json.loads((dataset / "meta" / "info.json").read_text())
    assert second["lerobot.episode"] == {
        "episode_index": 1, "tasks": ["push the block"], "length": 12,
    }  # fmt: skip
    assert second["lerobot.stats"] == {"action": {"min": [0.5, 1]}}
    assert second["lerobot.table"]["first_index"] == 12
    assert second["lerobot.table"]["task_index"] == 0
    assert list(second["lerobot.table"]["columns"].items())[-1] == ("task_index", "int64")
    assert first["lerobot.dataset"] == {
        "tasks": [{"task_index": 0, "task": "push the block"}], "modality.json": {"state": {}},
    }  # fmt: skip
    assert "lerobot.dataset" not in second


@pytest.mark.parametrize("column", ["episode_index", "index"])
def test_indices_are_cross_checked_and_kept(dataset: Path, read, column: str):
    path = dataset / "data/chunk-000/episode_000001.parquet"
    edit_table(path, **{column: [7] * 12})
    episode = read(dataset, 1)
    loss = episode.loss(f"{column.replace('_', '-')}-differs")
    assert (loss.kind, loss.stream) == (LossKind.REPAIRED, column)
    assert loss.count == 12
    assert "the first is row 0: 7, not 1" in loss.detail
    assert episode.values[column] == [[7]] * 12
    assert read(dataset, 0).losses == []


def test_task_that_is_not_in_the_list(dataset: Path, read):
    edit_table(dataset / TABLE, task_index=[0] * 8 + [5] * 4)
    episode = read(dataset)
    assert episode.loss("task-unknown").count == 4
    assert episode.values["task_index"] == [[0]] * 8 + [[5]] * 4


def test_rate_that_lies(dataset: Path, read):
    edit_info(dataset, fps=20)
    episode = read(dataset)
    loss = episode.loss("rate-differs")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.REPAIRED, "timestamp", 12)
    assert loss.detail == (
        "info.json declares 20 frames a second, the timestamps step by 0.1 s; "
        "the timestamps are kept"
    )


@pytest.mark.parametrize(
    ("said", "name", "detail"),
    [
        ({"video.height": 480, "video.width": 640}, "video-size-differs",
         "declared as 640 wide and 480 high, is and is kept as 64 by 48"),
        ({"video.fps": 30}, "video-rate-differs",
         "declared as 30 frames a second, plays at 10; picture i is stamped with the table's "
         "time i"),
    ],
)  # fmt: skip
def test_video_that_is_otherwise_than_declared(dataset: Path, read, said, name, detail):
    features = json.loads((dataset / "meta" / "info.json").read_text())["features"]
    features[CAMERA]["info"] |= said
    edit_info(dataset, features=features)
    loss = read(dataset).loss(name)
    assert (loss.kind, loss.stream, loss.count) == (LossKind.REPAIRED, CAMERA, 12)
    assert loss.detail == detail


def test_video_that_lacks_a_picture_in_the_middle(dataset: Path, read):
    times = [i / 10 for i in range(6)] + [i / 10 + 0.3 for i in range(6, 12)]
    edit_table(dataset / TABLE, timestamp=np.array(times, np.float32))
    loss = read(dataset).loss("video-times-differ")
    assert (loss.count, loss.kind) == (12, LossKind.REPAIRED)
    assert loss.detail.startswith("6 pictures are more than half a frame away")


def test_undeclared_columns_are_kept_or_reported(dataset: Path, read):
    table = pq.read_table(dataset / TABLE)
    table = table.append_column(
        "force", pa.array([[i, i] for i in range(12)], pa.list_(pa.int32()))
    )
    table = table.append_column("note", pa.array(["so"] * 12))
    table = table.append_column("odd", pa.array([{"a": 1}] * 12))
    pq.write_table(table, dataset / TABLE)
    episode = read(dataset)
    assert episode.values["force"][3] == [3, 3]
    assert episode.values["note"] == ["so"] * 12
    found = {(loss.name, loss.stream) for loss in episode.losses}
    assert found == {
        ("column-undeclared", "force"), ("column-undeclared", "note"), ("column-unknown", "odd"),
    }  # fmt: skip


def test_ragged_rows_are_refused(dataset: Path, read):
    edit_table(dataset / TABLE, action=[[1.0]] + [[1.0, 2.0]] * 10 + [[1.0, 2.0, 3.0]])
    with pytest.raises(LogError, match="not as many in each"):
        read(dataset)


def test_times_that_nanoseconds_cannot_hold_are_kept_as_they_are(dataset: Path, read):
    edit_table(dataset / TABLE, timestamp=np.arange(12) / 10 + 1e-12)
    episode = read(dataset)
    assert episode.values["timestamp"][3] == [0.3 + 1e-12]
    assert "timestamp" not in read(dataset, 1).values


@pytest.mark.parametrize("seconds", [float("nan"), 1e300])
def test_times_that_are_none(dataset: Path, read, seconds: float):
    edit_table(dataset / TABLE, timestamp=[seconds] * 12)
    with pytest.raises(LogError, match="times that are no numbers"):
        read(dataset)


def test_empty_table(dataset: Path, read):
    (dataset / TABLE).write_bytes(b"")
    with pytest.raises(DamagedLogError, match="the file holds no bytes; expected the episode's"):
        read(dataset)


def test_info_that_describes_nothing(dataset: Path):
    edit_info(dataset, features=None)
    with pytest.raises(DamagedLogError, match="it does not describe a dataset"):
        open_log(dataset)


def test_declared_task_and_length_are_cross_checked(dataset: Path, read):
    path = dataset / "meta" / "episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"tasks": ["sing"], "length": 15}
    path.write_text("\n".join(map(json.dumps, lines)))
    episode = read(dataset)
    assert episode.statements["task"] == "push the block"
    assert episode.loss("task-differs").kind is LossKind.REPAIRED
    loss = episode.loss("length-differs")
    assert (loss.kind, loss.count) == (LossKind.LOST, 3)


def test_several_tasks_are_a_stream(dataset: Path, read):
    tasks = dataset / "meta" / "tasks.jsonl"
    with tasks.open("a") as file:
        file.write(json.dumps({"task_index": 1, "task": "let go"}))
    edit_table(dataset / TABLE, task_index=[0] * 8 + [1] * 4)
    episode = read(dataset)
    assert episode.values["task"] == ["push the block"] * 8 + ["let go"] * 4
    assert episode.statements["task"] == "push the block"


def test_fingerprint_covers_table_video_and_metadata(dataset: Path):
    def prints() -> list[str]:
        return [episode.fingerprint() for episode in open_log(dataset).episodes]

    seen = [prints()[0]]
    edit_info(dataset, robot_type="other")
    seen.append(prints()[0])
    (dataset / VIDEO).write_bytes((dataset / VIDEO).read_bytes()[:-1])
    seen.append(prints()[0])
    edit_table(dataset / TABLE, **{"next.reward": np.zeros(12, np.float32)})
    seen.append(prints()[0])
    assert len(set(seen)) == 4


def test_bookkeeping_that_is_no_number(dataset: Path, read):
    edit_table(dataset / TABLE, timestamp=[[0.1]] * 12)
    with pytest.raises(LogError, match=r"stream 'timestamp': it holds list<.*>, 0 of them null"):
        read(dataset)
