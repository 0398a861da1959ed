"""Bad logs: one clear sentence each, the right exit code, and what is intact is kept."""

import json
import random
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mcap.writer import Writer

from viae import Kind, Recorder, Store, StreamSpec
from viae.testing import write_lerobot
from viae.testing.making import CAMERA, write_video

JOINTS = StreamSpec(name="joints", shape=(2,))
TABLE = "data/chunk-000/episode_000000.parquet"


def recording(path: Path, *, samples: int = 20) -> Path:
    with Recorder(path, streams=[JOINTS], task="wave") as recorder:
        for i in range(samples):
            recorder.write("joints", [i, -i], capture_ns=i, arrival_ns=i)
    return path


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with one good recording, to which something bad is added."""
    recording(tmp_path / "logs" / "good.mcap")
    return tmp_path / "logs"


@pytest.fixture
def ingest(viae, tmp_path: Path):
    """Ingest; gives the exit code, what was not taken as it is, and the store."""

    def call(path: Path):
        store = tmp_path / "store"
        said = viae("ingest", path, "--store", store, "--json")
        losses = [loss for log in json.loads(said.out)["logs"] for loss in log["losses"]]
        plain = viae("ingest", path, "--store", tmp_path / "again")
        assert plain.code == said.code
        for loss in losses:  # the table says the same
            assert Path(loss["path"]).name in plain.out
            assert loss["stream"] in plain.out
            assert loss["name"] in plain.out
        return said.code, [loss["detail"] for loss in losses], Store.open(store)

    return call


def kept(store: Store) -> dict[str, int]:
    """Samples of the stream joints per log."""
    counts = {row["episode_id"]: row["samples"] for row in store.streams()}
    return {Path(e.log_uri).name: counts[e.episode_id] for e in store.episodes()}


def test_empty_file(ingest, logs: Path):
    (logs / "empty.mcap").touch()
    code, details, store = ingest(logs)
    assert code == 1
    assert details == [
        f"{logs / 'empty.mcap'}: the file holds no bytes. "
        "Copy it again from the robot, or delete it"
    ]
    assert kept(store) == {"good.mcap": 20}


def test_text_file_named_mcap(ingest, logs: Path):
    (logs / "notes.mcap").write_text("hello, robot")
    code, details, store = ingest(logs)
    assert code == 1
    assert details == [
        f"{logs / 'notes.mcap'}: begins with b'hello, r'; expected the MCAP magic "
        "b'\\x89MCAP0\\r\\n'. Check that this is an MCAP file, and rename it if it is not"
    ]
    assert kept(store) == {"good.mcap": 20}


def test_file_of_no_known_format(ingest, logs: Path):
    path = logs.parent / "notes.txt"
    path.write_text("hello, robot, and everyone else")
    code, details, store = ingest(path)
    assert code == 1
    assert details == [
        f"{path}: begins with b'hello, robot, an'; expected one of the formats viae reads "
        "(hdf5, lerobot, lerobot-arrow, mcap, rlds, ros1bag, ros2bag, tabular, ulog, video, zarr). "
        "Convert it, or install a package that adds its format to viae.logs"
    ]
    assert kept(store) == {}


def test_truncated_mcap(ingest, logs: Path):
    path = recording(logs / "cut.mcap", samples=100_000)
    size = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:size])
    code, [detail], store = ingest(logs)
    assert code == 1
    assert detail.endswith(
        f"in a file of {size}, is cut short; everything before it is kept. "
        "Copy the file again if the original still exists"
    )
    assert kept(store)["good.mcap"] == 20
    assert 0 < kept(store)["cut.mcap"] < 100_000


def test_unknown_message_encoding(ingest, logs: Path):
    path = logs / "odd.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("/odd", "morse", 0)
        for i in range(3):
            writer.add_message(channel, i, b"...---...", i)
        writer.finish()
    code, [detail], store = ingest(logs)
    assert code == 0  # the bytes are kept, so nothing is lost
    assert detail == (
        "message/schema encoding is morse/, not one of cdr/ros2msg, cdr/ros2idl, ros1/ros1msg, "
        "protobuf/protobuf, flatbuffer/flatbuffer, json/jsonschema, json; the messages are kept as "
        "bytes. Record them in one of these to have them as numbers"
    )
    assert kept(store) == {"good.mcap": 20, "odd.mcap": 3}


def test_parquet_with_a_missing_column(ingest, tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset")
    pq.write_table(pq.read_table(dataset / TABLE).drop_columns(["action"]), dataset / TABLE)
    code, details, store = ingest(dataset)
    assert code == 1
    assert details == [
        f"{dataset / TABLE}, stream 'action': the table has no such column; expected every feature "
        "that info.json declares. Repair the dataset; the other episodes are kept"
    ]
    assert [e.log_range for e in store.episodes()] == ["episode_000001"]


def test_video_shorter_than_its_table(ingest, tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset", frames=12)
    write_video(dataset / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", frames=9)
    code, [detail], store = ingest(dataset)
    assert code == 1
    assert detail == (
        "the video has 9 frames, its table 12; all that are there are kept. "
        "Copy the video again if the original still exists"
    )
    counts = {(row["episode_id"], row["stream"]): row["samples"] for row in store.streams()}
    first = next(e.episode_id for e in store.episodes() if e.log_range == "episode_000000")
    assert counts[first, CAMERA] == 9
    assert counts[first, "action"] == 12


def test_losses_are_facts(ingest, tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset", frames=12)
    write_video(dataset / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", frames=9)
    _, [detail], store = ingest(dataset)
    [fact] = [fact for fact in store.facts() if fact.key.startswith("loss.")]
    assert isinstance(fact.value, dict)
    assert fact.value["detail"] == detail


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"a full disk needs the right to mount one: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk(viae, small_disk: Path, tmp_path: Path):
    recording(tmp_path / "small" / "a.mcap")
    store = small_disk / "store"
    assert viae("ingest", tmp_path / "small", "--store", store).code == 0
    raw = StreamSpec(name="raw", kind=Kind.BYTES, dtype="", shape=())
    with Recorder(tmp_path / "large" / "b.mcap", streams=[raw]) as recorder:
        for i in range(13):
            recorder.write("raw", random.randbytes(1 << 20), capture_ns=i, arrival_ns=i)
    said = viae("ingest", tmp_path / "large", "--store", store)
    assert said.code == 1
    assert said.err.endswith(
        f"error {store}: no space left on the device; the 1 episodes already committed are whole. "
        "Free some space and run the same command again: it goes on where it stopped\n"
    )
    assert kept(Store.open(store)) == {"a.mcap": 20}


def test_full_disk_while_training(viae, small_disk: Path, improved_copy):
    (small_disk / "filler").write_bytes(bytes((12 << 20) - (100 << 10)))
    words = ("train", small_disk / "b", "--steps", "20", "--store", improved_copy.store.uri)
    said = viae(*words)
    assert (said.code, said.out) == (1, "")
    assert "error no space left on the device (" in said.err
    (small_disk / "filler").unlink()
    assert viae(*words).code == 0
