"""Dynamics: what can imagine the consequences of actions, and nothing more than that.

The base model is one, so is a specialist, so is a simulator whose state can be saved. `shield` and
`plan` know only this protocol.

Shapes: k plans, n samples of each, A elements of an action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from viae.errors import QueryRefusedError
from viae.schema import Events

Array: TypeAlias = npt.NDArray[Any]
Imagination: TypeAlias = Mapping[str, Array]
"""By stream [k, n, steps, *shape]: its latest sample after each step; under `came` of its name
bool [k, n, steps]: whether a sample of it came during the step."""

Bools: TypeAlias = npt.NDArray[np.bool_]
Samples: TypeAlias = Mapping[str, Array]
"""The same of plans and samples together: [n, steps, *shape]."""

CAME = "/came"


def came(stream: str) -> str:
    """Under which name an imagination says when samples of a stream came."""
    return f"{stream}{CAME}"


@runtime_checkable
class Dynamics(Protocol):
    """Imagines what follows from actions."""

    @property
    def groups(self) -> int:
        """Samples are drawn from so many models in turn: sample i is of model i % groups.

        How far models differ is uncertainty that more samples do not remove.
        """
        ...

    def imagine(self, history: Events, actions: Array, *, n: int, seed: int) -> Imagination:
        """Imagine every plan n times.

        Args:
            history: what had arrived, newest last.
            actions: [k, steps, A].
            n: samples of each plan; a multiple of `groups` where there are several.
            seed: of the samples. Sample i of each plan is driven by the same numbers.

        Raises:
            QueryRefusedError: the history gives no ground to answer.
        """
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A simulator as a robot that can be put back to where it was."""

    def save(self) -> Any:
        """This moment."""
        ...

    def restore(self, saved: Any) -> None:
        """Go back to a saved moment of the same attempt."""
        ...

    def observe(self) -> Mapping[str, Any]:
        """A reading of every observation stream that has a new one."""
        ...

    def act(self, action: Mapping[str, Any]) -> None:
        """Take an action, and let one control period pass."""
        ...

    def outcome(self) -> Mapping[str, Any]:
        """A reading of every outcome stream."""
        ...


@dataclass(frozen=True, slots=True)
class OracleDynamics:
    """The simulator itself: what would truly happen from where it stands now.

    Not to be had on a real robot; the upper bound that others are held against.

    Args:
        robot: whose present state is imagined from. It stands there again afterwards.
        action: name of its action stream.
    """

    robot: Rewindable
    action: str = "action"
    groups: int = 1

    def imagine(self, history: Events, actions: Array, *, n: int, seed: int) -> Imagination:
        """Do the actions, note what follows, go back. All n samples are the same.

        A stream that has no reading after a step stays as it was; before its first it is `unknown`.

        Args:
            history: not looked at: the simulator knows.
            actions: [k, steps, A].
            n: samples of each plan.
            seed: not needed: nothing is drawn.

        Cost: k steps of simulation for each step of the horizon.
        """
        del history, seed
        here = self.robot.save()
        k, steps = actions.shape[:2]
        found: dict[str, list[tuple[int, int, Array]]] = {}
        try:
            for number, plan in enumerate(actions):
                self.robot.restore(here)
                for at, command in enumerate(plan):
                    self.robot.act({self.action: command})
                    for name, reading in {**self.robot.outcome(), **self.robot.observe()}.items():
                        found.setdefault(name, []).append((number, at, np.array(reading.value)))
        finally:
            self.robot.restore(here)
        imagined: dict[str, Array] = {}
        for name, read in found.items():
            there = np.zeros((k, steps), np.bool_)
            values = unknown((k, steps, *read[0][2].shape), read[0][2].dtype)
            for number, at, value in read:
                there[number, at], values[number, at:] = True, value
            imagined[name] = np.repeat(values[:, None], n, axis=1)
            imagined[came(name)] = np.repeat(there[:, None], n, axis=1)
        return imagined


def unknown(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Values of which nobody knows anything: NaN, or 0 where there is no NaN."""
    return np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)


def of_plans(imagination: Imagination) -> tuple[int, int, int]:
    """k, n and steps of an imagination.

    Raises:
        QueryRefusedError: it is empty, or its streams disagree.
    """
    sizes = {values.shape[:3] for values in imagination.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 3:
        shapes = {name: list(values.shape) for name, values in imagination.items()}
        raise QueryRefusedError(
            f"an imagination is [plans, samples, steps, …] throughout, not {shapes}"
        )
    k, n, steps = sizes.pop()
    return k, n, steps


def flat(imagination: Imagination) -> Samples:
    """Plans and samples as one: by name [k n, steps, *shape]."""
    k, n, _ = of_plans(imagination)
    return {name: v.reshape(k * n, *v.shape[2:]) for name, v in imagination.items()}


def foreseen_stream(samples: Samples, name: str, asked_by: str) -> Array:
    """A stream of futures.

    Raises:
        QueryRefusedError: it was not foreseen.
    """
    if name not in samples:
        raise QueryRefusedError(
            f"'{asked_by}' looks at '{name}', which was not foreseen; there are {sorted(samples)}"
        )
    return samples[name]
