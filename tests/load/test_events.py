"""Episodes as events: what is said, several robots, pictures, and real logs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, SUCCESS, png, reaching_store, samples, write
from viae.errors import UsageError, WindowError
from viae.load import Access
from viae.load.event_windows import EventWindows, window_starts
from viae.load.events import EventReader, Pictures, known, prefix
from viae.load.live import LiveEvents
from viae.schema import Fact, Kind, Role, StreamSpec, Take
from viae.schema.names import StreamNames
from viae.sequence import Timeline, target_indices, until_stop
from viae.sequence.clock import clock_by_hand
from viae.store import Store
from viae.verbs import ingest

NOTE = StreamSpec(name="note", kind=Kind.TEXT, dtype="")


def said(events):
    """Events as rows that can be read."""
    rows = []
    for stream, row, at in zip(events.stream, events.row, events.arrival_ns, strict=True):
        name = events.streams[stream].name
        value = events.values[name][row]
        rows.append((int(at), name, value.tolist() if hasattr(value, "tolist") else value))
    return rows


def read(store, **options):
    return EventReader(store, store.episodes(), **options)


def fact(key, value, start=None, end=None, time_ns=5, episode="e"):
    return Fact(
        episode_id=episode, key=key, value=value, author="a", time_ns=time_ns,
        start_ns=start, end_ns=end,
    )  # fmt: skip


def small_store(path, *, facts=(), **fields):
    store = Store.create(path)
    blocks = [
        samples(STATE, [[0, 0], [1, 1], [2, 2]], [10, 20, 30]),
        samples(ACTION, [[5, 5], [6, 6], [7, 7]], [10, 20, 30]),
        samples(NOTE, ["go"], [20]),
    ]
    write(store, "e", blocks, facts=facts, **fields)
    return store


def test_events_of_an_episode(tmp_path):
    events = read(small_store(tmp_path, task="reach", outcome=False)).events(0)
    assert said(events) == [
        (10, "instruction", "reach"),
        (10, "observation.state", [0, 0]),
        (10, "action", [5, 5]),
        (20, "note", "go"),
        (20, "observation.state", [1, 1]),
        (20, "action", [6, 6]),
        (30, "observation.state", [2, 2]),
        (30, "action", [7, 7]),
        (30, "outcome", [False]),
    ]
    assert [spec.name for spec in events.streams] == sorted(events.values)
    assert events.asked.all()
    assert events.values["action"].dtype == np.float32


def test_the_newest_fact_about_task_and_outcome_counts(tmp_path):
    store = small_store(tmp_path, task="reach", outcome=False)
    store.add_facts([fact("task", "push"), fact("outcome", True), fact("outcome", None, time_ns=4)])
    rows = said(read(store).events(0))
    assert (rows[0], rows[-1]) == ((10, "instruction", "push"), (30, "outcome", [True]))
    store.add_facts([fact("task", "", time_ns=9), fact("outcome", None, time_ns=9)])
    names = {spec.name for spec in read(store).events(0).streams}
    assert names == {"observation.state", "action", "note"}


def test_only_the_streams_that_are_asked_for(tmp_path):
    store = small_store(tmp_path, task="reach")
    events = read(store, streams=["note"]).events(0)
    assert said(events) == [(20, "instruction", "reach"), (20, "note", "go")]


def test_clock_facts_are_applied_and_late_samples_are_where_they_arrived(tmp_path):
    store = Store.create(tmp_path)
    write(store, "e", [samples(STATE, [[0, 0], [1, 1], [2, 2]], [30, 10, 20], [1005, 1003, 1004])])
    by_hand = clock_by_hand(at_ns=10, offset_ns=1000)
    store.add_facts([fact(f"clock.{STATE.name}", by_hand.to_json())])
    events = read(store).events(0)
    assert said(events) == [
        (10, STATE.name, [1, 1]), (20, STATE.name, [2, 2]), (30, STATE.name, [0, 0]),
    ]  # fmt: skip
    assert events.capture_ns.tolist() == [3, 4, 5]
    assert events.row.tolist() == [0, 1, 2]


# -- facts ----------------------------------------------------------------------------------------


def test_an_intervention_is_two_events_and_nothing_is_asked_between(tmp_path):
    store = small_store(tmp_path, facts=[fact("intervention", True, 20, 30)])
    events = read(store, streams=["action"]).events(0)
    assert said(events) == [
        (10, "action", [5, 5]),
        (20, "intervention", [True]),
        (20, "action", [6, 6]),
        (30, "intervention", [False]),
        (30, "action", [7, 7]),
    ]
    assert events.asked.tolist() == [True, False, False, True, True]
    without = read(store, streams=["action"], facts=()).events(0)
    assert [row[1] for row in said(without)] == ["action"] * 3
    assert without.asked.tolist() == [True, False, True]
    assert read(store, facts=(), stops=()).events(0).asked.all()


def test_spans_that_overlap_are_one_and_end_with_the_episode(tmp_path):
    spans = [fact("intervention", True, a, b) for a, b in [(0, 15), (12, 25), (30, 99), (99, 200)]]
    cancelled = fact("intervention", False, 26, 28)
    events = read(small_store(tmp_path, facts=[*spans, cancelled]), streams=["action"]).events(0)
    found = [row for row in said(events) if row[1] == "intervention"]
    assert [(at, value) for at, _, value in found] == [(10, [True]), (25, [False]), (30, [True])]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], [[1.0], [2.5]]),
        ([[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        (["low", "high"], ["low", "high"]),
        ([{"a": 1}, True], ['{"a": 1}', "true"]),
        ([None, True], [[True], [True]]),
    ],
)
def test_facts_about_spans_become_streams(tmp_path, values, expected):
    facts = [fact("danger", value, at, at + 5) for at, value in zip((12, 25), values, strict=True)]
    events = read(small_store(tmp_path, facts=facts), facts=("danger",)).events(0)
    rows = [(at, value) for at, name, value in said(events) if name == "danger"]
    assert [row for row in rows if row[1] != [False]] == list(zip((12, 25), expected, strict=True))
    assert events.asked.all()


def test_nothing_is_asked_where_targets_of_windows_stop(tmp_path):
    """From each decision before or after a span, the steps that are asked are those of a window."""
    rng = np.random.default_rng(0)
    take = Take(stream=ACTION.name, steps=tuple(range(12)))
    compared = 0
    for number in range(20):
        arrival = np.sort(rng.integers(0, 60, 12))
        start, length = int(rng.choice(arrival)), int(rng.integers(1, 20))
        stops = np.array([start, start + length])
        store = Store.create(tmp_path / str(number))
        span = fact("intervention", True, *stops.tolist())
        write(store, "e", [samples(ACTION, rng.normal(size=(12, 2)), arrival)], facts=[span])
        asked = read(store, facts=()).events(0).asked
        line = Timeline(role=Role.ACTION, capture_ns=arrival, arrival_ns=arrival)
        at = np.array([t for t in range(60) if not start <= t < start + length])
        wanted = target_indices(line, take, at)
        expected = until_stop(wanted, line, at, stops)
        ours = np.where(np.logical_and.accumulate(asked[wanted], axis=1), wanted, -1)
        inside = (wanted >= 0) & (ours != expected)
        assert not inside.any()
        compared += int((expected != wanted).sum())
    assert compared > 100


def test_a_fact_cannot_have_the_name_of_another_stream(tmp_path):
    with pytest.raises(UsageError, match="outcome"):
        read(small_store(tmp_path), facts=("outcome",))


# -- streams that differ --------------------------------------------------------------------------


def test_robots_with_streams_of_one_name(tmp_path):
    store = Store.create(tmp_path)
    three, other = replace(STATE, shape=(3,)), replace(STATE, dtype="float32")
    write(store, "a", [samples(STATE, [[0, 0]]), samples(ACTION, [[1, 1]])], robot="arm")
    write(store, "b", [samples(three, [[0, 0, 0]]), samples(ACTION, [[2, 2]])], robot="leg")
    write(store, "c", [samples(other, [[0, 0]])], robot="leg")
    write(store, "d", [samples(replace(STATE, role=Role.OUTCOME), [[0, 0]])])
    reader = read(store)
    names = [[spec.name for spec in reader.events(i).streams] for i in range(4)]
    assert names == [
        ["action", "arm:observation.state"],
        ["action", "leg:observation.state:float64[3]"],
        ["leg:observation.state:float32[2]"],
        ["unknown:observation.state"],
    ]
    assert [reader.events(i).values[n[-1]].shape for i, n in enumerate(names)] == [
        (1, 2), (1, 3), (1, 2), (1, 2),
    ]  # fmt: skip
    again = StreamNames.from_json(json.loads(json.dumps(reader.names.to_json())))
    alone = EventReader(store, store.episodes()[:1], names=again)
    assert [spec.name for spec in alone.events(0).streams] == names[0]
    backwards = EventReader(store, store.episodes()[::-1])
    assert backwards.names.to_json() == reader.names.to_json()
    live = LiveEvents([STATE, ACTION], "", robot="arm", names=again)
    assert [spec.name for spec in live.streams] == names[0]


def test_a_log_with_a_stream_of_a_reserved_name(tmp_path):
    store = Store.create(tmp_path)
    write(store, "e", [samples(replace(NOTE, name="instruction"), ["a"])], task="b", robot="r")
    assert said(read(store).events(0)) == [(0, "instruction", "b"), (0, "r:instruction", "a")]


def test_what_cannot_be_events_is_left_with_its_reason(tmp_path):
    store = Store.create(tmp_path)
    scan = StreamSpec(name="scan", shape=(-1,))
    raw = StreamSpec(name="raw", kind=Kind.BYTES, dtype="")
    unknown = replace(CAMERA, shape=(0, 0, 3))
    pixels = np.zeros((8, 12, 3), np.uint8)
    write(store, "e", [samples(scan, [np.zeros(2)]), samples(raw, [b"x"]), samples(STATE, [[0, 0]]),
                       samples(unknown, [png(pixels)])])  # fmt: skip
    reader = read(store)
    assert sorted(reader.left) == ["camera", "raw", "scan"]
    assert "vary in length" in reader.left["scan"]
    assert [spec.name for spec in reader.events(0).streams] == [STATE.name]
    with pytest.raises(WindowError, match="'scan' cannot be events: its samples vary"):
        read(store, streams=["scan"])
    sized = read(store, picture_sizes={"camera": (4, 6)})
    assert sized.events(0).values["camera"].shape == (1, 3, 4, 6)


def test_bad_requests_are_refused(tmp_path):
    store = reaching_store(tmp_path, episodes=1)
    episodes = store.episodes()
    with pytest.raises(WindowError, match="none of 1 episodes has the streams"):
        EventReader(store, episodes, streams=["nothing"])
    with pytest.raises(WindowError, match="named twice"):
        EventReader(store, episodes * 2)
    with pytest.raises(WindowError, match="a size or crop is given for"):
        EventReader(store, episodes, picture_sizes={"action": (1, 1)})
    with pytest.raises(UsageError, match="on demand"):
        EventReader(store, episodes, access=Access(path="cache"))


# -- pictures -------------------------------------------------------------------------------------


def test_pictures_are_decoded_when_they_are_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 8, 12, 3), np.uint8)
    store = Store.create(tmp_path)
    order = [20, 10, 30, 40, 50]  # the second one arrives first
    write(store, "e", [samples(CAMERA, [png(p) for p in pixels], order), samples(STATE, [[0, 0]])])
    for memory_bytes in (0, 1 << 20):
        events = read(store, access=Access(memory_bytes=memory_bytes)).events(0)
        pictures = events.values["camera"]
        expected = pixels[[1, 0, 2, 3, 4]].transpose(0, 3, 1, 2)
        assert isinstance(pictures, Pictures)
        assert (len(pictures), pictures.shape, pictures.ndim) == (5, (5, 3, 8, 12), 4)
        assert (np.asarray(pictures) == expected).all()
        assert (pictures[1:3] == expected[1:3]).all()
        assert (pictures[-1] == expected[-1]).all()
        assert (pictures[np.array([4, 0, 4])] == expected[[4, 0, 4]]).all()
        assert (np.asarray(prefix(events, 3).values["camera"]) == expected[:2]).all()
    [spec] = [spec for spec in events.streams if spec.name == "camera"]
    assert spec.shape == (8, 12, 3)


# -- live -----------------------------------------------------------------------------------------


def test_live_samples_that_cannot_be_are_refused():
    live = LiveEvents([STATE, ACTION, CAMERA, NOTE], "t")
    live.add(STATE.name, [1, np.nan], capture_ns=5_000_000, arrival_ns=5_000_000)
    for stream, value, match in [
        ("nothing", [1.0], r"at 0.005 s a sample of 'nothing' arrived, which this robot does not"),
        (ACTION.name, [1.0], r"'action', at 0.005 s: a sample of float64\[1\] is none of float32"),
        (ACTION.name, ["a", "b"], "is none of float32"),
        ("note", 3, "int is no text"),
        ("camera", np.zeros((8, 12, 4), np.uint8), r"is uint8 \[H, W, 1 or 3\], not uint8\[8, 12"),
        ("camera", np.zeros((4, 12, 3), np.uint8), r"a picture of \[3, 4, 12\], not \[3, 8, 12\]"),
    ]:
        with pytest.raises(WindowError, match=match):
            live.add(stream, value, capture_ns=5_000_000, arrival_ns=5_000_000)
    with pytest.raises(WindowError, match=r"'note', at 0.004 s: arrivals go back, 0.005 s was"):
        live.add("note", "a", capture_ns=1, arrival_ns=4_000_000)
    assert [name for _, name, _ in said(live.events())] == ["instruction", STATE.name]


def test_whole_numbers_of_another_dtype_are_taken_and_others_refused():
    count = StreamSpec(name="count", dtype="int32", shape=(1,))
    live = LiveEvents([count], "")
    live.add("count", 3.0, capture_ns=0, arrival_ns=0)
    with pytest.raises(WindowError, match="none of int32"):
        live.add("count", np.array([0.5]), capture_ns=1, arrival_ns=1)
    assert live.events().values["count"].tolist() == [[3]]


def test_live_streams_that_cannot_be_events_are_left():
    live = LiveEvents([STATE, replace(STATE, name="scan", shape=(-1,))], "")
    live.add("scan", [1, 2, 3], capture_ns=0, arrival_ns=0)
    assert (len(live), list(live.left)) == (0, ["scan"])


def test_live_clocks_are_applied():
    live = LiveEvents([STATE], "", clocks={STATE.name: clock_by_hand(at_ns=0, offset_ns=100)})
    live.add(STATE.name, [0, 0], capture_ns=105, arrival_ns=7)
    assert live.events().capture_ns.tolist() == [5]


def test_a_decision_sees_observations_of_its_time_and_not_its_answer():
    live = LiveEvents([STATE, ACTION, SUCCESS], "t")
    for at in (10, 20):
        live.add(ACTION.name, [at, at], capture_ns=at, arrival_ns=at)
        live.add(SUCCESS.name, [False], capture_ns=at, arrival_ns=at)
        live.add(STATE.name, [at, at], capture_ns=at, arrival_ns=at)
    names = [name for _, name, _ in said(live.events(20))]
    assert names == ["instruction", STATE.name, ACTION.name, SUCCESS.name, STATE.name]
    assert known(live.events(), 9) == 0
    assert live.settled == 4


# -- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 7])
def test_windows_cover_events_as_they_say(size):
    lengths = [0, 3, 40, 1]
    starts = window_starts(lengths, size, seed=1, epoch=0)
    assert len(starts) == sum(lengths)
    for episode, n in enumerate(lengths):
        cover = np.zeros(n, int)
        for first in starts[starts[:, 0] == episode, 1]:
            assert 0 <= first <= max(0, n - size)
            cover[first : first + size] += 1
        if n <= size:
            assert (cover == n).all()
        else:
            assert (cover[size : n - size] == size).all()
            assert cover.min() >= size // 2
            assert cover.max() <= size + size // 2
            assert cover.sum() == n * size


def test_the_order_is_one_for_all_ranks_and_epochs_differ():
    windows = EventWindows([30, 5, 60], 8)
    order = windows.order(3)
    whole = order.take(0, 0, len(windows))
    assert sorted(whole.tolist()) == list(range(95))
    parts = [order.take(0, a, min(a + 7, 95)) for a in range(0, 95, 7)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert order.take(1, 0, 95).tolist() != whole.tolist()
    assert windows.order(4).take(0, 0, 95).tolist() != whole.tolist()


def test_weights_of_episodes():
    starts = window_starts([100, 100, 100], 8, seed=0, epoch=0, weights=np.array([0.0, 1, 3]))
    counts = np.bincount(starts[:, 0], minlength=3)
    assert counts[0] == 0
    assert 180 < counts[2] < 260
    with pytest.raises(UsageError, match="2 weights for 1 episodes"):
        window_starts([5], 2, seed=0, epoch=0, weights=np.ones(2))
    with pytest.raises(UsageError, match="windows of 0 events"):
        EventWindows([5], 0)
    _, first, count = EventWindows([3, 9], 4).at(np.array([0, 2, 3, 11]))
    assert (first.tolist(), count.tolist()) == ([0, 0, 0, 5], [3, 3, 4, 4])


def test_an_episode_of_nothing(tmp_path):
    store = Store.create(tmp_path)
    write(store, "e", [], task="t", outcome=True, start_ns=3, end_ns=7)
    assert said(read(store).events(0)) == [(3, "instruction", "t"), (7, "outcome", [True])]


# -- real logs ------------------------------------------------------------------------------------


def ingested(folder, *paths):
    store = Store.create(folder / "store")
    ingest(paths, store, now_ns=lambda: 1)
    return store


@pytest.mark.data
def test_a_real_humanoid_with_video(data_dir, tmp_path):
    store = ingested(tmp_path, data_dir / "g1_inspire_lerobot_v21")
    camera = "observation.images.cam_high"
    reader = read(store, picture_sizes={camera: (96, 128)})
    assert (len(reader), reader.left) == (5, {})
    for number, episode in enumerate(store.episodes()):
        events = reader.events(number)
        assert events.values["instruction"] == [episode.task]
        assert len(events) == 1 + 3 * len(events.values["action"])
    pictures = events.values[camera]
    assert pictures.shape[1:] == (3, 96, 128)
    assert 20 < pictures[100].mean() < 235
    assert (pictures[98:102][2] == pictures[100]).all()


@pytest.mark.data
def test_a_real_flight(data_dir, tmp_path):
    reader = read(ingested(tmp_path, data_dir / "px4_ulog" / "sample.ulg"))
    events = reader.events(0)
    assert len(events) > 400_000
    assert len(events.streams) > 100
    assert (np.diff(events.arrival_ns) >= 0).all()
    assert (np.bincount(events.stream) > 0).all()


@pytest.mark.data
def test_a_real_ship_of_raw_bytes_is_left_with_its_reason(data_dir, tmp_path):
    reader = read(ingested(tmp_path, data_dir / "keelson_maritime" / "test.mcap"))
    assert len(reader.left) > 600
    assert len(reader.events(0)) == 0


CAR = """
viae_tabular: 1
root: {root}
episodes: {{folders: "*/*"}}
time: {{unit: s, clock: boot}}
tables:
  - time: {{file: global_pose/frame_times}}
    streams:
      pose/position: {{file: global_pose/frame_positions, unit: m}}
  - time: {{file: processed_log/CAN/raw_can/t}}
    streams:
      can/src: {{file: processed_log/CAN/raw_can/src}}
      can/data: {{file: processed_log/CAN/raw_can/data}}
