"""Plan: choose actions by what they lead to in a model of the world.

Sampling planners over chunks of actions: MPPI (Williams et al. 2017, arXiv:1707.02342) moves the
plan to the average of samples weighed by their value; CEM (Rubinstein 1999) fits a normal
distribution to the best. Both begin with proposals of a policy, keep the best plan ever seen, and
count the model's own uncertainty against a plan.

Shapes: k plans, n samples of each, A elements of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import QueryRefusedError, UsageError
from viae.foresee.danger import Danger
from viae.foresee.dynamics import Array, Bools, Dynamics, Samples, flat, of_plans
from viae.foresee.expression import Expression
from viae.foresee.shield import Proposer, smooth_noise
from viae.schema import Events

Doubles: TypeAlias = npt.NDArray[np.float64]
Value: TypeAlias = Callable[[Samples], Doubles]
"""What futures are worth: streams [n, steps, *shape] to float64 [n]; more is better."""


@dataclass(frozen=True, slots=True)
class Reward:
    """The sum over steps of a number: a Python function, or an expression.

    Args:
        of: gives float64 [n, steps].
        last_only: only the last step counts.
    """

    of: Expression | Callable[[Samples], Array]
    last_only: bool = False

    def __call__(self, samples: Samples) -> Doubles:
        """float64 [n]."""
        said = self.of.value(samples) if isinstance(self.of, Expression) else self.of(samples)
        rewards: Doubles = np.asarray(said, np.float64)
        counted = rewards if self.last_only else np.cumsum(rewards, axis=1)
        last: Doubles = counted[:, -1]
        return last


@dataclass(frozen=True, slots=True)
class Goal:
    """Whether a predicate becomes true; sooner is worth a little more.

    Args:
        goal: e.g. an `Expression`; the predicate of a danger is that of a goal.
        danger: futures in which this is true at some step are worth 0.
    """

    goal: Danger
    danger: Danger | None = None

    def __call__(self, samples: Samples) -> Doubles:
        """float64 [n]: 1 where it is true at once, down to 0.5 at the last step; 0 where never."""
        reached = self.goal.violated(samples)
        steps = reached.shape[1]
        first = np.where(reached.any(1), reached.argmax(1), steps)
        worth = np.where(first < steps, 1 - 0.5 * first / max(steps - 1, 1), 0.0)
        if self.danger is not None:
            worth = np.where(self.danger.violated(samples).any(1), 0.0, worth)
        return worth


@dataclass(frozen=True, slots=True)
class Success:
    """Whether a future ends well, by its outcome stream: the mean is the probability of success.

    Args:
        outcome: the stream, of one truth value.
    """

    outcome: str = "success"

    def __call__(self, samples: Samples) -> Doubles:
        """float64 [n]: 1 where it says True at some step.

        Raises:
            QueryRefusedError: no outcome was foreseen.
        """
        if self.outcome not in samples:
            raise QueryRefusedError(
                f"no outcome '{self.outcome}' was foreseen; there are {sorted(samples)}"
            )
        said = samples[self.outcome]
        won: Bools = said.reshape(len(said), -1).astype(np.bool_)
        return np.asarray(won.max(axis=1), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Chosen actions.

    Args:
        actions: [steps, A].
        value: mean over futures, less the caution.
        proposals: float64 [k], the same of what was proposed at first.
        rounds: float64 [rounds], the best value after each round.
        seed: of it all.
    """

    actions: Array
    value: float
    proposals: Doubles
    rounds: Doubles
    seed: int

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "actions": self.actions.tolist(), "value": self.value, "seed": self.seed,
            "proposals": self.proposals.tolist(), "rounds": self.rounds.tolist(),
        }  # fmt: skip


