"""Transforms between frames: one stream for every pair of a parent and a child.

A message type is a transform if it has a stamp, a parent, a child, a translation (x, y, z) and a
rotation (x, y, z, w), by whatever usual names, and nothing else; or if it is an array of those and
nothing else. So ``tf2_msgs/TFMessage``, ``tf/tfMessage``, ``geometry_msgs/TransformStamped`` and
``foxglove.FrameTransform(s)`` are, and so is a type of one's own that has their form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from viae.logs.messages import jsonmsg, protobuf, ros
from viae.logs.messages.batch import Channel, Messages
from viae.logs.messages.plan import FRAMES, SPEC_KEY, stamp_path_of
from viae.logs.messages.rows import BLOCK_SAMPLES, Piece, Rows
from viae.logs.messages.sequence import SequenceGaps
from viae.logs.messages.shape import (
    FieldPath,
    Items,
    MessageType,
    Number,
    Opaque,
    Struct,
    Text,
    UnfitError,
)
from viae.schema import Kind, Loss, LossKind, Samples, StreamSpec

TYPES: dict[tuple[str, str], Callable[[Channel], MessageType | None]] = {
    ("cdr", "ros2msg"): ros.message_type,
    ("cdr", "ros2idl"): ros.message_type,
    ("ros1", "ros1msg"): ros.message_type,
    ("protobuf", "protobuf"): protobuf.message_type,
    ("json", "jsonschema"): lambda channel: jsonmsg.declared_type(channel.schema),
}
NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")

PARENTS: tuple[FieldPath, ...] = (*FRAMES, ("parent_frame_id",), ("parent_frame",))
CHILDREN: tuple[FieldPath, ...] = (("child_frame_id",), ("child_frame",))
POSES: tuple[FieldPath, ...] = ((), ("transform",))
"""Where the parts of a transform are, in the order in which they are looked for."""
COUNTS: frozenset[FieldPath] = frozenset({("header", "seq")})
"""What may be there beside them: ROS 1's count of messages."""

SAMPLE_BYTES = 8 * (len(NAMES) + 3)

MAX_PAIRS = 1024
"""Pairs of one topic; a tree of frames has fewer, and each is a stream."""

BATCH_MESSAGES = 1024
BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    """How to read the transforms of a message.

    Args:
        decode: bytes to a message.
        each: the transforms in a message.
        frames: of a transform, its parent and its child.
        numbers: the seven numbers, as `NAMES` has them.
        stamp: its capture time, ns.
        stamp_path: where that is.
        absent: the fields that it leaves out and that read as their default.
    """

    decode: Callable[[bytes], Any]
    each: Callable[[Any], Any]
    frames: Callable[[Any], tuple[Any, ...]]
    numbers: Callable[[Any], tuple[Any, ...]]
    stamp: Callable[[Any], int]
    stamp_path: FieldPath
    absent: Callable[[Any], list[FieldPath]]


def transforms_of(channel: Channel) -> Transforms | None:
    """How to read a channel's transforms; None where its messages are something else."""
    parse = TYPES.get((channel.encoding, channel.schema_encoding))
    names = b"translation" in channel.schema and b"rotation" in channel.schema
    if not parse or not names or SPEC_KEY in channel.metadata:
        return None
    try:
        type_ = parse(channel)
    except Exception:  # whatever a foreign schema provokes; the topic will say what is wrong
        type_ = None
    return (_of_message(type_) or _of_array(type_)) if type_ else None


def _of_message(type_: MessageType) -> Transforms | None:
    itself = Items(shape=type_.shape, pick=type_.pick, ns=type_.ns, absent=type_.absent)
    return _read(itself, type_.decode, lambda message: (message,))


def _of_array(type_: MessageType) -> Transforms | None:
    if len(type_.shape.fields) != 1:
        return None
    [(name, shape)] = type_.shape.fields.items()
    items = type_.items(name) if isinstance(shape, Opaque) else None
    if items is None:
        return None
    pick = type_.pick([(name,)])
    return _read(items, type_.decode, lambda message: pick(message)[0])


