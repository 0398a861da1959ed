"""Live events equal those of the recording at every moment, and the future never changes them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import ROLES, SAMPLES, Sample

from builders import ns, png, samples, write
from viae.load.events import Column, EventReader, assemble, prefix
from viae.load.live import LiveEvents
from viae.schema import Kind, StreamSpec
from viae.store import Store

TEXT = StreamSpec(name="text", kind=Kind.TEXT, dtype="")


@st.composite
def recordings(draw):
    """A few streams with close times, so that ties are common; samples late and out of order."""
    found = []
    for name in draw(st.lists(st.sampled_from("abcz"), unique=True, min_size=1, max_size=4)):
        spec = StreamSpec(name=name, dtype="float32", shape=(1,), role=draw(ROLES))
        found.append((spec, draw(SAMPLES)))
    return found


def column(spec, found):
    values = np.array([s.value for s in found], np.float64).astype(np.float32).reshape(-1, 1)
    return Column(
        spec=spec, name=spec.name, values=values,
        capture_ns=ns(s.capture_ns for s in found), arrival_ns=ns(s.arrival_ns for s in found),
    )  # fmt: skip


def stored(recording, task=""):
    columns = [column(spec, found) for spec, found in recording]
    first = None
    arrivals = [s.arrival_ns for _, found in recording for s in found]
    if task and arrivals:
        at = ns([min(arrivals)])
        spec = StreamSpec(name="instruction", kind=Kind.TEXT, dtype="")
        first = Column(spec=spec, name="instruction", capture_ns=at, arrival_ns=at, values=[task])
    return assemble(columns, first=first, last=None, stops=np.empty((0, 2), np.int64))


def told(events):
    """Every event, in words."""
    rows = []
    for i in range(len(events)):
        name = events.streams[events.stream[i]].name
        value = events.values[name][events.row[i]]
        value = value.tobytes() if isinstance(value, np.ndarray) else value
        rows.append((name, int(events.capture_ns[i]), int(events.arrival_ns[i]), value))
    return rows


def feed(live, events, i):
    """Add the i-th event, as it came."""
    name = events.streams[events.stream[i]].name
    live.add(name, events.values[name][events.row[i]], capture_ns=int(events.capture_ns[i]),
             arrival_ns=int(events.arrival_ns[i]))  # fmt: skip


@given(recordings(), st.sampled_from(["", "reach"]))
@settings(max_examples=100)
def test_replay_gives_the_recording_at_every_moment(recording, task):
    events = stored(recording, task)
    rows, skipped = told(events), int(bool(task) and len(events) > 0)
    live = LiveEvents([spec for spec, _ in recording], task)
    for i in range(skipped, len(events)):
        feed(live, events, i)
        assert told(live.events()) == rows[: i + 1]
        assert told(prefix(events, i + 1)) == rows[: i + 1]
    settled = live.settled
    assert all(row[2] < rows[-1][2] for row in rows[:settled])
    for n in range(len(events) + 1):
        assert told(live.since(n)) == rows[n:]
        around = live.since(n, context=True)
        more = len(around) - (len(rows) - n)
        assert told(around)[more:] == rows[n:]
        context = told(around)[:more]
        last = {row[0]: row for row in rows[:n]}
        assert sorted(context) == sorted(last.values())
        assert not n or context[-1] == rows[n - 1]


@given(recordings(), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_what_arrives_together_may_be_added_in_any_order_of_streams(recording, random):
    events = stored(recording)
    rows = told(events)
    live = LiveEvents([spec for spec, _ in recording], "")
    for at in np.unique(events.arrival_ns):
        own = np.flatnonzero(events.arrival_ns == at)
        waiting = {s: own[events.stream[own] == s].tolist() for s in np.unique(events.stream[own])}
        kept = told(live.events())
        while waiting:
            stream = random.choice(sorted(waiting))
            given = live.events()
            meant = told(given)
            feed(live, events, waiting[stream].pop(0))
            assert told(given) == meant  # what was given out does not change
            waiting = {s: left for s, left in waiting.items() if left}
        assert told(live.events()) == rows[: own[-1] + 1]
        assert told(live.events())[: live.settled] == rows[: live.settled] == kept


@given(recordings(), st.data())
@settings(max_examples=100)
def test_what_arrives_later_changes_no_beginning(recording, data):
    events = stored(recording)
    if not len(events):
        return
    until = int(data.draw(st.sampled_from(events.arrival_ns.tolist())))
    late = st.builds(
        Sample, st.integers(-(10**9), 10**12), st.integers(1, 10**9).map(lambda t: until + t),
        st.integers(0, 9),
    )  # fmt: skip
    other = [
        (spec, [s for s in found if s.arrival_ns <= until] + data.draw(st.lists(late, max_size=3)))
        for spec, found in recording
    ]
    n = int((events.arrival_ns <= until).sum())
    assert told(prefix(stored(other), n)) == told(prefix(events, n))


@given(recordings())
@settings(max_examples=25)
def test_the_store_gives_what_was_assembled(tmp_path_factory, recording):
    store = Store.create(tmp_path_factory.mktemp("s"))
    full = [(spec, found) for spec, found in recording if found]
    blocks = [
        samples(spec, [s.value for s in found], [s.arrival_ns for s in found],
                [s.capture_ns for s in found])
        for spec, found in full
    ]  # fmt: skip
    write(store, "e", blocks)
    events = EventReader(store, store.episodes()).events(0)
    assert told(events) == told(stored(full))


def test_replay_of_pictures_and_texts(tmp_path):
    rng = np.random.default_rng(0)
    camera = StreamSpec(
        name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(8, 12, 3), encoding="png"
    )
    pixels = rng.integers(0, 256, (100, 8, 12, 3), np.uint8)
    texts = [f"text {i}" for i in range(100)]
    coded = [png(p) for p in pixels]
    store = Store.create(tmp_path)
    write(store, "e", [samples(camera, coded), samples(TEXT, texts)], task="t")
    sizes = {"camera": (4, 6)}
    events = EventReader(store, store.episodes(), picture_sizes=sizes).events(0)
    live = LiveEvents([camera, TEXT], "t", picture_sizes=sizes)
    for i in range(100):
        picture = coded[i] if i % 2 else pixels[i]
        live.add("camera", picture, capture_ns=i, arrival_ns=i)
        live.add("text", texts[i], capture_ns=i, arrival_ns=i)
    assert told(live.events()) == told(events)
    assert live.streams == events.streams


def test_a_robot_that_goes_on():
    """Room grows, and what was given out before stays."""
    spec = StreamSpec(name="a", shape=(2,))
    live = LiveEvents([spec], "t")
    kept = []
    for i in range(300):
        live.add("a", [i, -i], capture_ns=i, arrival_ns=i)
        kept.append(live.events())
    for i, events in enumerate(kept):
        assert events.values["a"][:, 0].tolist() == list(range(i + 1))
