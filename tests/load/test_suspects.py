"""Which input is to blame."""

import json

import numpy as np
import pytest

from builders import ACTION, STATE
from viae.load.events import EventReader, prefix
from viae.load.live import LiveEvents
from viae.load.suspects import Habits
from viae.schema import Kind, StreamSpec
from viae.store import Store
from viae.verbs import ingest

S = 1_000_000_000
PERIOD = S // 50
IMU = StreamSpec(name="imu", shape=(2,), names=("x", "gripper"), clock="sensor")
SWITCH = StreamSpec(name="switch", dtype="bool", shape=(1,))
NOTE = StreamSpec(name="note", kind=Kind.TEXT, dtype="")
CAMERA = StreamSpec(name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(8, 12, 3), encoding="png")
ROBOT = [STATE, ACTION, IMU, SWITCH, NOTE, CAMERA]


def episode(seed, steps=200, **faults):
    """A robot of 50 Hz, whose camera gives every tenth picture twice, whose readings are late.

    Faults: ``silent``, ``frozen`` (stream, from which step on), ``nan`` (stream, step), ``jump``
    (stream, from which step on, seconds).
    """
    rng = np.random.default_rng(seed)
    live = LiveEvents(ROBOT, "t")
    stream, since = faults.get("silent", faults.get("frozen", ("", steps)))
    held = {}
    for i in range(steps):
        at = 5 * S + i * PERIOD
        pixels = rng.integers(0, 256, CAMERA.shape, np.uint8)
        values = {
            STATE.name: rng.normal(size=2), ACTION.name: np.zeros(2, np.float32),
            "imu": rng.normal(size=2), "switch": [i // 60 % 2 == 0],
            "camera": held["camera"] if i % 10 == 9 else pixels,
        }  # fmt: skip
        if i in (40, 150):
            values["note"] = f"note {i}"
        for name, usual in values.items():
            late = name == stream and i >= since
            if late and "silent" in faults:
                continue
            held[name] = held[name] if late else usual
            bad = faults.get("nan") == (name, i)
            jumping, row, jump_s = faults.get("jump", ("", 0, 0))
            jump_ns = int(jump_s * S) if name == jumping and i >= row else 0
            capture = at - int(rng.integers(1, 5)) * 1_000_000 + jump_ns
            value = [0.0, np.nan] if bad else held[name]
            live.add(name, value, capture_ns=capture, arrival_ns=at)
    return live.events()


@pytest.fixture(scope="module")
def habits():
    return Habits.fit([episode(seed) for seed in range(4)])


def test_nobody_is_to_blame_where_all_is_usual(habits):
    for seed in (10, 11):
        events = episode(seed)
        for n in range(0, len(events), 37):
            assert habits.blame(prefix(events, n)) == []


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        ({"silent": ("imu", 100)}, ("imu", "silent", "silent for 2 s, usually 0.02 s")),
        ({"frozen": ("camera", 150)},
         ("camera", "frozen", "frozen for 1.02 s, at most 0.04 s in training")),
        ({"frozen": (STATE.name, 100)},
         (STATE.name, "frozen", "frozen for 2 s, at most 0.02 s in training")),
        ({"nan": ("imu", 20)}, ("imu", "not finite", "not finite: element 1 'gripper' is nan")),
        ({"jump": ("imu", 100, 3.0)},
         ("imu", "clock", "its clock is 3 s ahead of where it was in training")),
        ({"jump": ("imu", 100, 0.5)},
         ("imu", "clock", "its clock is 0.5 s ahead of where it was in training")),
    ],
)  # fmt: skip
def test_the_stream_with_a_fault_is_named(habits, faults, found):
    [suspect] = habits.blame(episode(20, **faults))
    assert (suspect.stream, suspect.fault, suspect.what) == found
    assert str(suspect).startswith(f"stream '{found[0]}', at ")


def test_a_clock_that_jumps_back_and_samples_that_are_old(habits):
    [back] = habits.blame(episode(20, jump=("imu", 100, -3.0)))
    assert (back.fault, back.stream, back.at_ns) == ("clock", "imu", 7 * S)
    assert back.what.startswith("its clock jumps back 2.98")
    [old] = habits.blame(episode(20, jump=("imu", 0, -3.0)))
    assert old.fault == "late"
    assert old.what.startswith("a sample is 3 s old, usually 0.001 to 0.004")


def test_silence_goes_on_while_nothing_arrives(habits):
    events = episode(10)
    last = int(events.arrival_ns[-1])
    assert habits.blame(events, last + 5 * PERIOD) == []
    silent = habits.blame(events, last + S)
    assert [s.stream for s in silent] == ["camera", "imu", STATE.name, "switch"]
    assert {s.fault for s in silent} == {"silent"}


def test_streams_that_end_early_or_come_at_one_moment_are_as_they_are():
    live = LiveEvents([STATE, IMU], "")
    for i in range(50):
        live.add("imu", [i, 0], capture_ns=0, arrival_ns=0)
    for i in range(200):
        if i < 100:
            live.add("imu", [i, 1], capture_ns=i * PERIOD, arrival_ns=i * PERIOD)
        live.add(STATE.name, [i, 0], capture_ns=i * PERIOD, arrival_ns=i * PERIOD)
    for events in (live.events(), prefix(live.events(), 50)):
        assert Habits.fit([events]).blame(live.events()) == []


def test_habits_travel_as_json(habits):
    again = Habits.from_json(json.loads(json.dumps(habits.to_json())))
    assert again == habits
    assert habits.streams["instruction"].frozen_ns is None
    assert habits.streams["action"].frozen_ns is None
    assert habits.streams["note"].silent_ns is None


def test_streams_that_were_not_there_and_histories_of_nothing(habits):
    none = Habits({})
    assert none.blame(episode(10)) == []
    assert [s.fault for s in none.blame(episode(10, nan=("imu", 3)))] == ["not finite"]
    assert habits.blame(prefix(episode(10), 0)) == []


@pytest.mark.data
def test_a_real_humanoid_blames_nobody(data_dir, tmp_path):
    """Learnt from four episodes, asked all through the fifth."""
    store = Store.create(tmp_path)
    ingest([data_dir / "g1_inspire_lerobot_v21"], store, now_ns=lambda: 1)
    reader = EventReader(store, store.episodes(), streams=["observation.state", "action"])
    learnt = Habits.fit([reader.events(i) for i in range(4)])
    events = reader.events(4)
    for n in range(1, len(events), 25):
        assert learnt.blame(prefix(events, n)) == []