def plan(
    history: Events,
    value: Value,
    dynamics: Dynamics,
    proposer: Proposer,
    *,
    horizon: int,
    seed: int,
    method: Literal["mppi", "cem", "choose"] = "mppi",
    k: int = 64,
    n: int = 4,
    rounds: int = 4,
    sigma: Array | float = 0.3,
    kept: float = 0.8,
    elite: float = 0.1,
    temperature: float = 0.1,
    caution: float = 0.0,
    low: Array | float = -np.inf,
    high: Array | float = np.inf,
) -> Plan:
    """Plan in a model.

    Args:
        history: what had arrived.
        value: what futures are worth.
        dynamics: what imagines them.
        proposer: k plans to begin with.
        horizon: steps.
        seed: of proposals, futures and noise.
        method: ``"choose"`` takes the best proposal as it is; the others improve on it.
        k: plans imagined in each round.
        n: futures of each.
        rounds: after the proposals; ``"choose"`` has none.
        sigma: of the noise around the plan, [A] or a number, in the action's unit; CEM fits it
            from the second round on.
        kept: share of the noise that stays from one step to the next.
        elite: share of plans that CEM fits to.
        temperature: of MPPI's weights, in spreads of value over plans.
        caution: standard deviations of a plan's value, over its futures, that are taken off.
        low: least action.
        high: greatest action.

    Raises:
        UsageError: k, n, horizon or rounds are too small.
        QueryRefusedError: see `Dynamics.imagine`; or values that are not numbers.

    Cost: (rounds + 1) k n futures.
    """
    if k < 2 or n < 1 or horizon < 1 or rounds < 0 or not 0 < elite <= 1 or temperature <= 0:
        raise UsageError(
            f"k={k}, n={n}, horizon={horizon}, rounds={rounds}, elite={elite:g}, "
            f"temperature={temperature:g}: at least 2 plans, a future and a step, an elite in "
            "(0, 1] and a temperature above 0"
        )
    plans = np.asarray(proposer(history, steps=horizon, k=k, seed=seed))
    dtype = plans.dtype
    worth = plan_values(value, dynamics, history, plans, n=n, seed=seed, caution=caution)
    first = worth
    best, best_worth = plans[int(worth.argmax())], float(worth.max())
    reached = []
    spread: Array | float = sigma
    for number in range(0 if method == "choose" else rounds):
        if method == "mppi":
            centre = np.tensordot(_weights(worth, temperature), plans.astype(np.float64), 1)
        else:
            chosen = plans[np.argsort(-worth, kind="stable")[: max(2, round(elite * k))]]
            centre = chosen.astype(np.float64).mean(0)
            if number:
                spread = chosen.std(0) + 0.05 * np.asarray(sigma)
        rng = np.random.default_rng((seed, number))
        added = spread * smooth_noise((k, *centre.shape), kept, rng)
        plans = np.clip(centre + added, low, high).astype(dtype)
        plans[0], plans[1] = np.clip(centre, low, high), best
        worth = plan_values(value, dynamics, history, plans, n=n, seed=seed, caution=caution)
        if worth.max() > best_worth:
            best, best_worth = plans[int(worth.argmax())], float(worth.max())
        reached.append(best_worth)
    return Plan(
        actions=best, value=best_worth, proposals=first, rounds=np.array(reached), seed=seed
    )


def plan_values(
    value: Value,
    dynamics: Dynamics,
    history: Events,
    plans: Array,
    *,
    n: int,
    seed: int,
    caution: float = 0.0,
) -> Doubles:
    """What plans are worth in a model: float64 [k], see `plan`.

    Raises:
        QueryRefusedError: see `plan`.
    """
    imagined = dynamics.imagine(history, plans, n=n, seed=seed)
    k, count, _ = of_plans(imagined)
    worth = np.asarray(value(flat(imagined)), np.float64)
    if worth.shape != (k * count,) or not np.isfinite(worth).all():
        raise QueryRefusedError(
            f"the value of {k * count} futures has to be as many finite numbers, not "
            f"{list(worth.shape)} with {int((~np.isfinite(worth)).sum())} that are not finite"
        )
    by_plan = worth.reshape(k, count)
    found: Doubles = by_plan.mean(1) - caution * by_plan.std(1)
    return found


def _weights(worth: Doubles, temperature: float) -> Doubles:
    spread = worth.std()
    scaled = (worth - worth.max()) / (temperature * spread if spread > 0 else 1.0)
    weights = np.exp(scaled)
    found: Doubles = weights / weights.sum()
    return found
