"""What survives: flushes by time and on demand, kills, and what a drop leaves in the file."""

import gc
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from viae.errors import RecorderError, SchemaError, UsageError
from viae.logs.mcap.recorded import DROPPED_RECORD, dropped_losses
from viae.record import Recorder
from viae.schema import Kind, LossKind, StreamSpec

REPOSITORY = Path(__file__).parents[2]
Q = StreamSpec(name="q", shape=(2,))
RAW = StreamSpec(name="raw", kind=Kind.BYTES, dtype="")


def copied(path: Path, tmp_path: Path) -> Path:
    """What a kill would leave now."""
    return Path(shutil.copy(path, tmp_path / "copy.mcap"))


@pytest.mark.parametrize("fsync", [False, True])
def test_after_a_flush_the_file_has_it_all(tmp_path, read, fsync):
    path = tmp_path / "log.mcap"
    with Recorder(path, streams=[Q], flush_s=None, fsync=fsync, task="wave") as recorder:
        assert recorder.durable_until_ns == -1
        for t in range(1000):
            recorder.write("q", [t, -t], capture_ns=t, arrival_ns=t)
        assert recorder.durable_until_ns == -1
        recorder.flush()
        assert recorder.durable_until_ns == 999
        killed = read(copied(path, tmp_path))
        assert killed.values["q"] == [[t, -t] for t in range(1000)]
        assert killed.statements["task"] == "wave"
        assert {loss.name for loss in killed.losses} == {"truncated"}
        recorder.write("q", [0, 0], capture_ns=0, arrival_ns=500)  # late: 500 is at risk again
        assert recorder.durable_until_ns == 499
        recorder.flush()
        assert recorder.durable_until_ns == 999
    assert read(path).losses == []


def test_time_flushes_without_being_asked(tmp_path, read):
    path = tmp_path / "log.mcap"
    with Recorder(path, streams=[Q], flush_s=0.01) as recorder:
        recorder.write("q", [1, 2], capture_ns=3, arrival_ns=4)
        while recorder.durable_until_ns < 4:
            gc.collect()  # anything that takes a moment
        assert read(copied(path, tmp_path)).values["q"] == [[1, 2]]


def test_a_recorder_that_nobody_closes_is_closed(tmp_path, read):
    path = tmp_path / "log.mcap"
    recorder = Recorder(path, streams=[Q], flush_s=0.01)
    recorder.write("q", [1, 2], capture_ns=3, arrival_ns=4)
    [thread] = [t for t in threading.enumerate() if t.name == "viae-record"]
    del recorder
    gc.collect()
    thread.join(30)
    assert read(path).losses == []


