"""Which streams the messages of a topic become.

The rules, in order:

1. A topic written by viae's recorder carries its `StreamSpec`: it is that one stream.
2. Messages that are transforms between frames, or an array of them, are one stream for every pair
   of a parent and a child, with a sample for each transform (`viae.logs.messages.transforms`); and
   messages that are frames of coded video are one stream of video (`viae.logs.messages.video`).
3. ``header.stamp``, ``timestamp``, ``stamp`` or ``info.stamp`` (of service events), where it is a
   time, is the capture time, no stream.
   ``header.frame_id`` or ``frame_id`` is a text stream of its own.
4. What remains of an image message is one image stream (`viae.logs.messages.images`).
5. A field is a stream, named ``topic.field.subfield``; what is alone in its message or struct has
   the name of that message or struct. A struct of numbers of one dtype is one vector with names;
   an array of numbers is one vector, fixed or varying as the schema says, and fixed with names
   where the message names its elements (`viae.logs.messages.named`); a number is a vector of
   one; a time is int64 ns; strings are text; bytes are bytes; anything else is JSON text.

So every message gives exactly one sample to every stream of its topic, whatever is in it; but for
transforms, of which it may hold any number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from viae.logs.messages.images import image_stream
from viae.logs.messages.layout import Column, Same
from viae.logs.messages.shape import (
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
from viae.schema import Kind, StreamSpec, Values

Columns: TypeAlias = Mapping[FieldPath, Column | Same]

Named: TypeAlias = Mapping[FieldPath, tuple[str, ...]]

SPEC_KEY = "viae.stream"
"""The channel metadata in which the recorder leaves the stream's spec, as JSON."""

STAMPS: tuple[FieldPath, ...] = (
    ("header", "stamp"), ("timestamp",), ("stamp",), ("info", "stamp"),
)  # fmt: skip
FRAMES: tuple[FieldPath, ...] = (("header", "frame_id"), ("frame_id",))
COUNT: FieldPath = ("header", "seq")
RECORDED_FIELDS = {
    Kind.VECTOR: "value", Kind.TEXT: "value", Kind.BYTES: "value", Kind.IMAGE: "data",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Track:
    """One stream of a topic, and how to take its values.

    Args:
        spec: the stream.
        take: its value in one decoded message.
        paths: the fields it comes from; empty where only `take` knows.
    """

    spec: StreamSpec
    take: Callable[[Any], Any]
    paths: tuple[FieldPath, ...] = ()

    def take_run(self, columns: Columns, count: int, first: Callable[[], Any]) -> Values:
        """Its values in a run of messages.

        Args:
            columns: the run's columns, by path.
            count: messages in the run.
            first: decodes the run's first message.

        Raises:
            UnfitError: the values are not of the shape that the spec says.
        """
        mine = [columns[path] for path in self.paths]
        if any(isinstance(column, Same) for column in mine):
            return [self.take(first())] * count
        if self.spec.kind is not Kind.VECTOR:
            return cast(Values, mine[0])
        arrays = [np.asarray(column) for column in mine]
        if self.spec.varies:
            return list(arrays[0])
        array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
        if array.size != count * self.spec.size:
            raise UnfitError(f"it holds {array.size // count} numbers, not {self.spec.size}")
        return array.reshape(count, *self.spec.shape)


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

    @property
    def paths(self) -> list[FieldPath] | None:
        """All fields that are needed; None where a stream needs more than fields."""
        if not all(track.paths for track in self.tracks):
            return None
        paths = [path for track in self.tracks for path in track.paths]
        return [*paths, self.stamp_path] if self.stamp_path else paths


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


def plan_topic(
    *,
    topic: str,
    name: str,
    clock: str,
    type_: MessageType,
    first: Any,
    named: Named | None = None,
) -> Plan:
    """The plan of any other topic.

    Args:
        topic: the topic.
        name: what its streams' names begin with.
        clock: the clock of its capture times.
        type_: how to read its messages.
        first: its first message, decoded.
        named: the names of the elements of arrays, by path; those arrays are of fixed length.
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
        text = spec(f"{name}.{'.'.join(frame)}", Kind.TEXT)
        tracks.append(Track(text, _one(type_, frame), (frame,)))
    image = image_stream(type_.shape.name, topic, name, clock, first)
    if image:
        counter = body.at(COUNT)  # the sender's, which tells what was dropped
        if isinstance(counter, Number):
            tracks += _tracks(counter, COUNT, f"{name}.header.seq", type_, spec, {})
        tracks.append(Track(*image))
    elif body.fields or not tracks:
        tracks += _tracks(body, (), name, type_, spec, named or {})
    return Plan(
        tracks=tuple(tracks),
        stamp=_stamp(type_, stamp_path) if stamp_path else None,
        stamp_path=stamp_path,
    )


def _tracks(
    shape: Shape,
    path: FieldPath,
    name: str,
    type_: MessageType,
    spec: Callable[..., StreamSpec],
    named: Named,
) -> Iterator[Track]:
    """The streams of one field, or of the whole message where the path is empty."""
    match shape:
        case Struct(fields=fields) if fields:
            if vector := _one_vector(shape, name, spec):
                paths = [(*path, *leaf) for leaf, _ in shape.leaves()]
                yield Track(vector, type_.pick(paths), tuple(paths))
                return
            for field, inner in fields.items():
                below = name if len(fields) == 1 else f"{name}.{field}"
                yield from _tracks(inner, (*path, field), below, type_, spec, named)
        case Number(dtype=dtype):
            yield Track(spec(name, Kind.VECTOR, dtype, shape=(1,)), type_.pick([path]), (path,))
        case Numbers(dtype=dtype, size=size):
            names = named.get(path, ())
            shape_ = (len(names) or size,)
            array = spec(name, Kind.VECTOR, dtype, shape=shape_, names=names)
            yield Track(array, _array(_one(type_, path), array), (path,))
        case Stamp():
            stamp = spec(name, Kind.VECTOR, "int64", shape=(1,), unit="ns")
            yield Track(stamp, _stamp(type_, path), (path,))
        case Text():
            yield Track(spec(name, Kind.TEXT), _one(type_, path), (path,))
        case Blob():
            get = _one(type_, path)
            yield Track(spec(name, Kind.BYTES), lambda message: bytes(get(message)), (path,))
        case _:
            get = _one(type_, path) if path else (lambda message: message)
            of = (path,) if path else ()
            text = spec(name, Kind.TEXT)
            yield Track(text, lambda message: json.dumps(type_.plain(get(message))), of)


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

    def take(message: Any) -> npt.NDArray[Any]:
        numbers: npt.NDArray[Any] | Sequence[Any] = get(message)
        if not isinstance(numbers, np.ndarray):
            numbers = np.array(list(numbers), dtype)
        if not spec.varies and len(numbers) != size:
            raise UnfitError(f"it holds {len(numbers)} numbers, not {size}")
        return numbers

    return take
