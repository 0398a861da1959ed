"""What a message type looks like, whatever its encoding: a tree of structs, arrays and leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from viae.logs.messages.batch import Messages
    from viae.logs.messages.layout import Run

FieldPath: TypeAlias = tuple[str, ...]
"""Where a field is: the names from the message down."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a NumPy dtype."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time or duration; its value is read as int64 nanoseconds."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes of any length."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of numbers; ``size`` is -1 where it may vary."""

    dtype: str
    size: int = -1


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything without one fixed form (arrays of structs, maps, recursion): kept as JSON."""


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields, in declared order."""

    name: str
    fields: Mapping[str, Shape]

    def at(self, path: FieldPath) -> Shape | None:
        """The shape of a field, or None where there is no such field."""
        inner = self.fields.get(path[0])
        if len(path) == 1 or inner is None:
            return inner
        return inner.at(path[1:]) if isinstance(inner, Struct) else None

    def without(self, path: FieldPath) -> Struct:
        """The same without one field, and without the structs this leaves empty."""
        fields = dict(self.fields)
        inner = fields.pop(path[0])
        if len(path) > 1 and isinstance(inner, Struct):
            rest = inner.without(path[1:])
            if rest.fields:
                fields = {k: rest if k == path[0] else v for k, v in self.fields.items()}
        return Struct(self.name, fields)

    def leaves(self) -> Iterator[tuple[FieldPath, Shape]]:
        """Every field that is not a struct, with its path; an empty struct is a leaf."""
        for name, inner in self.fields.items():
            if isinstance(inner, Struct) and inner.fields:
                yield from (((name, *path), leaf) for path, leaf in inner.leaves())
            else:
                yield (name,), inner


Shape: TypeAlias = Number | Stamp | Text | Blob | Numbers | Opaque | Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """How to read the structs of an array; the fields mean what they do in `MessageType`."""

    shape: Struct
    pick: Callable[[list[FieldPath]], Callable[[Any], tuple[Any, ...]]]
    ns: Callable[[Any], int]
    absent: Callable[[Any], list[FieldPath]] = lambda message: []


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageType:
    """How to read the messages of one schema.

    Args:
        shape: what they look like.
        decode: bytes to a message; raises anything at all on bytes that do not fit.
        pick: for some paths, a function from a message to the tuple of their values.
        plain: any value in a message as JSON-ready values.
        ns: the value of a `Stamp` as nanoseconds.
        absent: the paths of the structs that a message leaves out and that read as their default.
        columns: cuts a batch into runs and each run into columns, by path, where the encoding can
            (see `viae.logs.messages.layout`); equal to what `decode` and `pick` give.
        notes: what `decode` had to overlook, and in how many messages.
        items: for a field of the message that is an array of structs, how to read one of them;
            None for any other.
    """

    shape: Struct
    decode: Callable[[bytes], Any]
    pick: Callable[[list[FieldPath]], Callable[[Any], tuple[Any, ...]]]
    plain: Callable[[Any], Any]
    ns: Callable[[Any], int]
    absent: Callable[[Any], list[FieldPath]] = lambda message: []
    columns: Callable[[Messages, list[FieldPath]], Iterator[Run]] | None = None
    notes: Counter[str] = field(default_factory=Counter)
    items: Callable[[str], Items | None] = lambda field: None


class UnfitError(ValueError):
    """A message does not fit what its topic was planned for; its topic catches this."""
