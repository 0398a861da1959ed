"""Tokens of a store's streams: the table, JSON, the page, and real logs."""

import json

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, png, samples, write
from viae.errors import UsageError
from viae.schema import Kind, StreamSpec
from viae.store import Store
from viae.verbs import ingest
from viae.verbs.tokens import tokens

SAID = StreamSpec(name="said", kind=Kind.TEXT, dtype="", shape=())
SCAN = StreamSpec(name="scan", dtype="float32", shape=(-1,))


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        states = np.cumsum(rng.standard_normal((300, 2)), axis=0)
        actions = np.stack([rng.standard_normal(300).clip(-1, 1), np.ones(300)], axis=1)
        times = range(0, 300 * 10**7, 10**7)
        write(
            store, name,
            [
                samples(STATE, states, times), samples(ACTION, actions, times),
                samples(SAID, ["go", "go", "stop"], [0, 5, 9]),
                samples(CAMERA, [png(np.zeros(CAMERA.shape, np.uint8))], [3]),
                samples(SCAN, [np.ones(3, np.float32), np.ones(2, np.float32)], [1, 2]),
            ],
            start_ns=0, end_ns=3 * 10**9, task=name,
        )  # fmt: skip
    return store


def test_what_streams_cost_and_lose(store):
    told = []
    report = tokens(store, tell=told.append)
    assert sorted(report.streams) == ["action", "observation.state", "said"]
    assert sorted(report.without) == ["camera", "scan"] and report.failed == {}
    assert (report.episodes, report.duration_s) == (2, 6.0)
    state = report.streams["observation.state"]
    assert (state.samples, state.tokens, state.tokens_per_s) == (600, 1200, 200.0)
    assert 0 < state.bits_per_sample <= 16
    assert [e.coding for e in state.elements] == ["difference"] * 2
    action = report.streams["action"]
    assert [e.coding for e in action.elements] == ["value", "constant"]
    assert action.elements[1].bits == 0 and action.elements[1].exact == 1
    assert (action.count("constant"), action.tokens) == (1, 600)
    assert report.streams["said"].exact == 1
    for element in (*state.elements, *action.elements):
        assert element.mean_error <= element.p99_error <= element.max_error
        assert element.outside == 0
    assert (told[-1].done, told[-1].total) == (3, 3)


def test_samples_are_coded_in_order_of_arrival(tmp_path):
    store = Store.create(tmp_path / "store")
    ramp = np.arange(200, dtype=np.float64)
    mixed = np.random.default_rng(0).permutation(200)
    spec = StreamSpec(name="x", shape=(1,))
    write(store, "a", [samples(spec, ramp[mixed], mixed * 10)], start_ns=0, end_ns=10**9)
    [element] = tokens(store).streams["x"].elements
    assert (element.coding, element.bits, element.exact) == ("difference", 0.0, 1.0)


def test_streams_and_episodes_are_chosen(store):
    report = tokens(store, where="task = 'a'", streams=["said"])
    assert (list(report.streams), report.episodes) == (["said"], 1)
    with pytest.raises(UsageError, match="no episode has a stream 'sad'"):
        tokens(store, streams=["sad"])
    with pytest.raises(UsageError, match="at least 16"):
        tokens(store, bins=4)


def test_the_command(viae, store, tmp_path):
    page = tmp_path / "tokens.html"
    said = viae("tokens", "--store", store.uri, "--out", page)
    assert said.code == 0, said.err
    assert "observation.state" in said.out and "tokens/s" in said.out and "viae train" in said.out
    html = page.read_text()
    assert html.count("<svg") == 2 and "http" not in html.split("<svg")[0]
    said = viae("tokens", "--store", store.uri, "--elements", "--stream", "action")
    assert "constant" in said.out and "observation.state" not in said.out
    said = viae("tokens", "--store", store.uri, "--json", "--fine", "8", "--bins", "16")
    found = {each["stream"]: each for each in json.loads(said.out)["streams"]}
    assert found["observation.state"]["tokens_per_s"] == 400.0
    assert len(found["action"]["elements"]) == 2
    assert viae("tokens", "--store", store.uri, "--fine", "1").code == 2


def test_one_stream_that_fails_does_not_stop_the_rest(viae, store):
    write(store, "c", [samples(StreamSpec(name=STATE.name, shape=(3,)), np.zeros((2, 3)))])
    report = tokens(store)
    assert "action" in report.streams
    assert "shape" in report.failed["observation.state"]
    assert viae("tokens", "--store", store.uri).code == 1


CAR = """
viae_tabular: 1
root: {root}
episodes: {{folders: "*/*"}}
time: {{unit: s, clock: boot}}
tables:
  - time: {{file: global_pose/frame_times}}
    streams:
      pose/position: {{file: global_pose/frame_positions, unit: m}}
      pose/velocity: {{file: global_pose/frame_velocities, unit: m/s}}
  - {{file: processed_log/CAN/speed/value, time: {{file: processed_log/CAN/speed/t}},
     streams: {{speed: }}}}
  - {{file: processed_log/IMU/gyro/value, time: {{file: processed_log/IMU/gyro/t}},
     streams: {{gyro: }}}}
"""


@pytest.mark.data
@pytest.mark.parametrize(
    ("log", "streams"),
    [
        ("g1_inspire_lerobot_v21", 2),
        ("px4_ulog/sample_log_small.ulg", 20),
        ("comma2k19_example", 4),
    ],
)
def test_real_streams_come_back(data_dir, tmp_path, log, streams):
    path = data_dir / log
    if log.startswith("comma"):
        path = tmp_path / "car.viae.yaml"
        path.write_text(CAR.format(root=data_dir / log / "Example_1"))
    store = Store.create(tmp_path / "store")
    ingest([path], store)
    report = tokens(store)
    assert report.failed == {}
    assert len(report.streams) >= streams
    for name, shown in report.shown.items():
        for j, element in enumerate(report.streams[name].elements):
            if element.coding not in ("value", "difference"):
                continue
            x, y = shown.recorded[:, j], shown.decoded[:, j]
            seen = np.isfinite(x)
            assert (np.isfinite(y) == seen).all(), (name, element)
            spread = np.ptp(x[seen]) if seen.any() else 0.0
            assert np.abs(x - y)[seen].mean() <= 0.02 * spread, (name, element)
