"""A vocabulary: the types of events that some episodes have, and the codec of each.

Fitted on episodes, saved in the bundle, and used alike in training and while acting.

Shapes: N events, n events of a type or samples of a stream, S slots, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError, TokenError
from viae.model.tokens.asking import ask, has_role
from viae.model.tokens.codec import Codec, Floats, Tokens, check_values, codec_from_json
from viae.model.tokens.encoded import Encoded, shown_time
from viae.model.tokens.fitting import fit_questions, fit_types, why_left
from viae.model.tokens.kinds import EventType, Question
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.times import TimeCodec
from viae.model.tokens.vector import VectorCodec
from viae.schema import Events, Role, StreamSpec

Ints: TypeAlias = npt.NDArray[np.int64]

CARD = "vocabulary.json"


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
        left: Mapping[str, str] | None = None,
    ) -> Vocabulary:
        """The vocabulary of some episodes.

        Args:
            episodes: what to fit on; never what a figure will be measured on.
            chunk: actions that are asked for at once.
            bins: per element of a vector.
            pictures: codecs of picture streams, from `viae train tokenizer`, by stream.
            left: streams that could not even be events (`EventReader.left`), and why.

        Raises:
            TokenError: no stream has tokens.
        """
        specs = {spec.name: spec for events in episodes for spec in events.streams}
        whys = {
            name: why_left(spec, episodes, pictures or {}) for name, spec in sorted(specs.items())
        }
        without = {**(left or {}), **{name: why for name, why in whys.items() if why}}
        kept = [specs[name] for name, why in whys.items() if not why]
        if not kept:
            raise TokenError(f"no stream of these episodes has tokens: {without}")
        shown = [events.of([spec.name for spec in kept]) for events in episodes]
        types: list[EventType] = []
        for spec in kept:
            types += fit_types(spec, shown, bins=bins, pictures=(pictures or {}).get(spec.name))
        return cls(
            streams=tuple(kept),
            types=tuple(types),
            questions=tuple(fit_questions(kept, shown, chunk=chunk, bins=bins)),
            left=without,
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

    @property
    def mixed(self) -> tuple[int, ...]:
        """Groups of several tokens that are all numbers in order."""
        ordered = [kind.ordered for kind in self.types] + [q.codec.ordered for q in self.questions]
        return tuple(
            group for group, slots in enumerate(self.slots) if len(slots) > 1 and ordered[group]
        )

    @property
    def gaps(self) -> dict[int, Floats]:
        """Of questions that mixtures answer: float32 [S, V]; see `Codec.gaps`."""
        found: dict[int, Floats] = {}
        for group in self.mixed:
            if group < len(self.types):
                continue
            gaps = self.questions[group - len(self.types)].codec.gaps()
            found[group] = np.zeros((len(gaps), max(map(len, gaps))), np.float32)
            for slot, of_slot in enumerate(gaps):
                found[group][slot, : len(of_slot)] = of_slot
        return found

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
            TokenError: a stream of another kind or shape, or a value that has no token, such as
                NaN.
        """
        number = {spec.name: i for i, spec in enumerate(self.streams)}
        events = events.of(number.keys())
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
            asked={len(self.types) + i: ask(q, events) for i, q in enumerate(self.questions)},
            action=has_role(events, Role.ACTION),
            after=after,
        )

    def look(self, stream: str, values: Any) -> tuple[Floats, tuple[Tokens, Tokens], Any]:
        """All samples of a stream, from its first on.

        Returns:
            Features float32 [n, F]; tokens of the first sample, and of the others; and what the
            sample after the last is coded given.

        Raises:
            TokenError: see `encode`.
        """
        self.check(stream, values)
        first, later = (self.types[self.type_of(stream, first=f)].content for f in (True, False))
        begun = first.code(values[:1])
        rest = later.code(values[1:], begun.after)
        features = begun.features
        if isinstance(later, VectorCodec | ResidualCodec):  # a first one has no differences to show
            features = later.describe(values[:1], None)
        return np.concatenate([features, rest.features]), (begun.tokens, rest.tokens), rest.after

    def check(self, stream: str, values: Any) -> None:
        """Refuse what are no samples of a stream.

        Raises:
            TokenError: of another kind or shape.
        """
        spec = next(spec for spec in self.streams if spec.name == stream)
        check_values(values, spec)

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
        (folder / CARD).write_text(json.dumps(card) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The inverse of `save`.

        Raises:
            BundleError: a codec that this viae does not have, or that is missing.
        """
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        codecs = [
            codec_from_json(saved, folder / f"codec-{number}")
            for number, saved in enumerate(card["codecs"])
        ]
        wanted = sum(2 + kind["age"] for kind in card["types"]) + len(card["questions"])
        if len(codecs) != wanted:
            raise BundleError(f"{folder / CARD}: {len(codecs)} codecs, not {wanted}")
        rest = iter(codecs)
        types = []
        for kind in card["types"]:
            gap, age = next(rest), next(rest) if kind["age"] else None
            if not isinstance(gap, TimeCodec) or not isinstance(age, TimeCodec | None):
                raise BundleError(f"{folder / CARD}: the times of '{kind['stream']}' have no codec")
            types.append(
                EventType(
                    stream=kind["stream"], first=kind["first"], gap=gap, age=age,
                    content=next(rest),
                )
            )  # fmt: skip
        return cls(
            streams=tuple(StreamSpec.from_json(spec) for spec in card["streams"]),
            types=tuple(types),
            questions=tuple(Question(**q, codec=next(rest)) for q in card["questions"]),
            left=card["left"],
        )

    def _codecs(self) -> list[Codec]:
        found: list[Codec] = []
        for kind in self.types:
            found += [kind.gap, *([kind.age] if kind.age else []), kind.content]
        return [*found, *(question.codec for question in self.questions)]


__all__ = ["Encoded", "EventType", "Question", "Vocabulary", "shown_time"]
