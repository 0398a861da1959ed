"""What is written is read back exactly; what was never committed, or came later, is not there."""

from tempfile import TemporaryDirectory

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import episode, ns, samples, write
from viae.schema import Fact, Kind, Role, Samples, StreamSpec, VideoGroup
from viae.store import Store, StoreWriter

DTYPES = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", ">f4", ">i8",
]  # fmt: skip
INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(scope="module")
def store():
    with TemporaryDirectory() as folder:
        yield Store.create(folder)


@pytest.fixture(scope="module")
def fresh_id(store):
    return lambda: f"e{len(store.episode_ids())}"


@st.composite
def blocks(draw):
    """Runs of samples of one stream of any kind, seq going on from block to block."""
    kind = draw(st.sampled_from([Kind.VECTOR, Kind.VECTOR, Kind.TEXT, Kind.BYTES, Kind.IMAGE]))
    shape, dtype, values = (), "", None
    if kind is Kind.TEXT:
        values = st.lists(st.text(), max_size=4)
    elif kind is not Kind.VECTOR:
        dtype = "uint8" if kind is Kind.IMAGE else ""
        values = st.lists(st.binary(max_size=20), max_size=4)
    else:
        dtype = draw(st.sampled_from(DTYPES))
        if draw(st.booleans()):
            shape = (-1,)
            one = st.integers(0, 4).flatmap(lambda n: hnp.arrays(np.dtype(dtype), (n,)))
            values = st.lists(one, max_size=4)
        else:
            shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
            sizes = st.integers(0, 4)
            values = sizes.flatmap(lambda n: hnp.arrays(np.dtype(dtype), (n, *shape)))
    spec = StreamSpec(
        name=draw(st.text(min_size=1, max_size=5)), kind=kind, dtype=dtype, shape=shape,
        role=draw(st.sampled_from(Role)), unit=draw(st.text(max_size=2)),
    )  # fmt: skip
    runs, seq = [], 0
    for _ in range(draw(st.integers(1, 3))):
        run = draw(values)
        n = len(run)
        capture, arrival = (draw(hnp.arrays(np.int64, n, elements=INT64)) for _ in "ca")
        runs.append(
            Samples(
                spec=spec, capture_ns=capture, arrival_ns=arrival, seq=ns(range(seq, seq + n)),
                values=run,
            )
        )  # fmt: skip
        seq += n + draw(st.integers(0, 2))
    return runs


def same(found, expected):
    """Equal to the bit, but for what NaNs carry."""
    if isinstance(expected, str | bytes):
        return type(found) is type(expected) and found == expected
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    if found.dtype.kind != "f":
        return np.array_equal(found, expected)
    signs = np.array_equal(np.signbit(found), np.signbit(expected))
    return signs and np.array_equal(found, expected, equal_nan=True)


@given(blocks())
@settings(max_examples=50)
def test_every_kind_and_dtype_comes_back(store, fresh_id, runs):
    episode_id = fresh_id()
    write(store, episode_id, runs)
    spec = runs[0].spec
    found = store.samples([episode_id], [spec.name])
    written = [run for run in runs if len(run)]
    if not written:
        assert found == {}
        return
    [(key, read)] = found.items()
    assert key == (episode_id, spec.name)
    assert read.spec == spec
    for field in ("capture_ns", "arrival_ns", "seq"):
        assert (getattr(read, field) == np.concatenate([getattr(r, field) for r in written])).all()
    values = [value for run in written for value in run.values]
    assert len(read.values) == len(values)
    assert all(same(a, b) for a, b in zip(read.values, values, strict=True))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float64", [np.nan, -0.0, 0.0, np.inf, -np.inf, 5e-324]),
        ("float32", [np.nan, -0.0, 1e-45, 3.4028235e38]),
        ("float16", [np.nan, -0.0, 6e-8, 65504]),
        ("uint64", [0, 2**63, 2**64 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("bool", [True, False]),
    ],
)
@pytest.mark.parametrize("varies", [False, True])
def test_the_ends_of_every_range(store, fresh_id, dtype, values, varies):
    array = np.array(values, dtype)
    spec = StreamSpec(name="x", dtype=dtype, shape=(-1,) if varies else ())
    episode_id = fresh_id()
    write(store, episode_id, [samples(spec, [array] if varies else array)])
    read = store.samples([episode_id], ["x"])[episode_id, "x"].values
    assert same(read[0] if varies else read, array)


