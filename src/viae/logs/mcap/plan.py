"""Which streams the messages of a topic become.

The rules, in order:

1. A topic written by viae's recorder carries its `StreamSpec`: it is that one stream.
2. ``header.stamp``, ``timestamp`` or ``stamp``, where it is a time, is the capture time, no stream.
   ``header.frame_id`` or ``frame_id`` is a text stream of its own.
3. What remains of an image message is one image stream (`viae.logs.mcap.images`).
4. A field is a stream, named ``topic.field.subfield``; what is alone in its message or struct has
   the name of that message or struct. A struct of numbers of one dtype is one vector with names;
   an array of numbers is one vector, fixed or varying as the schema says; a number is a vector of
   one; a time is int64 ns; strings are text; bytes are bytes; anything else is JSON text.

So every message gives exactly one sample to every stream of its topic, whatever is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from viae.logs.mcap.images import image_stream
from viae.logs.mcap.shape import (
    Blob,
    FieldPath,
    MessageType,
    Number,
    Numbers,
    Shape,
    Stamp,
    Struct,
    Text,
    UnfitError,
)
from viae.schema import Kind, StreamSpec

SPEC_KEY = "viae.stream"
"""The channel metadata in which the recorder leaves the stream's spec, as JSON."""

STAMPS: tuple[FieldPath, ...] = (("header", "stamp"), ("timestamp",), ("stamp",))
FRAMES: tuple[FieldPath, ...] = (("header", "frame_id"), ("frame_id",))
RECORDED_FIELDS = {
    Kind.VECTOR: "value", Kind.TEXT: "value", Kind.BYTES: "value", Kind.IMAGE: "data",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Track:
    """One stream of a topic, and how to take its value from a message."""

    spec: StreamSpec
    take: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of the messages of a topic.

    Args:
        tracks: its streams, at least one.
        stamp: the capture time of a message, ns; None where messages carry none.
        stamp_path: where that is.
        zero_is_a_time: whether a stamp of zero was meant, or says that nobody set it.
    """

    tracks: tuple[Track, ...]
    stamp: Callable[[Any], int] | None
    stamp_path: FieldPath = ()
    zero_is_a_time: bool = False


def stamp_path_of(shape: Struct) -> FieldPath:
    """Where messages carry their capture time; empty where they do not."""
    return next((path for path in STAMPS if isinstance(shape.at(path), Stamp)), ())


def plan_recorded(metadata: Mapping[str, str], topic: str, type_: MessageType) -> Plan | None:
    """The plan of a topic that viae recorded; None if it did not.

    Raises:
        ValueError: the metadata is not a spec, or not one for these messages.
    """
    if SPEC_KEY not in metadata:
        return None
    spec = replace(StreamSpec.from_json(json.loads(metadata[SPEC_KEY])), topic=topic)
    field = RECORDED_FIELDS.get(spec.kind)
    if field is None or type_.shape.at((field,)) is None:
        raise ValueError(f"a {spec.kind} stream cannot be in messages {type_.shape.name}")
    get = _one(type_, (field,))
    stamp_path = stamp_path_of(type_.shape)
    return Plan(
        tracks=(Track(spec, _array(get, spec) if spec.kind is Kind.VECTOR else get),),
        stamp=_stamp(type_, stamp_path) if stamp_path else None,
        stamp_path=stamp_path,
        zero_is_a_time=True,
    )


def plan_topic(*, topic: str, name: str, clock: str, type_: MessageType, first: Any) -> Plan:
    """The plan of any other topic.

    Args:
        topic: the topic.
        name: what its streams' names begin with.
        clock: the clock of its capture times.
        type_: how to read its messages.
        first: its first message, decoded.
    """

    def spec(stream: str, kind: Kind, dtype: str = "", **more: Any) -> StreamSpec:
        return StreamSpec(name=stream, kind=kind, dtype=dtype, clock=clock, topic=topic, **more)

    body, tracks = type_.shape, []
    stamp_path = stamp_path_of(body)
    if stamp_path:
        body = body.without(stamp_path)
    frame = next((path for path in FRAMES if isinstance(body.at(path), Text)), None)
    if frame:
        body = body.without(frame)
        tracks.append(Track(spec(f"{name}.{'.'.join(frame)}", Kind.TEXT), _one(type_, frame)))
    image = image_stream(type_.shape.name, topic, name, clock, first)
    if image:
        tracks.append(Track(*image))
    elif body.fields or not tracks:
        tracks += _tracks(body, (), name, type_, spec)
    return Plan(
        tracks=tuple(tracks),
        stamp=_stamp(type_, stamp_path) if stamp_path else None,
        stamp_path=stamp_path,
    )


def _tracks(
    shape: Shape, path: FieldPath, name: str, type_: MessageType, spec: Callable[..., StreamSpec]
) -> Iterator[Track]:
    """The streams of one field, or of the whole message where the path is empty."""
    match shape:
        case Struct(fields=fields) if fields:
            if vector := _one_vector(shape, name, spec):
                paths = [(*path, *leaf) for leaf, _ in shape.leaves()]
                yield Track(vector, type_.pick(paths))
                return
            for field, inner in fields.items():
                below = name if len(fields) == 1 else f"{name}.{field}"
                yield from _tracks(inner, (*path, field), below, type_, spec)
        case Number(dtype=dtype):
            yield Track(spec(name, Kind.VECTOR, dtype, shape=(1,)), type_.pick([path]))
        case Numbers(dtype=dtype, size=size):
            array = spec(name, Kind.VECTOR, dtype, shape=(size,))
            yield Track(array, _array(_one(type_, path), array))
        case Stamp():
            stamp = spec(name, Kind.VECTOR, "int64", shape=(1,), unit="ns")
            yield Track(stamp, _stamp(type_, path))
        case Text():
            yield Track(spec(name, Kind.TEXT), _one(type_, path))
        case Blob():
            yield Track(spec(name, Kind.BYTES), _one(type_, path))
        case _:
            get = _one(type_, path) if path else (lambda message: message)
            yield Track(
                spec(name, Kind.TEXT), lambda message: json.dumps(type_.plain(get(message)))
            )


def _one_vector(shape: Struct, name: str, spec: Callable[..., StreamSpec]) -> StreamSpec | None:
    """The vector that a struct is, where all its leaves are numbers of one dtype."""
    paths, leaves = zip(*shape.leaves(), strict=True)
    if not isinstance(leaves[0], Number) or len(set(leaves)) > 1:
        return None
    names = tuple(".".join(path) for path in paths)
    # The only field of a JSON message that is a bare number has no name.
    names = names if any(names) else ()
    return spec(name, Kind.VECTOR, leaves[0].dtype, shape=(len(leaves),), names=names)


def _one(type_: MessageType, path: FieldPath) -> Callable[[Any], Any]:
    pick = type_.pick([path])
    return lambda message: pick(message)[0]


def _stamp(type_: MessageType, path: FieldPath) -> Callable[[Any], int]:
    pick = type_.pick([path])

    def stamp(message: Any) -> int:
        ns = type_.ns(pick(message)[0])
        if not -(1 << 63) <= ns < 1 << 63:
            raise UnfitError(f"its {'.'.join(path)} is {ns} ns, which int64 cannot hold")
        return ns

    return stamp


def _array(get: Callable[[Any], Any], spec: StreamSpec) -> Callable[[Any], Any]:
    """Take an array of numbers, and see that it has the length the spec says."""
    dtype, size = np.dtype(spec.dtype), spec.size
    if spec.varies:
        return lambda message: np.array(list(get(message)), dtype)

    def take(message: Any) -> list[Any]:
        numbers = list(get(message))
        if len(numbers) != size:
            raise UnfitError(f"it holds {len(numbers)} numbers, not {size}")
        return numbers

    return take
