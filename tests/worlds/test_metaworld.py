"""Meta-World as robots: seeded right, the goal in sight, equal conditions equal worlds."""

import numpy as np
import pytest

from viae.act import Policy, Robot, run
from viae.errors import WorldError
from viae.worlds import open_world

pytest.importorskip("metaworld")

IDLE = {"action": np.zeros(4, np.float32)}


@pytest.fixture(scope="module")
def world():
    return open_world("metaworld")


@pytest.fixture(scope="module")
def robot(world):
    robot = world.robot("push")
    yield robot
    robot.close()


def state(robot):
    return robot.observe()["observation.state"].value.copy()


def states(robot, seed, steps=3):
    robot.reset({"seed": seed})
    found = [state(robot)]
    for _ in range(steps):
        robot.act(IDLE)
        found.append(state(robot))
    return np.stack(found)


def test_they_fit_the_protocols(world, robot):
    assert isinstance(robot, Robot)
    assert isinstance(world.operator("push"), Policy)
    assert "push" in world.tasks


def test_the_same_seed_is_the_same_world(world, robot):
    first = states(robot, 7)
    np.random.seed(0)  # noqa: NPY002 (Meta-World draws from it, unless it is told not to)
    states(robot, 8)
    assert (states(robot, 7) == first).all()
    other = world.robot("push")
    assert (states(other, 7) == first).all()
    other.close()


def test_equal_conditions_give_equal_bytes_however_fast_the_machine_is(
    world, robot, tmp_path, monkeypatch
):
    """The episode's id is a digest of these bytes; what is learnt from it follows the ids."""

    def recorded(name):
        operator = world.operator("push")
        return run(robot, operator, tmp_path / name, conditions={"seed": 0}, horizon=40).log

    usual = recorded("usual.mcap").read_bytes()
    monkeypatch.setattr("viae.act.runner.FLUSH_S", 1e-6)  # as if every step took long
    assert recorded("slow.mcap").read_bytes() == usual


def test_different_seeds_are_different_worlds(robot):
    starts = np.stack([states(robot, seed, steps=0)[0] for seed in range(8)])
    assert len(np.unique(starts, axis=0)) == 8
    goals = starts[:, -3:]
    assert len(np.unique(goals, axis=0)) == 8


@pytest.mark.parametrize("task", ["push", "pick-place", "drawer-open", "peg-insert-side"])
def test_the_goal_is_seen_at_reset_and_at_every_step(world, task):
    robot = world.robot(task)
    seen = states(robot, 3, steps=4)
    assert (seen[:, -3:] != 0).any(axis=1).all()
    assert (seen[:, -3:] == seen[0, -3:]).all()
    robot.close()


def test_time_starts_anew_and_moves_with_the_steps(robot):
    robot.reset({"seed": 0})
    start = robot.clock.now_ns()
    assert start > 0
    robot.act(IDLE)
    assert robot.clock.now_ns() == start + robot.period_ns
    assert robot.observe()["observation.state"].capture_ns == start + robot.period_ns
    robot.reset({"seed": 0})
    assert robot.clock.now_ns() == start


def test_actions_are_limited_as_the_arm_limits_them(robot):
    ends = []
    for size in (1.0, 50.0):
        robot.reset({"seed": 0})
        robot.act({"action": np.full(4, size, np.float32)})
        ends.append(state(robot))
    assert (ends[0] == ends[1]).all()


def test_success_is_of_this_attempt(world):
    robot, expert = world.robot("reach"), world.operator("reach")
    robot.reset({"seed": 0})
    expert.reset("reach", robot.streams)
    for _ in range(150):
        now = robot.clock.now_ns()
        expert.add("observation.state", state(robot), capture_ns=now, arrival_ns=now)
        robot.act(expert.act(now))
        if robot.outcome()["success"].value[0]:
            break
    assert robot.outcome()["success"].value.tolist() == [True]
    robot.reset({"seed": 1})
    assert robot.outcome()["success"].value.tolist() == [False]
    robot.close()


@pytest.mark.parametrize(
    "conditions",
    [{}, {"seed": -1}, {"seed": 1.0}, {"seed": True}, {"seed": "1"}, {"seed": 1, "wind": 2}],
)
def test_conditions_that_there_are_none_of(robot, conditions):
    with pytest.raises(WorldError, match="Meta-World 'push' resets to"):
        robot.reset(conditions)


def test_an_expert_needs_to_see(world):
    expert = world.operator("push")
    expert.reset("push", ())
    with pytest.raises(WorldError, match="before any state arrived"):
        expert.act(0)


def test_every_task_has_an_operator(world):
    for task in world.tasks:
        assert world.operator(task).agent == f"scripted:metaworld/{task}"


def test_unknown_tasks_and_worlds(world):
    for lookup in (world.robot, world.operator):
        with pytest.raises(WorldError, match="Meta-World has no task 'juggle'; it has assembly, "):
            lookup("juggle")
    with pytest.raises(WorldError, match="there is no world 'mars'; installed are"):
        open_world("mars")


@pytest.mark.parametrize("task", ["push", "basketball", "peg-insert-side", "drawer-open"])
def test_goes_back_to_a_saved_moment(world, task):
    robot = world.robot(task)
    robot.reset({"seed": 3})
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (30, 4)).astype(np.float32)
    for action in actions[:10]:
        robot.act({"action": action})
    saved, now_ns = robot.save(), robot.clock.now_ns()
    ways = []
    for _ in range(2):
        robot.restore(saved)
        assert robot.clock.now_ns() == now_ns
        way = [state(robot)]
        for action in actions[10:]:
            robot.act({"action": action})
            way.append(state(robot))
        ways.append(np.stack(way))
    assert np.array_equal(*ways)
    assert not np.array_equal(ways[0][0], ways[0][-1])
    robot.reset({"seed": 3})
    with pytest.raises(WorldError, match="only within an attempt"):
        robot.restore(saved)
    robot.close()
