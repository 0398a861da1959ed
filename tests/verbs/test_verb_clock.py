"""Clock: fitted at ingest, shown, and said anew."""

from pathlib import Path

import numpy as np
import pytest

from viae import Recorder, Store, StreamSpec
from viae.errors import UsageError
from viae.load import Windows
from viae.schema import Take, WindowSpec
from viae.sequence.clock import ArrivalClock, ClockModel
from viae.verbs.clock import clock, told
from viae.verbs.ingest import ingest

START_NS = 1_760_000_000_000_000_000
MS = 1_000_000
DAY = 86_400 * 1000 * MS
JOINTS = StreamSpec(name="joints", shape=(1,))
IMU = StreamSpec(name="imu", shape=(1,), clock="imu")
BARE = StreamSpec(name="bare", shape=(1,))
SPEC = WindowSpec(
    decision="joints",
    inputs=(Take(stream="imu", steps=(-1, 0), max_age_s=0.05, age=True),
            Take(stream="bare", steps=(0,), age=True)),
)  # fmt: skip


def recording(path: Path, seed: int = 0, *, samples: int = 600) -> Path:
    """20 s: joints 30 ms late on the log's clock, an IMU 66 days off, a stream without stamps."""
    rng = np.random.default_rng(seed)
    with Recorder(path, streams=[JOINTS, IMU, BARE], robot="arm", task="wave") as recorder:
        for i in range(samples):
            at = START_NS + i * 33 * MS
            late = rng.exponential(2 * MS, 3).astype(int).tolist()
            drift = (i * 33 * MS) * 25 // 1_000_000
            recorder.write("joints", [i], capture_ns=at, arrival_ns=at + 30 * MS + late[0])
            recorder.write(
                "imu", [i], capture_ns=at - 66 * DAY + drift, arrival_ns=at + 30 * MS + late[1]
            )
            recorder.write("bare", [i], capture_ns=0, arrival_ns=at + 30 * MS + late[2])
        recorder.finish(True)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    logs = [recording(tmp_path / f"{seed}.mcap", seed) for seed in range(2)]
    assert ingest(logs, store, now_ns=lambda: 1).ingested == 2
    return store


def ages(store: Store, stream: str = "imu") -> np.ndarray:
    windows = Windows(store, SPEC, store.episodes())
    return windows.batch(np.arange(len(windows))).ages[stream]


def test_ingest_corrects_what_needs_it(store: Store):
    report = clock(store)
    said = {(line.stream, line.author) for line in report.lines}
    assert said == {("imu", "viae ingest"), ("bare", "viae ingest")}
    assert (len(report.lines), report.others, report.appended) == (4, 2, 0)
    for line in report.lines:
        if line.stream == "imu":
            assert isinstance(line.clock, ClockModel)
            assert line.said.startswith("66 days behind, 2")
            assert line.to_json()["drift_ppm"] == pytest.approx(25, abs=5)
        else:
            assert (line.clock, line.said) == (ArrivalClock(), "by arrival")
    assert 0 <= ages(store)[2:].min() < ages(store)[2:].max() < 0.1
    assert 0 <= ages(store, "bare")[2:].min() < ages(store, "bare")[2:].max() < 0.1


def test_what_the_log_says_of_a_clock_stands(tmp_path: Path):
    with Recorder(tmp_path / "a.mcap", streams=[IMU], robot="arm", task="wave") as recorder:
        recorder.state(**{"clock.imu": None})  # as an export of a store has it
        for i in range(30):
            recorder.write("imu", [i], capture_ns=START_NS + i * MS - DAY, arrival_ns=START_NS + i)
        recorder.finish(True)
    store = Store.create(tmp_path / "store")
    ingest([tmp_path / "a.mcap"], store)
    [line] = clock(store).lines
    assert (line.said, line.author) == ("as stamped", "log")


def test_fitting_again_finds_the_same(store: Store):
    assert clock(store, say="fit", author="me").appended == 0
    clock(store, streams=["*"], say="as-stamped", author="me")
    assert clock(store).lines[0].said == "as stamped"
    report = clock(store, say="fit", author="me")
    assert report.appended == 4
    assert {line.author for line in report.lines} == {"me"}
    assert 0 <= ages(store)[2:].min() < 0.1


def test_every_window_after_a_correction_changes_and_none_before(store: Store):
    before, then = ages(store), store.snapshot()
    first = store.episodes()[0].episode_id
    report = clock(
        store, episodes=[first[:6]], streams=["joints", "im?"], say=(-12.5, 0.0), author="me",
        now_ns=lambda: 2,
    )  # fmt: skip
    assert report.appended == 2
    assert [line.said for line in report.lines] == ["12.5 ms behind"] * 2
    half = len(before) // 2
    assert (ages(store)[:half] == 0).all()  # 66 days are too old
    assert np.array_equal(ages(store)[half:], before[half:])
    assert np.array_equal(ages(store.at(then)), before)
    assert clock(store.at(then), streams=["joints"]).lines[0].author == ""
    clock(store, streams=["imu"], say="fit", author="me", now_ns=lambda: 3)
    assert np.array_equal(ages(store), before)


def test_episodes_are_chosen_by_sql(store: Store):
    first = store.episodes()[0].episode_id
    report = clock(store, where=f"episode_id = '{first}'", streams=["imu"])
    assert [line.episode_id for line in report.lines] == [first]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"where": "false"}, "no episode fits"),
        ({"streams": ["nope*"]}, "fits nope"),
        ({"say": "as-stamped", "author": "me"}, "--stream"),
        ({"say": "fit"}, "--author"),
        ({"say": (float("nan"), 0.0), "streams": ["imu"], "author": "me"}, "offset of nan"),
        ({"say": (1e30, 0.0), "streams": ["imu"], "author": "me"}, "offset of 1e\\+30"),
        ({"say": (0.0, float("nan")), "streams": ["imu"], "author": "me"}, "drift of nan"),
        ({"say": (0.0, -1e6), "streams": ["imu"], "author": "me"}, "stands still"),
    ],
)
def test_what_makes_no_sense_is_refused(store: Store, options, says):
    before = len(store.facts())
    with pytest.raises(UsageError, match=says):
        clock(store, **options)
    assert len(store.facts()) == before


def test_in_words():
    assert told(None) == "as stamped"


def test_the_command(store: Store, viae):
    shown = viae("clock", "--store", store.uri)
    assert shown.code == 0
    assert "66 days behind" in shown.out
    assert "2 other streams are as stamped" in shown.out
    said = viae("clock", "--store", store.uri, "--stream", "imu", "--as-stamped", "--author", "me")
    assert "2 facts appended" in said.out
    assert '"appended": 2' in viae("clock", "--store", store.uri, "--fit", "--json").out
    episode = store.episodes()[0].episode_id
    assert "66 days behind" in viae("show", episode, "--store", store.uri).out
    both = viae("clock", "--store", store.uri, "--fit", "--as-stamped")
    assert (both.code, "one of --fit" in both.err) == (2, True)
    assert viae("clock", "--store", store.uri, "--drift-ppm", "3").code == 2
    by_hand = viae(
        "clock", episode[:5], "--store", store.uri, "--stream", "imu", "--offset-ms", "-5",
        "--drift-ppm", "2", "--author", "me",
    )  # fmt: skip
    assert "5 ms behind, 2 ppm fast" in by_hand.out
