"""Zarr: replay buffers, chunks that are not there, codecs, damage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from viae.errors import DamagedLogError, LogError
from viae.logs.zarr import ZarrFormat
from viae.schema import Kind, LossKind, Role
from viae.testing.arrays import write_replay_buffer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made.zarr"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_replay_buffer(path: Path, read, zarr_format, suffix: str):
    path = write_replay_buffer(
        path.with_name(path.name + suffix), zarr_format=zarr_format, timestamps=True
    )
    store = zarr.storage.ZipStore(path) if suffix else path
    root = zarr.open_group(store, mode="r")
    assert [e.range for e in ZarrFormat().open(path).episodes] == [
        "episode_000000", "episode_000001",
    ]  # fmt: skip
    for index, rows in enumerate([slice(0, 7), slice(7, 12)]):
        found = read(path, index)
        assert set(found.specs) == {"action", "img", "state"}
        assert found.values["action"] == root["data/action"][rows].tolist()
        assert found.values["img"] == [picture.tobytes() for picture in root["data/img"][rows]]
        times = np.rint(root["data/timestamp"][rows] * 1e9).astype(int).tolist()
        assert found.capture["state"] == times
        assert found.seq["state"] == list(range(len(times)))
    assert found.specs["action"].role is Role.ACTION
    assert (found.specs["img"].kind, found.specs["img"].encoding) == (Kind.IMAGE, "rgb8")


def test_an_assumed_rate_is_said(path: Path, read):
    write_replay_buffer(path, fps=None)
    found = read(path)
    assert "10 Hz, the default of Diffusion Policy's recorder" in found.loss("times-absent").detail
    assert found.capture["action"][:2] == [0, 100_000_000]
    shutil.move(path / "data" / "state", path / "data" / "robot0_eef_pos")
    assert "60 Hz" in read(path).loss("times-absent").detail


def test_a_fingerprint_is_of_its_episode_alone(path: Path, tmp_path: Path):
    """Neither chunks nor later episodes matter."""
    shorter = write_replay_buffer(tmp_path / "a.zarr", lengths=(4, 3))
    root = zarr.open_group(shorter, mode="r")
    data = {key: root[f"data/{key}"][:] for key in ("action", "img", "state")}
    write_replay_buffer(path, lengths=(4, 3, 2), chunk_rows=5)
    other = zarr.open_group(path, mode="r+")
    for key, values in data.items():
        other[f"data/{key}"][:7] = values
    prints = [[e.fingerprint() for e in ZarrFormat().open(p).episodes] for p in (shorter, path)]
    assert prints[0] == prints[1][:2]
    assert prints[1][2] not in prints[0]


def test_a_lost_chunk_is_lost(path: Path, read):
    write_replay_buffer(path, lengths=(12,), chunk_rows=4)
    (path / "data" / "state" / "1.0").unlink()
    found = read(path)
    assert found.seq["state"] == [0, 1, 2, 3, 8, 9, 10, 11]
    loss = found.loss("chunk-missing")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.LOST, "state", 4)
    assert len(found.seq["action"]) == 12
    shutil.rmtree(path / "data" / "action")
    (path / "data" / "action").mkdir()
    assert "action" not in read(path).specs


def test_a_chunk_left_out_for_its_fill_value_is_taken(path: Path, read):
    """The rows beside it are the fill value, too; and it is said."""
    write_replay_buffer(path, lengths=(12,), chunk_rows=4)
    root = zarr.open_group(path, mode="r+")
    root["data/state"][2:8] = 0
    assert not (path / "data" / "state" / "1.0").exists()
    found = read(path)
    assert found.values["state"] == root["data/state"][:].tolist()
    loss = found.loss("chunk-absent-fill")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 4)


def test_chunks_side_by_side(path: Path, read):
    root = zarr.open_group(path, mode="w", zarr_format=3, attributes={"fps": 5})
    values = np.arange(1, 49, dtype=np.float64).reshape(8, 6)
    root.create_array("action", data=values, chunks=(3, 4))
    root.create_array("sharded", data=values, chunks=(2, 6), shards=(4, 6))
    found = read(path)
    assert found.values["action"] == found.values["sharded"] == values.tolist()
    (path / "action" / "c" / "1" / "1").unlink()
    assert read(path).seq["action"] == [0, 1, 2, 6, 7]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_cut_short_loses_its_rows_alone(path: Path, read, zarr_format):
    write_replay_buffer(path, lengths=(12,), chunk_rows=4, zarr_format=zarr_format)
    chunk = path / "data" / "state" / ("1.0" if zarr_format == 2 else "c/1/0")
    chunk.write_bytes(chunk.read_bytes()[:-3])
    found = read(path)
    assert found.seq["state"] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert found.loss("rows-damaged").count == 4


def test_lost_times_are_not_invented(path: Path, read):
    write_replay_buffer(path, lengths=(12,), chunk_rows=4, timestamps=True)
    (path / "data" / "timestamp" / "1").write_bytes(b"")
    found = read(path)
    assert found.seq["action"] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert {loss.name for loss in found.losses} == {"rows-damaged", "times-damaged"}
    (path / "data" / "timestamp" / ".zarray").write_text("{")
    with pytest.raises(DamagedLogError, match="its times cannot be known"):
        read(path)


def test_a_codec_that_is_not_installed(path: Path, read):
    write_replay_buffer(path)
    file = path / "data" / "img" / ".zarray"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "compressor": {"id": "imagecodecs_other", "level": 1}}))
    found = read(path)
    loss = found.loss("codec-missing")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.SKIPPED, "img", 7)
    assert "imagecodecs_other" in loss.detail
    assert "pip install imagecodecs" in loss.detail
    assert set(found.specs) == {"action", "state"}


@pytest.mark.parametrize("ends", [[7, 5], [-1, 12]])
def test_ends_that_do_not_ascend_are_refused(path: Path, ends: list[int]):
    write_replay_buffer(path)
    zarr.open_group(path, mode="r+")["meta/episode_ends"][:] = ends
    with pytest.raises(LogError, match="expected ends that ascend"):
        ZarrFormat().open(path)


def test_ends_beyond_and_before_the_data(path: Path, read):
    write_replay_buffer(path, lengths=(4, 4, 4))
    ends = zarr.open_group(path, mode="r+")["meta/episode_ends"]
    ends[:] = [4, 14, 20]
    losses = [(loss.kind, loss.name) for loss in ZarrFormat().open(path).losses]
    assert losses == [(LossKind.LOST, "episode-missing")]
    found = read(path, 1)
    assert found.seq["action"] == list(range(8))
    assert {loss.name for loss in found.losses} == {"episode-missing", "array-short"}
    ends[:] = [4, 4, 8]
    losses = [(loss.name, loss.stream) for loss in ZarrFormat().open(path).losses]
    assert sorted(losses) == [
        ("episode-empty", ""), ("rows-behind", "data/action"), ("rows-behind", "data/img"),
        ("rows-behind", "data/state"),
    ]  # fmt: skip


def test_lost_ends_are_an_error(path: Path):
    write_replay_buffer(path)
    (path / "meta" / "episode_ends" / "0").unlink()
    with pytest.raises(DamagedLogError, match="chunks that are not there"):
        ZarrFormat().open(path)


def test_a_group_without_ends_is_one_episode(path: Path, read):
    root = zarr.open_group(path, mode="w", attributes={"fps": 10, "task": "stir"})
    root.create_array("a/q", data=np.ones((5, 2)))
    root.create_array("b/q", data=np.ones((5, 3)))
    found = read(path)
    assert found.specs.keys() == {"a/q", "b/q"}
    assert found.statements["task"] == "stir"


def test_recognises(path: Path, tmp_path: Path):
    write_replay_buffer(path)
    plain = tmp_path / "plain"
    shutil.copytree(path, plain)
    assert ZarrFormat().recognises(plain)
    archive = Path(shutil.make_archive(str(tmp_path / "inside"), "zip", tmp_path, "plain"))
    assert ZarrFormat().recognises(archive)
    assert len(list(ZarrFormat().open(archive).episodes)) == 2
    notes = Path(
        shutil.make_archive(str(tmp_path / "notes"), "zip", path / "meta" / "episode_ends")
    )
    assert ZarrFormat().recognises(notes)
    (tmp_path / "no.zip").write_bytes(b"PK")
    assert not ZarrFormat().recognises(tmp_path / "no.zip")
