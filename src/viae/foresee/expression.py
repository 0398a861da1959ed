"""Expressions over named elements of streams, read and computed without running Python.

What cannot be computed is refused when the text is read; a value that is not a number is refused
when it is computed, so that no comparison with NaN is ever taken for False.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viae.errors import QueryRefusedError, UsageError
from viae.foresee.dynamics import Array, Bools, Samples, foreseen_stream
from viae.schema import Kind, StreamSpec

MOST_CHARACTERS = 2000
MOST_NODES = 300
LARGEST = 1e15

_FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (np.abs, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "exp": (np.exp, 1, 1),
    "log": (np.log, 1, 1),
    "sin": (np.sin, 1, 1),
    "cos": (np.cos, 1, 1),
    "tan": (np.tan, 1, 1),
    "arctan2": (np.arctan2, 2, 2),
    "hypot": (lambda *each: np.sqrt(sum(x * x for x in each)), 2, 8),
    "min": (lambda *each: np.minimum.reduce(np.broadcast_arrays(*each)), 2, 8),
    "max": (lambda *each: np.maximum.reduce(np.broadcast_arrays(*each)), 2, 8),
    "clip": (np.clip, 3, 3),
    "where": (np.where, 3, 3),
}
_ARITHMETIC: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide,
    ast.Mod: np.mod, ast.Pow: np.power,
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
    ast.Eq: np.equal, ast.NotEq: np.not_equal,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression over named elements as a danger, or as a goal.

    Elements are named as in their stream's `names`; where two streams have the name,
    ``stream.name``; where there are none, ``stream[3]``; where the stream's name is no word,
    ``of("/imu/data", "ax")`` or ``of("/imu/data", 3)``. Numbers, ``+ - * / % **``, comparisons,
    ``and or not``, and abs, sqrt, exp, log, sin, cos, tan, arctan2, hypot, min, max, clip, where.
    Nothing else is run: the text is parsed, never evaluated by Python.

    Args:
        text: e.g. ``"hypot(object1_x - 0.1, object1_y - 0.6) < 0.04"``.
        streams: what there is.

    Raises:
        UsageError: the text is no such expression, or names what is not there.
    """

    text: str
    streams: Sequence[StreamSpec]
    _tree: ast.expr = field(init=False, repr=False)
    _elements: Mapping[int, tuple[str, int]] = field(init=False, repr=False)
    is_truth: bool = field(init=False, repr=False)
    """Whether it says True or False, rather than a number."""

    def __post_init__(self) -> None:
        reader = _Reader(self.text, self.streams)
        object.__setattr__(self, "_tree", reader.read())
        object.__setattr__(self, "_elements", reader.elements)
        object.__setattr__(self, "is_truth", reader.is_truth(self._tree))

    @property
    def name(self) -> str:
        """The text."""
        return self.text

    @property
    def uses(self) -> tuple[str, ...]:
        """Streams that it looks at."""
        return tuple(sorted({stream for stream, _ in self._elements.values()}))

    def value(self, samples: Samples) -> Array:
        """float64 or bool [n, steps].

        Raises:
            QueryRefusedError: a stream is missing, a value is not a number, or the expression has
                no value there.
        """
        if not samples:
            raise QueryRefusedError(f"'{self.text}': there are no samples to look at")
        shape = next(iter(samples.values())).shape[:2]
        with np.errstate(all="ignore"):
            found = self._of(self._tree, samples)
        return np.broadcast_to(_sound(found, self.text), shape)

    def violated(self, samples: Samples) -> Bools:
        """Whether it is true: bool [n, steps].

        Raises:
            QueryRefusedError: see `value`; or it says a number.
        """
        if not self.is_truth:
            raise QueryRefusedError(
                f"'{self.text}' is a number, not a danger: compare it with something"
            )
        found: Bools = self.value(samples)
        return found

    def _of(self, node: ast.expr, samples: Samples) -> Any:  # noqa: PLR0911 - one per kind of node
        if id(node) in self._elements:
            return self._element(*self._elements[id(node)], samples)
        parts = [self._of(part, samples) for part in _parts(node)]
        match node:
            case ast.Constant(value=int() | float() as value):
                return np.float64(value)
            case ast.UnaryOp(op=ast.Not()):
                return np.logical_not(parts[0])
            case ast.UnaryOp(op=ast.USub()):
                return np.negative(parts[0])
            case ast.BinOp():
                return _ARITHMETIC[type(node.op)](*parts)
            case ast.BoolOp():
                join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return join.reduce(np.broadcast_arrays(*parts))
            case ast.Compare():
                sides = [_sound(side, self.text) for side in parts]
                pairs = zip(node.ops, sides, sides[1:], strict=False)
                found = [_COMPARISONS[type(op)](left, right) for op, left, right in pairs]
                return np.logical_and.reduce(np.broadcast_arrays(*found))
            case ast.Call(func=ast.Name(id=name)):
                return _FUNCTIONS[name][0](*parts)
            case _:
                return parts[0]  # a plus sign

    def _element(self, stream: str, index: int, samples: Samples) -> Array:
        values = foreseen_stream(samples, stream, self.text)
        column = values.reshape(*values.shape[:2], -1)[..., index]
        if column.dtype == np.bool_:
            return column
        if not np.isfinite(column).all():
            raise QueryRefusedError(
                f"'{self.text}': element {index} of stream '{stream}' is not a finite number in "
                f"{int((~np.isfinite(column)).sum())} of {column.size} samples"
            )
        found: Array = column.astype(np.float64)
        return found


