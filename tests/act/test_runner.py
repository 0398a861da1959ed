"""The runner: what it records, when it stops, and what it leaves when it cannot go on."""

import numpy as np
import pytest

from builders import ACTION, PointRobot, Scripted
from viae.act import Policy, Robot, run
from viae.errors import SchemaError
from viae.store import Store
from viae.verbs import ingest

SEED = {"seed": 3}


class FakeWall:
    """A wall clock of our own: it moves when something works or waits, and nobody sleeps."""

    def __init__(self):
        self.now = 1_000_000_000
        self.waits = []

    def now_ns(self):
        return self.now

    def wait_until(self, at_ns):
        self.waits.append(at_ns)
        self.now = max(self.now, at_ns)


class Thinking(Scripted):
    """Takes a given time for each action."""

    def __init__(self, clock, takes_ns):
        self.clock, self.takes_ns = clock, iter(takes_ns)

    def act(self, at_ns):
        self.clock.now += next(self.takes_ns)
        return super().act(at_ns)


class Failing(Scripted):
    def __init__(self, after):
        self.left = after

    def act(self, at_ns):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("a policy's own mistake")
        return super().act(at_ns)


def stored(log, folder):
    store = Store.create(folder)
    ingest([log], store, now_ns=lambda: 1)
    return store, store.episodes()[0]


def test_robots_and_policies_fit_their_protocols():
    assert isinstance(PointRobot(), Robot)
    assert isinstance(Scripted(), Policy)


def test_it_ends_with_success_and_says_so(tmp_path):
    rollout = run(
        PointRobot(), Scripted(), tmp_path / "a.mcap", conditions=SEED, horizon=50,
        notes={"world": "points"},
    )  # fmt: skip
    assert rollout.outcome is True
    assert 0 < rollout.steps < 50
    assert rollout.late == 0
    store, episode = stored(rollout.log, tmp_path / "store")
    assert (episode.robot, episode.task, episode.agent) == ("point", "reach", "scripted:halve")
    assert episode.outcome is True
    assert episode.conditions == {"seed": 3, "world": "points", "horizon": 50}
    counts = {row["stream"]: row["samples"] for row in store.streams()}
    assert counts["observation.state"] == rollout.steps + 1
    assert counts["action"] == counts["success"] == rollout.steps


def test_it_ends_at_the_horizon_as_a_failure(tmp_path):
    rollout = run(PointRobot(), Scripted(), tmp_path / "a.mcap", conditions=SEED, horizon=2)
    assert (rollout.steps, rollout.outcome) == (2, False)
    assert stored(rollout.log, tmp_path / "store")[1].outcome is False


def test_a_horizon_of_nothing_says_nothing(tmp_path):
    rollout = run(PointRobot(), Scripted(), tmp_path / "a.mcap", conditions=SEED, horizon=0)
    assert (rollout.steps, rollout.outcome) == (0, None)
    assert stored(rollout.log, tmp_path / "store")[1].outcome is None


def test_equal_conditions_give_byte_equal_logs(tmp_path):
    logs = [
        run(PointRobot(), Scripted(), tmp_path / name, conditions=conditions, horizon=8).log
        for name, conditions in [("a", SEED), ("b", SEED), ("c", {"seed": 4})]
    ]
    one, two, other = (log.read_bytes() for log in logs)
    assert one == two != other


def test_actions_that_come_late_are_counted_and_the_schedule_is_kept(tmp_path):
    clock = FakeWall()
    start, period = clock.now, PointRobot.period_ns
    takes = [0, period, period + 1, 5, 3 * period]
    rollout = run(
        PointRobot(), Thinking(clock, takes), tmp_path / "a.mcap",
        conditions=SEED, horizon=5, clock=clock,
    )  # fmt: skip
    # On time; at the very end; ends at 3 periods + 1, waits for nothing; the rest recovers or not.
    assert clock.waits == [start + n * period for n in range(1, 6)]
    assert rollout.late == 2
    store, _ = stored(rollout.log, tmp_path / "store")
    [actions] = store.samples(store.episode_ids(), [ACTION.name]).values()
    ends = np.array([0, 2 * period, 3 * period + 1, 3 * period + 6, 7 * period])
    assert (actions.arrival_ns == start + ends).all()


def test_a_killed_run_leaves_a_partial_log_that_can_be_read(tmp_path):
    log = tmp_path / "logs/a.mcap"
    with pytest.raises(ZeroDivisionError):
        run(PointRobot(), Failing(after=3), log, conditions=SEED, horizon=9)
    assert [path.name for path in log.parent.iterdir()] == ["a.mcap.partial"]
    kept = log.with_name("copy.mcap")
    kept.write_bytes(log.with_name("a.mcap.partial").read_bytes())
    store, episode = stored(kept, tmp_path / "store")
    assert episode.outcome is None
    counts = {row["stream"]: row["samples"] for row in store.streams()}
    assert (counts["observation.state"], counts["action"]) == (4, 3)


def test_running_again_replaces_what_a_killed_run_left(tmp_path):
    log = tmp_path / "a.mcap"
    with pytest.raises(ZeroDivisionError):
        run(PointRobot(), Failing(after=3), log, conditions=SEED, horizon=9)
    run(PointRobot(), Scripted(), log, conditions=SEED, horizon=9)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mcap"]
    whole = run(PointRobot(), Scripted(), tmp_path / "b.mcap", conditions=SEED, horizon=9).log
    assert log.read_bytes() == whole.read_bytes()


def test_an_action_that_does_not_fit_is_refused(tmp_path):
    class Wild(Scripted):
        def act(self, at_ns):
            return {"action": np.zeros(3, np.float32)}

    with pytest.raises(SchemaError, match="stream 'action'"):
        run(PointRobot(), Wild(), tmp_path / "a.mcap", conditions=SEED, horizon=9)


def test_a_policy_hears_everything_that_is_recorded_in_causal_order(tmp_path):
    class Listening(Scripted):
        heard = ()

        def add(self, stream, value, *, capture_ns, arrival_ns):
            super().add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
            self.heard += ((arrival_ns, stream),)

    policy = Listening()
    log = run(PointRobot(), policy, tmp_path / "a.mcap", conditions=SEED, horizon=6).log
    store, _ = stored(log, tmp_path / "store")
    names = {spec.name for spec in PointRobot.streams}
    recorded = store.samples(store.episode_ids(), names)
    told = [(int(at), s.spec.name) for s in recorded.values() for at in s.arrival_ns]
    assert sorted(told) == sorted(policy.heard)
    assert [at for at, _ in policy.heard] == sorted(at for at, _ in policy.heard)