"""
TALK = """
viae_tabular: 1
root: {root}
episodes: {{records: "historical_trajectories/*.json"}}
statements:
  task: {{path: info.task.instruction}}
  outcome: {{path: reward, equals: 1.0}}
tables:
  - rows: traj
    time: {{every_s: 1}}
    ignore: [tool_call_id]
    streams:
      user: {{columns: content, where: {{role: user}}}}
      say: {{columns: content, role: action, where: {{role: assistant}}, nulls: skip}}
"""


def described(folder, text, root):
    path = folder / "table.viae.yaml"
    path.write_text(text.format(root=root))
    return ingested(folder, path)


@pytest.mark.data
def test_a_real_car(data_dir, tmp_path):
    reader = read(described(tmp_path, CAR, data_dir / "comma2k19_example" / "Example_1"))
    events = reader.events(0)
    assert list(reader.left) == ["can/data"]
    assert len(events.values["can/src"]) == 135_468
    assert (np.diff(events.arrival_ns) >= 0).all()


@pytest.mark.data
def test_real_conversations(data_dir, tmp_path):
    reader = read(described(tmp_path, TALK, data_dir / "taubench_traces"))
    assert len(reader) == 200
    for number, episode in enumerate(reader.episodes):
        events = reader.events(number)
        assert events.values["instruction"] == [episode.task]
        assert events.values["outcome"].tolist() == [[episode.outcome]]
        assert all(isinstance(text, str) for text in events.values["say"])
        assert len(events.values["user"]) > 0