def _read(
    items: Items, decode: Callable[[bytes], Any], each: Callable[[Any], Any]
) -> Transforms | None:
    shape = items.shape
    stamp = stamp_path_of(shape)
    parent = next((path for path in PARENTS if isinstance(shape.at(path), Text)), ())
    child = next((path for path in CHILDREN if isinstance(shape.at(path), Text)), ())
    numbers = _numbers(shape)
    leaves = {path for path, _ in shape.leaves()}
    if not (stamp and parent and child and numbers):
        return None
    if leaves - {stamp, parent, child, *numbers} - COUNTS:
        return None
    pick_stamp = items.pick([stamp])
    return Transforms(
        decode=decode,
        each=each,
        frames=items.pick([parent, child]),
        numbers=items.pick(numbers),
        stamp=lambda transform: items.ns(pick_stamp(transform)[0]),
        stamp_path=stamp,
        absent=items.absent,
    )


def _numbers(shape: Struct) -> list[FieldPath]:
    """Where the seven numbers are; empty where they are not."""
    for pose in POSES:
        paths = [(*pose, "translation", axis) for axis in "xyz"]
        paths += [(*pose, "rotation", axis) for axis in "xyzw"]
        if all(isinstance(shape.at(path), Number) for path in paths):
            return paths
    return []


@dataclass(slots=True)
class _Pair:
    """The stream of a pair, and what waits for the end of the batch."""

    rows: Rows
    count: int = 0
    capture: list[int] = field(default_factory=list)
    arrival: list[int] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)


