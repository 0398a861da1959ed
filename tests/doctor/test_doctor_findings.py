"""What the checks say in detail, and what they leave alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from viae.doctor.checks import check_episode
from viae.doctor.finding import CATALOGUE, Severity
from viae.doctor.losses import finding_of
from viae.doctor.timing import timing_of
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.doctor.tracing import trace_episode
from viae.logs.lerobot import LeRobotFormat
from viae.logs.ulog import UlogFormat
from viae.schema import Loss, LossKind, StreamSpec
from viae.testing.disorder import START_NS, clean, disordered

MS = 1_000_000


def episode(*streams: StreamTrace, losses: tuple[Loss, ...] = ()) -> EpisodeTrace:
    return EpisodeTrace(
        path="p", episode="e", format="mcap", streams={s.spec.name: s for s in streams},
        losses=losses,
    )  # fmt: skip


def stream(capture: np.ndarray, arrival: np.ndarray, name: str = "s") -> StreamTrace:
    return StreamTrace(spec=StreamSpec(name=name), capture_ns=capture, arrival_ns=arrival)


def names(trace: EpisodeTrace) -> list[str]:
    return [finding.name for finding in check_episode(trace)]


@pytest.mark.parametrize("n", range(6))
def test_of_a_few_samples_nothing_is_said(n: int) -> None:
    same = np.full(n, START_NS)
    assert names(episode(stream(same, same))) == []


def test_a_clock_that_is_off_and_drifts_is_both() -> None:
    rng = np.random.default_rng(0)
    truth = START_NS + np.arange(6000) * 10 * MS
    behind = 66 * 86400 * 10**9
    capture = truth - behind + np.rint((truth - START_NS) * 25e-6).astype(np.int64)
    arrival = truth + rng.exponential(2 * MS, 6000).astype(np.int64)
    found = {f.name: f for f in check_episode(episode(stream(capture, arrival)))}
    assert set(found) >= {"clock-offset", "clock-drift"}
    assert found["clock-drift"].values["drift_ppm"] == pytest.approx(25, abs=1)
    assert found["clock-offset"].values["offset_ms"] == pytest.approx(-behind / 1e6, abs=10)
    assert "66 days behind" in found["clock-offset"].evidence


def test_streams_of_one_topic_are_judged_once() -> None:
    log, name = disordered("stall", 3)
    made = log.streams[name]
    log.streams["twin"] = replace(made, spec=replace(made.spec, name="twin"))
    trace = trace_episode(log.items(), path="p", format="mcap")
    [finding] = check_episode(trace)
    assert finding.name == "stall"
    assert "1 more stream with the same times" in finding.evidence


def test_a_simulator_may_have_a_grid_of_times() -> None:
    at = np.arange(200, dtype=np.int64) * 12_500_000
    spec = StreamSpec(name="s", clock="simulation")
    assert names(episode(StreamTrace(spec=spec, capture_ns=at, arrival_ns=at))) == []
    assert names(episode(stream(at, at))) == ["exact-grid-times"]


def test_a_grid_that_the_reader_made_is_said_once() -> None:
    at = np.arange(200, dtype=np.int64) * 50 * MS
    absent = Loss(kind=LossKind.REPAIRED, name="times-absent", path="p", detail="no times")
    assert names(episode(stream(at, at), losses=(absent,))) == ["times-absent"]


def test_events_in_batches_have_no_rate() -> None:
    rng = np.random.default_rng(1)
    sent = np.repeat(START_NS + np.arange(5) * 1000 * MS, 200)
    arrival = sent + np.tile(np.sort(rng.integers(0, 20 * MS, 200)), 5)
    assert names(episode(stream(sent, np.sort(arrival)))) == []


def test_rows_of_the_table() -> None:
    trace = trace_episode(clean(np.random.default_rng(0)).items(), path="p", format="mcap")
    joints = timing_of(trace.streams["/joint_states"])
    assert joints.count == 6000
    assert joints.rate_hz == pytest.approx(100, rel=0.01)
    assert joints.span_s == pytest.approx(60, abs=0.1)
    assert joints.drift_ppm == pytest.approx(0, abs=3)
    assert 1 < joints.delay_median_ms < 5  # type: ignore[operator]
    assert joints.out_of_order == joints.repeated == joints.zero == joints.jumps == 0
    action = timing_of(trace.streams["/action"])
    assert action.delay_median_ms is None and action.offset_ms is None
    none = np.empty(0, np.int64)
    assert timing_of(stream(none, none)).count == 0
    assert timing_of(stream(none + 1, none)).rate_hz is None
    one = np.array([START_NS])
    assert timing_of(stream(one - 5 * MS, one)).delay_median_ms == 5


@pytest.mark.parametrize("name", ["dropout", "sequence-gap", "never-heard-of"])
@pytest.mark.parametrize("kind", LossKind)
def test_a_loss_is_a_finding_under_its_own_name(name: str, kind: LossKind) -> None:
    loss = Loss(kind=kind, name=name, path="p", detail="62 ms", stream="s", count=4, at_ns=7)
    finding = finding_of(loss, episode="e")
    assert (finding.name, finding.stream, finding.count, finding.at_ns) == (name, "s", 4, 7)
    assert finding.evidence == "62 ms"
    if name in CATALOGUE:
        assert finding.rule is CATALOGUE[name]
    else:
        assert (finding.severity is Severity.ERROR) == (kind is LossKind.LOST)


@pytest.mark.data
def test_px4_dropouts_and_times_that_never_advance(data_dir: Path) -> None:
    log = UlogFormat().open(data_dir / "px4_ulog" / "sample.ulg")
    [only] = log.episodes
    found = check_episode(trace_episode(only.read(), path="p", format=log.format))
    assert {f.name for f in found} == {"dropout", "time-never-advances"}
    stuck = {f.stream.split(".")[0] for f in found if f.name == "time-never-advances"}
    assert stuck == {"commander_state", "ekf2_innovations", "sensor_preflight"}


@pytest.mark.data
def test_lerobot_times_are_a_grid(data_dir: Path) -> None:
    log = LeRobotFormat().open(data_dir / "g1_inspire_lerobot_v21")
    first = next(iter(log.episodes))
    trace = trace_episode(first.read(), path="p", format=log.format, pictures=False)
    [grid] = [f for f in check_episode(trace) if f.name == "exact-grid-times"]
    assert grid.values["rate_hz"] == pytest.approx(30)
    assert set(grid.values["streams"]) == set(trace.streams)  # type: ignore[arg-type]
    assert {finding_of(loss).name for loss in log.losses} >= {"episodes-missing"}
