"""Foresee: futures drawn from the model, event after event.

A future is a sample from the model's own distribution over logs: which stream speaks next, when,
and what it says, until the episode ends or the horizon is reached. Actions may be given: then the
model says when an action comes, and the plan says which.

Shapes: k plans, n samples of each, P = k n futures (future p is sample p % n of plan p // n),
m samples of a stream, A elements of an action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import QueryRefusedError
from viae.foresee.history import Blame, History
from viae.foresee.sampling import Noise, Spoken, possible_types, say_event, say_type
from viae.model import Context
from viae.model.context import Part
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import NS_PER_S, OUTCOME, Kind, Role, StreamSpec

Ints: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ended: TypeAlias = Literal["outcome", "horizon", "events"]

EVENTS_PER_STEP = 64
"""A future has at most so many events per step of the horizon: then it is cut, and says so."""
EVENTS = 4096
"""The same where the horizon is in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imagined:
    """A stream in P futures.

    Args:
        spec: the stream.
        count: int64 [P], samples of each future.
        values: [P, m, *shape] in the stream's dtype, zeros from ``count`` on; of texts a list of
            lists; of pictures uint8 [P, m, 3, H, W].
        arrival_ns: int64 [P, m], log clock.
        capture_ns: int64 [P, m].
        place: int64 [P, m], which event of its future it is, of all streams: 0 is the first.
        log_p: float64 [P, m, 4]: log probability, nats, of type, gap, age and content; content
            that was given has 0.
    """

    spec: StreamSpec
    count: Ints
    values: Any
    arrival_ns: Ints
    capture_ns: Ints
    place: Ints
    log_p: Doubles

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        """Which samples there are: bool [P, m]."""
        return np.arange(self.arrival_ns.shape[1]) < self.count[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreseen:
    """P futures.

    Args:
        plans: k.
        n: futures of each plan.
        streams: what was foreseen, by stream; streams that never spoke are left out.
        outcome: float64 [P]: 1 success, 0 failure, NaN where the future did not end.
        ended: of each future, why it stopped: the episode's ``"outcome"``, the ``"horizon"``, or
            too many ``"events"``.
        by: the stream whose samples the horizon counts; empty where it is in seconds.
        begin_ns: when the newest event of the history arrived.
        seed: of the samples.
        temperature: of the samples.
        blame: what is wrong with the history, see `viae.foresee.history`.
    """

    plans: int
    n: int
    streams: Mapping[str, Imagined]
    outcome: Doubles
    ended: tuple[Ended, ...]
    by: str
    begin_ns: int
    seed: int
    temperature: float
    blame: Sequence[Blame] = field(default_factory=tuple)

    def __len__(self) -> int:
        return self.plans * self.n

    @property
    def log_p(self) -> Doubles:
        """Log probability of each future, nats, given the history and the plan: float64 [P].

        The model's own, at temperature 1, whatever temperature it was drawn at.
        """
        total = np.zeros(len(self))
        for stream in self.streams.values():
            total += np.where(stream.there[..., None], stream.log_p, 0.0).sum((1, 2))
        return total

    def success(self) -> Doubles:
        """Per plan the share of ended futures that succeed: float64 [k]; NaN where none ended."""
        found = self.outcome.reshape(self.plans, self.n)
        ended = np.isfinite(found)
        count = ended.sum(1)
        share = np.where(ended, found, 0.0).sum(1) / np.maximum(count, 1)
        return np.where(count > 0, share, np.nan)


def roll(
    context: Context,
    actions: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    n: int,
    seed: int,
    temperature: float,
    horizon: int | None = None,
    seconds: float | None = None,
    by: str = "",
    most_events: int | None = None,
) -> Foreseen:
    """Draw futures of one history.

    Futures run in lockstep, an event each at a time, and may differ in which stream speaks: what is
    asked of the same type is asked together. What a future says depends on the seed and its number
    only, so that ``n=2`` begins with the future of ``n=1``, and future i of two plans is driven by
    the same numbers (rounding may tip a token when the numbers of rows differ).

    Args:
        context: one history; it stays as it is.
        actions: a plan [steps, *A], or k of them [k, steps, *A], of the only action stream, or by
            stream; None lets the model act as the log's agents did.
        n: futures of each plan.
        seed: of the samples.
        temperature: 1 samples from the model; less is bolder; 0 takes the most probable type and
            the median of every token given those before it.
        horizon: a future ends before the sample of ``by`` that comes after so many.
        seconds: a future ends before the first event that is later than this after the newest.
        by: stream that the horizon counts; by default the action stream, or else the first vector.
        most_events: of each future.

    Raises:
        QueryRefusedError: no horizon; a plan for a stream that is no action of the model, of
            another shape or shorter than the horizon; or actions are hidden from this history.
    """
    if context.count != 1:
        raise QueryRefusedError(f"futures are drawn of one history, not of {context.count}")
    if n < 1 or temperature < 0 or (horizon is None and seconds is None):
        raise QueryRefusedError(
            f"n={n}, temperature={temperature}, horizon={horizon}, seconds={seconds}: at least one "
            "sample, a temperature of 0 or more, and a horizon in steps or seconds"
        )
    plans = _plans(context.vocabulary, actions, horizon)
    if plans and context.hides_actions:
        raise QueryRefusedError("this history hides actions from the model: it cannot heed a plan")
    of_plans = {len(plan) for plan in plans.values()} or {1}
    if len(of_plans) > 1:
        raise QueryRefusedError(f"as many plans for each stream, not {sorted(of_plans)}")
    [k] = of_plans
    if horizon is not None:
        by = by or next(iter(plans), "") or _counted(context.vocabulary)
        context.vocabulary.type_of(by, first=False)
    most = most_events or (EVENTS if horizon is None else max(1, horizon) * EVENTS_PER_STEP)
    begin_ns = 0 if context.last_ns is None else int(context.last_ns[0])
    until = None if seconds is None else begin_ns + round(seconds * NS_PER_S)
    futures = _Futures(
        context, plans, k, n, seed, temperature, by if horizon is not None else "", horizon, until
    )
    for _ in range(most):
        if not futures.step():
            break
    streams = futures.streams()
    return Foreseen(
        plans=k, n=n, streams=streams, outcome=_outcomes(streams, k * n),
        ended=tuple(futures.ended), by=futures.by, begin_ns=begin_ns, seed=seed,
        temperature=temperature,
    )  # fmt: skip


def foresee(
    history: History,
    actions: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    n: int,
    seed: int,
    temperature: float,
    horizon: int | None = None,
    seconds: float | None = None,
    by: str = "",
    most_events: int | None = None,
) -> Foreseen:
    """Draw futures of a history; what is wrong with it comes with them.

    Args:
        history: up to a moment.
        actions: see `roll`, as all others.
        n: futures of each plan.
        seed: of the samples.
        temperature: 1 samples from the model.
        horizon: steps.
        seconds: after the newest event.
        by: stream that steps are counted by.
        most_events: of each future.

    Raises:
        QueryRefusedError: see `roll`.
    """
    found = roll(
        history.context, actions, n=n, seed=seed, temperature=temperature, horizon=horizon,
        seconds=seconds, by=by, most_events=most_events,
    )  # fmt: skip
    return replace(found, blame=history.blame)


class _Futures:
    """Futures as they grow; those that ended are carried along until half have."""

    def __init__(
        self, context: Context, plans: Mapping[str, npt.NDArray[Any]], k: int, n: int, seed: int,
        temperature: float, by: str, horizon: int | None, until_ns: int | None,
    ) -> None:  # fmt: skip
        self.by = by
        self.ended: list[Ended] = ["events"] * (k * n)
        self._vocabulary = context.vocabulary
        self._specs = {spec.name: spec for spec in context.vocabulary.streams}
        self._context = context.repeated(k * n)
        self._plans, self._n = plans, n
        self._samples = np.tile(np.arange(n), k)
        self._noise = Noise(seed, self._samples)
        self._temperature, self._horizon, self._until_ns = temperature, horizon, until_ns
        self._futures = np.arange(k * n)  # of each row of the context
        self._alive = np.ones(k * n, np.bool_)  # per row
        self._said = {name: np.zeros(k * n, np.int64) for name in self._specs}  # per future
        self._events: list[tuple[Ints, int, Doubles, Spoken]] = []
        self._steps = 0

    def step(self) -> bool:
        """One more event of each; False when all have ended."""
        if not self._alive.any():
            return False
        self._drop()
        context = self._context
        rows = np.arange(context.count)
        draws = self._noise.take(rows, 1)[:, 0]
        kinds, log_p = say_type(context, possible_types(context), draws, self._temperature)
        spoken = []
        for kind in np.unique(kinds).tolist():
            own = np.flatnonzero(kinds == kind)
            stream = self._vocabulary.types[kind].stream
            self._end(own[self._exhausted(stream, own)], "horizon")
            given = self._given(stream, own)
            spoken.append(say_event(context, kind, own, self._noise, self._temperature, given))
        for each in spoken:
            if self._until_ns is not None:
                self._end(each.rows[each.arrival_ns > self._until_ns], "horizon")
            self._record(each, log_p)
        capture_ns, arrival_ns = (np.empty(context.count, np.int64) for _ in range(2))
        parts = []
        for each in spoken:
            capture_ns[each.rows], arrival_ns[each.rows] = each.capture_ns, each.arrival_ns
            stream = self._vocabulary.types[each.kind].stream
            parts.append(Part(stream=stream, rows=each.rows, values=each.values, after=each.after))
        context.put(parts, capture_ns=capture_ns, arrival_ns=arrival_ns, said=True)
        self._steps += 1
        return bool(self._alive.any())

    def streams(self) -> dict[str, Imagined]:
        """All that was said."""
        count = len(self.ended)
        found = {}
        for name, spec in self._specs.items():
            events = [e for e in self._events if self._vocabulary.types[e[3].kind].stream == name]
            if events:
                found[name] = _collected(spec, events, count)
        return found

    def _drop(self) -> None:
        if 2 * self._alive.sum() > len(self._alive):
            return
        kept = np.flatnonzero(self._alive)
        self._context = self._context.taken(kept)
        self._noise = self._noise.taken(kept)
        self._futures, self._alive = self._futures[kept], self._alive[kept]

    def _exhausted(self, stream: str, rows: Ints) -> npt.NDArray[np.bool_]:
        said = self._said[stream][self._futures[rows]]
        out = np.zeros(len(rows), np.bool_)
        if self._horizon is not None and stream == self.by:
            out |= said >= self._horizon
        if stream in self._plans:
            out |= said >= self._plans[stream].shape[1]
        return out

    def _given(self, stream: str, rows: Ints) -> Any:
        if stream not in self._plans:
            return None
        plan, futures = self._plans[stream], self._futures[rows]
        step = np.minimum(self._said[stream][futures], plan.shape[1] - 1)
        return plan[futures // self._n, step]

    def _end(self, rows: Ints, why: Ended) -> None:
        for row in rows[self._alive[rows]].tolist():
            self.ended[int(self._futures[row])] = why
        self._alive[rows] = False

    def _record(self, spoken: Spoken, log_p: Doubles) -> None:
        here = self._alive[spoken.rows]
        if not here.any():
            return
        rows = spoken.rows[here]
        futures = self._futures[rows]
        at = np.flatnonzero(here)
        values = spoken.values
        kept = Spoken(
            kind=spoken.kind, rows=futures, tokens=spoken.tokens[at],
            log_p=np.column_stack([log_p[rows], spoken.log_p[at]]),
            arrival_ns=spoken.arrival_ns[at], capture_ns=spoken.capture_ns[at],
            values=values[at] if isinstance(values, np.ndarray) else [values[i] for i in at],
        )  # fmt: skip
        stream = self._vocabulary.types[spoken.kind].stream
        self._events.append((self._said[stream][futures], self._steps, kept.log_p, kept))
        self._said[stream][futures] += 1
        if stream == OUTCOME:
            self._end(rows, "outcome")


def _collected(
    spec: StreamSpec, events: Sequence[tuple[Ints, int, Doubles, Spoken]], futures: int
) -> Imagined:
    counts = np.zeros(futures, np.int64)
    for number, _, _, spoken in events:
        counts[spoken.rows] = number + 1
    most = int(counts.max())
    arrival, capture, order = (np.zeros((futures, most), np.int64) for _ in range(3))
    log_p = np.zeros((futures, most, 4))
    texts = [[""] * most for _ in range(futures)]
    first = events[0][3].values
    values = (
        np.zeros((futures, most, *first.shape[1:]), first.dtype)
        if isinstance(first, np.ndarray)
        else None
    )
    for numbers, place, nats, spoken in events:
        at = spoken.rows, numbers
        arrival[at], capture[at], log_p[at] = spoken.arrival_ns, spoken.capture_ns, nats
        order[at] = place
        if values is not None:
            values[at] = spoken.values
        else:
            for row, number, text in zip(*at, spoken.values, strict=True):
                texts[row][number] = text
    return Imagined(
        spec=spec, count=counts, arrival_ns=arrival, capture_ns=capture, place=order, log_p=log_p,
        values=[row[: int(c)] for row, c in zip(texts, counts, strict=True)]
        if values is None else values,
    )  # fmt: skip


def _outcomes(streams: Mapping[str, Imagined], futures: int) -> Doubles:
    out = np.full(futures, np.nan)
    if (said := streams.get(OUTCOME)) is not None:
        ended = said.count > 0
        out[ended] = np.asarray(said.values)[ended, 0].reshape(int(ended.sum()), -1)[:, 0]
    return out


def _plans(
    vocabulary: Vocabulary,
    actions: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | None,
    horizon: int | None,
) -> dict[str, npt.NDArray[Any]]:
    """Plans by stream, [k, steps, *A] in the recorded dtype."""
    specs = {spec.name: spec for spec in vocabulary.streams if spec.role is Role.ACTION}
    if actions is None:
        return {}
    if not isinstance(actions, Mapping):
        if len(specs) != 1:
            raise QueryRefusedError(
                f"a plan is of which stream? The model's actions are {sorted(specs)}: give plans "
                "by stream"
            )
        actions = {next(iter(specs)): actions}
    found = {}
    for name, plan in actions.items():
        spec = specs.get(name)
        if spec is None:
            raise QueryRefusedError(
                f"a plan for '{name}', which is no action of the model; they are {sorted(specs)}"
            )
        array = np.asarray(plan)
        if array.ndim == 1 + len(spec.shape):
            array = array[None]
        fits = array.dtype.kind in "biuf" and array.shape[2:] == spec.shape and array.size
        if not fits or not np.isfinite(array).all():
            raise QueryRefusedError(
                f"a plan for '{name}' is finite, [steps, {', '.join(map(str, spec.shape))}] or "
                f"[plans, steps, …], not {array.dtype}{list(np.shape(plan))}"
            )
        if horizon is not None and array.shape[1] < horizon:
            raise QueryRefusedError(
                f"the plan for '{name}' has {array.shape[1]} steps, fewer than the horizon of "
                f"{horizon}; give more, or a shorter horizon"
            )
        found[name] = array.astype(spec.dtype)
    return found


def _counted(vocabulary: Vocabulary) -> str:
    """The stream that a horizon counts where none is named."""
    vectors = [spec for spec in vocabulary.streams if spec.kind is Kind.VECTOR]
    for role in (Role.ACTION, Role.OBSERVATION):
        for spec in vectors:
            if spec.role is role:
                return spec.name
    return vocabulary.streams[0].name


__all__ = ["Foreseen", "Imagined", "foresee", "roll"]
