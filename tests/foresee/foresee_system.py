"""A system whose predictive distribution is known.

A point drifts towards a goal that is said once, at the begin: each step is linear in state, action
and goal, plus Gaussian noise. It succeeds if the goal is +1.
"""

import numpy as np

from viae.load.events import OUTCOME_SPEC, Column, assemble
from viae.schema import Role, StreamSpec

STATE = StreamSpec(name="state", shape=(1,), names=("x",))
ACTION = StreamSpec(name="action", dtype="float32", shape=(1,), role=Role.ACTION)
GOAL = StreamSpec(name="goal", shape=(1,))
A, B, C = 0.8, 0.5, 0.2
NOISE = 0.3
STEP_NS = 10_000_000
STEPS = 24


def simulate(seed: int, goal: float | None = None):
    """States [T + 1, 1], actions [T, 1] and the goal."""
    rng = np.random.default_rng(seed)
    g = float(rng.choice([-1.0, 1.0])) if goal is None else goal
    states, actions = [rng.normal(0, 1, 1)], []
    for _ in range(STEPS):
        actions.append(rng.normal(0, 1, 1).astype(np.float32))
        noise = rng.normal(0, NOISE, 1)
        states.append(A * states[-1] + B * actions[-1] + C * g + noise)
    return np.array(states), np.array(actions), g


def columns(seed: int, goal: float | None = None) -> list[Column]:
    states, actions, g = simulate(seed, goal)
    when = np.arange(1, STEPS + 2, dtype=np.int64) * STEP_NS

    def column(spec, times, values):
        return Column(spec=spec, name=spec.name, capture_ns=times, arrival_ns=times, values=values)

    return [
        column(STATE, when, states), column(ACTION, when[:-1], actions),
        column(GOAL, when[:1] - STEP_NS, np.array([[g]])),
    ]  # fmt: skip


def made(seed: int, goal: float | None = None, *, outcome: bool = True):
    own = columns(seed, goal)
    last = None
    if outcome:
        when = own[0].arrival_ns[-1:]
        good = np.array([[own[2].values[0, 0] > 0]])
        last = Column(
            spec=OUTCOME_SPEC, name="outcome", capture_ns=when, arrival_ns=when, values=good
        )
    return assemble(own, first=None, last=last, stops=np.empty((0, 2), np.int64))