class TransformTopic:
    """Everything on one topic of transforms.

    The stream of a pair is ``topic.parent.child``: float64 (7,), see `NAMES`; ``seq`` is the
    position in it. A message that does not decode, or holds no transform, goes whole into the
    stream ``topic#raw``, where ``seq`` is the position in the topic.

    Args:
        path: the file, for what is reported.
        channel: what the container says of its messages.
        names: the stream names taken so far in this episode; added to.
        transforms: how to read them, from `transforms_of`.
    """

    def __init__(
        self, path: str, channel: Channel, names: set[str], transforms: Transforms
    ) -> None:
        self.count = 0
        self._path, self._channel, self._names = path, channel, names
        self._read = transforms
        self._gaps = SequenceGaps()
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._raw: Rows | None = None
        self._undecodable = self._empty = self._zero_stamps = 0
        self._first_undecodable: tuple[int, str] | None = None
        self._absent: Counter[str] = Counter()

    @property
    def nbytes(self) -> int:
        """Rough size of what waits to be flushed."""
        raw = self._raw.nbytes if self._raw else 0
        return raw + sum(pair.rows.nbytes for pair in self._pairs.values())

    def add(self, messages: Messages) -> Iterator[Samples]:
        """Take messages; yields the blocks that they fill."""
        self._gaps.add(messages.sequence, messages.log_ns)
        for batch in messages.pieces(samples=BATCH_MESSAGES, nbytes=BATCH_BYTES):
            touched: dict[tuple[str, str], _Pair] = {}
            log_ns = batch.log_ns.tolist()
            for place, data in enumerate(batch.data()):
                try:
                    found = self._decode(data, log_ns[place])
                except Exception as error:  # whatever foreign bytes provoke, they are kept
                    why = f"{error!s:.200} ({type(error).__name__})"
                    self._first_undecodable = self._first_undecodable or (log_ns[place], why)
                    self._undecodable += 1
                    self._keep_bytes(batch[place : place + 1])
                else:
                    if not found:
                        self._empty += 1
                        self._keep_bytes(batch[place : place + 1])
                    for frames, capture_ns, numbers in found:
                        pair = touched[frames] = self._pair(frames)
                        pair.capture.append(capture_ns)
                        pair.arrival.append(log_ns[place])
                        pair.values.append(numbers)
                self.count += 1
            for pair in touched.values():
                yield from self._end_batch(pair)
            if self._raw and self._raw.full:
                yield from self._raw.flush()

    def flush(self) -> Iterator[Samples]:
        """What waits."""
        for pair in self._pairs.values():
            yield from pair.rows.flush()
        if self._raw:
            yield from self._raw.flush()

    def losses(self) -> Iterator[Loss]:
        """What could not be taken as it was declared."""

        def loss(
            name: str, count: int, detail: str, at_ns: int | None = None,
            kind: LossKind = LossKind.REPAIRED,
        ) -> Loss:  # fmt: skip
            return Loss(
                kind=kind, name=name, path=self._path, stream=self._channel.topic, count=count,
                at_ns=at_ns, detail=detail,
            )  # fmt: skip

        raw = self._raw.specs[0].name if self._raw else ""
        if self._first_undecodable:
            at_ns, why = self._first_undecodable
            detail = f"the first: {why}; they are kept as bytes in '{raw}'"
            yield loss("undecodable", self._undecodable, detail, at_ns)
        if self._empty:
            detail = f"messages without any transform are kept as bytes in '{raw}'"
            yield loss("no-transforms", self._empty, detail)
        if self._zero_stamps:
            stamp = ".".join(self._read.stamp_path)
            detail = f"the field '{stamp}' is zero; capture is taken as arrival there"
            yield loss("zero-stamp", self._zero_stamps, detail)
        if self._gaps.count:
            detail = "the sender's count skips them: they never reached the recorder"
            first_ns = self._gaps.first_ns
            yield loss("sequence-gap", self._gaps.count, detail, first_ns, LossKind.LOST)
        for name, n in self._absent.items():
            yield loss("field-absent", n, f"the field '{name}' was left out; it reads as default")

    def _decode(
        self, data: bytes, log_ns: int
    ) -> list[tuple[tuple[str, str], int, tuple[float, ...]]]:
        """The transforms of one message: frames, capture time, numbers."""
        read, found, zeros = self._read, [], 0
        absent: Counter[str] = Counter()
        for transform in read.each(read.decode(data)):
            parent, child = read.frames(transform)
            if not isinstance(parent, str) or not isinstance(child, str):
                raise UnfitError(f"its frames are {parent!r:.40} and {child!r:.40}, not strings")
            parent.encode(), child.encode()  # not every string is text: it must be kept as UTF-8
            capture_ns = read.stamp(transform)
            if not -(1 << 63) <= capture_ns < 1 << 63:
                raise UnfitError(f"its stamp is {capture_ns} ns, which int64 cannot hold")
            zeros += not capture_ns
            numbers = read.numbers(transform)
            if not all(type(number) in (int, float) for number in numbers):
                raise UnfitError(f"its numbers are {numbers!r:.80}")
            found.append(((parent, child), capture_ns or log_ns, numbers))
            left_out = (".".join(path) for path in read.absent(transform))
            absent.update(name for name in left_out if name != ".".join(read.stamp_path))
        new = {frames for frames, _, _ in found} - self._pairs.keys()
        if len(self._pairs) + len(new) > MAX_PAIRS:
            raise UnfitError(f"the topic has more than {MAX_PAIRS} pairs of frames")
        self._zero_stamps += zeros
        self._absent += absent
        return found

    def _pair(self, frames: tuple[str, str]) -> _Pair:
        if frames not in self._pairs:
            topic = self._channel.topic
            spec = StreamSpec(
                name=self._take_name(".".join((topic or "unnamed", *frames))), kind=Kind.VECTOR,
                dtype="float64", shape=(7,), names=NAMES, clock=topic or "log", topic=topic,
            )  # fmt: skip
            self._pairs[frames] = _Pair(Rows([spec]))
        return self._pairs[frames]

    def _end_batch(self, pair: _Pair) -> Iterator[Samples]:
        """What a batch brought becomes part of blocks: one message can hold more than one block."""
        for start in range(0, len(pair.capture), BLOCK_SAMPLES):
            rows = slice(start, start + BLOCK_SAMPLES)
            n = len(pair.capture[rows])
            piece = Piece(
                capture_ns=np.array(pair.capture[rows], np.int64),
                arrival_ns=np.array(pair.arrival[rows], np.int64),
                seq=np.arange(pair.count, pair.count + n, dtype=np.int64),
                values=[np.array(pair.values[rows], np.float64)],
            )
            pair.count += n
            pair.rows.append(piece, n * SAMPLE_BYTES)
            if pair.rows.full:
                yield from pair.rows.flush()
        for waiting in (pair.capture, pair.arrival, pair.values):
            waiting.clear()

    def _keep_bytes(self, message: Messages) -> None:
        if self._raw is None:
            topic = self._channel.topic
            name = self._take_name(f"{topic or 'unnamed'}#raw")
            self._raw = Rows([StreamSpec(name=name, kind=Kind.BYTES, dtype="", topic=topic)])
        piece = Piece(
            capture_ns=message.log_ns, arrival_ns=message.log_ns,
            seq=np.array([self.count], np.int64), values=[list(message.data())],
        )  # fmt: skip
        self._raw.append(piece, message.nbytes)

    def _take_name(self, base: str) -> str:
        name = base
        for n in count(2):
            if name not in self._names:
                break
            name = f"{base}#{n}"
        self._names.add(name)
        return name
