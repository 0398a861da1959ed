"""An exact replay of a rollout reproduces every window that the policy saw, and what it did."""

from dataclasses import replace

import numpy as np
import pytest

from builders import ACTION, CAMERA, FORCE, STATE, SUCCESS, PointRobot, Scripted
from viae.act import run
from viae.act.bundle_policy import BundlePolicy
from viae.errors import WindowError
from viae.load import History, Windows
from viae.schema import Take, WindowSpec
from viae.store import Store
from viae.verbs import ingest

TAKES = (
    Take(stream=STATE.name, steps=(-2, -1, 0)),
    Take(stream=ACTION.name, steps=(-1, 0)),
    Take(stream=SUCCESS.name, steps=(0,)),
    Take(stream=CAMERA.name, steps=(-1, 0), max_age_s=0.015),
    Take(stream=FORCE.name, steps=(-3, -1, 0)),
)
BY_TIME = tuple(Take(stream=take.stream, offsets_s=(-0.025, -0.01, 0.0)) for take in TAKES)
SIZES = {CAMERA.name: (5, 7)}


class Watching:
    """A policy that keeps every window it could be shown, and every action it gave."""

    def __init__(self, policy, spec, sizes):
        self.policy, self.spec, self.sizes = policy, spec, sizes
        self.agent = policy.agent

    def reset(self, task, streams):
        self.policy.reset(task, streams)
        self.history = History(self.spec, streams, task=task, picture_sizes=self.sizes)
        self.windows, self.actions = [], []

    def add(self, stream, value, **times):
        self.history.add(stream, value, **times)
        self.policy.add(stream, value, **times)

    def act(self, at_ns):
        self.windows.append(self.history.window(at_ns))
        action = self.policy.act(at_ns)
        self.actions.append(action[ACTION.name].copy())
        return action


class TickingClock:
    """Real time without waiting: every look at it takes a while."""

    def __init__(self, start_ns=1_000_000_000):
        self._now_ns = start_ns

    def now_ns(self):
        self._now_ns += 700_001
        return self._now_ns

    def wait_until(self, at_ns):
        self._now_ns = max(self._now_ns, at_ns)


def replayed(log, folder, spec, sizes):
    """The windows of a log that went through the same ingest as anyone's."""
    store = Store.create(folder / "store")
    report = ingest([log], store, now_ns=lambda: 1)
    assert report.complete
    assert report.ingested == 1
    with_target = replace(spec, targets=(Take(stream=ACTION.name, steps=(0,)),))
    return Windows(store, with_target, store.episodes(), picture_sizes=sizes)


def assert_same(policy, windows):
    assert len(windows) == len(policy.windows)
    batch = windows.batch(np.arange(len(windows)))
    for number, seen in enumerate(policy.windows):
        assert seen.decisions_ns == batch.decisions_ns[number]
        assert seen.tasks == batch.tasks[number : number + 1]
        for take in policy.spec.inputs:
            for one, other in (
                (seen.inputs[take.stream], batch.inputs[take.stream]),
                (seen.masks[f"inputs/{take.stream}"], batch.masks[f"inputs/{take.stream}"]),
            ):
                assert one.dtype == other.dtype
                assert one[0].shape == other[number].shape
                assert one[0].tobytes() == other[number].tobytes(), (number, take.stream)
    did = batch.targets[ACTION.name][:, 0]
    assert did.tobytes() == np.stack(policy.actions).tobytes()


@pytest.mark.parametrize("takes", [TAKES, BY_TIME], ids=["steps", "seconds"])
@pytest.mark.parametrize("sizes", [{}, SIZES], ids=["as recorded", "scaled"])
@pytest.mark.parametrize("clock", [None, TickingClock], ids=["stepped", "real time"])
def test_replay_of_a_robot_with_late_readings(tmp_path, takes, sizes, clock):
    spec = WindowSpec(decision=STATE.name, inputs=takes)
    policy = Watching(Scripted(), spec, sizes)
    rollout = run(
        PointRobot(), policy, tmp_path / "a.mcap",
        conditions={"seed": 5}, horizon=9, clock=clock and clock(),
    )  # fmt: skip
    assert len(policy.windows) == rollout.steps > 5
    assert_same(policy, replayed(rollout.log, tmp_path, spec, sizes))


def test_the_robot_has_late_and_missing_readings(tmp_path):
    """Else the test above would show little."""
    spec = WindowSpec(decision=STATE.name, inputs=TAKES)
    policy = Watching(Scripted(), spec, {})
    run(PointRobot(), policy, tmp_path / "a.mcap", conditions={"seed": 5}, horizon=9)
    windows = replayed(tmp_path / "a.mcap", tmp_path, spec, {})
    batch = windows.batch(np.arange(len(windows)))
    for take in TAKES[1:]:
        mask = batch.masks[f"inputs/{take.stream}"]
        assert mask.any(), take.stream
        assert not mask.all(), take.stream
    store = Store.open(tmp_path / "store")
    [force] = store.samples(store.episode_ids(), [FORCE.name]).values()
    assert (np.diff(force.capture_ns) < 0).any()
    assert (force.capture_ns < force.arrival_ns).all()


def test_a_history_that_may_not_pad_says_what_is_missing(tmp_path):
    spec = WindowSpec(
        decision=STATE.name, inputs=(Take(stream=FORCE.name, steps=(0,)),), missing="skip"
    )
    policy = Watching(Scripted(), spec, {})
    with pytest.raises(WindowError, match=r"no sample of stream 'force' had arrived by 1.000 s"):
        run(PointRobot(), policy, tmp_path / "a.mcap", conditions={"seed": 5}, horizon=9)


def test_replay_of_a_bundle_in_metaworld(tmp_path):
    pytest.importorskip("metaworld")
    from viae.train import CloneRecipe, LoopConfig, train_clone
    from viae.worlds import open_world

    world = open_world("metaworld")
    robot = world.robot("reach")
    run(robot, world.operator("reach"), tmp_path / "d.mcap", conditions={"seed": 1}, horizon=15)
    demonstrations = Store.create(tmp_path / "demonstrations")
    ingest([tmp_path / "d.mcap"], demonstrations, now_ns=lambda: 1)
    recipe = CloneRecipe(
        width=8, depth=1, chunk=4, past=2, batch_size=8, loop=LoopConfig(steps=3, check_every=3)
    )
    bundle = train_clone(demonstrations, demonstrations.episodes(), recipe, work=tmp_path)
    shown = replace(bundle.window, targets=())
    policy = Watching(BundlePolicy(bundle), shown, bundle.picture_sizes)
    run(robot, policy, tmp_path / "r.mcap", conditions={"seed": 2}, horizon=10)
    assert len(policy.windows) == 10
    assert_same(policy, replayed(tmp_path / "r.mcap", tmp_path, shown, bundle.picture_sizes))
    robot.close()
