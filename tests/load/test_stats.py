"""Statistics: exact, whatever the pieces, the parts and their order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import CAMERA, STATE, png, samples, write
from viae.errors import SchemaError, UsageError, WindowError
from viae.load.stats import Statistics, picture_statistics, quantile_name, vector_statistics
from viae.load.stats import ranks as ranks_module
from viae.load.stats import statistics as statistics_module
from viae.load.stats import stored as stored_module
from viae.load.stats.keys import keys_of, values_of
from viae.schema import Kind, StreamSpec, VideoGroup
from viae.store import Store
from viae.video import decode_pictures

DTYPES = ("bool", "int8", "uint16", "int32", "int64", "float16", "float32", "float64")
QUANTILES = (0.0, 0.01, 0.37, 0.5, 0.99, 1.0)


def whole(dtype):
    """Values of a dtype; integers of 64 bits stay within what float64 holds."""
    if dtype == "int64":
        return st.integers(-(2**53), 2**53)
    if np.dtype(dtype).kind == "f":
        most = {"float16": 1e3, "float32": 1e6, "float64": 1e12}[dtype]
        few = st.sampled_from([0.0, -0.0, 1.0, -1.5])
        width = 8 * np.dtype(dtype).itemsize
        return few | st.floats(-most, most, width=width)
    return hnp.from_dtype(np.dtype(dtype))


@st.composite
def tables(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = (draw(st.integers(1, 60)), draw(st.integers(1, 3)))
    return draw(hnp.arrays(dtype, shape, elements=whole(dtype)))


def pass_over(statistics, parts):
    """One pass, each part in an object of its own, through JSON and back, merged as a tree."""
    filled = []
    for part in parts:
        own = statistics.part()
        own.add(part)
        filled.append(Statistics.from_json(json.loads(json.dumps(own.to_json()))))
    while len(filled) > 1:
        filled[0].merge(filled.pop())
        filled.append(filled.pop(0))
    statistics.merge(filled[0])


def run(parts, shape, dtype, quantiles=QUANTILES, *, shuffle=lambda parts: parts):
    statistics = Statistics(shape, dtype, quantiles)
    while True:
        pass_over(statistics, shuffle(parts))
        statistics = Statistics.from_json(json.loads(json.dumps(statistics.to_json())))
        if statistics.finish_pass():
            return statistics


@pytest.mark.parametrize("held", [0, 7, 1 << 20])
@given(table=tables(), data=st.data())
def test_any_partition_in_any_order_equals_everything_at_once(held, table, data):
    cuts = data.draw(st.lists(st.integers(0, len(table)), max_size=5))
    parts = np.split(table, sorted(cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks_module, "HELD", held)
        patch.setattr(ranks_module, "COUNTERS", 1 << 10)  # many narrow passes
        patch.setattr(statistics_module, "BUFFERED", 1)
        statistics = run(
            parts, table.shape[1:], table.dtype,
            shuffle=lambda parts: data.draw(st.permutations(parts)),
        )  # fmt: skip
    found, exact = statistics.summary(), table.astype(np.float64)
    assert (found.count == len(table)).all()
    assert (found.min == exact.min(axis=0)).all()
    assert (found.max == exact.max(axis=0)).all()
    wanted = np.quantile(exact, QUANTILES, axis=0)
    assert np.array_equal(np.stack([found.quantiles[q] for q in QUANTILES]), wanted)
    spread = np.ptp(exact, axis=0)
    tolerance = 1e-12 * (np.abs(exact).max(axis=0) + spread) + np.finfo(np.float64).tiny
    assert (np.abs(found.mean - exact.mean(axis=0)) <= tolerance).all()
    assert (np.abs(found.std - exact.std(axis=0)) <= tolerance).all()
    assert (found.constant == (spread == 0)).all()


@given(table=tables(), data=st.data())
def test_merging_is_associative_and_commutative(table, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), min_size=2, max_size=2)))
    start = Statistics(table.shape[1:], table.dtype)

    def part(rows):
        own = start.part()
        own.add(rows)
        return own

    def merged(*parts):
        first, *others = parts
        for other in others:
            first.merge(other)
        return first

    a, b, c = np.split(table, cuts)
    left = merged(merged(part(a), part(b)), part(c)).to_json()
    right = merged(part(a), merged(part(b), part(c))).to_json()
    turned = merged(part(c), part(b), part(a)).to_json()
    for name in ("count", "nan", "infinite", "min", "max"):
        assert left[name] == right[name] == turned[name]
    counts = [said["ranks"]["counts"] for said in (left, right, turned)]
    assert counts[0] == counts[1] == counts[2]


@given(hnp.arrays("float32", st.tuples(st.integers(0, 30), st.just(2))))
def test_what_is_no_number_is_counted_and_left_out(table):
    found = run([table], (2,), "float32").summary()
    finite = np.isfinite(table)
    assert (found.count == finite.sum(axis=0)).all()
    assert (found.nan == np.isnan(table).sum(axis=0)).all()
    assert (found.infinite == np.isinf(table).sum(axis=0)).all()
    for element in range(2):
        values = table[finite[:, element], element].astype(np.float64)
        if len(values):
            assert found.quantiles[0.5][element] == np.quantile(values, 0.5)
            assert found.min[element] == values.min()
        else:
            assert np.isnan([found.mean[element], found.quantiles[0.5][element]]).all()


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_keys_are_ordered_as_values_are_and_come_back(dtype):
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    values = np.array([info.min, info.min // 3, 0, 1, 7, info.max], dtype)
    keys = keys_of(np.sort(values))
    assert (np.diff(keys.astype(object)) >= 0).all()
    assert (values_of(keys.astype(np.uint64), np.dtype(dtype)) == np.sort(values)).all()


def test_many_values_take_few_passes():
    rng = np.random.default_rng(0)
    for dtype, most in (("float32", 2), ("float64", 3), ("uint8", 1)):
        table = (rng.standard_normal((20_000, 2)) * 50).astype(dtype)
        statistics = run([table], (2,), dtype)
        assert statistics.passes <= most
        wanted = np.quantile(table.astype(np.float64), 0.99, axis=0)
        assert (statistics.summary().quantiles[0.99] == wanted).all()


def test_numbers_far_from_zero_keep_their_spread():
    values = 1e9 + np.random.default_rng(0).standard_normal((5000, 1))
    found = run(np.array_split(values, 13), (1,), "float64").summary()
    assert found.std[0] == pytest.approx(values.std(), rel=1e-6)
    assert found.mean[0] == pytest.approx(values.mean(), rel=1e-15)


def test_misuse_is_refused():
    with pytest.raises(UsageError, match="between 0 and 1"):
        Statistics((1,), "float32", (1.5,))
    with pytest.raises(SchemaError, match="not of complex64"):
        Statistics((1,), "complex64")
    statistics = Statistics((1,), "float32")
    with pytest.raises(SchemaError, match="float64"):
        statistics.add(np.zeros((1, 1)))
    statistics.add(np.zeros((3, 1), np.float32))
    with pytest.raises(UsageError, match="another pass"):
        statistics.summary()
    other = Statistics((1,), "float32", (0.5,))
    with pytest.raises(UsageError, match=r"part\(\)"):
        statistics.merge(other)
    assert not statistics.finish_pass()
    statistics.add(np.zeros((2, 1), np.float32))
    with pytest.raises(UsageError, match="saw 2 values and the first 3"):
        statistics.finish_pass()
    done = run([np.zeros((3, 1), np.float32)], (1,), "float32")
    with pytest.raises(UsageError, match="finished"):
        done.add(np.zeros((1, 1), np.float32))


def test_names_of_quantiles():
    assert [quantile_name(q) for q in (0.01, 0.1, 0.5, 0.999, 1)] == [
        "q01", "q10", "q50", "q99.9", "q100",
    ]  # fmt: skip


# -- of a store -----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    rng = np.random.default_rng(0)
    for name, count in (("a", 30), ("b", 5), ("c", 1)):
        write(store, name, [samples(STATE, rng.standard_normal((count, 2)))])
    return store


@pytest.mark.parametrize("held_bytes", [0, 1 << 20])
def test_a_stream_over_episodes(store, held_bytes, monkeypatch):
    monkeypatch.setattr(stored_module, "HELD_BYTES", held_bytes)
    seen = []
    found = vector_statistics(
        store, STATE.name, ["a", "c"], seen=lambda done, total: seen.append((done, total))
    )
    read = store.samples(["a", "c"], [STATE.name])
    every = np.concatenate([np.asarray(part.values) for part in read.values()])
    assert (found.samples, found.per, found.how) == (31, "element", "all samples")
    assert (found.summary.quantiles[0.1] == np.quantile(every, 0.1, axis=0)).all()
    assert found.elements() == ("0", "1")
    assert seen[-1] == (31, 31)


def test_samples_that_vary_or_are_large_are_summed_up_together(store, monkeypatch):
    ragged = StreamSpec(name="scan", dtype="float32", shape=(-1,))
    scans = [np.arange(n, dtype=np.float32) for n in (3, 0, 5)]
    write(store, "d", [samples(ragged, scans)])
    found = vector_statistics(store, "scan", ["d"])
    assert (found.per, found.elements()) == ("stream", ("all",))
    assert found.summary.quantiles[0.5] == np.quantile(np.concatenate(scans), 0.5)
    assert found.summary.count == 8
    monkeypatch.setattr(stored_module, "MOST_ELEMENTS", 1)
    together = vector_statistics(store, STATE.name, ["a"])
    [values] = store.samples(["a"], [STATE.name]).values()
    assert together.summary.quantiles[0.5] == np.quantile(np.asarray(values.values), 0.5)


def test_streams_that_cannot_be_summed_up_say_why(store):
    with pytest.raises(WindowError, match="none of 1 episodes has the stream 'no'"):
        vector_statistics(store, "no", ["a"])
    write(store, "e", [samples(StreamSpec(name=STATE.name, shape=(3,)), np.zeros((2, 3)))])
    with pytest.raises(WindowError, match=r"float64\[2\].*float64\[3\].*--where"):
        vector_statistics(store, STATE.name, ["a", "e"])
    text = StreamSpec(name="said", kind=Kind.TEXT, dtype="", shape=())
    write(store, "f", [samples(text, ["x"])])
    with pytest.raises(WindowError, match="'said' is text"):
        vector_statistics(store, "said", ["f"])


def test_pictures_per_channel_of_thumbnails(store):
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (7, *CAMERA.shape), np.uint8)
    write(store, "g", [samples(CAMERA, [png(p) for p in pictures[:4]])])
    write(store, "h", [samples(CAMERA, [png(p) for p in pictures[4:]])])
    found = picture_statistics(store, "camera", ["g", "h"], thumb=4, every=2)
    assert (found.samples, found.looked_at, found.per) == (7, 4, "channel")
    assert found.how == "one picture in 2, scaled to 4x4 by area"
    coded = samples(CAMERA, [png(p) for p in pictures])
    pixels = decode_pictures(coded, (4, 4))[::2].transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.allclose(found.summary.mean, pixels.mean(axis=1), rtol=1e-12)
    assert (found.summary.quantiles[0.9] == np.quantile(pixels, 0.9, axis=1)).all()
    assert found.elements() == ("red", "green", "blue")
    every = picture_statistics(store, "camera", ["g", "h"])
    assert every.how == "all pictures, scaled to 32x32 by area"


def test_of_many_groups_of_pictures_key_frames_are_enough(tmp_path, monkeypatch, data_dir):
    from viae.verbs.ingest import ingest

    store = Store.create(tmp_path / "g1")
    ingest([data_dir / "g1_inspire_lerobot_v21"], store)
    ids = [episode.episode_id for episode in store.episodes()][:1]
    camera = "observation.images.cam_high"
    groups: list[VideoGroup] = store.video(ids, [camera])[ids[0], camera]
    monkeypatch.setattr(stored_module, "ENOUGH_GROUPS", 2)
    monkeypatch.setattr(stored_module, "LOOKED_AT", 10)
    found = picture_statistics(store, camera, ids)
    step = -(-len(groups) // 10)
    assert found.looked_at == len(range(0, len(groups), step))
    assert found.how == f"one key frame in {step}, scaled to 32x32 by area"
    assert found.samples == sum(map(len, groups))
    assert ((found.summary.mean > 0) & (found.summary.mean < 255)).all()
