"""Which streams a topic becomes: the rules of MCAP topics (`viae.logs.messages.plan`), by columns.

1. ``timestamp`` is the arrival time, ``timestamp_sample`` the capture time; both on the clock of
   the vehicle's boot. ``_padding`` is nothing.
2. A topic, or a struct in it, whose fields are all numbers of one dtype is one vector with names:
   ``vehicle_rates_setpoint`` is (roll, pitch, yaw, thrust).
3. Else each field is a stream ``topic.field``: an array is one vector (``vehicle_attitude.q``), a
   number a vector of one. What is alone in its topic has the topic's name.
4. An array of ``char`` is text, up to its first zero byte.

The second and later instances of a topic are ``topic#1``, ``topic#2``, as PX4 numbers them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.schema import Kind, Role, StreamSpec

DTYPES = {
    "int8_t": "int8", "uint8_t": "uint8", "int16_t": "int16", "uint16_t": "uint16",
    "int32_t": "int32", "uint32_t": "uint32", "int64_t": "int64", "uint64_t": "uint64",
    "float": "float32", "double": "float64", "bool": "bool", "char": "char",
}  # fmt: skip
TIMES = ("timestamp", "timestamp_sample")
ELEMENT = re.compile(r"(.+)\[(\d+)\]")
COMMANDS = ("actuator_controls", "actuator_motors", "actuator_servos", "actuator_outputs")


@dataclass(frozen=True, slots=True)
class Array:
    """A field: the columns of its elements."""

    dtype: str
    columns: tuple[str, ...]
    alone: bool
    """Whether it is one number, not an array of one."""


Tree: TypeAlias = "dict[str, Tree | Array]"


@dataclass(frozen=True, slots=True)
class Column:
    """One stream of a topic, and the columns it is made of."""

    spec: StreamSpec
    columns: tuple[str, ...]

    def values(self, data: Mapping[str, npt.NDArray[Any]]) -> Any:
        """An array [N, size], or N strings."""
        rows = np.stack([data[name] for name in self.columns], axis=1)
        if self.spec.kind is Kind.TEXT:
            texts = np.ascontiguousarray(rows.astype(np.int8)).view(np.uint8)
            return [row.tobytes().partition(b"\0")[0].decode("utf-8", "replace") for row in texts]
        return rows.astype(np.dtype(self.spec.dtype), copy=False)


def columns_of(topic: str, name: str, fields: list[tuple[str, str]]) -> list[Column]:
    """The streams of a topic.

    Args:
        topic: the topic.
        name: what its streams' names begin with.
        fields: name and ULog type of each number, nested names and elements flattened by pyulog.
    """
    tree: Tree = {}
    for field, type_ in fields:
        if field not in TIMES and not field.rpartition(".")[2].startswith("_padding"):
            _put(tree, field, DTYPES[type_])
    return list(_streams(tree, name, topic, role_of(topic)))


def role_of(topic: str) -> Role:
    """Commands to motors, and setpoints at any level, are actions."""
    return Role.ACTION if topic.startswith(COMMANDS) or "setpoint" in topic else Role.OBSERVATION


def _put(tree: Tree, field: str, dtype: str) -> None:
    *above, leaf = field.split(".")
    for part in above:
        inner = tree.setdefault(part, {})
        if isinstance(inner, Array):
            raise ValueError(f"'{part}' is a number and a struct")
        tree = inner
    element = ELEMENT.fullmatch(leaf)
    key = element[1] if element else leaf
    before = tree.get(key)
    if isinstance(before, dict):
        raise ValueError(f"'{key}' is a number and a struct")
    if isinstance(before, Array):
        tree[key] = Array(dtype, (*before.columns, field), alone=False)
    else:
        tree[key] = Array(dtype, (field,), alone=element is None)


def _streams(tree: Tree, name: str, topic: str, role: Role) -> Iterator[Column]:
    leaves = list(_leaves(tree, ""))
    dtypes = {array.dtype for _, array in leaves}
    if len(dtypes) == 1 and all(array.alone for _, array in leaves) and dtypes != {"char"}:
        spec = StreamSpec(
            name=name, dtype=dtypes.pop(), shape=(len(leaves),),
            names=tuple(path for path, _ in leaves), role=role, topic=topic,
        )  # fmt: skip
        yield Column(spec, tuple(array.columns[0] for _, array in leaves))
        return
    for field, inner in tree.items():
        below = name if len(tree) == 1 else f"{name}.{field}"
        if not isinstance(inner, Array):
            yield from _streams(inner, below, topic, role)
        elif inner.dtype == "char":
            spec = StreamSpec(name=below, kind=Kind.TEXT, dtype="", role=role, topic=topic)
            yield Column(spec, inner.columns)
        else:
            shape = (len(inner.columns),)
            spec = StreamSpec(name=below, dtype=inner.dtype, shape=shape, role=role, topic=topic)
            yield Column(spec, inner.columns)


def _leaves(tree: Tree, prefix: str) -> Iterator[tuple[str, Array]]:
    for field, inner in tree.items():
        if isinstance(inner, Array):
            yield prefix + field, inner
        else:
            yield from _leaves(inner, f"{prefix}{field}.")
