"""Which codec a stream has, fitted on the samples of some episodes.

Shapes: N samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.model.tokens.asking import chunks_ahead
from viae.model.tokens.chunk import BinnedChunk
from viae.model.tokens.codec import Codec, previous
from viae.model.tokens.kinds import NEXT, EventType, Question
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.text import TextCodec
from viae.model.tokens.times import TimeCodec
from viae.model.tokens.vector import VectorCodec
from viae.schema import OUTCOME, Events, Kind, Role, StreamSpec
from viae.schema.names import PICTURES

Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

WIDE = 64
"""More live elements than this, and a vector is coded by a residual quantiser."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A stream over several episodes, one after another.

    Args:
        values: [N, *shape], or N texts; of pictures none: their codec is trained elsewhere.
        before: the sample before each, as `previous` says.
        first: bool [N], which have none before them.
        gap: int64 [N] ns, arrival after the event before, of any stream.
        age: int64 [N] ns, arrival - capture.
    """

    values: Any
    before: Any
    first: Flags
    gap: Ints
    age: Ints

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, episodes: Sequence[Events], spec: StreamSpec) -> Column:
        """A stream of some episodes, those that have it."""
        values, before = [], []
        none = np.empty(0, np.int64)
        first, gaps, ages = [none.astype(np.bool_)], [none], [none]
        for events in episodes:
            at = np.flatnonzero(events.stream == _number(events, spec.name))
            if not len(at):
                continue
            if spec.kind not in PICTURES:
                values.append(events.values[spec.name])
                before.append(previous(values[-1]))
            gap = np.diff(events.arrival_ns, prepend=events.arrival_ns[:1])
            first.append(np.arange(len(at)) == 0)
            gaps.append(gap[at])
            ages.append((events.arrival_ns - events.capture_ns)[at])
        return cls(
            _joined(values), _joined(before), np.concatenate(first), np.concatenate(gaps),
            np.concatenate(ages),
        )  # fmt: skip


def why_left(spec: StreamSpec, episodes: Sequence[Events], pictures: Mapping[str, Codec]) -> str:
    """Why a stream has no tokens; empty if it has."""
    own = [e.values[spec.name] for e in episodes if spec.name in e.values]
    if not any(len(values) for values in own):
        return "it has no samples"
    if spec.kind is Kind.BYTES:
        return "its bytes mean nothing to viae"
    if spec.varies:
        return "its samples vary in length"
    if spec.kind in PICTURES and spec.name not in pictures:
        return "it has pictures, and no tokenizer: train one with  viae train tokenizer"
    if spec.kind is Kind.VECTOR and not all(np.isfinite(np.asarray(v, float)).all() for v in own):
        return "it has values that are not finite"
    return ""


def fit_types(
    spec: StreamSpec, episodes: Sequence[Events], *, bins: int, pictures: Codec | None = None
) -> tuple[EventType, EventType]:
    """The types of a stream's events: of later samples, and of first ones.

    Args:
        spec: of the stream.
        episodes: what to fit on; they have streams with tokens only.
        bins: per element of a vector.
        pictures: the codec, where it is a stream of pictures.
    """
    column = Column.of(episodes, spec)
    if pictures is None:
        firsts, later = fit_stream(column.values, column.before, column.first, spec, bins=bins)
    else:
        firsts, later = getattr(pictures, "first", pictures), pictures
    age = TimeCodec.fit(column.age) if len(np.unique(column.age)) > 1 else None

    def made(content: Codec, first: bool) -> EventType:
        gap = column.gap[column.first == first]
        codec = TimeCodec.fit(gap if len(gap) else column.gap)
        return EventType(stream=spec.name, first=first, gap=codec, age=age, content=content)

    return made(later, first=False), made(firsts, first=True)


def fit_stream(
    values: Any, before: Any, first: Flags, spec: StreamSpec, *, bins: int, fine: int = 0
) -> tuple[Codec, Codec]:
    """Codecs of a stream's first and later samples.

    Texts by byte pairs; vectors of more than 64 live elements by code books, others by bins. The
    codec of first samples is fitted on all samples: first ones are few.

    Args:
        values: [N, *shape], or N strings.
        before: the sample before each.
        first: bool [N], which have none.
        spec: of the stream.
        bins: tokens per slot of a vector, at most.
        fine: as for `VectorCodec.fit`.

    Raises:
        TokenError: samples that cannot be coded.
    """
    if spec.kind is Kind.TEXT:
        texts = TextCodec.fit(values, stream=spec.name)
        return texts, texts
    later = ~first if not first.all() else first
    options = {"bins": bins, "fine": fine}
    if spec.size > WIDE:
        wide = ResidualCodec.fit(values[later], before[later], spec, first=False, codes=bins)
        if len(wide.elements.live) > WIDE:
            return ResidualCodec.fit(values, None, spec, first=True, codes=bins), wide
    return (
        VectorCodec.fit(values, None, spec, first=True, **options),
        VectorCodec.fit(values[later], before[later], spec, first=False, **options),
    )


def fit_questions(
    specs: Sequence[StreamSpec], episodes: Sequence[Events], *, chunk: int, bins: int
) -> list[Question]:
    """What can be asked: the next actions of every stream of them, and the outcome.

    Args:
        specs: of streams with tokens.
        episodes: what to fit on.
        chunk: actions that are asked for at once.
        bins: per element of an action.
    """
    found = []
    for spec in specs:
        if spec.role is Role.ACTION and spec.kind is Kind.VECTOR:
            own = [e.values[spec.name] for e in episodes if spec.name in e.values]
            chunks = np.concatenate([chunks_ahead(values, chunk) for values in own])
            codec: Codec = BinnedChunk.fit(chunks, spec, bins=bins)
            found.append(
                Question(name=f"{NEXT}{spec.name}", stream=spec.name, codec=codec, steps=chunk)
            )
        if spec.name == OUTCOME:
            values = Column.of(episodes, spec).values
            codec = VectorCodec.fit(values, None, spec, first=True)
            found.append(Question(name=OUTCOME, stream=OUTCOME, codec=codec))
    return found


def _number(events: Events, name: str) -> int:
    return next((i for i, spec in enumerate(events.streams) if spec.name == name), -1)


def _joined(parts: Sequence[Any]) -> Any:
    if parts and isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(itertools.chain.from_iterable(parts))


__all__ = ["Column", "fit_questions", "fit_stream", "fit_types", "why_left"]
