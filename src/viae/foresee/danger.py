"""Danger: a predicate over streams, said as a Python function, as an expression, or as an event.

A value that is not a number is never taken for safe: the predicate refuses to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from viae.errors import QueryRefusedError, UsageError
from viae.foresee.dynamics import Bools, Samples, came, foreseen_stream
from viae.foresee.expression import Expression
from viae.schema import StreamSpec


@runtime_checkable
class Danger(Protocol):
    """Says when it is dangerous."""

    @property
    def name(self) -> str:
        """In words, for logs and reports."""
        ...

    def violated(self, samples: Samples) -> Bools:
        """Whether it is dangerous after each step: bool [n, steps].

        Raises:
            QueryRefusedError: the samples do not say.
        """
        ...


@dataclass(frozen=True, slots=True)
class DangerOf:
    """A Python function as a danger.

    Args:
        function: takes [n, steps, *shape] by stream, gives bool [n, steps].
        name: in words.
    """

    function: Callable[[Samples], Bools]
    name: str

    def violated(self, samples: Samples) -> Bools:
        """What the function says.

        Raises:
            QueryRefusedError: it does not say bool [n, steps].
        """
        found = np.asarray(self.function(samples))
        expected = next(iter(samples.values())).shape[:2] if samples else ()
        if found.dtype != np.bool_ or found.shape != expected:
            raise QueryRefusedError(
                f"danger '{self.name}': the function gave {found.dtype}{list(found.shape)}; it has "
                f"to give bool{list(expected)}"
            )
        return found


@dataclass(frozen=True, slots=True)
class EventDanger:
    """An event in the log as a danger: it is dangerous when a sample of the stream comes.

    A stream of a single truth value is dangerous when it says True, not whenever it speaks.

    Args:
        spec: the stream.
    """

    spec: StreamSpec

    @property
    def name(self) -> str:
        """Of the stream."""
        return self.spec.name

    def violated(self, samples: Samples) -> Bools:
        """Whether it came (or was True) during each step.

        Raises:
            QueryRefusedError: nothing is known of the stream.
        """
        if self.spec.dtype == "bool" and self.spec.size == 1:
            value = foreseen_stream(samples, self.name, self.name)
            return value.reshape(*value.shape[:2], -1)[..., 0].astype(np.bool_)
        found: Bools = foreseen_stream(samples, came(self.name), self.name).astype(np.bool_)
        return found


def danger(
    said: str | Callable[[Samples], Bools] | Danger, streams: Sequence[StreamSpec]
) -> Danger:
    """A danger, however it is said.

    Args:
        said: a `Danger`; a function; the name of a stream, see `EventDanger`; or an expression, see
            `Expression`.
        streams: what there is.

    Raises:
        UsageError: an expression that cannot be read, or that says a number.
    """
    if isinstance(said, Danger):
        return said
    if not isinstance(said, str):
        return DangerOf(said, getattr(said, "__name__", "danger"))
    for spec in streams:
        if spec.name == said.strip():
            return EventDanger(spec)
    read = Expression(said, streams)
    if not read.is_truth:
        raise UsageError(
            f"'{said}' is a number, not a danger: compare it with something, as in '{said} < 0.04'"
        )
    return read
