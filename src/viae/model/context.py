"""What has happened so far, as the trunk has it: events go in one by one, states come out.

Shapes as in `viae.model.base`; P histories run beside each other. They have equally many events;
which streams speak, when, and what they say may differ.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viae.errors import TokenError
from viae.model.base import BaseModel, Cache, EventBatch
from viae.model.present import Present
from viae.model.tokens.codec import Floats, Tokens
from viae.model.tokens.grid import GridCodec
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.vector import VectorCodec
from viae.model.tokens.vocabulary import Vocabulary, shown_time
from viae.model.windows import first_shown
from viae.schema import INSTRUCTION, Events, Role

Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The next event of those of P histories in which the same stream speaks.

    Args:
        stream: its name.
        rows: int64 [m], which histories, ascending.
        values: [m, *shape], or m texts.
        after: what the samples after these are coded given, where the tokens say it (pictures);
            None where the values do.
    """

    stream: str
    rows: Ints
    values: Any
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Added:
    """Tokens of events that were added.

    Args:
        kind: their type.
        rows: int64 [m], of which histories.
        tokens: int32 [m, S].
    """

    kind: int
    rows: Ints
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class _Look:
    """What events of one stream look like, in some of P histories."""

    stream: int
    rows: Ints
    features: Floats


@dataclass(frozen=True, slots=True)
class _Event:
    """The event at one place of P histories: kinds [P], times [P, 2], hidden [P]."""

    kinds: Ints
    times: Floats
    looks: tuple[_Look, ...]
    hidden: Flags

    def taken(self, rows: Ints) -> _Event:
        return _Event(
            self.kinds[rows], self.times[rows], tuple(_taken(look, rows, len(self.kinds))
            for look in self.looks), self.hidden[rows],
        )  # fmt: skip


