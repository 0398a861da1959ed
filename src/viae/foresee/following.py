"""A history that grows, read once: what the model has seen already is not shown again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from viae.model import BaseBundle, Context
from viae.schema import Events

PLACES = ("stream", "row", "capture_ns", "arrival_ns")


class Following:
    """The context of the newest history it was given.

    A history that goes on from the last one costs its new events only; any other is read from its
    beginning. Which of both it is, is found by comparing all that the model sees.

    Args:
        bundle: the model.
        hide_actions: whether the model sees what was done.
    """

    def __init__(self, bundle: BaseBundle, *, hide_actions: bool = False) -> None:
        self.bundle, self.hide_actions = bundle, hide_actions
        self._context: Context | None = None
        self._read: Events | None = None

    def context(self, events: Events) -> Context:
        """The events as the model has them; nothing is to be added to it.

        Args:
            events: the beginning of an episode; streams that the model has not are left out.

        Raises:
            TokenError: a value that has no token.
        """
        shown = events.of([spec.name for spec in self.bundle.vocabulary.streams])
        context, read = self._context, self._read
        self._context = self._read = None  # whatever fails half way is not gone on from
        if context is None or read is None or not _goes_on(read, shown):
            context = self.bundle.context(hide_actions=self.hide_actions)
            context.read(shown)
        else:
            for at in range(len(read), len(shown)):
                name, row = shown.streams[int(shown.stream[at])].name, int(shown.row[at])
                context.add(
                    name, shown.values[name][row : row + 1],
                    capture_ns=int(shown.capture_ns[at]), arrival_ns=int(shown.arrival_ns[at]),
                )  # fmt: skip
        self._context, self._read = context, _kept(shown)
        return context


def _goes_on(read: Events, events: Events) -> bool:
    """Whether events begin with those that were read."""
    count = len(read)
    if not count or count > len(events):
        return False
    same = events.streams == read.streams and all(
        np.array_equal(getattr(read, name), getattr(events, name)[:count]) for name in PLACES
    )
    return same and all(_begins(events.values[name], old) for name, old in read.values.items())


def _begins(values: Any, old: Any) -> bool:
    """Whether samples begin with some; of pictures that are not decoded yet nobody can say."""
    if isinstance(values, np.ndarray) and isinstance(old, np.ndarray):
        return np.array_equal(values[: len(old)], old)
    return isinstance(values, list) and isinstance(old, list) and values[: len(old)] == old


def _kept(events: Events) -> Events:
    """A copy, so that who gave them may write to them."""
    return replace(
        events,
        values={
            name: each.copy() if isinstance(each, np.ndarray | list) else each
            for name, each in events.values.items()
        },
        **{name: getattr(events, name).copy() for name in PLACES},
    )