def test_a_program_that_forgets_to_close_ends_and_leaves_a_whole_file(tmp_path, read):
    path = tmp_path / "log.mcap"
    script = (
        "from viae.record import Recorder; from viae.schema import StreamSpec\n"
        f"r = Recorder({str(path)!r}, streams=[StreamSpec(name='q', shape=(1,))], flush_s=None)\n"
        "r.write('q', 1.0, capture_ns=1, arrival_ns=1)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    log = read(path)
    assert (log.values["q"], log.losses) == ([[1]], [])


def test_drops_are_counted_in_the_file(tmp_path, read):
    path = tmp_path / "log.mcap"
    streams = [Q, RAW]
    with Recorder(path, streams=streams, overflow="drop", queue_messages=1) as recorder:
        taken = {"q": 0, "raw": 0}
        for t in range(2000):
            taken["q"] += recorder.write("q", [t, t], capture_ns=t, arrival_ns=t)
            taken["raw"] += recorder.write("raw", bytes(1000), capture_ns=t, arrival_ns=t)
        dropped = recorder.dropped
    assert {name: taken[name] + dropped.get(name, 0) for name in taken} == {"q": 2000, "raw": 2000}
    with path.open("rb") as file:
        reader = make_reader(file)
        counts = reader.get_summary().statistics.channel_message_counts
        records = [r.metadata for r in reader.iter_metadata() if r.name == DROPPED_RECORD]
    assert sorted(counts.values()) == sorted(n for n in taken.values() if n)
    assert records[-1] == {name: str(count) for name, count in dropped.items()}
    losses = {loss.stream: loss for loss in dropped_losses(str(path), records[-1])}
    assert {name: loss.count for name, loss in losses.items()} == dropped
    assert read(path).losses == list(losses.values())
    assert {(x.kind, x.name) for x in losses.values()} == {(LossKind.LOST, "dropped-by-recorder")}


def test_many_samples_at_once(tmp_path, read):
    path = tmp_path / "log.mcap"
    values = np.random.default_rng(0).standard_normal((5000, 2))
    times = np.arange(5000) * 1_000_003
    with Recorder(path, streams=[Q, RAW]) as recorder:
        taken = recorder.write_all("q", values, capture_ns=times - 7, arrival_ns=times)
        assert taken == 5000
        assert recorder.write_all("q", np.empty((0, 2)), capture_ns=[], arrival_ns=[]) == 0
        with pytest.raises(UsageError, match="stream 'raw' is no vector of fixed shape"):
            recorder.write_all("raw", [b""], capture_ns=[0], arrival_ns=[0])
        with pytest.raises(UsageError, match="there is no stream 'p'"):
            recorder.write_all("p", [0], capture_ns=[0], arrival_ns=[0])
        with pytest.raises(SchemaError, match="times of shapes"):
            recorder.write_all("q", values, capture_ns=times, arrival_ns=times[:3])
        with pytest.raises(SchemaError, match="an arrival is negative"):
            recorder.write_all("q", values, capture_ns=times, arrival_ns=times - 1)
    log = read(path)
    assert log.values["q"] == values.tolist()
    assert log.capture["q"] == (times - 7).tolist()
    assert log.arrival["q"] == times.tolist()


def test_events_are_a_stream(tmp_path, read):
    path = tmp_path / "log.mcap"
    with Recorder(path, streams=[Q], clock_ns=lambda: 9) as recorder:
        recorder.event("grasp-lost", force_n=1.5, finger="é")
        recorder.event("stop", capture_ns=3, arrival_ns=4)
        with pytest.raises(UsageError, match="'event' is the event's name"):
            recorder.event("stop", **{"event": "go"})
    log = read(path)
    assert log.values["events"] == [
        '{"event": "grasp-lost", "force_n": 1.5, "finger": "é"}', '{"event": "stop"}',
    ]  # fmt: skip
    assert (log.capture["events"], log.arrival["events"]) == ([9, 3], [9, 4])


def test_streams_may_come_later(tmp_path, read):
    path = tmp_path / "log.mcap"
    with Recorder(path) as recorder:
        recorder.add_stream(Q)
        recorder.add_stream(Q)
        with pytest.raises(UsageError, match="there is another stream 'q' already"):
            recorder.add_stream(StreamSpec(name="q", shape=(3,)))
        recorder.write("q", [1, 2], capture_ns=1, arrival_ns=1)
    assert read(path).values == {"q": [[1, 2]]}


def test_video_is_recorded_as_viewers_show_it(tmp_path):
    path = tmp_path / "log.mcap"
    spec = StreamSpec(
        name="eye", kind=Kind.VIDEO, dtype="uint8", shape=(48, 64, 3), encoding="h264"
    )
    frames = [b"\0\0\0\1\x67frame" + bytes([i]) for i in range(5)]
    with Recorder(path, streams=[spec]) as recorder:
        for i, frame in enumerate(frames):
            recorder.write("eye", frame, capture_ns=i, arrival_ns=i + 1)
    with path.open("rb") as file:
        read = list(make_reader(file, validate_crcs=True).iter_messages())
    assert {schema.name for schema, *_ in read} == {"foxglove.CompressedVideo"}
    assert all(frame in message.data for frame, (*_, message) in zip(frames, read, strict=True))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk, read):
    path = small_disk / "log.mcap"
    noise = np.random.default_rng(0).bytes(100_000)
    recorder = Recorder(path, streams=[RAW], queue_bytes=400_000, flush_s=None)
    durable = 0
    with pytest.raises(RecorderError, match=r"No space left on device.*stay readable"):
        for t in range(100):
            recorder.write("raw", noise, capture_ns=t, arrival_ns=t)
            recorder.flush()
            durable = t + 1
    for again in (recorder.flush, lambda: recorder.state(task="x"), recorder.close):
        with pytest.raises(RecorderError, match="No space left on device"):
            again()
    recorder.close()
    assert durable > 10
    log = read(path)
    assert log.values["raw"] == [noise] * len(log.values["raw"])
    assert len(log.values["raw"]) >= durable


def test_killed_under_load(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from killed import kill_recorders

    monkeypatch.setattr("killed.LATEST_S", 0.3)
    found = kill_recorders(3, seed=3, work=tmp_path)
    assert (found.kills, found.unreadable, found.lost, found.failures) == (3, 0, 0, [])
