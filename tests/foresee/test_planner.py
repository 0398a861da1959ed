"""Planning, on a point whose best way is known; and the base model as dynamics."""

import numpy as np
import pytest
from foresee_system import ACTION as PUSH
from foresee_system import NOISE as MODEL_NOISE
from foresee_system import STATE, A, B, C, made
from point_mass import GOAL, INSIDE, NEAR, STEP, STREAMS, PointDynamics, straight_plan
from test_shield import history_at

from viae.errors import QueryRefusedError, UsageError
from viae.foresee.base_dynamics import BaseDynamics
from viae.foresee.danger import danger
from viae.foresee.expression import Expression
from viae.foresee.plan import Goal, Reward, Success, plan, plan_values
from viae.foresee.shield import Perturbed, violations
from viae.load.events import prefix

AT_GOAL = danger(f"hypot(x - {GOAL[0]}, y - {GOAL[1]}) < {NEAR}", STREAMS)
INSIDE_DISC = danger(INSIDE, STREAMS)
NEARNESS = Reward(Expression(f"-hypot(x - {GOAL[0]}, y - {GOAL[1]})", STREAMS), last_only=True)


def nowhere(history, *, steps, k, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.01, (k, steps, 2))


def planned(value, place=(0.0, 0.0), proposer=nowhere, **settings):
    return plan(
        history_at(place), value, PointDynamics(), proposer, horizon=24,
        **{"seed": 0, "k": 64, "n": 4, "rounds": 15, "sigma": 0.03, "low": -STEP, "high": STEP,
           **settings},
    )  # fmt: skip


@pytest.mark.parametrize("method", ["mppi", "cem"])
def test_reaches_a_goal(method):
    found = planned(NEARNESS, method=method)
    assert np.linalg.norm(found.actions.sum(0) - GOAL) < NEAR
    assert found.value > found.proposals.max()
    assert (np.diff(found.rounds) >= 0).all()
    assert np.abs(found.actions).max() <= STEP
    again = planned(NEARNESS, method=method)
    assert np.array_equal(found.actions, again.actions)


@pytest.mark.parametrize("method", ["mppi", "cem"])
def test_goes_round_a_danger(method):
    near = Perturbed(plan=straight_plan, sigma=0.03, low=-STEP, high=STEP)
    found = planned(Goal(AT_GOAL, danger=INSIDE_DISC), proposer=near, method=method, kept=0.95)
    straight = straight_plan(history_at([0.0, 0.0]), 24)
    futures = violations(
        INSIDE_DISC, PointDynamics(), history_at([0.0, 0.0]),
        np.stack([straight, found.actions]), n=200, seed=9,
    )  # fmt: skip
    assert futures.mean(1)[0] > 0.99
    assert futures.mean(1)[1] < 0.3
    assert found.value > 0.3


def test_choosing_takes_a_proposal():
    found = planned(NEARNESS, method="choose")
    assert found.value == found.proposals.max()
    assert len(found.rounds) == 0
    proposals = nowhere(None, steps=24, k=64, seed=0)
    assert np.array_equal(found.actions, proposals[found.proposals.argmax()])


def test_success_is_a_probability():
    still, there = np.zeros((1, 24, 2)), straight_plan(history_at([0.0, 0.0]), 24)[None]
    worth = plan_values(
        Success(), PointDynamics(), history_at([0.0, 0.0]), np.concatenate([still, there]), n=50,
        seed=0,
    )  # fmt: skip
    assert worth[0] == 0
    assert worth[1] > 0.9
    with pytest.raises(QueryRefusedError, match="no outcome 'won'"):
        planned(Success("won"))


def test_caution_counts_spread_against_a_plan():
    plans = np.zeros((2, 24, 2))
    bold, careful = (
        plan_values(NEARNESS, PointDynamics(), history_at([1.0, 0.0]), plans, n=20, seed=0,
                    caution=caution)
        for caution in (0.0, 1.0)
    )  # fmt: skip
    assert (careful < bold).all()


def test_settings_are_checked():
    for wrong in ({"k": 1}, {"n": 0}, {"rounds": -1}, {"elite": 0}, {"temperature": 0}):
        with pytest.raises(UsageError, match="at least 2 plans"):
            planned(NEARNESS, **wrong)
    with pytest.raises(QueryRefusedError, match="finite numbers"):
        planned(lambda samples: np.full(len(samples["place"]), np.nan))


def test_base_model_foresees_a_known_danger(bundle):
    """One step ahead the state is Gaussian around a known mean."""
    from scipy.stats import norm

    events = made(5000)
    states = np.asarray(events.values["state"])
    goal = float(np.asarray(events.values["goal"])[0, 0])
    for at in (6, 12):
        places = np.flatnonzero(
            [events.streams[i].name == "action" for i in events.stream]
        )  # before the action of this step
        history = prefix(events, int(places[at]))
        plans = np.array([[[-1.0]], [[1.0]]], np.float32)
        found = violations(
            danger("x > 0", (STATE, PUSH)), BaseDynamics(bundle=bundle), history, plans, n=300,
            seed=0,
        ).mean(1)  # fmt: skip
        mean = A * states[at, 0] + B * np.array([-1.0, 1.0]) + C * goal
        assert found == pytest.approx(norm.sf(0, mean, MODEL_NOISE), abs=0.15)


def test_base_model_gives_every_step(raw_bundle):
    history = prefix(made(5001), 21)
    plans = np.zeros((2, 3, 1), np.float32)
    found = BaseDynamics(bundle=raw_bundle).imagine(history, plans, n=4, seed=0)
    assert found["state"].shape == (2, 4, 3, 1)
    assert found["state/came"].shape == (2, 4, 3)
    assert np.isfinite(found["state"]).all()
