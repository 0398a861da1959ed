"""Stats: of the streams that are there or asked for, printed, written, and in LeRobot's form."""

import json

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, SUCCESS, png, samples, write
from viae.errors import QueryError, UsageError, WindowError
from viae.load.spec import LoadSpec
from viae.schema import Kind, StreamSpec, Take, WindowSpec
from viae.store import Store
from viae.verbs.stats import stats

SAID = StreamSpec(name="said", kind=Kind.TEXT, dtype="", shape=())


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, *CAMERA.shape), np.uint8)
    for name, task in (("a", "push"), ("b", "reach")):
        states = rng.standard_normal((20, 2))
        states[0] = np.nan
        actions = np.stack([rng.standard_normal(20), np.ones(20)], axis=1)
        write(
            store, name,
            [
                samples(STATE, states), samples(ACTION, actions), samples(SAID, ["x", "y"]),
                samples(SUCCESS, [[False], [True]]), samples(CAMERA, [png(p) for p in pictures]),
            ],
            task=task,
        )  # fmt: skip
    return store


def values(store, ids, stream):
    return np.concatenate([np.asarray(s.values) for s in store.samples(ids, [stream]).values()])


def test_everything_by_default(store):
    told = []
    report = stats(store, tell=told.append)
    assert sorted(report.streams) == ["action", "camera", "observation.state", "success"]
    assert (report.without, report.failed, report.episodes) == ({"said": "text"}, {}, 2)
    state = report.streams["observation.state"].summary
    assert (state.count.tolist(), state.nan.tolist()) == ([38, 38], [2, 2])
    actions = values(store, ["a", "b"], "action").astype(np.float64)
    assert (report.streams["action"].summary.quantiles[0.9] == np.quantile(actions, 0.9, 0)).all()
    assert report.streams["action"].summary.constant.tolist() == [False, True]
    assert report.streams["success"].summary.mean.tolist() == [0.5]
    assert (told[-1].done, told[-1].total) == (5, 5)


def test_a_spec_chooses_streams_and_episodes(store):
    window = WindowSpec(
        decision=STATE.name, inputs=(Take(stream="camera", steps=(0,)),),
        targets=(Take(stream="action", steps=(0,)),),
    )  # fmt: skip
    report = stats(store, LoadSpec(window=window, where="task = 'push'"), quantiles=(0.25,))
    assert sorted(report.streams) == ["action", "camera"]
    assert report.episodes == 1
    actions = values(store, ["a"], "action").astype(np.float64)
    assert (report.streams["action"].summary.quantiles[0.25] == np.quantile(actions, 0.25, 0)).all()
    spoken = WindowSpec(decision=STATE.name, inputs=(Take(stream="said", steps=(0,)),))
    with pytest.raises(WindowError, match="'said' is text"):
        stats(store, LoadSpec(window=spoken))


def test_what_cannot_be_summed_up_does_not_stop_the_rest(viae, store):
    write(store, "c", [samples(StreamSpec(name=STATE.name, shape=(3,)), np.zeros((2, 3)))])
    report = stats(store)
    assert sorted(report.streams) == ["action", "camera", "success"]
    assert "float64[3]" in report.failed["observation.state"]
    said = viae("stats", "--store", store.uri)
    assert said.code == 1
    assert "float64[3]" in said.err
    assert viae("stats", "--store", store.uri, "--where", "task = 'push'").code == 0


def test_the_command(viae, store, tmp_path):
    said = viae("stats", "--store", store.uri, "--quantile", 0.25, "--every", 3, "--thumb", 4)
    assert said.code == 0
    assert all(word in said.out for word in ("q25", "2 nan", "constant", "no numbers: said (text)"))
    assert "camera: 3 of 8 samples: one picture in 3, scaled to 4x4 by area" in said.out
    path = tmp_path / "stats.json"
    printed = viae("stats", "--store", store.uri, "--json", "--out", path)
    assert json.loads(printed.out) == json.loads(path.read_text())
    action = json.loads(path.read_text())["streams"]["action"]
    nowhere = viae("stats", "--store", store.uri, "--out", tmp_path)
    assert (nowhere.code, "it is a folder" in nowhere.err) == (2, True)
    assert viae("stats", "--store", store.uri, "--thumb", 100_000).code == 2
    assert (action["per"], action["constant"], len(action["q01"])) == (
        "element", [False, True], 2,
    )  # fmt: skip


def test_lerobot_has_it_in_its_own_form(viae, store, tmp_path):
    path = tmp_path / "stats.json"
    said = viae("stats", "--store", store.uri, "--out", path, "--format", "lerobot")
    assert said.code == 0
    found = json.loads(path.read_text())
    assert set(found["action"]) == {
        "min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99",
    }  # fmt: skip
    assert found["action"]["count"] == [40]
    assert np.array(found["camera"]["mean"]).shape == (3, 1, 1)
    assert 0 < found["camera"]["mean"][0][0][0] < 1
    alone = viae("stats", "--store", store.uri, "--format", "lerobot")
    assert (alone.code, "add  --out" in alone.err) == (2, True)
    write(store, "c", [samples(StreamSpec(name="scan", shape=(-1,)), [np.zeros(2)])])
    with pytest.raises(UsageError, match="'scan'"):
        stats(store).to_lerobot()


def test_requests_that_make_no_sense(store):
    with pytest.raises(UsageError, match="no episode fits"):
        stats(store, where="false")
    with pytest.raises(UsageError, match="between 0 and 1"):
        stats(store, quantiles=(1.5,))
    with pytest.raises(QueryError):
        stats(store, where="nonsense")
