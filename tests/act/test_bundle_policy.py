"""A bundle that acts: its robot must fit, and its chunks are blended."""

from dataclasses import replace

import numpy as np
import pytest

from builders import ACTION, STATE, PointRobot, reaching_store
from viae.act import Policy, run
from viae.act.bundle_policy import BundlePolicy
from viae.errors import BundleError, WindowError
from viae.schema import StreamSpec, Take, WindowSpec
from viae.sequence.clock import ArrivalClock, ClockUse
from viae.train import CloneRecipe, LoopConfig, train_clone


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    store = reaching_store(tmp_path_factory.mktemp("store"), episodes=12)
    loop = LoopConfig(steps=300, check_every=100, warmup=10, ema=0.9, lr=3e-3)
    recipe = CloneRecipe(width=32, depth=1, chunk=3, batch_size=32, loop=loop)
    return train_clone(store, store.episodes(), recipe, work=tmp_path_factory.mktemp("work"))


def test_what_was_learned_is_done(bundle, tmp_path):
    policy = BundlePolicy(bundle)
    assert isinstance(policy, Policy)
    assert policy.agent == f"bundle:{bundle.bundle_id}"
    rollout = run(PointRobot(), policy, tmp_path / "a.mcap", conditions={"seed": 99}, horizon=30)
    start, end = PointRobot(), PointRobot()
    start.reset({"seed": 99})
    assert rollout.steps > 0
    assert np.abs(start._state).max() > 0.1
    end.reset({"seed": 99})
    policy.reset("reach", PointRobot.streams)
    for _ in range(15):
        now = end.clock.now_ns()
        reading = end.observe()[STATE.name]
        policy.add(STATE.name, reading.value, capture_ns=now, arrival_ns=now)
        end.act(policy.act(now))
    assert np.abs(end._state).max() < 0.2 * np.abs(start._state).max()


def test_two_runs_do_the_same(bundle, tmp_path):
    policy = BundlePolicy(bundle)
    logs = [
        run(PointRobot(), policy, tmp_path / name, conditions={"seed": 1}, horizon=6).log
        for name in "ab"
    ]
    assert logs[0].read_bytes() == logs[1].read_bytes()


@pytest.mark.parametrize(
    ("streams", "text"),
    [
        ([STATE], "with the stream 'action' (vector[2]); this robot has ['observation.state']"),
        (
            [ACTION, StreamSpec(name=STATE.name, shape=(3,))],
            "with the stream 'observation.state' (vector[2]); this robot has vector[3]",
        ),
    ],
)
def test_a_robot_that_does_not_fit_is_refused(bundle, streams, text):
    with pytest.raises(BundleError) as caught:
        BundlePolicy(bundle).reset("reach", streams)
    assert text in str(caught.value)


def test_it_is_reset_first(bundle):
    with pytest.raises(BundleError, match="reset the policy before the first sample"):
        BundlePolicy(bundle).add(STATE.name, [0, 0], capture_ns=1, arrival_ns=1)
    with pytest.raises(BundleError, match="reset the policy before the first action"):
        BundlePolicy(bundle).act(1)


def test_an_unknown_task_is_refused(bundle):
    policy = BundlePolicy(bundle)
    policy.reset("juggle", PointRobot.streams)
    policy.add(STATE.name, [0.0, 0.0], capture_ns=1, arrival_ns=1)
    with pytest.raises(BundleError, match="never trained on the task 'juggle'"):
        policy.act(1)


class Counting:
    """Stands for a bundle: its nth chunk says n, n + 10, n + 20."""

    bundle_id, streams, picture_sizes, clocks = "b", (), {}, {}
    window = WindowSpec(
        decision=STATE.name,
        inputs=(Take(stream=STATE.name, steps=(0,)),),
        targets=(Take(stream="action", steps=(0, 1, 2)),),
    )

    def __init__(self):
        self.said = 0

    def predict(self, batch):
        chunk = self.said + np.array([[0, 0], [10, 10], [20, 20]], np.float32)
        self.said += 1
        return {"action": chunk[None]}


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [
        (0.0, [0, 1, 2, 3]),
        (1.0, [0, (1 + 10) / 2, (2 + 11 + 20) / 3, (3 + 12 + 21) / 3]),
        (0.5, [0, (1 + 10 / 2) / 1.5, (2 + 11 / 2 + 20 / 4) / 1.75, (3 + 12 / 2 + 21 / 4) / 1.75]),
    ],
)
def test_overlapping_chunks_are_blended_by_age(memory, wanted):
    policy = BundlePolicy(Counting(), memory=memory)
    policy.reset("reach", [STATE, ACTION])
    policy.add(STATE.name, [0.0, 0.0], capture_ns=1, arrival_ns=1)
    actions = [policy.act(1)["action"] for _ in wanted]
    assert {action.dtype for action in actions} == {np.dtype("float32")}
    np.testing.assert_allclose(actions, np.array(wanted)[:, None] * [1, 1], rtol=1e-6)
    policy.reset("reach", [STATE, ACTION])
    policy.add(STATE.name, [0.0, 0.0], capture_ns=1, arrival_ns=1)
    assert policy.act(1)["action"].tolist() == [4, 4], "the last episode is forgotten"


def acting(bundle, captures, **options):
    """What it does with states that arrive every 10 ms from 10 s on, stamped so."""
    policy = BundlePolicy(bundle, **options)
    policy.reset("reach", PointRobot.streams)
    for step, capture_ns in enumerate(captures):
        arrival_ns = 10_000_000_000 + step * 10_000_000
        policy.add(STATE.name, [step / 10, 0.5], capture_ns=capture_ns, arrival_ns=arrival_ns)
        done = policy.act(arrival_ns)[ACTION.name]
    return done


def test_streams_dated_by_arrival_in_training_are_dated_so_live(bundle):
    past = Take(stream=STATE.name, steps=(0,), max_age_s=0.5)
    timed = replace(bundle, window=replace(bundle.window, inputs=(past,)))
    zeros = [0] * 20
    good = acting(timed, range(10_000_000_000, 10_200_000_000, 10_000_000))
    with pytest.raises(WindowError, match="capture and arrival cannot be of one clock"):
        acting(timed, zeros)
    dated = replace(timed, clocks={STATE.name: ClockUse(by_arrival=3)})
    assert acting(dated, zeros).tolist() == good.tolist()
    mixed = replace(timed, clocks={STATE.name: ClockUse(stamped=1, by_arrival=3)})
    with pytest.raises(WindowError, match="capture and arrival cannot be of one clock"):
        acting(mixed, zeros)
    said = acting(mixed, zeros, clocks={STATE.name: ArrivalClock()})
    assert said.tolist() == good.tolist()
