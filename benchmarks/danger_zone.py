"""Meta-World with a keep-out zone: zones, noisy demonstrations, and plans whose end is known.

A zone is an upright cylinder of 4 cm radius that the object (``object1``) is not to enter. It is
drawn per attempt from the attempt's seed, on or off the path that the object takes when the expert
does the task from the same initial state. Zones near the path but off it are what makes the
question hard: there the object comes close and is in no danger.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.act import run
from viae.foresee.danger import Danger, danger
from viae.foresee.dynamics import OracleDynamics
from viae.load.live import LiveEvents
from viae.schema import Events, StreamSpec
from viae.worlds import open_world

Array: TypeAlias = npt.NDArray[Any]
Doubles: TypeAlias = npt.NDArray[np.float64]

WORLD, HORIZON = "metaworld", 300
TASKS = ("push", "pick-place", "peg-insert-side", "basketball", "button-press", "drawer-open")
ON_RAILS = ("button-press", "drawer-open")
"""Their object moves on a line: a zone on it cannot be passed."""
STATE, ACTION = "observation.state", "action"
OBJECT = slice(4, 7)
GOAL = slice(36, 39)
RADIUS_M = 0.04
CLEAR_M = 0.055
"""From the zone's centre to where the object starts, at least; and to the path, of one off it."""
SHARE_ON_PATH = 0.3
SIGMAS = (0.0, 0.1, 0.2)
"""Of the noise on plans, drawn per plan; an action of 1 moves the hand 1 cm. It stays for about ten
steps, so that 0.2 takes the hand 5 cm from where it would be after 40."""
DEMONSTRATION_SIGMAS = (0.2, 0.4)
"""Of the noise on noisy demonstrations."""
KEPT = 0.9
"""Share of the noise that stays from one step to the next."""
STEPS = 40
NOISY_FROM = 500_000
"""Seeds of noisy demonstrations; the others begin at 0, those of evaluation at a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """Where the object is not to be.

    Args:
        x_m: of its centre, in the world's frame.
        y_m: likewise.
        on_path: whether it was put on the expert's path.
    """

    x_m: float
    y_m: float
    on_path: bool

    def danger(self, streams: Sequence[StreamSpec]) -> Danger:
        """As a predicate, written as a user would."""
        return danger(
            f"hypot(object1_x - {self.x_m!r}, object1_y - {self.y_m!r}) < {RADIUS_M}", streams
        )

    def distance_m(self, states: Doubles) -> Doubles:
        """From the centre to the object: float64 [...] of states [..., 39]."""
        found: Doubles = np.hypot(states[..., 4] - self.x_m, states[..., 5] - self.y_m)
        return found

    @property
    def conditions(self) -> dict[str, Any]:
        """As an attempt's log has it."""
        return {"zone_x_m": self.x_m, "zone_y_m": self.y_m, "zone_on_path": self.on_path}


def draw_zone(path: Doubles, rng: np.random.Generator, *, clear_of_end: bool = False) -> Zone:
    """A zone on the object's path, or off it but near.

    Args:
        path: [N, 3] where the object is when the expert does the task.
        rng: draws it.
        clear_of_end: whether the object's last place has to stay outside, so that the task can
            be done.
    """
    on_path = bool(rng.random() < SHARE_ON_PATH)
    xy = path[:, :2]
    forbidden = [xy[0], *([xy[-1]] if clear_of_end else [])]
    for attempt in itertools.count():
        about = xy[rng.integers(len(xy))] if attempt % 2 else _even(xy, rng.random())
        reach = rng.uniform(0, 0.9 * RADIUS_M) if on_path else rng.uniform(CLEAR_M, 0.10)
        angle = rng.uniform(0, 2 * np.pi)
        centre = about + reach * np.array([np.cos(angle), np.sin(angle)])
        nearest = np.hypot(*(xy - centre).T).min()
        # A short path on rails leaves little room: the start's clearance shrinks in the end.
        clear = CLEAR_M if attempt < 400 else 1.05 * RADIUS_M
        if any(np.hypot(*(centre - place)) < clear for place in forbidden):
            continue
        if (nearest < 0.9 * RADIUS_M) if on_path else (nearest >= CLEAR_M):
            return Zone(
                x_m=round(float(centre[0]), 4), y_m=round(float(centre[1]), 4), on_path=on_path
            )
        if attempt > 4000:
            on_path = False
    raise AssertionError


