"""LeRobot datasets before version 2.0, whole and broken."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from viae.errors import DamagedLogError
from viae.logs import open_log
from viae.schema import Kind, LossKind, Role
from viae.testing.making import write_video

VIDEO = "videos/observation.image_episode_000001.mp4"
TABLE = "train/data-00000-of-00001.arrow"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two episodes of five frames in batches of four rows."""
    root = tmp_path / "dataset"
    (root / "train").mkdir(parents=True)
    (root / "videos").mkdir()
    index = np.arange(10)
    seconds = pa.array((index % 5 / 10).astype(np.float32))
    videos = [f"videos/observation.image_episode_{e:06d}.mp4" for e in (0, 1)]
    for e, video in enumerate(videos):
        write_video(root / video, frames=5, seed=e)
    paths = pa.array([videos[i // 5] for i in index])
    pointers = pa.StructArray.from_arrays([paths, seconds], ["path", "timestamp"])
    table = pa.table(
        {
            "observation.image": pointers,
            "action": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(20.0, dtype="f4")), 2),
            "episode_index": pa.array(index // 5),
            "frame_index": pa.array(index % 5),
            "timestamp": seconds,
            "next.done": pa.array(index % 5 == 4),
            "index": pa.array(index),
        }
    )
    with pa.ipc.new_stream(root / TABLE, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return root


def test_whole_dataset(dataset: Path, read):
    log = open_log(dataset)
    assert (log.format, log.losses) == ("lerobot-arrow", [])
    episode = read(dataset, 1)
    specs = {n: (s.kind, s.dtype, s.shape, s.role) for n, s in episode.specs.items()}
    assert specs == {
        "action": (Kind.VECTOR, "float32", (2,), Role.ACTION),
        "next.done": (Kind.VECTOR, "bool", (1,), Role.OUTCOME),
        "observation.image": (Kind.VIDEO, "uint8", (48, 64, 3), Role.OBSERVATION),
    }
    assert episode.values["action"] == [[10.0 + 2 * i, 11.0 + 2 * i] for i in range(5)]
    assert episode.values["next.done"][-2:] == [[False], [True]]
    assert episode.capture["observation.image"] == episode.capture["action"]
    assert episode.losses == []


def test_video_that_was_not_copied(dataset: Path, read):
    (dataset / VIDEO).unlink()
    assert read(dataset, 0).losses == []
    loss = read(dataset, 1).loss("video-missing")
    assert (loss.kind, loss.count, loss.path) == (LossKind.LOST, 5, str(dataset / VIDEO))


def test_table_that_is_cut_keeps_its_whole_batches(dataset: Path, read):
    data = (dataset / TABLE).read_bytes()
    (dataset / TABLE).write_bytes(data[: int(len(data) * 0.8)])
    log = open_log(dataset)
    [loss] = log.losses
    assert (loss.kind, loss.name) == (LossKind.LOST, "table-unreadable")
    kept = [len(read(dataset, i).seq["action"]) for i in range(len(list(log.episodes)))]
    assert kept == [5, 3]


def test_table_without_an_end(dataset: Path):
    (dataset / TABLE).write_bytes((dataset / TABLE).read_bytes()[:-8])
    [loss] = open_log(dataset).losses
    assert (loss.kind, loss.name) == (LossKind.LOST, "truncated")


def test_no_table_at_all(dataset: Path):
    (dataset / TABLE).write_bytes(b"")
    with pytest.raises(DamagedLogError, match="none of its tables can be read"):
        open_log(dataset)
