"""A vocabulary: the types of events that some episodes have, and the codec of each.

Fitted on episodes, saved in the bundle, and used alike in training and while acting.

Shapes: N events, n events of a type or samples of a stream, S slots, F features.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.model.tokens.chunk import BinnedChunk
from viae.model.tokens.codec import Codec, Tokens, codec_from_json, previous
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.text import TextCodec
from viae.model.tokens.times import TimeCodec
from viae.model.tokens.vector import VectorCodec
from viae.schema import OUTCOME, Events, Kind, Role, StreamSpec

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]

CARD = "vocabulary.json"
WIDE = 64
"""More live elements than this, and a vector is coded by a residual quantiser."""
SHORTEST_S = 1e-4
"""Times are shown to the trunk on a scale that is linear below this and logarithmic above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """A kind of event.

    Args:
        stream: its name.
        first: whether these are streams' first samples, which have none before them.
        gap: arrival after the event before.
        age: arrival - capture; None where that is always the same.
        content: of the sample itself.
    """

    stream: str
    first: bool
    gap: TimeCodec
    age: TimeCodec | None
    content: Codec

    @property
    def slots(self) -> tuple[int, ...]:
        """Values per slot: gap, age, content."""
        times = [self.gap, *([self.age] if self.age else [])]
        return (*itertools.chain.from_iterable(time.slots for time in times), *self.content.slots)

    @property
    def times(self) -> int:
        """Slots of gap and age."""
        return len(self.slots) - len(self.content.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that can be asked of the future at any moment.

    Args:
        name: ``"next/STREAM"`` for the next actions, or ``"outcome"``.
        stream: that the answer is about.
        codec: of the answer.
        steps: samples that an answer has.
    """

    name: str
    stream: str
    codec: Codec
    steps: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """An episode's events as numbers for the network.

    Args:
        types: int64 [N].
        times: float32 [N, 2], gap and age on the scale of `shown_time`.
        stream: int64 [N], index into the vocabulary's streams.
        row: int64 [N], which sample of its stream.
        place: int64 [N], which one of its type.
        features: per stream float32 [n, F].
        tokens: per type int32 [n, S].
        asked: per question, the events after which it is asked int64 [m], and the answers
            int32 [m, S].
        action: bool [N], whether the event is an action.
        after: per stream that has events, what its next sample is coded given.
    """

    types: Ints
    times: Floats
    stream: Ints
    row: Ints
    place: Ints
    features: Mapping[int, Floats]
    tokens: Mapping[int, Tokens]
    asked: Mapping[int, tuple[Ints, Tokens]]
    action: npt.NDArray[np.bool_]
    after: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.types)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """What a base model can say and see.

    Args:
        streams: of all events, in this order.
        types: of events.
        questions: that can be asked.
        left: streams that have no tokens, and why.
    """

    streams: tuple[StreamSpec, ...]
    types: tuple[EventType, ...]
    questions: tuple[Question, ...]
    left: Mapping[str, str]

    @classmethod
    def fit(
        cls,
        episodes: Sequence[Events],
        *,
        chunk: int = 8,
        bins: int = 256,
        pictures: Mapping[str, Codec] | None = None,
    ) -> Vocabulary:
        """The vocabulary of some episodes.

        Args:
            episodes: what to fit on; never what a figure will be measured on.
            chunk: actions that are asked for at once.
            bins: per element of a vector.
            pictures: codecs of picture streams, from `viae train tokenizer`, by stream.

        Raises:
            TokenError: no stream has tokens.
        """
        specs = {spec.name: spec for events in episodes for spec in events.streams}
        kept, types, left = [], [], {}
        for name, spec in sorted(specs.items()):
            column = _Column.of(episodes, name)
            why = _why_left(spec, column, pictures or {})
            if why:
                left[name] = why
                continue
            kept.append(spec)
            later = _fit(spec, column, bins, (pictures or {}).get(name))
            for first in (False, True):
                content = _fit_first(spec, column, bins, later) if first else later
                rows = column.first if first else ~column.first
                gap = column.gap[rows]
                types.append(
                    EventType(
                        stream=name, first=first, content=content,
                        gap=TimeCodec.fit(gap if len(gap) else column.gap),
                        age=TimeCodec.fit(column.age) if len(np.unique(column.age)) > 1 else None,
                    )
                )  # fmt: skip
        if not kept:
            raise TokenError(f"no stream of these episodes has tokens: {left}")
        return cls(
            streams=tuple(kept),
            types=tuple(types),
            questions=tuple(_questions(kept, episodes, chunk, bins)),
            left=left,
        )

    @property
    def features(self) -> tuple[int, ...]:
        """F per stream."""
        return tuple(self.codec(spec.name).features for spec in self.streams)

    @property
    def stream_of(self) -> tuple[int, ...]:
        """Per type, its stream."""
        names = [spec.name for spec in self.streams]
        return tuple(names.index(kind.stream) for kind in self.types)

    @property
    def slots(self) -> tuple[tuple[int, ...], ...]:
        """Values per slot of each group: of the types, then of the questions."""
        return (*(kind.slots for kind in self.types), *(q.codec.slots for q in self.questions))

    @property
    def certain(self) -> dict[str, str]:
        """Questions with one answer only, since it was always the same, and what it was."""
        none = np.zeros((1, 0), np.int32)
        return {
            q.name: f"it was always {np.asarray(q.codec.decode(none, None))[0].tolist()}"
            for q in self.questions
            if not q.codec.slots
        }

    def codec(self, stream: str) -> Codec:
        """Of a stream's samples after the first: the one whose features the trunk is shown."""
        return self.types[self.type_of(stream, first=False)].content

    def type_of(self, stream: str, *, first: bool) -> int:
        """Number of a type.

        Raises:
            TokenError: a stream that the vocabulary does not have.
        """
        for number, kind in enumerate(self.types):
            if (kind.stream, kind.first) == (stream, first):
                return number
        raise TokenError(
            f"the model has no stream '{stream}'; it has {[spec.name for spec in self.streams]}"
        )

    def question(self, name: str) -> int:
        """Number of a question among the groups.

        Raises:
            TokenError: one that the model cannot be asked.
        """
        for number, question in enumerate(self.questions):
            if question.name == name:
                return len(self.types) + number
        known = [question.name for question in self.questions]
        raise TokenError(f"the model cannot be asked '{name}'; it can be asked {known}")

    def encode(self, events: Events) -> Encoded:
        """Events as numbers. Streams without tokens are left out.

        Raises:
            TokenError: a stream of another shape, or a value that is not finite.
        """
        events = _without(events, [spec.name for spec in self.streams])
        number = {spec.name: i for i, spec in enumerate(self.streams)}
        own = np.array([number[spec.name] for spec in events.streams], np.int64)
        stream = own[events.stream] if len(own) else np.empty(0, np.int64)
        types = np.empty(len(events), np.int64)
        place = np.empty(len(events), np.int64)
        gap = np.diff(events.arrival_ns, prepend=events.arrival_ns[:1])
        age = events.arrival_ns - events.capture_ns
        features: dict[int, Floats] = {}
        tokens: dict[int, Tokens] = {}
        after: dict[str, Any] = {}
        for spec in events.streams:
            own = np.flatnonzero(stream == number[spec.name])
            if not len(own):
                continue
            features[number[spec.name]], coded, after[spec.name] = self.look(
                spec.name, events.values[spec.name]
            )
            for first, content in zip((True, False), coded, strict=True):
                kind = self.type_of(spec.name, first=first)
                at = own[:1] if first else own[1:]
                types[at], place[at] = kind, np.arange(len(at))
                times = self._times(self.types[kind], gap[at], age[at])
                tokens[kind] = np.concatenate([times, content], axis=1)
        return Encoded(
            types=types,
            times=np.stack([shown_time(gap), shown_time(age)], 1),
            stream=stream,
            row=events.row,
            place=place,
            features=features,
            tokens=tokens,
            asked={len(self.types) + i: _ask(q, events) for i, q in enumerate(self.questions)},
            action=_has_role(events, Role.ACTION),
            after=after,
        )

    def look(self, stream: str, values: Any) -> tuple[Floats, tuple[Tokens, Tokens], Any]:
        """All samples of a stream, from its first on.

        Returns:
            Features float32 [n, F]; tokens of the first sample, and of the others; and what the
            sample after the last is coded given.
        """
        first, later = (self.types[self.type_of(stream, first=f)].content for f in (True, False))
        begun = first.code(values[:1])
        rest = later.code(values[1:], begun.after)
        features = begun.features
        if isinstance(later, VectorCodec | ResidualCodec):  # a first one has no differences to show
            features = later.describe(values[:1], None)
        return np.concatenate([features, rest.features]), (begun.tokens, rest.tokens), rest.after

    @staticmethod
    def _times(kind: EventType, gap: Ints, age: Ints) -> Tokens:
        parts = [kind.gap.encode(gap, None)]
        if kind.age is not None:
            parts.append(kind.age.encode(age, None))
        return np.concatenate(parts, axis=1)

    def decode(self, number: int, tokens: Tokens, before: Any) -> tuple[Ints, Ints | None, Any]:
        """Events of a type from their tokens.

        Args:
            number: of the type.
            tokens: int32 [n, S].
            before: the sample before each.

        Returns:
            Gap int64 [n] ns, age likewise or None, and values.
        """
        kind = self.types[number]
        width = len(kind.gap.slots)
        gap = kind.gap.decode(tokens[:, :width], None)
        age = kind.age.decode(tokens[:, width : kind.times], None) if kind.age else None
        return gap, age, kind.content.decode(tokens[:, kind.times :], before)

    def save(self, folder: Path) -> None:
        """Write as JSON, and what is large beside it."""
        cards: list[dict[str, Any]] = []
        for number, codec in enumerate(self._codecs()):
            own = folder / f"codec-{number}"
            own.mkdir(parents=True, exist_ok=True)
            codec.save_arrays(own)
            if not any(own.iterdir()):
                own.rmdir()
            cards.append(codec.to_json())
        types = [
            {"stream": t.stream, "first": t.first, "age": t.age is not None} for t in self.types
        ]
        questions = [{"name": q.name, "stream": q.stream, "steps": q.steps} for q in self.questions]
        card = {
            "streams": [spec.to_json() for spec in self.streams],
            "types": types, "questions": questions, "left": dict(self.left), "codecs": cards,
        }  # fmt: skip
        (folder / CARD).write_text(json.dumps(card) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The inverse of `save`."""
        card = json.loads((folder / CARD).read_text())
        codecs = iter(
            [
                codec_from_json(saved, folder / f"codec-{number}")
                for number, saved in enumerate(card["codecs"])
            ]
        )
        types = []
        for kind in card["types"]:
            gap, age = next(codecs), next(codecs) if kind["age"] else None
            assert isinstance(gap, TimeCodec) and isinstance(age, TimeCodec | None)
            types.append(
                EventType(
                    stream=kind["stream"], first=kind["first"], gap=gap, age=age,
                    content=next(codecs),
                )
            )  # fmt: skip
        return cls(
            streams=tuple(StreamSpec.from_json(spec) for spec in card["streams"]),
            types=tuple(types),
            questions=tuple(Question(**q, codec=next(codecs)) for q in card["questions"]),
            left=card["left"],
        )

    def _codecs(self) -> list[Codec]:
        found: list[Codec] = []
        for kind in self.types:
            found += [kind.gap, *([kind.age] if kind.age else []), kind.content]
        return [*found, *(question.codec for question in self.questions)]


def shown_time(ns: Ints) -> Floats:
    """Times as the trunk is shown them: float32 [N]; linear near 0, logarithmic beyond."""
    scaled = np.asarray(ns, np.float64) / (SHORTEST_S * 1e9)
    return (np.arcsinh(scaled) / 5.0).astype(np.float32)


@dataclass(slots=True, eq=False)
class _Column:
    """A stream over several episodes."""

    values: Any
    before: Any
    first: npt.NDArray[np.bool_]
    gap: Ints
    age: Ints

    @classmethod
    def of(cls, episodes: Sequence[Events], name: str) -> _Column:
        values, before, first, gaps, ages = [], [], [], [], []
        for events in episodes:
            numbers = [i for i, spec in enumerate(events.streams) if spec.name == name]
            if not numbers or not len(events.values[name]):
                continue
            at = np.flatnonzero(events.stream == numbers[0])
            gap = np.diff(events.arrival_ns, prepend=events.arrival_ns[:1])
            values.append(events.values[name])
            before.append(previous(events.values[name]))
            first.append(np.arange(len(at)) == 0)
            gaps.append(gap[at])
            ages.append((events.arrival_ns - events.capture_ns)[at])
        none = np.empty(0, np.int64)
        return cls(
            _joined(values), _joined(before),
            np.concatenate(first) if first else np.empty(0, np.bool_),
            np.concatenate(gaps) if gaps else none, np.concatenate(ages) if ages else none,
        )  # fmt: skip


def _joined(parts: Sequence[Any]) -> Any:
    if parts and isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(itertools.chain.from_iterable(parts))


def _why_left(spec: StreamSpec, column: _Column, pictures: Mapping[str, Codec]) -> str:
    if not len(column.values):
        return "it has no samples"
    if spec.kind is Kind.BYTES:
        return "its bytes mean nothing to viae"
    if spec.varies:
        return "its samples vary in length"
    if spec.kind in (Kind.IMAGE, Kind.VIDEO) and spec.name not in pictures:
        return "it has pictures, and no tokenizer: train one with  viae train tokenizer"
    if spec.kind is Kind.VECTOR and not np.isfinite(np.asarray(column.values, float)).all():
        return "it has values that are not finite"
    return ""


def _fit(spec: StreamSpec, column: _Column, bins: int, pictures: Codec | None) -> Codec:
    if pictures is not None:
        return pictures
    if spec.kind is Kind.TEXT:
        return TextCodec.fit(column.values)
    later = ~column.first
    rows = later if later.any() else column.first
    codec = VectorCodec.fit(column.values[rows], column.before[rows], spec, bins=bins, first=False)
    if len(codec.slots) > WIDE:
        return ResidualCodec.fit(column.values[rows], column.before[rows], spec, first=False)
    return codec


def _fit_first(spec: StreamSpec, column: _Column, bins: int, later: Codec) -> Codec:
    """First samples are few: their bins are those of all samples."""
    if isinstance(later, PictureCodec):
        return later.first
    if isinstance(later, ResidualCodec):
        return ResidualCodec.fit(column.values, None, spec, first=True)
    if not isinstance(later, VectorCodec):
        return later
    return VectorCodec.fit(column.values, column.before, spec, bins=bins, first=True)


def _questions(
    specs: Sequence[StreamSpec], episodes: Sequence[Events], chunk: int, bins: int
) -> list[Question]:
    found = []
    for spec in specs:
        column = _Column.of(episodes, spec.name)
        if spec.role is Role.ACTION and spec.kind is Kind.VECTOR:
            own = [e.values[spec.name] for e in episodes if spec.name in e.values]
            chunks = np.concatenate([_chunks(values, chunk) for values in own])
            codec: Codec = BinnedChunk.fit(chunks, spec, bins=bins)
            found.append(
                Question(name=f"next/{spec.name}", stream=spec.name, codec=codec, steps=chunk)
            )
        if spec.name == OUTCOME:
            codec = VectorCodec.fit(column.values, None, spec, first=True)
            found.append(Question(name=OUTCOME, stream=OUTCOME, codec=codec))
    return found


def _chunks(values: npt.NDArray[Any], steps: int) -> npt.NDArray[np.float64]:
    """Each sample and those after it: [n, K, *shape]; NaN after the last."""
    floats = values.astype(np.float64)
    end = np.full((steps, *values.shape[1:]), np.nan)
    padded = np.concatenate([floats, end])
    return np.stack([padded[i : i + len(values)] for i in range(steps)], 1)


def _ask(question: Question, events: Events) -> tuple[Ints, Tokens]:
    """After which events a question is asked, and the answers."""
    names = [spec.name for spec in events.streams]
    none = np.empty(0, np.int64), np.empty((0, len(question.codec.slots)), np.int32)
    if question.stream not in names or not len(events.values[question.stream]):
        return none
    values = events.values[question.stream]
    if question.name == OUTCOME:
        at = np.flatnonzero(events.stream != names.index(OUTCOME))
        answer = question.codec.encode(values[-1:], None)
        return at, np.repeat(answer, len(at), axis=0)
    own = np.flatnonzero(events.stream == names.index(question.stream))
    chunks = _chunks(values, question.steps)
    stopped = _stopped(events.asked[own], question.steps)
    chunks[stopped] = np.nan
    state = np.maximum.accumulate(
        np.where(_has_role(events, Role.ACTION), -1, np.arange(len(events)))
    )
    at = state[own]
    good = (at >= 0) & ~stopped[:, 0]
    return at[good], question.codec.encode(chunks[good], None)


def _stopped(asked: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Which steps of each chunk lie behind a sample that was not the policy's to choose: [n, K]."""
    padded = np.concatenate([~asked, np.zeros(steps, np.bool_)])
    ahead = np.stack([padded[i : i + len(asked)] for i in range(steps)], 1)
    return np.logical_or.accumulate(ahead, axis=1)


def _has_role(events: Events, role: Role) -> npt.NDArray[np.bool_]:
    has = np.array([spec.role is role for spec in events.streams], np.bool_)
    return has[events.stream] if len(has) else np.empty(0, np.bool_)


def _without(events: Events, known: Sequence[str]) -> Events:
    """The events of the streams that are known, the others left out."""
    keep = [i for i, spec in enumerate(events.streams) if spec.name in known]
    if len(keep) == len(events.streams):
        return events
    rows = np.isin(events.stream, keep)
    again = np.full(len(events.streams), -1, np.int64)
    again[keep] = np.arange(len(keep))
    streams = tuple(events.streams[i] for i in keep)
    return Events(
        streams=streams,
        stream=again[events.stream[rows]],
        row=events.row[rows],
        capture_ns=events.capture_ns[rows],
        arrival_ns=events.arrival_ns[rows],
        values={spec.name: events.values[spec.name] for spec in streams},
        asked=events.asked[rows],
    )


__all__ = ["Encoded", "EventType", "Question", "Vocabulary", "shown_time"]
