"""What the doctor makes of messages as robots send them: arrays, names beside, and no roles."""

import json
from dataclasses import replace

import numpy as np
import pytest
from traces import seconds, text, trace, wandering

from viae.doctor.checks import check_episode
from viae.doctor.dataset import check_dataset
from viae.doctor.digest import digest_of
from viae.doctor.naming import is_command, names_beside
from viae.doctor.placing import split
from viae.doctor.trace import EpisodeTrace
from viae.schema import Loss, LossKind, Role, Samples, StreamSpec

JOINTS = ("pan", "lift", "elbow", "roll", "pitch", "gripper")
S = 1_000_000_000
START_NS = 1_760_000_000 * S
TICK = np.pi / 2048


def joint_states(
    values: np.ndarray, times_ns: np.ndarray, *, topic: str = "/joint_states", delay_ns: int = 0
) -> list[Samples]:
    """Positions of any number, and the names beside them, as sensor_msgs/JointState has them."""
    spec = StreamSpec(name=f"{topic}.position", shape=(-1,), topic=topic)
    positions = Samples(
        spec=spec, capture_ns=times_ns - delay_ns, arrival_ns=times_ns, seq=np.arange(len(values)),
        values=list(values),
    )  # fmt: skip
    names = text(f"{topic}.name", [json.dumps(JOINTS[: values.shape[1]])] * len(values), times_ns)
    return [
        positions,
        replace(names, spec=replace(names.spec, topic=topic), capture_ns=positions.capture_ns),
    ]


def jittered(count: int, rate_hz: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return START_NS + seconds(count, rate_hz) + rng.integers(0, int(0.05 * S / rate_hz), count)


def named(findings: list) -> dict[str, str]:
    return {finding.name: finding.stream for finding in findings}


def encoder(values: np.ndarray) -> np.ndarray:
    return np.rint(values / TICK) * TICK


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("/cmd_vel", Role.OBSERVATION, True), ("/arm_controller/commands.data", None, True),
        ("/command/feedback", None, False), ("/controller/state.desired", None, True),
        ("/leader/joint_states.position", None, True), ("/joint_states.position", None, False),
        ("/navigate/_action/feedback", None, False), ("/setpointRaw", None, True),
        ("x", Role.ACTION, True), ("action", Role.OUTCOME, False), ("/camera/image", None, False),
    ],
)  # fmt: skip
def test_commands_by_their_names(name: str, role: Role | None, expected: bool) -> None:
    assert is_command(StreamSpec(name=name, role=role or Role.OBSERVATION)) is expected


def test_names_beside() -> None:
    spec = StreamSpec(name="/j.position", shape=(-1,), topic="/j")
    assert names_beside(spec, {"/j.name": '["a", "b"]'}) == ("a", "b")
    assert names_beside(spec, {"/j.name": None}) is None
    assert names_beside(spec, {"/j.name": "a b"}) == ()
    assert names_beside(spec, {"/j.name": '["a", "a"]'}) == ()
    assert names_beside(spec, {"/k.name": '["a"]'}) == ()


def test_arrays_that_could_vary_are_looked_into() -> None:
    values = encoder(wandering(1, 15, 100, 6))
    values[:, 2] = 0.731
    made = trace(*joint_states(values, jittered(1500, 100)))
    [finding] = check_episode(made)
    assert (finding.name, finding.stream) == ("frozen-dimension", "/joint_states.position")
    assert "'elbow'" in finding.evidence
    assert made.streams["/joint_states.position"].spec.names == JOINTS


def test_arrays_that_do_vary_are_not() -> None:
    values = wandering(1, 15, 100, 6)
    values[:, 2] = 0.731
    blocks = joint_states(values, jittered(1500, 100))
    shorter = [value[:4] if i % 2 else value for i, value in enumerate(blocks[0].values)]
    assert check_episode(trace(replace(blocks[0], values=shorter))) == []
    names = [json.dumps(JOINTS if i % 2 else JOINTS[::-1]) for i in range(1500)]
    assert check_episode(trace(blocks[0], replace(blocks[1], values=names))) == []


def test_a_driver_that_hangs_and_a_robot_that_rests() -> None:
    values = encoder(wandering(2, 15, 100, 6))
    hung = values.copy()
    hung[600:780] = hung[600]
    [finding] = check_episode(trace(*joint_states(hung, jittered(1500, 100))))
    assert finding.name == "frozen-stretch"
    assert 180 <= finding.count <= 185  # ticks are repeated anyway
    still = np.insert(values, 600, np.repeat(values[600:601], 180, axis=0), axis=0)[:1500]
    assert check_episode(trace(*joint_states(still, jittered(1500, 100)))) == []