@given(
    st.lists(st.lists(st.binary(max_size=8), min_size=1, max_size=3), min_size=1, max_size=3),
    st.binary(max_size=8),
    st.data(),
)
@settings(max_examples=15)
def test_video_groups_come_back(store, fresh_id, groups, extradata, data):
    spec = StreamSpec(name="eye", kind=Kind.VIDEO, dtype="uint8", shape=(4, 4, 3), encoding="h264")
    written = []
    for packets in groups:
        times = {
            field: data.draw(hnp.arrays(np.int64, len(packets), elements=INT64))
            for field in ("pts", "capture_ns", "arrival_ns", "seq")
        }
        written.append(
            VideoGroup(
                spec=spec, extradata=extradata, packets=packets, time_base=(1, 90_000), **times
            )
        )  # fmt: skip
    episode_id = fresh_id()
    write(store, episode_id, written)
    [read] = store.video([episode_id], ["eye"]).values()
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert (one.spec, one.extradata, one.time_base) == (spec, extradata, (1, 90_000))
        assert list(one.packets) == list(other.packets)
        for field in ("pts", "capture_ns", "arrival_ns", "seq"):
            assert (getattr(one, field) == getattr(other, field)).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=3), st.text(), st.none() | st.booleans(), JSON,
    st.text(min_size=1),
)  # fmt: skip
@settings(max_examples=25)
def test_episodes_and_facts_come_back(store, fresh_id, conditions, text, outcome, value, key):
    episode_id = fresh_id()
    fact = Fact(episode_id=episode_id, key=f"k.{key}", value=value, author=text, time_ns=7)
    fields = {"conditions": conditions, "task": text, "robot": text, "outcome": outcome}
    write(store, episode_id, facts=[fact], **fields)
    assert store.episode(episode_id) == episode(episode_id, **fields)
    assert [f for f in store.facts(key=fact.key) if f.episode_id == episode_id] == [fact]


X = StreamSpec(name="x", dtype="int64", shape=(1,))
ACTIONS = st.lists(
    st.sampled_from(["commit", "abandon", "crash", "again", "fact", "compact"]), max_size=6
)


def contents(store):
    """All that can be read of a store."""
    ids = sorted(store.episode_ids())
    read = {k: v.values.tolist() for k, v in store.samples(ids, ["x"]).items()}
    streams = [(row["episode_id"], row["samples"]) for row in store.streams()]
    return store.episodes(), read, streams, store.facts()


@given(ACTIONS, ACTIONS)
@settings(max_examples=15)
def test_only_what_is_committed_is_there_and_a_snapshot_never_changes(before, after):
    """A store against a dict; episodes abandoned or killed before their row are never seen."""
    with TemporaryDirectory() as folder:
        store, model = Store.create(folder), {}

        def do(action, number):
            name = f"e{number}"
            if action == "compact":
                return store.compact(fragments=0)
            if action == "fact":
                said = Fact(episode_id="e0", key="outcome", value=True, author="a", time_ns=number)
                return store.add_facts([said])
            if action == "again" and model:
                name = min(model)
            writer = StoreWriter(store, now_ns=lambda: 1, bytes_per_commit=0)
            draft = writer.begin(name)
            draft.add(samples(X, [number, number]))
            if action == "abandon":
                return writer.commit()
            draft.finish(
                episode(name), [Fact(episode_id=name, key="k", value=number, author="a", time_ns=1)]
            )
            if action == "crash":
                return writer._flush_children()
            model.setdefault(name, [[number], [number]])
            return writer.commit()

        for number, action in enumerate(before):
            do(action, number)
        snapshot, seen = store.snapshot(), contents(store)
        for number, action in enumerate(after, start=len(before)):
            do(action, number)
        assert contents(store.at(snapshot)) == seen
        found = {k[0]: v for k, v in contents(store)[1].items()}
        assert found == model
        assert {f.episode_id for f in store.facts(key="k")} == set(model)
