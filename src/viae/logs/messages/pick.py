"""Taking several fields out of a decoded message at once: `MessageType.pick`, in its two forms."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from viae.logs.messages.shape import FieldPath


def pick_attributes(paths: list[FieldPath]) -> Callable[[Any], tuple[Any, ...]]:
    """For messages whose fields are attributes."""
    get = attrgetter(*(".".join(path) for path in paths))
    return get if len(paths) > 1 else lambda message: (get(message),)


def pick_keys(paths: list[FieldPath]) -> Callable[[Any], tuple[Any, ...]]:
    """For messages that are dictionaries."""

    def pick(message: Any) -> tuple[Any, ...]:
        picked = []
        for path in paths:
            value = message
            for name in path:
                value = value[name]
            picked.append(value)
        return tuple(picked)

    return pick
