"""Meta-World's tasks as robots, and its scripted experts as operators.

Yu et al. 2019, arXiv:1910.10897. The state is Meta-World's own 39 numbers: hand, gripper and two
objects now and one step before, and the goal, which is shown.
"""

from __future__ import annotations

import copy
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import MissingExtraError, WorldError
from viae.schema import JsonValue, Role, StreamSpec

PERIOD_NS = 12_500_000  # MuJoCo's 2.5 ms, five of them an action
START_NS = 1_000_000_000
VERSION = "-v3"

_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_OBJECTS = tuple(f"object{n}_{axis}" for n in (1, 2) for axis in _POSE)
_FRAME = ("hand_x", "hand_y", "hand_z", "gripper", *_OBJECTS)
STATE = StreamSpec(
    name="observation.state",
    shape=(39,),
    names=(*_FRAME, *(f"previous_{name}" for name in _FRAME), "goal_x", "goal_y", "goal_z"),
    clock="simulation",
)
ACTION = StreamSpec(
    name="action",
    dtype="float32",
    shape=(4,),
    names=("hand_dx", "hand_dy", "hand_dz", "grip"),
    role=Role.ACTION,
)
SUCCESS = StreamSpec(
    name="success", dtype="bool", shape=(1,), role=Role.OUTCOME, clock="simulation"
)


@dataclass(frozen=True, slots=True)
class _Reading:
    value: Any
    capture_ns: int


@dataclass(frozen=True, slots=True)
class _Saved:
    """A moment of an attempt, see `MetaWorldRobot.save`."""

    attempt: int
    physics: npt.NDArray[np.float64]
    attributes: Mapping[str, Any]
    state: npt.NDArray[np.float64]
    succeeded: bool
    now_ns: int


class _SimulationClock:
    """Simulated time: it moves when the simulator is stepped."""

    is_stepped = True

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def step(self) -> None:
        self._now_ns += PERIOD_NS

    def wait_until(self, at_ns: int) -> None:
        """Waiting takes no simulated time: only `step` moves the clock."""


class MetaWorldRobot:
    """One Meta-World task as a robot.

    Its condition is ``{"seed": n}``: the goal and the objects are drawn from that seed alone.

    Args:
        task: e.g. ``"push"``.
    """

    name = "sawyer"
    streams = (STATE, ACTION, SUCCESS)
    period_ns = PERIOD_NS

    def __init__(self, task: str) -> None:
        self.task = task
        self.clock = _SimulationClock()
        self._env = _environments()[task + VERSION]()
        # What Meta-World's own benchmarks set, for one task with random goals that are shown:
        self._env._partially_observable = False
        self._env.__dict__.pop("sawyer_observation_space", None)  # cached with the goal hidden
        self._env._freeze_rand_vec = False
        self._env._set_task_called = True
        self._env.seeded_rand_vec = True  # else reset draws from NumPy's global state
        self._env.max_path_length = 2**31  # the runner decides when an attempt ends
        self._state: npt.NDArray[np.float64] = np.zeros(39)
        self._succeeded = False
        self._attempt = 0

    def reset(self, conditions: Mapping[str, JsonValue]) -> None:
        """Draw goal and objects from the seed.

        Raises:
            WorldError: a condition other than ``seed``, or a seed that is no natural number.
        """
        unknown = set(conditions) - {"seed"}
        seed = conditions.get("seed")
        if unknown or not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise WorldError(
                f"Meta-World '{self.task}' resets to {{'seed': 0, 1, 2, …}}, not {dict(conditions)}"
            )
        self._env.seed(seed)  # reset(seed=…) would be ignored
        self._state, _ = self._env.reset()
        self._succeeded = False
        self._attempt += 1
        self.clock = _SimulationClock()

    def observe(self) -> dict[str, _Reading]:
        """The state now."""
        return {STATE.name: _Reading(self._state, self.clock.now_ns())}

    def act(self, action: Mapping[str, Any]) -> None:
        """Move the hand and the gripper, each element limited to ±1, for 12.5 ms."""
        command = np.clip(np.asarray(action[ACTION.name], np.float32), -1, 1)
        self._state, _, _, _, info = self._env.step(command)
        self._succeeded = bool(info["success"])
        self.clock.step()

    def outcome(self) -> dict[str, _Reading]:
        """Whether the task is done at this moment."""
        return {SUCCESS.name: _Reading(np.array([self._succeeded]), self.clock.now_ns())}

    def save(self) -> _Saved:
        """This moment, so that `restore` brings the world back to it. Cost: about 0.1 ms."""
        import mujoco

        env, part = self._env, mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.empty(mujoco.mj_stateSize(env.model, part))
        mujoco.mj_getState(env.model, env.data, physics, part)
        return _Saved(
            attempt=self._attempt, physics=physics, attributes=_plain(env), state=self._state,
            succeeded=self._succeeded, now_ns=self.clock.now_ns(),
        )  # fmt: skip

    def restore(self, saved: _Saved) -> None:
        """Go back to a saved moment; equal actions then have equal consequences, to the bit.

        Raises:
            WorldError: the moment is of another attempt: what `reset` drew would not come back.
        """
        import mujoco

        if saved.attempt != self._attempt:
            raise WorldError(
                f"Meta-World '{self.task}' was reset after this moment was saved; it goes back "
                "only within an attempt"
            )
        env, part = self._env, mujoco.mjtState.mjSTATE_INTEGRATION
        mujoco.mj_setState(env.model, env.data, saved.physics, part)
        mujoco.mj_forward(env.model, env.data)  # this moves the solver's warm start
        mujoco.mj_setState(env.model, env.data, saved.physics, part)
        env.__dict__.update(copy.deepcopy(saved.attributes))
        self._state, self._succeeded = saved.state, saved.succeeded
        self.clock = _SimulationClock(saved.now_ns)

    def close(self) -> None:
        """Let go of the simulator."""
        self._env.close()