def _even(xy: Doubles, share: float) -> Doubles:
    """The point of a path at this share of its length."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    at = share * along[-1]
    return np.array([np.interp(at, along, xy[:, axis]) for axis in (0, 1)])


def noise(rng: np.random.Generator, sigma: float, steps: int) -> npt.NDArray[np.float32]:
    """Noise that stays for a while: float32 [steps, 4] of this standard deviation."""
    out = np.zeros((steps, 4))
    now = rng.standard_normal(4)
    for at in range(steps):
        out[at] = now
        now = KEPT * now + np.sqrt(1 - KEPT**2) * rng.standard_normal(4)
    return (sigma * out).astype(np.float32)


class NoisyExpert:
    """The scripted expert, with noise on what it does; its gripper is left alone.

    Args:
        task: of Meta-World.
        sigma: of the noise.
        seed: of the noise.
    """

    def __init__(self, task: str, sigma: float, seed: int) -> None:
        self._expert = open_world(WORLD).operator(task)
        self.agent = f"scripted:metaworld/{task}+noise{sigma:g}"
        self._noise = noise(np.random.default_rng((seed, 17)), sigma, HORIZON)
        self._at = 0

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """An episode begins."""
        self._expert.reset(task, streams)
        self._at = 0

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """A sample has arrived."""
        self._expert.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)

    def act(self, at_ns: int) -> dict[str, Array]:
        """What the expert does, disturbed."""
        said = self._expert.act(at_ns)[ACTION]
        added = self._noise[self._at].copy()
        added[3] = 0
        self._at += 1
        return {ACTION: np.clip(said + added, -1, 1).astype(np.float32)}


def record_noisy(task: str, seed: int, log: Path) -> Path:
    """Record one noisy demonstration, as any rollout is."""
    if not log.exists():
        sigma = DEMONSTRATION_SIGMAS[seed % 2]
        run(
            open_world(WORLD).robot(task), NoisyExpert(task, sigma, seed), log,
            conditions={"seed": seed}, horizon=HORIZON, notes={"world": WORLD, "sigma": sigma},
        )  # fmt: skip
    return log


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A question whose answer is known: what follows from this plan?

    Args:
        task: of Meta-World.
        seed: of the attempt.
        at: step of the attempt.
        history: what had arrived.
        plan: float32 [steps, 4], at most `STEPS`.
        sigma: of the noise on the plan.
        truth: float64 [steps, 39], the states that truly follow.
        zone: of the attempt.
        state: float64 [39], now.
    """

    task: str
    seed: int
    at: int
    history: Events
    plan: npt.NDArray[np.float32]
    sigma: float
    truth: Doubles
    zone: Zone
    state: Doubles

    def happens(self, within: int) -> bool:
        """Whether the object truly enters the zone in so many steps."""
        return bool((self.zone.distance_m(self.truth[:within]) < RADIUS_M).any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attempt:
    """An attempt of an expert, perhaps a noisy one.

    Args:
        states: float64 [T + 1, 39].
        actions: float32 [T, 4].
        moments: T of the simulator's, before each action.
        succeeded: whether it did.
    """

    states: Doubles
    actions: npt.NDArray[np.float32]
    moments: Sequence[Any]
    succeeded: bool


def attempt_of(
    robot: Any, policy: Any, seed: int, given_up: Callable[[], bool] = lambda: False
) -> Attempt:
    """Do one, until success, the horizon or it is given up; keep all that is needed to go back."""
    robot.reset({"seed": seed})
    policy.reset(robot.task, robot.streams)
    states: list[Doubles] = []
    actions: list[npt.NDArray[np.float32]] = []
    moments: list[Any] = []
    succeeded = False
    while len(actions) < HORIZON and not (succeeded or given_up()):
        now_ns = robot.clock.now_ns()
        state = robot.observe()[STATE].value
        states.append(state)
        policy.add(STATE, state, capture_ns=now_ns, arrival_ns=now_ns)
        moments.append(robot.save())
        actions.append(policy.act(now_ns)[ACTION])
        robot.act({ACTION: actions[-1]})
        succeeded = bool(robot.outcome()["success"].value[0])
    states.append(robot.observe()[STATE].value)
    return Attempt(
        states=np.stack(states), actions=np.stack(actions), moments=moments, succeeded=succeeded
    )


def cases_of(
    task: str,
    seeds: Sequence[int],
    *,
    sigmas: Sequence[float] = SIGMAS,
    every: int = 8,
    clear_of_end: bool = False,
) -> Iterator[Case]:
    """Questions about attempts of the expert from unseen initial states.

    The plan at a decision is what the expert went on to do in this attempt, until it succeeded or
    `STEPS` were done, with noise. What truly follows is asked of the simulator. A decision counts
    while the object was never in the zone. The first observation is left out: in some tasks it says
    where the object was before the simulator settled, up to 19 cm off.
    """
    robot, expert = open_world(WORLD).robot(task), open_world(WORLD).operator(task)
    oracle = OracleDynamics(robot)
    for seed in seeds:
        rng = np.random.default_rng((seed, TASKS.index(task), 3))
        attempt = attempt_of(robot, expert, seed)
        zone = draw_zone(attempt.states[1:, OBJECT], rng, clear_of_end=clear_of_end)
        live = LiveEvents(robot.streams, robot.task)
        start_ns = attempt.moments[0].now_ns
        for at, state in enumerate(attempt.states[:-1]):
            now_ns = start_ns + at * robot.period_ns
            if at:
                live.add("success", np.array([False]), capture_ns=now_ns, arrival_ns=now_ns)
            live.add(STATE, state, capture_ns=now_ns, arrival_ns=now_ns)
            if at and zone.distance_m(state) < RADIUS_M:
                break
            if at % every == 1:
                sigma = float(rng.choice(sigmas))
                nominal = attempt.actions[at : at + STEPS]
                added = noise(rng, sigma, len(nominal))
                added[:, 3] = 0
                plan = np.clip(nominal + added, -1, 1).astype(np.float32)
                robot.restore(attempt.moments[at])
                truth = oracle.imagine(live.events(), plan[None], n=1, seed=0)[STATE][0, 0]
                yield Case(
                    task=task, seed=seed, at=at, history=live.events(now_ns), plan=plan,
                    sigma=sigma, truth=truth, zone=zone, state=state,
                )  # fmt: skip
            live.add(ACTION, attempt.actions[at], capture_ns=now_ns, arrival_ns=now_ns)