def test_how_late_a_state_is_after_a_command() -> None:
    motion = wandering(3, 32, 100, 6)
    state = joint_states(motion[100:2900], jittered(2800, 100), topic="/follower/joint_states")
    action = joint_states(motion[112:2912:3], jittered(934, 100 / 3, 1), topic="/arm/commands")
    [finding] = check_episode(trace(*state, *action))
    assert finding.name == "state-lags-action"
    assert {finding.stream, finding.other} == {"/follower/joint_states.position",
                                               "/arm/commands.position"}  # fmt: skip
    assert finding.values["lag_ms"] == pytest.approx(120, abs=10)


def test_the_stream_that_says_most_stands_for_its_topic() -> None:
    times = jittered(1500, 100)
    keep = (np.arange(1500) < 600) | (np.arange(1500) > 720)
    values = wandering(4, 15, 100, 6)[keep]
    frame = text("/joint_states.header.frame_id", ["base"] * int(keep.sum()), times[keep])
    [finding] = check_episode(trace(frame, *joint_states(values, times[keep])))
    assert named([finding]) == {"stall": "/joint_states.position"}
    assert "and so 2 more streams with the same times" in finding.evidence


def test_milliseconds_in_the_field_of_nanoseconds() -> None:
    times = jittered(1500, 100)
    stamped = times - 2_000_000
    stamps = stamped // S * S + stamped % S // 1_000_000
    block, _ = joint_states(wandering(5, 15, 100, 6), times)
    [finding] = check_episode(trace(replace(block, capture_ns=stamps)))
    assert finding.name == "wrong-unit"
    assert finding.values == {"unit": "milliseconds", "factor": 1e6, "part": "fraction"}


def test_every_message_sent_twice() -> None:
    times = np.repeat(jittered(300, 20), 2)
    block, _ = joint_states(np.repeat(wandering(6, 15, 20, 6), 2, axis=0), times)
    late = np.where(np.arange(600) % 2, 300_000, 100_000)
    found = check_episode(trace(replace(block, capture_ns=times, arrival_ns=times + late)))
    assert named(found) == {"repeated-stamps": "/joint_states.position"}


def test_commands_that_pause_are_no_stall() -> None:
    rng = np.random.default_rng(7)
    steps = rng.uniform(0.03, 0.13, 400)
    steps[200] = 2.0
    times = START_NS + np.rint(np.cumsum(steps) * S).astype(np.int64)
    blocks = joint_states(rng.normal(size=(400, 2)), times, topic="/cmd_vel")
    assert check_episode(trace(*blocks)) == []


def zero_stamps(made: EpisodeTrace, count: int) -> EpisodeTrace:
    loss = Loss(
        kind=LossKind.REPAIRED, name="zero-stamp", path=made.path, stream="/joint_states",
        count=count, detail="the field 'header.stamp' is zero; capture is taken as arrival there",
    )  # fmt: skip
    return replace(made, losses=(loss,))


def test_zeros_that_a_reader_has_replaced() -> None:
    made = trace(*joint_states(wandering(8, 15, 20, 6), jittered(300, 20)))
    [finding] = check_episode(zero_stamps(made, 300))
    assert named([finding]) == {"zero-stamps": "/joint_states.position"}
    assert finding.evidence == "300 of 300 stamps are 0; their arrivals stand in for them"
    assert named(check_episode(zero_stamps(made, 1))) == {"zero-stamp": "/joint_states"}


def test_a_file_that_was_split_where_its_time_restarts() -> None:
    assert split("a.mcap", "mcap", 1) == split("d", "lerobot", 9) == []
    [finding] = split("a.mcap", "mcap", 3)
    assert (finding.name, str(finding.severity), finding.count) == ("time-restarts", "note", 2)


def test_axes_that_a_message_type_has_and_the_robot_has_not() -> None:
    values = wandering(9, 5, 50, 6)
    values[:, 2:4] = 0
    digests = [
        digest_of(trace(*joint_states(values + np.array([i, i, 0, 0, i, i]), jittered(250, 50, i))))
        for i in range(3)
    ]  # fmt: skip
    assert "constant-dimension" in named(check_dataset("d", digests))
    assert "constant-dimension" not in named(check_dataset("d", digests, padded=True))


def test_a_topic_that_is_missing_is_said_once() -> None:
    state = joint_states(wandering(10, 5, 50, 6), jittered(250, 50))
    other = joint_states(wandering(11, 5, 50, 3), jittered(250, 50), topic="/extra")[0]
    more = replace(other, spec=replace(other.spec, name="/extra.velocity"))
    digests = [digest_of(trace(*state, other, more)), digest_of(trace(*state))]
    missing = [f for f in check_dataset("d", digests) if f.name == "stream-missing"]
    assert len(missing) == 1
    assert missing[0].evidence.endswith("; nor 1 more of '/extra'")
