"""Lags of known size are found within their interval; without a lag nothing is said."""

from dataclasses import replace

import numpy as np
import pytest
from traces import numbers, seconds, trace, wandering

from viae.doctor import latency
from viae.doctor.latency import Latencies
from viae.schema import Kind, Role, StreamSpec

RATE = 30.0


def late(path: np.ndarray, lag_s: float, rate_hz: float) -> np.ndarray:
    """The same motion, later."""
    at = np.arange(len(path)) / rate_hz
    return np.stack([np.interp(at - lag_s, at, column) for column in path.T], axis=1)


def robot(
    lag_s: float, *, seed: int = 0, length_s: float = 60.0, noise: float = 0.0, size: int = 4
):
    path = wandering(seed, length_s, RATE, size)
    rng = np.random.default_rng(seed + 1)
    state = late(path, lag_s, RATE) + noise * rng.standard_normal(path.shape)
    times = seconds(len(path), RATE)
    return trace(
        numbers("observation.state", state, times),
        numbers("action", path, times, role=Role.ACTION),
        episode=f"episode_{seed}",
    )


@pytest.mark.parametrize("lag_s", [0.05, 0.15, 0.4])
def test_a_state_that_follows_its_action(lag_s: float):
    [found] = latency.check(robot(lag_s, noise=0.01))
    assert (found.name, found.stream, found.other) == (
        "state-lags-action", "observation.state", "action",
    )  # fmt: skip
    assert found.values["low_ms"] <= lag_s * 1e3 <= found.values["high_ms"]
    assert found.values["lag_ms"] == pytest.approx(lag_s * 1e3, abs=5)
    assert found.values["lag_frames"] == pytest.approx(lag_s * RATE, abs=0.15)
    assert "frames" in found.evidence
    assert "ms" in found.evidence


def test_an_action_that_comes_after_its_state():
    [found] = latency.check(robot(-0.1))
    assert found.name == "action-lags-state"
    assert found.values["lag_ms"] == pytest.approx(-100, abs=5)


@pytest.mark.parametrize("lag_s", [0.0, 0.01, -0.02])
def test_less_than_half_a_frame_is_no_lag(lag_s: float):
    assert latency.check(robot(lag_s)) == []


@pytest.mark.parametrize("seed", range(8))
def test_motions_that_have_nothing_in_common(seed: int):
    path, other = (wandering(seed + k, 60, RATE, 4) for k in (0, 100))
    times = seconds(len(path), RATE)
    made = trace(
        numbers("observation.state", other, times), numbers("action", path, times, role=Role.ACTION)
    )
    assert latency.check(made) == []


def test_a_periodic_motion_has_no_single_lag():
    times = seconds(1800, RATE)
    wave = np.stack([np.sin(times / 1e9 * 2 * np.pi + p) for p in (0.0, 1.0)], axis=1)
    made = trace(
        numbers("observation.state", late(wave, 0.1, RATE), times),
        numbers("action", wave, times, role=Role.ACTION),
    )
    assert latency.check(made) == []


def test_an_episode_too_short_to_tell():
    assert latency.check(robot(0.15, length_s=5.0)) == []


def test_short_episodes_are_measured_together():
    latencies = Latencies()
    for seed in range(8):
        latencies.add(robot(0.15, seed=seed, length_s=9.0))
    [found] = latencies.findings("dataset")
    assert found.values["lag_ms"] == pytest.approx(150, abs=5)
    assert "of 8 episodes" in found.evidence


def test_a_hand_that_is_slower_than_its_arm():
    path = wandering(3, 60, RATE, 5)
    state = np.concatenate([late(path[:, :3], 0.1, RATE), late(path[:, 3:], 0.4, RATE)], axis=1)
    times = seconds(len(path), RATE)
    names = ["a", "b", "c", "thumb", "index"]
    made = trace(
        numbers("observation.state", state, times, names=names),
        numbers("action", path, times, role=Role.ACTION, names=names),
    )
    [found] = latency.check(made)
    assert found.values["lag_ms"] == pytest.approx(100, abs=5)
    [hand] = found.values["other_groups"]
    assert hand["lag_ms"] == pytest.approx(400, abs=10)
    assert hand["elements"] == [3, 4]
    assert "thumb" in found.evidence


def test_elements_are_matched_by_name():
    path = wandering(4, 60, RATE, 3)
    state = late(path, 0.1, RATE)[:, ::-1]
    times = seconds(len(path), RATE)
    made = trace(
        numbers("observation.state", np.ascontiguousarray(state), times, names=["z", "y", "x"]),
        numbers("action", path, times, role=Role.ACTION, names=["x.pos", "y.pos", "z.pos"]),
    )
    [found] = latency.check(made)
    assert found.values["lag_ms"] == pytest.approx(100, abs=5)


def test_actions_that_are_velocities():
    path = wandering(5, 60, RATE, 3)
    speed = np.gradient(path, axis=0) * RATE
    times = seconds(len(path), RATE)
    made = trace(
        numbers("observation.state", late(path, 0.2, RATE), times),
        numbers("action", speed, times, role=Role.ACTION),
    )
    [found] = latency.check(made)
    assert found.values["lag_ms"] == pytest.approx(200, abs=25)  # each is held for a frame


@pytest.mark.parametrize("lag_s", [0.12, -0.12])
def test_a_camera_and_a_gyroscope(lag_s: float):
    rate = 200.0
    turn = wandering(6, 60, rate, 3)
    speed = np.gradient(turn, axis=0) * rate
    gyro = numbers("imu.angular_velocity", speed, seconds(len(speed), rate))
    made = trace(gyro)
    frames = seconds(1800, RATE)
    angle = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(turn, axis=0), axis=1))])
    seen = np.interp(frames / 1e9 - lag_s, np.arange(len(angle)) / rate, angle)
    camera = replace(
        made.streams["imu.angular_velocity"],
        spec=StreamSpec(name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(4, 4, 3)),
        capture_ns=frames, arrival_ns=frames, values=None, head=None,
        motion=np.concatenate([[np.nan], np.diff(seen)]).astype(np.float32),
    )  # fmt: skip
    made = replace(made, streams={**made.streams, "camera": camera})
    [found] = latency.check(made)
    assert found.name == ("camera-lags-motion" if lag_s > 0 else "camera-leads-motion")
    assert (found.stream, found.other) == ("camera", "imu.angular_velocity")
    assert found.values["lag_ms"] == pytest.approx(lag_s * 1e3, abs=12)


@pytest.mark.data
def test_the_lag_of_a_real_humanoid(data_dir):
    from viae.doctor.tracing import trace_episode
    from viae.logs import open_log

    latencies = Latencies()
    for episode in open_log(data_dir / "g1_inspire_lerobot_v21").episodes:
        latencies.add(
            trace_episode(episode.read(), path="g1", episode=episode.range, format="lerobot",
                          pictures=False)
        )  # fmt: skip
    [found] = latencies.findings("g1")
    assert 4 <= found.values["low_frames"] <= found.values["high_frames"] <= 5
    [hands] = found.values["other_groups"]
    assert hands["elements"] == list(range(14, 26))
    assert 270 < hands["lag_ms"] < 340
