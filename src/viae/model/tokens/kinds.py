"""What a base model can say: kinds of events, and questions about the future."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from viae.model.tokens.codec import Codec
from viae.model.tokens.times import TimeCodec

NEXT = "next/"
"""Begins the names of questions about the next actions."""


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
    def ordered(self) -> bool:
        """Whether all tokens are numbers in order; times are."""
        return self.content.ordered or not self.content.slots

    @property
    def times(self) -> int:
        """Slots of gap and age."""
        return len(self.slots) - len(self.content.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that can be asked of the future at any moment.

    Args:
        name: `NEXT` and the stream for the next actions, or ``"outcome"``.
        stream: that the answer is about.
        codec: of the answer.
        steps: samples that an answer has.
    """

    name: str
    stream: str
    codec: Codec
    steps: int = 1

    @property
    def acts(self) -> bool:
        """Whether it asks for the next actions."""
        return self.name.startswith(NEXT)


__all__ = ["NEXT", "EventType", "Question"]