class Context:
    """Histories that grow.

    Keys and values of the trunk are kept. Which events the trunk sees is decided by
    `viae.model.windows.first_shown`: the state is a function of the history, however it was read.

    Args:
        model: in evaluation mode.
        vocabulary: its own.
        length: events of a window in training.
        hide_actions: whether actions are hidden from the trunk.
        count: P.
    """

    def __init__(
        self,
        model: BaseModel,
        vocabulary: Vocabulary,
        *,
        length: int,
        hide_actions: bool = False,
        count: int = 1,
    ) -> None:
        self.model, self.vocabulary = model, vocabulary
        self.length, self.hides_actions, self.count = length, hide_actions, count
        self._numbers = {spec.name: i for i, spec in enumerate(vocabulary.streams)}
        self._roles = {spec.name: spec.role for spec in vocabulary.streams}
        self._before: dict[str, Any] = {}
        self._seen: dict[str, Flags] = {}
        self._ages: dict[str, Ints] = {}
        self._last_ns: Ints | None = None
        self._total = 0
        self._events: list[_Event] = []  # the newest ones
        self._pinned: tuple[int, _Event] | None = None
        self._read = self._window = 0
        self._cache: Cache | None = None
        self._state_PD: Tensor | None = None
        blurred = [vocabulary.codec(spec.name).numbers for spec in vocabulary.streams]
        self._present = Present(count, blurred)

    def __len__(self) -> int:
        """Events of each history."""
        return self._total

    @property
    def last_ns(self) -> Ints | None:
        """When the newest event of each arrived: int64 [P]; None before the first."""
        return self._last_ns

    def seen(self, stream: str) -> Flags:
        """In which histories a stream has had a sample: bool [P]."""
        return self._seen.get(stream, np.zeros(self.count, np.bool_))

    def before(self, stream: str, rows: Ints | None = None) -> Any:
        """What the next samples of a stream are coded given; None where it never had any.

        Args:
            stream: its name.
            rows: of which histories; None for all.
        """
        found = self._before.get(stream)
        return found if found is None or rows is None else _rows(found, rows)

    def ages(self, stream: str) -> Ints:
        """How old the newest sample of a stream was on arrival: int64 [P] ns; 0 without one."""
        return self._ages.get(stream, np.zeros(self.count, np.int64))

    def read(self, events: Events) -> None:
        """The beginning of an episode has arrived; streams that have no tokens are left out.

        Equal to adding its events one after another.

        Raises:
            TokenError: something has arrived before, a stream of another shape, or a value that
                has no token.
        """
        if self._total or self.count != 1:
            raise TokenError("events are read at once only into one empty history; add them")
        encoded = self.vocabulary.encode(events)
        known = [i for i, spec in enumerate(events.streams) if spec.name in self._numbers]
        kept = np.isin(events.stream, known)
        arrival_ns, capture_ns = events.arrival_ns[kept], events.capture_ns[kept]
        total, row0 = len(encoded), np.zeros(1, np.int64)
        names = [spec.name for spec in self.vocabulary.streams]
        pinned = np.flatnonzero(encoded.stream == self._numbers.get(INSTRUCTION, -1))[:1]
        from_ = max(0, total - 2 * self.length)
        for at in [*pinned[pinned < from_].tolist(), *range(from_, total)]:
            stream = int(encoded.stream[at])
            row = int(encoded.row[at])
            look = _Look(stream, row0, encoded.features[stream][row : row + 1])
            hidden = self.hides_actions and bool(encoded.action[at])
            event = _Event(
                encoded.types[at : at + 1], encoded.times[at : at + 1], (look,), np.array([hidden])
            )
            if at in pinned:
                self._pinned = at, event
            if at >= from_:
                self._events.append(event)
        for number in np.unique(encoded.stream).tolist():
            last = int(np.flatnonzero(encoded.stream == number)[-1])
            self._seen[names[number]] = np.ones(1, np.bool_)
            self._ages[names[number]] = arrival_ns[last : last + 1] - capture_ns[last : last + 1]
            self._before[names[number]] = _kept(encoded.after[names[number]])
            row = int(encoded.row[last])
            self._keep(
                number, row0, last, int(encoded.types[last]), encoded.times[last],
                encoded.features[number][row : row + 1],
            )  # fmt: skip
        self._total = total
        self._last_ns = arrival_ns[-1:].copy() if total else None

    def add(
        self, stream: str, values: Any, *, capture_ns: int | Ints, arrival_ns: int | Ints
    ) -> list[Added]:
        """An event has arrived in every history, in causal order.

        Args:
            stream: its name.
            values: P of them: [P, *shape], or texts.
            capture_ns: log clock; one or P.
            arrival_ns: not before the last one.

        Returns:
            Its tokens; of more than one type where it is the stream's first in some histories.

        Raises:
            TokenError: a stream that the model does not have, or a value that has no token.
        """
        part = Part(stream=stream, rows=np.arange(self.count), values=values)
        return self.put([part], capture_ns=capture_ns, arrival_ns=arrival_ns)

    def put(
        self,
        parts: Sequence[Part],
        *,
        capture_ns: int | Ints,
        arrival_ns: int | Ints,
        said: bool = False,
    ) -> list[Added]:
        """An event has arrived in every history, of whatever stream.

        Args:
            parts: every history is in exactly one.
            capture_ns: log clock; one or P.
            arrival_ns: not before the last one; one or P.
            said: the model said it itself, so that there is no need of tokens; none come back.

        Raises:
            TokenError: see `add`.
        """
        arrival = np.broadcast_to(np.asarray(arrival_ns, np.int64), (self.count,))
        ages = arrival - np.asarray(capture_ns, np.int64)
        last = arrival if self._last_ns is None else self._last_ns
        times = np.stack([shown_time(arrival - last), shown_time(ages)], 1)
        if self.count != sum(len(part.rows) for part in parts):
            raise TokenError(f"{sum(len(p.rows) for p in parts)} events for {self.count} histories")
        kinds = np.empty(self.count, np.int64)
        hidden = np.zeros(self.count, np.bool_)
        looks: list[_Look] = []
        added: list[Added] = []
        coded = [each for part in parts for each in self._coded(part, said)]
        for kind, rows, features, after, tokens, stream in coded:
            kinds[rows] = kind
            hidden[rows] = self.hides_actions and self._roles[stream] is Role.ACTION
            looks.append(_Look(self._numbers[stream], rows, features))
            self._keep(self._numbers[stream], rows, self._total, kind, times[rows], features)
            if tokens is not None:
                timed = self._timed(kind, (arrival - last)[rows], ages[rows], tokens)
                added.append(Added(kind=kind, rows=rows, tokens=timed))
            self._before[stream] = _replaced(self._before.get(stream), rows, after, self.count)
            self._seen[stream] = _replaced(self.seen(stream), rows, np.ones(len(rows), np.bool_),
                                           self.count)  # fmt: skip
            self._ages[stream] = _replaced(self.ages(stream), rows, ages[rows], self.count)
        event = _Event(kinds, times, tuple(looks), hidden)
        if self._pinned is None and self._numbers.get(INSTRUCTION, -1) in {k.stream for k in looks}:
            self._pinned = self._total, event
        self._events.append(event)
        self._total += 1
        self._last_ns = arrival.copy()
        if len(self._events) > 4 * self.length:
            del self._events[: -2 * self.length]
        return added

    def state(self) -> Tensor:
        """The trunk's state after the newest event: float32 [P, D]."""
        if self._state_PD is None or self._read < self._total:
            self._advance()
        assert self._state_PD is not None
        return self._state_PD

    def present(self, *, blur: float = 0.0, copies: int = 1, seed: int = 0) -> Tensor:
        """The trunk's state when it is shown the present alone: float32 [P·copies, D].

        That is the newest event of each stream, without actions: see `viae.train.moments`.

        Args:
            blur: numbers of vectors are disturbed by normal noise of so many of their spreads, by
                one and the same in every history.
            copies: of each history, each disturbed otherwise; even ones by the opposite.
            seed: of the noise.

        Raises:
            TokenError: a history in which nothing but actions has arrived.
        """
        events, ends = self._present.events(blur=blur, copies=copies, seed=seed)
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            states = self.model.states(events.to(device))
            return states[torch.arange(len(ends), device=device), ends.to(device)].float()

    def taken(self, rows: Ints) -> Context:
        """Some of the histories, each as often as named: they go on without those of this one."""
        rows = np.asarray(rows, np.int64)
        self.state()
        other = Context(
            self.model, self.vocabulary, length=self.length, hide_actions=self.hides_actions,
            count=len(rows),
        )  # fmt: skip
        other._before = {name: _rows(value, rows) for name, value in self._before.items()}
        other._seen = {name: value[rows] for name, value in self._seen.items()}
        other._ages = {name: value[rows] for name, value in self._ages.items()}
        other._present = self._present.taken(rows)
        other._last_ns = None if self._last_ns is None else self._last_ns[rows]
        other._total, other._read, other._window = self._total, self._read, self._window
        other._events = [event.taken(rows) for event in self._events[-self.length :]]
        if self._pinned:
            other._pinned = self._pinned[0], self._pinned[1].taken(rows)
        assert self._state_PD is not None
        device = self._state_PD.device
        index = torch.from_numpy(rows).to(device)
        with torch.inference_mode():
            other._cache = copy.deepcopy(self._cache)
            other._cache.batch_select_indices(index)  # type: ignore[union-attr]
            other._state_PD = self._state_PD[index]
        return other

    def repeated(self, count: int) -> Context:
        """The same histories, each ``count`` times in a row: P becomes P·count."""
        return self.taken(np.repeat(np.arange(self.count), count))

    def _keep(
        self, stream: int, rows: Ints, order: int, kind: int, times: Floats, features: Floats
    ) -> None:
        if self.vocabulary.streams[stream].role is not Role.ACTION:
            self._present.put(stream, rows, order, kind, times, features)

    def _advance(self) -> None:
        start = int(first_shown(self._total, self.length, int(self._pinned is not None)))
        head: list[_Event] = []
        if self._cache is not None and self._window == start and self._read:
            new, begins = self._events[self._read - self._total :], False
        else:
            self._cache, self._window = self.model.new_cache(), start
            new, begins = self._events[len(self._events) - (self._total - start) :], start == 0
            if self._pinned and self._pinned[0] < start:
                head = [self._pinned[1]]
        with torch.inference_mode():
            states = self.model.states(self._batch([*head, *new], begins), self._cache)
            self._state_PD = states[:, -1].float()
        self._read = self._total

    def _batch(self, events: Sequence[_Event], begins: bool) -> EventBatch:
        first = int(begins)
        length = first + len(events)
        kinds = np.full((self.count, length), len(self.vocabulary.types), np.int64)
        times = np.zeros((self.count, length, 2), np.float32)
        hidden = np.zeros((self.count, length), np.bool_)
        places: dict[int, list[Ints]] = {}
        looks: dict[int, list[Floats]] = {}
        for place, event in enumerate(events, first):
            kinds[:, place], times[:, place] = event.kinds, event.times
            hidden[:, place] = event.hidden
            for look in event.looks:
                places.setdefault(look.stream, []).append(look.rows * length + place)
                looks.setdefault(look.stream, []).append(look.features)
        batch = EventBatch(
            types=torch.from_numpy(kinds),
            times=torch.from_numpy(times),
            hidden=torch.from_numpy(hidden),
            features={
                stream: (
                    torch.from_numpy(np.concatenate(found)),
                    torch.from_numpy(np.concatenate(looks[stream]).astype(np.float32, copy=False)),
                )
                for stream, found in places.items()
            },
        )
        return batch.to(next(self.model.parameters()).device)

    def _coded(
        self, part: Part, said: bool
    ) -> list[tuple[int, Ints, Floats, Any, Tokens | None, str]]:
        """Type, rows, features, what comes after, tokens and stream: of firsts and of others."""
        stream = part.stream
        if stream not in self._numbers:
            raise TokenError(f"the model has no stream '{stream}'; it has {sorted(self._numbers)}")
        if len(part.values) != len(part.rows):
            raise TokenError(
                f"stream '{stream}': {len(part.values)} samples for {len(part.rows)} histories"
            )
        if not said:
            self.vocabulary.check(stream, part.values)
        found = []
        seen = self.seen(stream)[part.rows]
        for first in (True, False):
            own = np.flatnonzero(seen != first)
            if not len(own):
                continue
            kind = self.vocabulary.type_of(stream, first=first)
            before = None if first else _rows(self._before[stream], part.rows[own])
            values, after = _rows(part.values, own), part.after
            features, after, tokens = self._look(
                kind, values, before, None if after is None else _rows(after, own), said
            )
            found.append((kind, part.rows[own], features, after, tokens, stream))
        return found

    def _look(
        self, kind: int, values: Any, before: Any, after: Any, said: bool
    ) -> tuple[Floats, Any, Tokens | None]:
        codec = self.vocabulary.types[kind].content
        if isinstance(codec, PictureCodec | GridCodec):
            if after is not None:
                return codec.painter.features(after), after, None
            each = [
                codec.code(values[i : i + 1], None if before is None else before[i : i + 1])
                for i in range(len(values))
            ]
            return (
                np.concatenate([one.features for one in each]),
                np.concatenate([one.after for one in each]),
                np.concatenate([one.tokens for one in each]),
            )
        later = self.vocabulary.codec(self.vocabulary.types[kind].stream)
        shows = later if isinstance(later, VectorCodec | ResidualCodec) else codec
        tokens = None if said else codec.encode(values, before)
        return shows.describe(values, before), _kept(values), tokens

    def _timed(self, kind: int, gaps: Ints, ages: Ints, tokens: Tokens) -> Tokens:
        of = self.vocabulary.types[kind]
        times = [of.gap.encode(gaps, None)]
        if of.age is not None:
            times.append(of.age.encode(ages, None))
        return np.concatenate([*times, tokens], axis=1)


def _kept(values: Any) -> Any:
    """Samples as those after them are coded given them."""
    if not isinstance(values, np.ndarray):
        return list(values)
    return values if values.dtype == np.int32 and values.ndim == 2 else values.astype(np.float64)


def _rows(values: Any, rows: Ints) -> Any:
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def _replaced(old: Any, rows: Ints, new: Any, count: int) -> Any:
    """Values of P histories with those of some rows replaced; the old ones stay as they are."""
    if len(rows) == count:
        return new
    if not isinstance(new, np.ndarray):
        texts = [""] * count if old is None else list(old)
        for row, text in zip(rows.tolist(), new, strict=True):
            texts[row] = text
        return texts
    out = np.zeros((count, *new.shape[1:]), new.dtype) if old is None else old.copy()
    out[rows] = new
    return out


def _taken(look: _Look, rows: Ints, count: int) -> _Look:
    if len(look.rows) == count:
        return _Look(look.stream, np.arange(len(rows)), look.features[rows])
    place = np.full(count, -1, np.int64)
    place[look.rows] = np.arange(len(look.rows))
    found = place[rows]
    kept = np.flatnonzero(found >= 0)
    return _Look(look.stream, kept, look.features[found[kept]])


__all__ = ["Added", "Context", "Part"]
