"""LeRobot v3.0 datasets: many episodes in one table and one video."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viae.logs import open_log
from viae.schema import Loss, LossKind
from viae.testing import write_lerobot
from viae.testing.making import CAMERA

TABLE = "data/chunk-000/file-000.parquet"
META = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_lerobot(tmp_path / "dataset", version="v3.0", episodes=3, frames=6)


def edit(path: Path, row: int, **values: object) -> None:
    """Replace values in one row of a table."""
    rows = pq.read_table(path).to_pylist()
    rows[row] |= values
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)


def prints(dataset: Path) -> list[str]:
    return [episode.fingerprint() for episode in open_log(dataset).episodes]


@pytest.mark.parametrize(
    ("codec", "options"),
    [("mpeg4", {"g": "4"}), ("libx264", {"g": "3", "bf": "2"}),
     ("libx265", {"g": "2", "x265-params": "log-level=none:open-gop=1"})],
)  # fmt: skip
def test_each_episode_is_its_part_of_the_files(tmp_path: Path, read, codec, options):
    dataset = write_lerobot(
        tmp_path / "dataset", version="v3.0", episodes=3, frames=6, codec=codec, options=options
    )
    log = open_log(dataset)
    assert log.losses == []
    assert [e.range for e in log.episodes] == [f"episode_{i:06d}" for i in range(3)]
    table = pq.read_table(dataset / TABLE)
    with av.open(dataset / VIDEO) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    for e in range(3):
        episode = read(dataset, e)
        rows = table.slice(6 * e, 6)
        assert episode.losses == []
        assert episode.values["action"] == rows["action"].to_pylist()
        assert episode.seq[CAMERA] == list(range(6))
        assert episode.capture[CAMERA] == episode.capture["action"]
        pictures = {}
        for group in episode.groups:
            decoder = av.CodecContext.create(group.spec.encoding, "r")
            decoder.extradata = group.extradata or None
            shown = []
            for data, pts in zip(group.packets, group.pts.tolist(), strict=True):
                packet = av.Packet(data)
                packet.pts = pts
                shown += decoder.decode(packet)
            shown += decoder.decode(None)
            assert len(shown) == len(group)
            pictures |= dict(zip(group.seq.tolist(), shown, strict=True))
        for i, picture in pictures.items():
            assert (picture.to_ndarray(format="gray") == frames[6 * e + i]).all()


def test_what_lerobot_stores_beside_streams_is_kept(dataset: Path, read):
    first, last = read(dataset, 0).statements, read(dataset, 2).statements
    row = pq.read_table(dataset / META).to_pylist()[2]
    stats = {key: row.pop(key) for key in list(row) if key.startswith("stats/")}
    assert last["lerobot.episode"] == row
    assert last["lerobot.stats"] == {
        "action": {"max": stats["stats/action/max"], "count": stats["stats/action/count"]}
    }
    assert last["lerobot.info"] == json.loads((dataset / "meta/info.json").read_text())
    assert last["lerobot.table"]["first_index"] == 12
    assert first["lerobot.dataset"] == {
        "stats.json": {"action": {"max": [1.0, 2.0]}},
        "tasks": pq.read_table(dataset / "meta/tasks.parquet").to_pylist(),
    }
    assert "lerobot.dataset" not in last


def test_fingerprint_is_of_the_episode_not_of_the_file(dataset: Path, tmp_path: Path):
    """A longer dataset holds the same episodes; a changed row or picture makes another one."""
    longer = write_lerobot(tmp_path / "longer", version="v3.0", episodes=4, frames=6)
    before = prints(dataset)
    assert prints(longer)[:3] == before
    pq.write_table(pq.read_table(dataset / TABLE), dataset / TABLE, row_group_size=4)
    assert prints(dataset) == before
    edit(dataset / TABLE, 7, **{"next.reward": 99.0})
    after = prints(dataset)
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    shutil.rmtree(dataset / "videos")
    assert not set(prints(dataset)) & set(before)


def test_rows_in_groups_and_files_of_any_size(dataset: Path, read):
    """Also an episode that two files share, and rows elsewhere than the metadata says."""
    table = pq.read_table(dataset / TABLE)
    pq.write_table(table.slice(0, 8), dataset / TABLE, row_group_size=5)
    pq.write_table(table.slice(8), dataset / "data/chunk-000/file-001.parquet", row_group_size=3)
    episodes = [read(dataset, e) for e in range(3)]
    for e, episode in enumerate(episodes):
        assert episode.values["action"] == table.slice(6 * e, 6)["action"].to_pylist()
        assert episode.seq["action"] == list(range(6))
    assert [loss.name for loss in episodes[1].losses] == []
    loss = episodes[2].loss("table-elsewhere")
    assert loss.kind is LossKind.REPAIRED
    assert loss.detail == (
        "meta/episodes places its rows in chunk 0, file 0; they are in "
        "data/chunk-000/file-001.parquet"
    )


def test_declared_against_actual(tmp_path: Path):
    dataset = write_lerobot(
        tmp_path / "dataset", version="v3.0", episodes=2, frames=4, total_episodes=5
    )
    log = open_log(dataset)
    assert len(list(log.episodes)) == 2
    assert [(loss.kind, loss.name, loss.count, loss.detail) for loss in log.losses] == [
        (LossKind.LOST, "episodes-missing", 3, "2 of 5 declared episodes are here; missing 2-4"),
        (LossKind.LOST, "frames-missing", 12, "20 frames are declared, 8 are here"),
    ]


def test_lengths_and_indices_are_cross_checked(dataset: Path, read):
    edit(dataset / META, 1, length=9, dataset_from_index=2, tasks=["sing"])
    episode = read(dataset, 1)
    assert {loss.name for loss in episode.losses} == {
        "length-differs", "index-differs", "task-differs",
    }  # fmt: skip
    assert episode.loss("length-differs").detail == (
        "meta/episodes declares 9 frames, the table holds 6"
    )
    assert episode.values["index"] == [[i] for i in range(6, 12)]
    assert episode.statements["task"] == "push the block"


def test_episodes_without_metadata_keep_their_rows(dataset: Path, read):
    (dataset / META).write_bytes(b"PAR1")
    episode = read(dataset, 1)
    assert len(episode.seq["action"]) == 6
    assert CAMERA not in episode.specs
    assert episode.loss("meta-unreadable").kind is LossKind.LOST
    assert episode.loss("episode-undeclared").kind is LossKind.REPAIRED
    assert episode.loss("video-unplaced").count == 6


def test_tasks_that_cannot_be_read(dataset: Path, read):
    (dataset / "meta/tasks.parquet").write_bytes(b"")
    episode = read(dataset, 0)
    assert episode.loss("meta-unreadable").path.endswith("tasks.parquet")
    assert episode.statements["task"] == "push the block"


def test_tables_that_cannot_be_read(dataset: Path):
    (dataset / TABLE).with_name("file-001.parquet").write_bytes(b"")
    log = open_log(dataset)
    [loss] = log.losses
    assert (loss.name, loss.detail) == (
        "table-unreadable", "the table cannot be read (it holds no bytes); copy the file again",
    )  # fmt: skip
    assert len(list(log.episodes)) == 3


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda path: path.unlink(), "video-missing"),
        (lambda path: path.write_bytes(b""), "video-unreadable"),
        (lambda path: path.write_text("no video"), "video-unreadable"),
    ],
)
def test_video_missing_or_corrupt_keeps_the_numbers(dataset: Path, read, damage, name):
    damage(dataset / VIDEO)
    episode = read(dataset, 2)
    assert len(episode.seq["action"]) == 6
    loss = episode.loss(name)
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 6, CAMERA)


def test_span_that_begins_between_key_frames(dataset: Path, read):
    """Pictures that only another episode's could decode are lost, and said."""
    at = f"videos/{CAMERA}"
    edit(dataset / META, 1, **{f"{at}/from_timestamp": 0.5, f"{at}/to_timestamp": 1.1})
    episode = read(dataset, 1)
    assert episode.seq[CAMERA] == [1, 2, 3, 4, 5]  # the next key frame is at 0.6 s
    loss = episode.loss("video-no-key-frame")
    assert (loss.kind, loss.count) == (LossKind.LOST, 1)


def test_span_of_another_length_than_the_table(dataset: Path, read):
    at = f"videos/{CAMERA}"
    edit(dataset / META, 0, **{f"{at}/to_timestamp": 0.4})
    edit(dataset / META, 1, **{f"{at}/to_timestamp": 1.4})
    short, long = read(dataset, 0), read(dataset, 1)
    assert (short.loss("video-short").count, short.seq[CAMERA]) == (2, [0, 1, 2, 3])
    assert (long.loss("video-long").count, long.seq[CAMERA]) == (2, list(range(6)))


def test_reading_in_any_order_gives_the_same(dataset: Path):
    def values(log, index: int) -> list[object]:
        blocks = [item for item in list(log.episodes)[index].read() if not isinstance(item, Loss)]
        return [np.asarray(b.values).tolist() for b in blocks if hasattr(b, "values")]

    pq.write_table(pq.read_table(dataset / TABLE), dataset / TABLE, row_group_size=7)
    log = open_log(dataset)
    forward = [values(log, i) for i in range(3)]
    assert [values(log, i) for i in (2, 0, 1)] == [forward[2], forward[0], forward[1]]
    assert forward[0] != forward[1]
