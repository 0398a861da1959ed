"""Shield: before each action foresee; where danger is too likely take a safer way, or stop and ask.

Danger is judged by an upper bound of its probability, so that a model that is not sure of itself is
not believed. The threshold is a number from outside: `viae.verbs.shield` chooses it conformally.

Shapes: k plans, n samples of each, A elements of an action.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.act import Policy, Reading, Robot
from viae.errors import QueryRefusedError, UsageError
from viae.foresee.danger import Danger
from viae.foresee.dynamics import Array, Bools, Dynamics, flat, of_plans
from viae.load.live import LiveEvents
from viae.schema import Events, JsonValue, Kind, StreamSpec

Doubles: TypeAlias = npt.NDArray[np.float64]

SHIELD = StreamSpec(
    name="shield", shape=(5,), names=("danger", "bound", "taken", "taken_danger", "taken_bound")
)
"""What a shield found at each decision: share of futures of the policy's own plan that are
dangerous, its upper bound; which plan was taken (0: the policy's own; -1: none, it asks), and the
same two of that."""
ASK = StreamSpec(name="ask_operator", kind=Kind.TEXT, dtype="")
"""An event when a shield stops: JSON with why."""


class Proposer(Protocol):
    """Says what could be done next."""

    def __call__(self, history: Events, *, steps: int, k: int, seed: int) -> Array:
        """Plans, first the one that the policy would follow: [k, steps, A].

        Raises:
            QueryRefusedError: the history gives no ground to propose.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a shield found at one decision.

    Args:
        kind: the policy's ``"own"`` plan was safe, ``"other"`` was taken, or it ``"asks"``.
        danger: float64 [k], share of each plan's futures that are dangerous; [1] where the own plan
            was safe, and empty where nothing could be foreseen.
        bound: float64, likewise: the upper bound of its probability.
        taken: number of the plan; -1 where it asks.
        why: in words.
    """

    kind: Literal["own", "other", "asks"]
    danger: Doubles
    bound: Doubles
    taken: int
    why: str

    def sample(self) -> Doubles:
        """As a sample of the stream `SHIELD`; NaN where nothing was foreseen."""
        if not len(self.danger):
            return np.array([np.nan, np.nan, -1, np.nan, np.nan])
        nothing = (np.nan, np.nan)
        taken = (self.danger[self.taken], self.bound[self.taken]) if self.taken >= 0 else nothing
        return np.array([self.danger[0], self.bound[0], self.taken, *taken])


class Shield:
    """A policy, guarded.

    Before each action it asks for k plans, the policy's own first, and foresees n futures of that.
    If the bound of the own plan's danger is at most the threshold, the policy acts. Otherwise it
    foresees n futures of each plan, and the plan of the least bound is begun, if that is at most
    the threshold. Otherwise the shield holds still and asks; it looks again at the next decision.
    What cannot be foreseen counts as danger. Standing still is taken for safe and is not judged.

    Args:
        policy: what is guarded.
        danger: what is not to be.
        dynamics: what foresees.
        proposer: says what the policy would do, and what else could be done.
        hold: the action that stands still, [A]; zero where actions are differences.
        action: the action stream.
        horizon: steps ahead.
        threshold: the greatest bound that is accepted.
        k: plans.
        n: futures of each plan.
        seed: of plans and futures.
        confidence: of the bound.
        listen: makes the history of streams and a task: a base model's needs its names and sizes,
            see `viae.foresee.history.listen`.

    Raises:
        UsageError: k, n, horizon, threshold or confidence make no sense.
    """

    def __init__(
        self,
        policy: Policy,
        danger: Danger,
        dynamics: Dynamics,
        proposer: Proposer,
        *,
        hold: Array,
        horizon: int,
        threshold: float,
        k: int = 16,
        n: int = 20,
        seed: int = 0,
        confidence: float = 0.9,
        action: str = "action",
        listen: Callable[[Sequence[StreamSpec], str], LiveEvents] = LiveEvents,
    ) -> None:
        if k < 1 or n < 1 or horizon < 1 or not 0 <= threshold <= 1 or not 0.5 <= confidence < 1:
            raise UsageError(
                f"k={k}, n={n}, horizon={horizon}, threshold={threshold:g}, "
                f"confidence={confidence:g}: a shield needs at least one plan, future and step, a "
                "threshold in [0, 1] and a confidence in [0.5, 1)"
            )
        self.agent = f"{policy.agent}+shield"
        self.verdicts: list[Verdict] = []
        """Of this episode, one per decision."""
        self._policy, self._danger, self._dynamics = policy, danger, dynamics
        self._proposer, self._hold, self._action = proposer, np.asarray(hold), action
        self._horizon, self._threshold, self._k, self._n = horizon, threshold, k, n
        self._seed, self._confidence = seed, confidence
        self._listen = listen
        self._live: LiveEvents | None = None

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """An episode begins."""
        others = [spec for spec in streams if spec.name not in (SHIELD.name, ASK.name)]
        self._policy.reset(task, others)
        self._live = self._listen(others, task)
        self.verdicts = []

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """A sample has arrived.

        Raises:
            UsageError: before the first `reset`.
        """
        if self._live is None:
            raise UsageError("reset the shield before the first sample")
        if stream not in (SHIELD.name, ASK.name):
            self._live.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
            self._policy.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)

    def act(self, at_ns: int) -> dict[str, Array]:
        """The policy's action, a safer one, or standing still.

        Raises:
            UsageError: before the first `reset`.
        """
        if self._live is None:
            raise UsageError("reset the shield before the first action")
        own = self._policy.act(at_ns)
        seed = self._seed + len(self.verdicts)
        plans: Array = np.empty(0)
        try:
            history = self._live.events(at_ns)
            plans = self._proposer(history, steps=self._horizon, k=self._k, seed=seed)
            plans = np.array(plans)
            plans[0, 0] = own[self._action]  # what the policy will really do
            verdict = judge(*self.foresee(history, plans[:1], seed=seed), self._threshold)
            if verdict.kind == "asks" and self._k > 1:
                verdict = judge(*self.foresee(history, plans, seed=seed), self._threshold)
        except QueryRefusedError as error:
            nothing, why = np.empty(0), f"nothing could be foreseen: {error}"
            verdict = Verdict(kind="asks", danger=nothing, bound=nothing, taken=-1, why=why)
        self.verdicts.append(verdict)
        if verdict.kind == "own":
            return dict(own)
        taken = self._hold if verdict.kind == "asks" else plans[verdict.taken, 0]
        return {**own, self._action: np.asarray(taken, np.asarray(own[self._action]).dtype)}

    def foresee(self, history: Events, plans: Array, *, seed: int) -> tuple[Doubles, Doubles]:
        """Share of dangerous futures of each plan, and its upper bound: float64 [k] each."""
        found = violations(self._danger, self._dynamics, history, plans, n=self._n, seed=seed)
        return found.mean(1), danger_bound(found, self._confidence, self._dynamics.groups)


def judge(danger: Doubles, bound: Doubles, threshold: float) -> Verdict:
    """Which of k plans to follow, the policy's own first.

    Args:
        danger: float64 [k].
        bound: float64 [k].
        threshold: the greatest bound that is accepted.
    """
    best = int(np.lexsort((danger, bound))[0])
    if bound[0] <= threshold:
        return Verdict(kind="own", danger=danger, bound=bound, taken=0, why="")
    why = f"danger of the policy's plan: {danger[0]:.2f}, up to {bound[0]:.2f} > {threshold:.2f}"
    if bound[best] <= threshold:
        why += f"; plan {best} has {danger[best]:.2f}, up to {bound[best]:.2f}"
        return Verdict(kind="other", danger=danger, bound=bound, taken=best, why=why)
    why += f"; the safest of {len(bound)} has {danger[best]:.2f}, up to {bound[best]:.2f}"
    return Verdict(kind="asks", danger=danger, bound=bound, taken=-1, why=why)


def violations(
    danger: Danger, dynamics: Dynamics, history: Events, plans: Array, *, n: int, seed: int
) -> Bools:
    """Which futures of which plan are dangerous at some step: bool [k, n].

    Raises:
        QueryRefusedError: nothing can be foreseen, or the danger cannot be judged from it.
    """
    imagined = dynamics.imagine(history, plans, n=n, seed=seed)
    k, found_n, _ = of_plans(imagined)
    found: Bools = danger.violated(flat(imagined)).any(1).reshape(k, found_n)
    return found


def danger_bound(violated: Bools, confidence: float, groups: int = 1) -> Doubles:
    """Upper bound of the probability of danger: float64 [k].

    One-sided Wilson bound of the share of dangerous futures. Where they come from several models,
    those that disagree count for less: the number of samples is divided by the design effect of
    cluster sampling (Kish 1965), down to the number of models.

    Args:
        violated: bool [k, n]; future i is of model i % groups.
        confidence: e.g. 0.9.
        groups: models.
    """
    from scipy.stats import norm

    k, n = violated.shape
    p = violated.mean(1)
    count = np.full(k, float(n))
    if 1 < groups <= n:
        each = n // groups
        of_models = violated[:, : each * groups].reshape(k, each, groups).mean(1)
        within = p * (1 - p) / n
        between = of_models.var(1, ddof=1) / groups
        effect = np.where(within > 0, between / np.where(within > 0, within, 1.0), 1.0)
        count = n / np.clip(effect, 1.0, n / groups)
    z = float(norm.ppf(confidence))
    centre = p + z**2 / (2 * count)
    reach = z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    bound: Doubles = (centre + reach) / (1 + z**2 / count)
    return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """Alternatives of a plan: the plan, and the plan with noise that stays for a while.

    Args:
        plan: what would be done: history and number of steps to [steps, A].
        sigma: of the noise, [A] or a number, in the action's unit.
        kept: share of the noise that stays from one step to the next.
        low: least action, [A] or a number.
        high: greatest action.
    """

    plan: Callable[[Events, int], Array]
    sigma: Array | float
    kept: float = 0.95
    low: Array | float = -math.inf
    high: Array | float = math.inf

    def __call__(self, history: Events, *, steps: int, k: int, seed: int) -> Array:
        """Plans [k, steps, A]; the first is undisturbed."""
        own = np.asarray(self.plan(history, steps))
        added = smooth_noise((k, *own.shape), self.kept, np.random.default_rng((seed, k, steps)))
        plans = np.clip(own[None] + self.sigma * added, self.low, self.high).astype(own.dtype)
        plans[0] = own
        return plans


def smooth_noise(shape: tuple[int, ...], kept: float, rng: np.random.Generator) -> Doubles:
    """Autoregressive noise of variance 1 along the second axis: float64 [k, steps, …]."""
    drawn = rng.standard_normal(shape)
    for step in range(1, shape[1]):
        drawn[:, step] = kept * drawn[:, step - 1] + math.sqrt(1 - kept**2) * drawn[:, step]
    return drawn


class ShieldedRobot:
    """A robot whose logs say what its shield found: the streams `SHIELD` and `ASK`.

    Args:
        robot: any robot.
        shield: that guards its policy; give both to `viae.act.run`.
    """

    def __init__(self, robot: Robot, shield: Shield) -> None:
        self.name, self.task, self.period_ns = robot.name, robot.task, robot.period_ns
        self.streams = (*robot.streams, SHIELD, ASK)
        self.clock = robot.clock
        self._robot, self._shield = robot, shield
        self._asking = False
        self._decided_ns = 0

    def reset(self, conditions: Mapping[str, JsonValue]) -> None:
        """Bring the world into an initial condition."""
        self._robot.reset(conditions)
        self.clock = self._robot.clock
        self._asking = False

    def observe(self) -> Mapping[str, Reading]:
        """What the robot observes, and the shield's verdict on the last decision."""
        readings = dict(self._robot.observe())
        if self._shield.verdicts:
            verdict = self._shield.verdicts[-1]
            readings[SHIELD.name] = Reading(value=verdict.sample(), capture_ns=self._decided_ns)
            asks = verdict.kind == "asks"
            if asks and not self._asking:
                said = json.dumps({"why": verdict.why})
                readings[ASK.name] = Reading(value=said, capture_ns=self._decided_ns)
            self._asking = asks
        return readings

    def act(self, action: Mapping[str, Any]) -> None:
        """Take an action, and let one control period pass."""
        self._decided_ns = self.clock.now_ns()
        self._robot.act(action)

    def outcome(self) -> Mapping[str, Reading]:
        """A reading of every outcome stream."""
        return self._robot.outcome()

    def close(self) -> None:
        """Let go of the robot."""
        self._robot.close()
