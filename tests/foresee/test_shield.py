"""Shields, on a point whose danger is known."""

import numpy as np
import pytest
from point_mass import (
    DISC,
    INSIDE,
    NOISE,
    STEP,
    STREAMS,
    PointDynamics,
    PointRobot,
    StraightOn,
    probability,
    straight_plan,
)

from reading import read_episode
from viae.act import run
from viae.errors import QueryRefusedError, UsageError
from viae.foresee.danger import danger
from viae.foresee.dynamics import OracleDynamics, came, flat, of_plans
from viae.foresee.shield import (
    Perturbed,
    Shield,
    ShieldedRobot,
    danger_bound,
    judge,
    smooth_noise,
    violations,
)
from viae.load.live import LiveEvents
from viae.schema.names import StreamNames
from viae.verbs.shield import shield_threshold

DANGER = danger(INSIDE, STREAMS)


def history_at(place):
    live = LiveEvents(STREAMS, "go right")
    live.add("place", np.asarray(place, float), capture_ns=1, arrival_ns=1)
    return live.events()


def shielded(k=32, sigma=0.04, dynamics=None, **settings):
    wide = Perturbed(plan=straight_plan, sigma=sigma, low=-STEP, high=STEP)
    return Shield(
        StraightOn(), DANGER, dynamics or PointDynamics(), wide, hold=np.zeros(2), k=k,
        **{"horizon": 8, "threshold": 0.2, "n": 30, **settings},
    )  # fmt: skip


def attempt(policy, robot, tmp_path, seed, horizon=80):
    return run(robot, policy, tmp_path / f"{seed}.mcap", conditions={"seed": seed}, horizon=horizon)


@pytest.mark.parametrize("offset", [0.0, 0.14, 0.15, 0.156, 0.18])
def test_probability_of_danger(offset):
    place, action = DISC - [offset + 0.02, 0], np.array([0.02, 0.0])
    found = violations(
        DANGER, PointDynamics(), history_at(place), action[None, None], n=4000, seed=1
    )
    assert found.mean() == pytest.approx(probability(place, action), abs=0.03)


def test_bound_covers():
    rng = np.random.default_rng(0)
    for p in (0.02, 0.3, 0.7):
        bound = danger_bound(rng.random((4000, 20)) < p, 0.9)
        assert (bound >= p).mean() >= 0.87


def test_models_that_disagree_are_believed_less():
    disagree = np.zeros((1, 20), bool)
    disagree[:, 0::5] = True  # one of five models says danger, always
    agree = np.zeros((1, 20), bool)
    agree[:, :4] = True  # each of four futures is of another model
    assert danger_bound(disagree, 0.9, 5) > danger_bound(agree, 0.9, 5) + 0.1
    assert danger_bound(agree, 0.9, 5) == pytest.approx(danger_bound(agree, 0.9))
    assert danger_bound(np.zeros((1, 20), bool), 0.9, 5) == pytest.approx(
        danger_bound(np.zeros((1, 20), bool), 0.9)
    )


def test_judge():
    zero, one = np.zeros(2), np.array([0.0, 1.0])
    assert judge(zero, np.array([0.1, 0.0]), 0.2).kind == "own"
    other = judge(one[::-1], np.array([0.9, 0.1]), 0.2)
    assert (other.kind, other.taken) == ("other", 1)
    asks = judge(one, np.array([0.5, 0.9]), 0.2)
    assert (asks.kind, asks.taken) == ("asks", -1)
    assert "0.50 > 0.20" in asks.why


def test_shield_removes_violations(tmp_path):
    bare, guarded, reached = 0, 0, 0
    for seed in range(6):
        robot = PointRobot()
        attempt(StraightOn(), robot, tmp_path / "bare", seed)
        bare += robot.was_inside
        robot, shield = PointRobot(), shielded()
        done = attempt(shield, ShieldedRobot(robot, shield), tmp_path / "guarded", seed)
        guarded += robot.was_inside
        reached += done.outcome
        assert {verdict.kind for verdict in shield.verdicts} >= {"own", "other"}
    assert bare == 6
    assert guarded == 0
    assert reached == 6


def test_no_way_round_it_stops_and_asks(tmp_path):
    robot = PointRobot()
    shield = shielded(k=1)
    done = attempt(shield, ShieldedRobot(robot, shield), tmp_path, 0, horizon=40)
    assert not robot.was_inside
    assert not done.outcome
    assert shield.verdicts[-1].kind == "asks"
    logged = read_episode(done.log).values
    assert len(logged["shield"]) == 40
    assert np.array(logged["shield"])[-1, 2] == -1
    assert 1 <= len(logged["ask_operator"]) < 5
    assert "danger of the policy's plan" in logged["ask_operator"][0]


