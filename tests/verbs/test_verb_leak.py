"""Leak: what is proved, what would be found, and what the usual alignment lets in."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import viae.load.index
from builders import ACTION, CAMERA, STATE, png, samples, write
from viae.errors import UsageError
from viae.load import Windows
from viae.load.clocks import clock_fact
from viae.load.reference import ReferenceWindows
from viae.load.spec import LoadSpec
from viae.schema import StreamSpec
from viae.sequence import input_indices
from viae.sequence.clock import clock_by_hand
from viae.store import Store
from viae.verbs.ingest import ingest
from viae.verbs.leak import leak

MS = 1_000_000
SLOW = StreamSpec(name="slow", dtype="int32", shape=(2,))
SPEC = {
    "decision": STATE.name,
    "inputs": {
        STATE.name: {"steps": "-1..0"},
        "camera": {"offsets_s": [-0.1, 0.0], "age": True, "max_age_s": 1.0},
        "slow": {"steps": 0, "age": True},
        "action": {"steps": "-1..0"},
    },
    "targets": {"action": {"steps": "0..3"}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """State and actions at 50 Hz; a camera over a network, 80 ms late and out of order; 3 Hz."""
    store = Store.create(tmp_path_factory.mktemp("leak") / "store")
    picture = png(np.zeros(CAMERA.shape, np.uint8))
    for number in range(2):
        rng = np.random.default_rng(number)
        fast = np.arange(0, 4000, 20) * MS
        frames = np.arange(0, 4000, 33) * MS
        late = (80 * MS + rng.exponential(15 * MS, len(frames))).astype(int)
        slow = np.arange(0, 4000, 333) * MS
        write(store, f"e{number}", [
            samples(STATE, rng.standard_normal((len(fast), 2)), fast),
            samples(ACTION, rng.standard_normal((len(fast), 2)), fast),
            samples(CAMERA, [picture] * len(frames), frames + late, frames),
            samples(SLOW, rng.integers(0, 9, (len(slow), 2)), slow),
        ])  # fmt: skip
    store.add_facts(
        [clock_fact("e0", "camera", clock_by_hand(at_ns=0, offset_ns=MS), author="me", time_ns=1)]
    )
    return store


@pytest.fixture
def spec() -> LoadSpec:
    return LoadSpec.from_json(SPEC)


@pytest.mark.parametrize("loader", [Windows, ReferenceWindows])
def test_no_window_knows_the_future_and_frames_do(store: Store, spec: LoadSpec, loader):
    report = leak(spec, store, decisions=6, loader=loader)
    assert report.proven
    assert (report.episodes, report.windows) == (2, 400)
    assert (report.disturbed.decisions, report.disturbed.differ) == (6, [])
    assert report.disturbed.samples > 100
    found = {each.stream: each for each in report.inputs}
    assert found[STATE.name].checked.samples == 2 * (200 + 199)
    assert all(each.checked.leaks == 0 for each in report.inputs)
    assert found[STATE.name].checked.worst_ns == 0
    assert found["action"].checked.worst_ns == -20 * MS
    assert found["camera"].checked.worst_ns <= 0
    assert found["camera"].usual.share > 0.95
    assert 80 <= found["camera"].usual.median_lead_ms <= 110
    assert found["slow"].usual.share == pytest.approx(0.5, abs=0.05)
    assert 150 < found["slow"].usual.worst_lead_ms < 167
    assert found["action"].usual.leaking == 0
    assert [each.stamped for each in report.inputs] == [False, True, False, False]


@pytest.mark.parametrize("rate_hz", [None, 30.0])
def test_and_at_a_chosen_rate(store: Store, rate_hz: float | None):
    spec = LoadSpec.from_json({**SPEC, "rate_hz": rate_hz, "missing": "skip", "targets": []})
    assert leak(spec, store, decisions=4, seed=1).proven
    assert leak(spec, store, decisions=0).disturbed.decisions == 0


def test_actions_may_call_for_decisions(store: Store):
    spec = LoadSpec.from_json({"decision": "action", "inputs": SPEC["inputs"]})
    assert leak(spec, store, decisions=4).proven


def test_a_loader_that_looks_ahead_is_found(
    store: Store, spec: LoadSpec, monkeypatch: pytest.MonkeyPatch
):
    def ahead(timeline, take, decisions_ns):
        more = 30 * MS if take.stream == "slow" else 0
        return input_indices(timeline, take, decisions_ns + more)

    monkeypatch.setattr(viae.load.index, "input_indices", ahead)
    report = leak(spec, store, decisions=40)
    assert not report.proven
    leaks = {each.stream: each.checked for each in report.inputs}
    assert {name: c.leaks > 0 for name, c in leaks.items() if c.leaks} == {"slow": True}
    assert 0 < leaks["slow"].worst_ns <= 30 * MS
    assert "'slow', which arrived" in str(leaks["slow"].named[0])
    assert any("'slow' has samples" in each for each in report.disturbed.differ)


def test_values_that_depend_on_the_future_are_found(store: Store, spec: LoadSpec):
    class Scaled(Windows):
        def batch(self, which):
            batch = super().batch(which)
            scale = np.abs(self.values(STATE.name)).max()
            batch.inputs[STATE.name][:] /= scale * (1 + self.episode_of[which, None, None])
            return batch

    report = leak(spec, store, decisions=4, loader=Scaled)
    assert all(each.checked.leaks == 0 for each in report.inputs)
    assert f"values of '{STATE.name}' change with the future" in report.disturbed.differ[0]


def test_the_command(store: Store, tmp_path: Path, viae, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "spec.yaml"
    path.write_text(str(SPEC))  # JSON is YAML, and so is this
    figure = tmp_path / "leak.svg"
    said = viae("leak", path, "--store", store.uri, "--decisions", 2, "--figure", figure)
    assert said.code == 0
    assert "no window of 400 knows the future" in said.out
    assert "slow, action: the recording does not say" in " ".join(said.out.split())
    assert figure.read_text().startswith("<svg")
    nowhere = tmp_path / "none" / "leak.svg"
    said = viae("leak", path, "--store", store.uri, "--decisions", 0, "--figure", nowhere)
    assert said.code == 2
    assert f"{nowhere}: this cannot be written" in said.err
    assert "leak …" not in said.err  # said before the work
    assert viae("leak", path, "--store", store.uri, "--seed", -1).code == 2
    said = viae("leak", path, "--store", store.uri, "--decisions", 0)
    assert "knows the future; none was cut again" in said.out
    assert '"proven": true' in viae("leak", path, "--store", store.uri, "--json").out

    class Ahead(Windows):
        def sample_indices(self, key):
            found = super().sample_indices(key)
            return np.where(found == 5, 6, found)

    monkeypatch.setattr("viae.verbs.leak.leak", partial(leak, loader=Ahead))
    said = viae("leak", path, "--store", store.uri)
    assert said.code == 1
    assert "leak: episode e0: the window of 0.100000 s has sample 6" in said.out


def test_what_cannot_be_proved_is_refused(store: Store, spec: LoadSpec):
    with pytest.raises(UsageError, match="no episode fits"):
        leak(spec, store, where="task = 'nothing'")


REAL = {
    "rerun_mcap/supported_ros2_messages.mcap": (
        "/joint_state.position", ["/joint_state.position", "/fluid_pressure", "/range.range"],
    ),
    "rosbag2_testdata/rosbag2_py/test/resources/mcap/talker": (
        "/rosout.line", ["/rosout.level"],
    ),
    "lerobot_artifacts/test_rs.bag": (
        "/device_0/sensor_1/Color_0/image/data",
        ["/device_0/sensor_1/Color_0/image/data", "/device_0/sensor_0/Depth_0/image/data"],
    ),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("log", REAL)
def test_real_logs(data_dir: Path, tmp_path: Path, log: str):
    if not (data_dir / log).exists():
        pytest.skip(f"no {log} in {data_dir}")
    store = Store.create(tmp_path / "store")
    ingest([data_dir / log], store)
    decision, inputs = REAL[log]
    spec = LoadSpec.from_json({
        "decision": decision, "inputs": {name: {"steps": "-1..0", "age": True} for name in inputs}
    })  # fmt: skip
    report = leak(spec, store)
    assert report.proven
    assert report.windows > 1
    assert all(each.stamped for each in report.inputs)
    assert any(each.usual.leaking for each in report.inputs)