class _Reader:
    """Reads an expression: what it lets through can be computed."""

    def __init__(self, text: str, streams: Sequence[StreamSpec]) -> None:
        self.text, self.streams = text, streams
        self.elements: dict[int, tuple[str, int]] = {}

    def read(self) -> ast.expr:
        if len(self.text) > MOST_CHARACTERS:
            raise UsageError(
                f"an expression of {len(self.text)} characters; at most {MOST_CHARACTERS}: write a "
                "Python function"
            )
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else type(error).__name__
            raise UsageError(f"'{self.text}' cannot be read: {why}") from error
        if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
            raise UsageError(f"'{self.text[:60]}…' is too long: write a Python function")
        self._check(tree)
        return tree

    def _check(self, node: ast.expr) -> None:
        """Refuses a node that cannot be computed, or whose parts are of the wrong kind."""
        if self._names_element(node):
            return
        if why := _why_not(node):
            raise self._wrong(node, why)
        if isinstance(node, ast.Name):
            raise self._wrong(node, f"no element '{node.id}'{self._near(node.id)}")
        for place, part in enumerate(_parts(node)):
            self._check(part)
            wanted = _wants_truth(node, place)
            if wanted != self.is_truth(part):
                kind = "true or false" if wanted else "a number"
                raise self._wrong(part, f"something that is {kind} has to stand here")

    def _names_element(self, node: ast.expr) -> bool:
        """Notes which element a node names, if it looks like naming one."""
        match node:
            case ast.Name(id=name):
                found = self._called(name)
            case ast.Attribute() if dotted := _dotted(node):
                stream, _, word = dotted.rpartition(".")
                found = self._called(dotted) or self._in(stream, word, node)
            case ast.Subscript(value=value, slice=ast.Constant(value=int(index))) if (
                dotted := _dotted(value)
            ):
                found = self._in(dotted, index, node)
            case ast.Call(
                func=ast.Name(id="of"),
                args=[
                    ast.Constant(value=str(stream)),
                    ast.Constant(value=str() | int() as element),
                ],
                keywords=[],
            ):
                found = self._in(stream, element, node)
            case _:
                return False
        if found is None:
            return False
        self.elements[id(node)] = found
        return True

    def _called(self, name: str) -> tuple[str, int] | None:
        """An element by its own name, or a stream of a single element by the stream's."""
        found = [
            (spec.name, index)
            for spec in self.streams
            if spec.kind is Kind.VECTOR
            for index, own in enumerate(spec.names)
            if own == name
        ]
        found += [
            (spec.name, 0)
            for spec in self.streams
            if spec.kind is Kind.VECTOR and spec.name == name and spec.size == 1
        ]
        if len(found) > 1:
            raise UsageError(
                f"'{self.text}': several streams have an element '{name}'; write "
                + " or ".join(f'of("{stream}", {index})' for stream, index in found)
            )
        return found[0] if found else None

    def _in(self, stream: str, element: str | int, node: ast.expr) -> tuple[str, int]:
        """An element of a named stream."""
        spec = next((spec for spec in self.streams if spec.name == stream), None)
        if spec is None:
            raise self._wrong(
                node,
                f"no stream '{stream}'; there are {sorted(spec.name for spec in self.streams)}",
            )
        if spec.kind is not Kind.VECTOR or spec.varies:
            raise self._wrong(
                node, f"stream '{stream}' is {spec.kind}, whose elements have no names"
            )
        if isinstance(element, str):
            if element not in spec.names:
                raise self._wrong(
                    node, f"stream '{stream}' has no element '{element}'{self._near(element)}"
                )
            return stream, spec.names.index(element)
        if isinstance(element, bool) or not 0 <= element < spec.size:
            raise self._wrong(node, f"stream '{stream}' has elements 0 to {spec.size - 1}")
        return stream, element

    def _near(self, name: str) -> str:
        every = [own for spec in self.streams for own in (*spec.names, spec.name)]
        near = difflib.get_close_matches(name, every, 3)
        return f"; did you mean {', '.join(near)}?" if near else ""

    def is_truth(self, node: ast.expr) -> bool:
        """Whether a node says True or False."""
        if at := self.elements.get(id(node)):
            return any(spec.name == at[0] and spec.dtype == "bool" for spec in self.streams)
        return isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        )

    def _wrong(self, node: ast.expr, why: str) -> UsageError:
        part = ast.get_source_segment(self.text.strip(), node) or ast.unparse(node)
        return UsageError(f"'{self.text}': at '{part}': {why}")


