"""The base model as dynamics: futures of `roll`, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from viae.errors import QueryRefusedError
from viae.foresee.dynamics import Array, Imagination, came, unknown
from viae.foresee.following import Following
from viae.foresee.habits import Usual
from viae.foresee.history import Fault, of_events
from viae.foresee.roll import Foreseen, Imagined, roll
from viae.model import BaseBundle
from viae.schema import Events, Kind, StreamSpec


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
        refuses: faults of a history that it refuses to imagine from: an imagination cannot say
            what is to blame. These are judged only where ``usual`` is given.
    """

    bundle: BaseBundle
    action: str = "action"
    temperature: float = 1.0
    usual: Usual | None = None
    robot: str = ""
    groups: int = 1
    refuses: tuple[Fault, ...] = ("clock", "late", "silent", "frozen")
    _following: Following = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_following", Following(self.bundle))

    def imagine(self, history: Events, actions: Array, *, n: int, seed: int) -> Imagination:
        """Imagine every plan n times: values of vectors, and of every stream whether it came.

        Raises:
            QueryRefusedError: see `viae.foresee.history.of_events`, `roll` and `by_step`; or an
                input is to blame, see ``refuses``.

        Cost: of the history only what is new since the last call; k n futures.
        """
        own = of_events(
            self.bundle, history, robot=self.robot, usual=self.usual, following=self._following
        )
        if blamed := [str(blame) for blame in own.blame if blame.fault in self.refuses]:
            raise QueryRefusedError(f"an input is to blame: {'; '.join(blamed)}")
        found = roll(
            own.context, {self.action: actions}, n=n, seed=seed, temperature=self.temperature,
            horizon=actions.shape[1], by=self.action,
        )  # fmt: skip
        specs = self.bundle.vocabulary.streams
        known = {spec.name for spec in specs}
        before = {
            spec.name: np.asarray(history.values[spec.name])[-1]
            for spec in history.streams
            if spec.kind is Kind.VECTOR and spec.name in known and len(history.values[spec.name])
        }
        return by_step(found, self.action, actions.shape[1], before, specs)


def by_step(
    found: Foreseen,
    action: str,
    steps: int,
    before: Mapping[str, Array],
    specs: Sequence[StreamSpec] = (),
) -> Imagination:
    """Futures as streams by step: [k, n, steps, *shape], and when samples came.

    Args:
        found: futures, of `roll`.
        action: the stream that steps are counted by.
        steps: of the horizon.
        before: latest sample of each stream in the history, which stays where no other comes. What
            has none is `viae.foresee.dynamics.unknown` until it has.
        specs: streams that are there even where no future has a sample of them.

    Raises:
        QueryRefusedError: no future did an action, or one was cut before its last one.
    """
    done = found.streams.get(action)
    if done is None:
        raise QueryRefusedError(
            f"the model foresees no sample of '{action}': it cannot say what follows from a plan"
        )
    cut = np.array([why == "events" for why in found.ended]) & (done.count < steps)
    if cut.any():
        raise QueryRefusedError(
            f"{int(cut.sum())} of {len(found)} futures had too many events before they had done "
            f"{steps} actions: what follows from the plan is not known"
        )
    # Step j ends when action j + 1 comes.
    ends = np.full((len(found), steps), np.iinfo(np.int64).max)
    count = min(steps, done.place.shape[1]) - 1
    ends[:, :count] = np.where(done.there, done.place, ends[:, -1:])[:, 1 : count + 1]
    shape = found.plans, found.n, steps
    out: dict[str, Array] = {}
    for spec in {s.name: s for s in (*specs, *(i.spec for i in found.streams.values()))}.values():
        if spec.name == action:
            continue
        stream = found.streams.get(spec.name)
        newest = np.full((len(found), steps), -1) if stream is None else _newest(stream, ends)
        since = np.concatenate([np.full((len(found), 1), -1), newest[:, :-1]], axis=1)
        out[came(spec.name)] = (newest > since).reshape(shape)
        if spec.kind is not Kind.VECTOR:
            continue
        first = before.get(spec.name)
        if first is None:
            first = unknown(spec.shape, np.dtype(spec.dtype))
        values = np.broadcast_to(first, (*newest.shape, *first.shape))
        if stream is not None:
            said = stream.values[np.arange(len(found))[:, None], np.maximum(newest, 0)]
            there = (newest >= 0).reshape(*newest.shape, *[1] * first.ndim)
            values = np.where(there, said, values)
        out[spec.name] = values.reshape(*shape, *first.shape)
    return out


def _newest(stream: Imagined, ends: Array) -> Array:
    """Number of the newest sample that came before each event: int64 [P, steps]; -1 for none."""
    before = (stream.place[:, None, :] < ends[:, :, None]) & stream.there[:, None, :]
    newest: Array = before.sum(-1) - 1
    return newest