def test_the_history_is_made_by_who_knows_the_names():
    """Of a base model: streams are called, and pictures looked at, as in its training."""
    seen = []

    class Noted(PointDynamics):
        def imagine(self, history, actions, *, n, seed):
            seen.append([spec.name for spec in history.streams])
            raise QueryRefusedError("enough")

    names = StreamNames({"success": None})
    shield = shielded(
        dynamics=Noted(), listen=lambda streams, task: LiveEvents(streams, task, names=names)
    )
    shield.reset("go", STREAMS)
    shield.add("place", np.zeros(2), capture_ns=1, arrival_ns=1)
    shield.act(2)
    assert seen == [["action", "instruction", "place", "unknown:success"]]


def test_what_cannot_be_foreseen_is_danger(tmp_path):
    class Blind(PointDynamics):
        def imagine(self, history, actions, *, n, seed):
            raise QueryRefusedError("the camera is frozen")

    robot, shield = PointRobot(), shielded(dynamics=Blind())
    attempt(shield, ShieldedRobot(robot, shield), tmp_path, 0, horizon=5)
    assert {v.kind for v in shield.verdicts} == {"asks"}
    assert "the camera is frozen" in shield.verdicts[0].why
    assert np.isnan(shield.verdicts[0].sample()[0])
    assert np.linalg.norm(robot.place) < 0.05 + 5 * 5 * NOISE


def test_own_action_is_what_is_judged(tmp_path):
    """The policy's action is foreseen even where the proposer would have said another."""
    robot = PointRobot()
    shield = Shield(
        StraightOn(), DANGER, PointDynamics(0.01),
        lambda history, *, steps, k, seed: np.zeros((k, steps, 2)),
        hold=np.zeros(2), horizon=4, threshold=0.2, k=2, n=20,
    )  # fmt: skip
    attempt(shield, ShieldedRobot(robot, shield), tmp_path, 0, horizon=12)
    assert not robot.was_inside
    assert "own" in {v.kind for v in shield.verdicts}


def test_settings_are_checked():
    for wrong in ({"n": 0}, {"k": 0}, {"threshold": 1.5}, {"horizon": 0}, {"confidence": 0.2}):
        with pytest.raises(UsageError, match="a shield needs"):
            shielded(**wrong)
    with pytest.raises(UsageError, match="reset the shield"):
        shielded().act(0)


def test_oracle_goes_back():
    robot = PointRobot()
    robot.reset({"seed": 0})
    before = robot.save()
    actions = np.full((3, 5, 2), 0.01) * np.arange(3)[:, None, None]
    found = OracleDynamics(robot).imagine(history_at([0, 0]), actions, n=2, seed=0)
    assert of_plans(found) == (3, 2, 5)
    assert flat(found)["place"].shape == (6, 5, 2)
    assert found[came("success")].all()
    assert np.array_equal(robot.save()[0], before[0])
    truth = []
    for action in actions[2]:
        robot.act({"action": action})
        truth.append(robot.place)
    assert np.array_equal(found["place"][2, 1], truth)


def test_noise_has_variance_one_and_stays():
    noise = smooth_noise((4000, 12), 0.9, np.random.default_rng(0))
    assert noise.std(0) == pytest.approx(1, abs=0.05)
    assert np.corrcoef(noise[:, 4], noise[:, 5])[0, 1] == pytest.approx(0.9, abs=0.02)


def test_threshold_keeps_its_guarantee():
    rng = np.random.default_rng(0)

    def drawn(count):
        attempts = np.repeat(np.arange(count), 10)
        dangerous = rng.random(count) < 0.3
        level = np.where(dangerous, 0.6, 0.2) + rng.normal(0, 0.15, count)
        bound = np.clip(level[attempts] + rng.normal(0, 0.05, 10 * count), 0, 1)
        return bound, dangerous[attempts], attempts

    for guarantee, which in (("false alarms", False), ("misses", True)):
        rates = []
        for _ in range(60):
            threshold = shield_threshold(*drawn(150), alpha=0.1, guarantee=guarantee)
            bound, dangerous, attempts = drawn(300)
            greatest = np.array([bound[attempts == one].max() for one in range(300)])
            of_kind = dangerous[::10] == which
            alarms = greatest[of_kind] > threshold
            rates.append((~alarms if which else alarms).mean())
        assert np.mean(rates) <= 0.115
        assert np.mean(rates) >= 0.06
    with pytest.raises(UsageError, match="too few"):
        shield_threshold(*drawn(5), alpha=0.05)
    bound, dangerous, attempts = drawn(150)
    bound[7] = np.nan  # nothing was foreseen: at no threshold is that attempt left alone
    with pytest.raises(UsageError, match="1 of 1500 bounds are not a number"):
        shield_threshold(bound, dangerous, attempts, alpha=0.1)
    with pytest.raises(UsageError, match="1499 bounds, 1500 ends"):
        shield_threshold(bound[1:], dangerous, attempts, alpha=0.1)
