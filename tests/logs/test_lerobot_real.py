"""Real LeRobot datasets and a real video: equal to plain reads by PyArrow and PyAV."""

from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viae.logs import open_log
from viae.schema import LossKind

pytestmark = pytest.mark.data

ARROW_SETS = {
    "aloha_sim_insertion_human": (500, ["observation.images.top"]),
    "aloha_sim_transfer_cube_human": (400, ["observation.images.top"]),
    "umi_cup_in_the_wild": (400, ["observation.image"]),
    "xarm_push_medium": (25, []),
}
BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


def assert_equal_columns(episode, table: pa.Table, features: list[str]) -> None:
    """Every value of every column, and the times."""
    for name in features:
        column = table[name].to_pylist()
        if isinstance(column[0], dict):
            column = [value["bytes"] for value in column]
        elif not isinstance(column[0], list):
            column = [[value] for value in column]
        assert episode.values[name] == column, name
        seconds = table["timestamp"].to_numpy().astype(np.float64)
        assert episode.capture[name] == np.rint(seconds * 1e9).astype(np.int64).tolist()


def test_apple_storage_declares_more_than_it_holds(data_dir: Path, read):
    root = data_dir / "rerun_lerobot_v30_apple_storage"
    log = open_log(root)
    assert [(loss.kind, loss.name, loss.count, loss.detail) for loss in log.losses] == [
        (LossKind.LOST, "frames-missing", 14084, "14983 frames are declared, 899 are here")
    ]
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    for index, rows in enumerate([299, 300, 300]):
        episode = read(root, index)
        own = table.filter(pa.compute.equal(table["episode_index"], index))
        assert own.num_rows == rows
        assert_equal_columns(episode, own, ["observation.state", "action"])
        assert episode.statements["task"] == "place the apple in the plate"
        [missing] = [loss for loss in episode.losses if loss not in log.losses]
        assert (missing.name, missing.count) == ("video-missing", rows)
        assert missing.stream == "observation.image"


def test_metadata_alone_is_a_dataset_without_episodes(data_dir: Path):
    log = open_log(data_dir / "rerun_lerobot_v30_apple_storage" / "v21_apple_storage")
    assert list(log.episodes) == []
    assert [(loss.name, loss.count) for loss in log.losses] == [
        ("episodes-missing", 3), ("frames-missing", 14983),
    ]  # fmt: skip


def test_g1_first_and_last_values(data_dir: Path, read):
    root = data_dir / "g1_inspire_lerobot_v21"
    episode = read(root, 0)
    table = pq.read_table(root / "data/chunk-000/episode_000010.parquet")
    assert_equal_columns(episode, table, ["observation.state", "action"])
    assert {loss.name for loss in episode.losses} == {"episodes-missing", "frames-missing"}
    assert episode.statements["lerobot.episode"]["length"] == table.num_rows
    assert len(episode.statements["lerobot.stats"]["action"]["min"]) == 26
    assert episode.statements["lerobot.table"]["first_index"] == table["index"][0].as_py()


@pytest.mark.parametrize("name", ARROW_SETS)
def test_artifacts(data_dir: Path, read, name: str):
    root = data_dir / "lerobot_artifacts" / name
    rows, cameras = ARROW_SETS[name]
    with pa.memory_map(str(root / "train/data-00000-of-00001.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all()
    episode = read(root)
    assert episode.losses == []
    assert table.num_rows == rows
    features = sorted(set(table.column_names) - BOOKKEEPING - set(cameras))
    assert set(episode.values) == set(features)
    assert_equal_columns(episode, table, features)
    for camera in cameras:
        path = table[camera][0].as_py()["path"]
        with av.open(root / path) as video:
            packets = [bytes(packet) for packet in video.demux(video=0) if packet.size]
        assert len(packets) == rows
        assert [data for group in episode.groups for data in group.packets] == packets
        assert episode.capture[camera] == episode.capture["observation.state"]


def test_oak_video(data_dir: Path, read):
    path = data_dir / "depthai_oak_recording" / "recording.mp4"
    episode = read(path)
    with av.open(path) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
        ticks = [packet.pts for packet in packets]
    assert len(ticks) == 103
    assert episode.capture["video"] == [round(tick * 1e9 / 90_000) for tick in ticks]
    assert episode.capture["video"][-1] == 3_090_600_000
    assert episode.specs["video"].shape == (800, 1280, 3)
    assert episode.statements["video.creation_time"] == "2024-11-26T12:39:58.000000Z"
    assert [d for g in episode.groups for d in g.packets] == [bytes(p) for p in packets]
    assert episode.losses == []