def _parts(node: ast.expr) -> list[ast.expr]:
    """What a node is computed from."""
    match node:
        case ast.UnaryOp():
            return [node.operand]
        case ast.BinOp():
            return [node.left, node.right]
        case ast.BoolOp():
            return node.values
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.Call():
            return node.args
        case _:
            return []


def _wants_truth(node: ast.expr, place: int) -> bool:
    """Whether this part of a node has to be true or false."""
    match node:
        case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Call(func=ast.Name(id="where")):
            return place == 0
        case _:
            return False


def _why_not(node: ast.expr) -> str:
    """Why a node cannot be computed; empty where it can."""
    why = "only numbers, elements, arithmetic, comparisons and functions may stand here"
    match node:
        case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.BitXor()):
            why = "& | ^ bind tighter than comparisons: write 'and', 'or'"
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as value) if abs(value) < LARGEST:
            why = ""
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()) | ast.BoolOp() | ast.Name():
            why = ""
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            why = ""
        case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
            why = ""
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            _, least, most = _FUNCTIONS[name]
            fits = least <= len(node.args) <= most
            why = "" if fits else f"{name} takes {least} to {most} arguments"
        case ast.Call(func=ast.Name(id=name)):
            why = (
                f"no function '{name}'; there are {', '.join(_FUNCTIONS)}, and of(stream, element)"
            )
        case _:
            pass
    return why


def _dotted(node: ast.expr) -> str | None:
    """``a.b.c`` as text; None for anything else."""
    return ".".join(_words(node)) if all(_words(node)) else None


def _words(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield from _words(node.value)
        yield node.attr
    else:
        yield node.id if isinstance(node, ast.Name) else ""


def _sound(value: Any, text: str) -> Any:
    if np.asarray(value).dtype != np.bool_ and np.isnan(value).any():
        raise QueryRefusedError(
            f"'{text}' has no value in {int(np.isnan(value).sum())} of {np.size(value)} samples: "
            "a root or logarithm of a negative number, or 0 / 0"
        )
    return value
