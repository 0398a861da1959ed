"""Arrays whose elements a message names beside them, as ``sensor_msgs/JointState`` does.

Such an array is declared to vary, and hardly ever does: with its names it is a vector of fixed
shape. Where several senders share a topic, each with its own joints, each set of names has streams
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from viae.logs.messages.shape import FieldPath, MessageType, Numbers, Opaque

NAMES = ("name", "names", "joint_names")
"""Fields that name the elements of the arrays beside them."""

MOST_NAMES = 1024

Key: TypeAlias = tuple[tuple[str, ...], tuple[bool, ...]]
"""What messages of the same streams share: the names, and which arrays have as many elements."""


@dataclass(frozen=True, slots=True)
class NamedArrays:
    """Where a message type has names, and the arrays that they may be of."""

    type_: MessageType
    names: FieldPath
    arrays: tuple[FieldPath, ...]

    def key(self, message: Any) -> Key:
        """See `Key`."""
        said, *arrays = self.type_.pick([self.names, *self.arrays])(message)
        is_names = isinstance(said, Sequence) and len(said) <= MOST_NAMES
        names = tuple(said) if is_names and all(isinstance(n, str) for n in said) else ()
        fits = tuple(bool(names) and len(array) == len(names) for array in arrays)
        return (names, fits) if any(fits) and len(set(names)) == len(names) else self.nameless

    @property
    def nameless(self) -> Key:
        """The key of messages in which no array is named."""
        return (), (False,) * len(self.arrays)

    def of(self, key: Key) -> dict[FieldPath, tuple[str, ...]]:
        """The names of each array that is named."""
        names, fits = key
        return {path: names for path, fit in zip(self.arrays, fits, strict=True) if fit}


def named_arrays(type_: MessageType) -> NamedArrays | None:
    """The arrays of a message type that may be named; None where there are none."""
    fields = type_.shape.fields
    names = next((name for name in NAMES if isinstance(fields.get(name), Opaque)), None)
    arrays = [
        (name,) for name, shape in fields.items() if isinstance(shape, Numbers) and shape.size < 0
    ]
    return NamedArrays(type_, (names,), tuple(arrays)) if names and arrays else None
