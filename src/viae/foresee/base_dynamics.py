"""The base model as dynamics: futures of `roll`, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viae.errors import QueryRefusedError
from viae.foresee.dynamics import Array, Imagination, came
from viae.foresee.habits import Usual
from viae.foresee.history import of_events
from viae.foresee.roll import Foreseen, Imagined, roll
from viae.model import BaseBundle
from viae.schema import Events, Kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaseDynamics:
    """A base model as `viae.foresee.dynamics.Dynamics`.

    A step is from one action to the next. After a future has ended, what was last said stays.

    Args:
        bundle: the model.
        action: the action stream that plans are of.
        temperature: of the samples.
        usual: what was usual in training, see `viae.foresee.history.of_events`.
        robot: its name.
    """

    bundle: BaseBundle
    action: str = "action"
    temperature: float = 1.0
    usual: Usual | None = None
    robot: str = ""
    groups: int = 1

    def imagine(self, history: Events, actions: Array, *, n: int, seed: int) -> Imagination:
        """Imagine every plan n times; streams of numbers only.

        Raises:
            QueryRefusedError: see `viae.foresee.history.of_events` and `roll`; or a future never
                did the plan's first action.
        """
        own = of_events(self.bundle, history, robot=self.robot, usual=self.usual)
        found = roll(
            own.context, {self.action: actions}, n=n, seed=seed, temperature=self.temperature,
            horizon=actions.shape[1], by=self.action,
        )  # fmt: skip
        before = {
            spec.name: np.asarray(history.values[spec.name])[-1]
            for spec in history.streams
            if spec.kind is Kind.VECTOR and len(history.values[spec.name])
        }
        return by_step(found, self.action, actions.shape[1], before)


def by_step(found: Foreseen, action: str, steps: int, before: dict[str, Array]) -> Imagination:
    """Futures as streams by step: [k, n, steps, *shape], and when samples came.

    Args:
        found: futures, of `roll`.
        action: the stream that steps are counted by.
        steps: of the horizon.
        before: latest sample of each stream in the history.

    Raises:
        QueryRefusedError: no future did an action.
    """
    done = found.streams.get(action)
    if done is None:
        raise QueryRefusedError(
            f"the model foresees no sample of '{action}': it cannot say what follows from a plan"
        )
    never = np.iinfo(np.int64).max
    # Step j ends when action j + 1 comes; what arrives with an action precedes it.
    starts = np.full((len(found), steps + 1), never)
    count = min(steps, done.arrival_ns.shape[1])
    starts[:, :count] = np.where(done.there, done.arrival_ns, never)[:, :count]
    out: dict[str, Array] = {}
    for name, stream in found.streams.items():
        if stream.spec.kind is not Kind.VECTOR or name == action:
            continue
        newest = _newest(stream, starts[:, 1:])
        first = before.get(name)
        if first is None:
            first = np.zeros(stream.values.shape[2:], stream.values.dtype)
        rows = np.arange(len(found))[:, None]
        said = stream.values[rows, np.maximum(newest, 0)]
        there = (newest >= 0).reshape(*newest.shape, *[1] * (said.ndim - 2))
        values = np.where(there, said, first)
        since = np.concatenate([np.full((len(found), 1), -1), newest[:, :-1]], axis=1)
        out[name] = values.reshape(found.plans, found.n, *values.shape[1:])
        out[came(name)] = (newest > since).reshape(found.plans, found.n, steps)
    return out


def _newest(stream: Imagined, until_ns: Array) -> Array:
    """Number of the newest sample that arrived by each time: int64 [P, steps]; -1 for none."""
    arrival = np.where(stream.there, stream.arrival_ns, np.iinfo(np.int64).max)
    by_then = (arrival[:, None, :] <= until_ns[:, :, None]) & stream.there[:, None, :]
    newest: Array = by_then.sum(-1) - 1
    return newest