class MetaWorldExpert:
    """Meta-World's scripted expert for a task, as a policy."""

    def __init__(self, task: str) -> None:
        self.agent = f"scripted:metaworld/{task}"
        self._expert = _experts()[_key(task)]()
        self._state: npt.NDArray[np.float64] | None = None

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """Forget the last episode."""
        self._state = None

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """Remember the newest state."""
        if stream == STATE.name:
            self._state = np.asarray(value)

    def act(self, at_ns: int) -> dict[str, npt.NDArray[np.float32]]:
        """The expert's action, within ±1 as the arm would limit it."""
        if self._state is None:
            raise WorldError("the expert was asked for an action before any state arrived")
        with warnings.catch_warnings():  # the experts ask for more than ±1, and warn each time
            warnings.simplefilter("ignore", UserWarning)
            action = self._expert.get_action(self._state)
        return {ACTION.name: np.clip(np.asarray(action, np.float32), -1, 1)}


class MetaWorld:
    """The world of the entry point ``metaworld``."""

    name = "metaworld"
    horizon = 300

    def __init__(self) -> None:
        self.tasks = tuple(sorted(name.removesuffix(VERSION) for name in _environments()))

    def robot(self, task: str) -> MetaWorldRobot:
        """The task as a robot."""
        return MetaWorldRobot(self._known(task))

    def operator(self, task: str) -> MetaWorldExpert:
        """The task's scripted expert."""
        return MetaWorldExpert(self._known(task))

    def _known(self, task: str) -> str:
        if task not in self.tasks:
            raise WorldError(f"Meta-World has no task '{task}'; it has {', '.join(self.tasks)}")
        return task


def _plain(env: Any) -> dict[str, Any]:
    """Attributes of a Meta-World environment that steps may change: numbers and arrays."""
    kinds = (int, float, np.ndarray, np.generic, type(None))
    return copy.deepcopy({k: v for k, v in vars(env).items() if isinstance(v, kinds)})


def _environments() -> Mapping[str, Any]:
    os.environ.setdefault("MUJOCO_GL", "disable")  # states need no window; importing would open one
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise MissingExtraError("metaworld", extra="worlds") from error
    environments: Mapping[str, Any] = ALL_V3_ENVIRONMENTS
    return environments


def _experts() -> dict[str, Any]:
    """Scripted experts by `_key` of their task."""
    import metaworld.policies

    pattern = re.compile(r"Sawyer(\w+)V3Policy")
    found = {
        match[1].lower(): getattr(metaworld.policies, name)
        for name in dir(metaworld.policies)
        if (match := pattern.fullmatch(name))
    }
    found[_key("peg-insert-side")] = found["peginsertionside"]  # the one named differently
    return found


def _key(task: str) -> str:
    return task.replace("-", "")
