"""One topic: its messages decoded as they come, and batched into one block per stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
from mcap.records import Channel, Message, Schema

from viae.logs.mcap import jsonmsg, protobuf, ros2
from viae.logs.mcap.plan import SPEC_KEY, Plan, plan_recorded, plan_topic, stamp_path_of
from viae.logs.mcap.shape import MessageType
from viae.schema import Kind, Loss, LossKind, Samples, StreamSpec

BY_SCHEMA = {("cdr", "ros2msg"): ros2.message_type, ("protobuf", "protobuf"): protobuf.message_type}
BY_FIRST_MESSAGE = (("json", "jsonschema"), ("json", ""))
"""The message and schema encodings that viae decodes."""

BLOCK_SAMPLES = 1024
BLOCK_BYTES = 1 << 20


class Rows:
    """Samples of streams that share their times, on their way into blocks."""

    def __init__(self, specs: list[StreamSpec]) -> None:
        self.specs = specs
        self.nbytes = 0
        self._times: list[tuple[int, int, int]] = []
        self._values: list[list[Any]] = []

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return len(self._times) >= BLOCK_SAMPLES or self.nbytes >= BLOCK_BYTES

    def append(self, times: tuple[int, int, int], values: list[Any], nbytes: int) -> None:
        """Add one sample of every stream: its (capture, arrival, seq), values and rough size."""
        self._times.append(times)
        self._values.append(values)
        self.nbytes += nbytes

    def flush(self) -> Iterator[Samples]:
        """One block per stream, and none where there is nothing."""
        times, values = self._times, self._values
        self._times, self._values, self.nbytes = [], [], 0
        if not times:
            return
        capture, arrival, seq = np.array(times, np.int64).T.copy()
        for spec, column in zip(self.specs, zip(*values, strict=True), strict=True):
            yield Samples(
                spec=spec,
                capture_ns=capture,
                arrival_ns=arrival,
                seq=seq,
                values=_pack(spec, column),
            )


class Topic:
    """Everything on one topic of one type.

    A message that does not decode, or does not fit its topic's streams, goes whole into the stream
    ``topic#raw``; ``seq``, the message's position in its topic, says where it belongs. A topic in
    an encoding that viae does not know is one stream of bytes.

    Args:
        path: the file, for what is reported.
        channel: its first channel.
        schema: that channel's schema; None where it has none.
        names: the stream names taken so far in this episode; added to.
    """

    def __init__(self, path: str, channel: Channel, schema: Schema | None, names: set[str]) -> None:
        self.count = 0
        self._path, self._channel, self._schema, self._names = path, channel, schema, names
        self._type: MessageType | None = None
        self._plan: Plan | None = None
        self._rows: Rows | None = None
        self._raw: Rows | None = None
        self._unknown = ""
        self._spec_error = ""
        self._undecodable = 0
        self._first_undecodable: tuple[int, str] | None = None
        self._zero_stamps = 0
        self._absent: Counter[str] = Counter()
        encodings = (channel.message_encoding, schema.encoding if schema else "")
        if schema and encodings in BY_SCHEMA:
            try:
                self._type = BY_SCHEMA[encodings](schema)
            except Exception as error:  # whatever a foreign schema provokes, the bytes are kept
                why = f"{error!s:.200} ({type(error).__name__})"
                self._unknown = f"the schema '{schema.name}' cannot be read: {why}"
        elif encodings not in BY_FIRST_MESSAGE:
            known = ", ".join("/".join(filter(None, e)) for e in (*BY_SCHEMA, *BY_FIRST_MESSAGE))
            self._unknown = f"message/schema encoding is {'/'.join(encodings)}, not one of {known}"

    @property
    def nbytes(self) -> int:
        """Rough size of what waits to be flushed."""
        return sum(rows.nbytes for rows in (self._rows, self._raw) if rows)

    def add(self, message: Message) -> Iterator[Samples]:
        """Take one message; yields the blocks that it fills."""
        capture, values, rows = self._take(message)
        rows.append((capture, message.log_time, self.count), values, len(message.data))
        self.count += 1
        if rows.full:
            yield from rows.flush()

    def flush(self) -> Iterator[Samples]:
        """What waits."""
        for rows in (self._rows, self._raw):
            if rows:
                yield from rows.flush()

    def losses(self) -> Iterator[Loss]:
        """What could not be taken as it was declared."""

        def repaired(name: str, count: int, detail: str, at_ns: int | None = None) -> Loss:
            return Loss(
                kind=LossKind.REPAIRED,
                name=name,
                path=self._path,
                stream=self._channel.topic,
                count=count,
                at_ns=at_ns,
                detail=detail,
            )

        if self._unknown and self.count:
            detail = (
                f"{self._unknown}; the messages are kept as bytes. Record them in one of these to "
                "have them as numbers"
            )
            yield repaired("unknown-encoding", self.count, detail)
        if self._spec_error:
            detail = f"the metadata '{SPEC_KEY}' was ignored: {self._spec_error}"
            yield repaired("stream-spec-unreadable", 1, detail)
        if self._first_undecodable and self._raw:
            at_ns, why = self._first_undecodable
            detail = f"the first: {why}; they are kept as bytes in '{self._raw.specs[0].name}'"
            yield repaired("undecodable", self._undecodable, detail, at_ns)
        if self._zero_stamps and self._plan:
            field = ".".join(self._plan.stamp_path)
            detail = f"the field '{field}' is zero; capture is taken as arrival there"
            yield repaired("zero-stamp", self._zero_stamps, detail)
        for field, n in self._absent.items():
            detail = f"the field '{field}' was left out; it reads as its default"
            yield repaired("field-absent", n, detail)

    def _take(self, message: Message) -> tuple[int, list[Any], Rows]:
        """The capture time, the values, and the rows they belong to."""
        if self._unknown:
            self._rows = self._rows or self._bytes_rows("")
            return message.log_time, [message.data], self._rows
        try:
            return self._decode(message)
        except Exception as error:  # whatever foreign bytes provoke, they are kept
            why = f"{error!s:.200} ({type(error).__name__})"
            self._first_undecodable = self._first_undecodable or (message.log_time, why)
            self._undecodable += 1
            self._raw = self._raw or self._bytes_rows("#raw")
            return message.log_time, [message.data], self._raw

    def _decode(self, message: Message) -> tuple[int, list[Any], Rows]:
        if self._type is None:
            hints = self._schema.data if self._schema else b""
            self._type = jsonmsg.message_type(hints, message.data)
        decoded = self._type.decode(message.data)
        if self._plan is None or self._rows is None:
            self._plan = self._make_plan(self._type, decoded, message)
            self._rows = Rows([track.spec for track in self._plan.tracks])
        values = [track.take(decoded) for track in self._plan.tracks]
        capture = self._capture(self._plan, decoded, message)
        self._absent.update(
            ".".join(field)
            for field in self._type.absent(decoded)
            if field != self._plan.stamp_path
        )
        return capture, values, self._rows

    def _make_plan(self, type_: MessageType, first: Any, message: Message) -> Plan:
        topic = self._channel.topic
        try:
            recorded = plan_recorded(self._channel.metadata, topic, type_)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            recorded, self._spec_error = None, f"{error!s:.200}"
        if recorded and self._take_names(recorded):
            return recorded
        has_clock = bool(stamp_path_of(type_.shape)) or _publish_clock(message)
        clock = topic if topic and has_clock else "log"
        name = base = topic or "unnamed"
        for n in count(2):
            plan = plan_topic(topic=topic, name=name, clock=clock, type_=type_, first=first)
            if self._take_names(plan):
                break
            name = f"{base}#{n}"
        return plan

    def _take_names(self, plan: Plan) -> bool:
        """Claim the names of a plan's streams, unless another topic has one of them."""
        names = {track.spec.name for track in plan.tracks}
        if names & self._names:
            return False
        self._names |= names
        return True

    def _capture(self, plan: Plan, decoded: Any, message: Message) -> int:
        if plan.stamp is None:  # the publisher's clock is the nearest to a capture there is
            published = message.publish_time
            return published if 0 < published < 1 << 63 else message.log_time
        stamp = plan.stamp(decoded)
        if stamp == 0 and not plan.zero_is_a_time:
            self._zero_stamps += 1
            return message.log_time
        return stamp

    def _bytes_rows(self, suffix: str) -> Rows:
        base = name = (self._channel.topic or "unnamed") + suffix
        for n in count(2):
            if name not in self._names:
                break
            name = f"{base}#{n}"
        self._names.add(name)
        return Rows([StreamSpec(name=name, kind=Kind.BYTES, dtype="", topic=self._channel.topic)])


def _publish_clock(message: Message) -> bool:
    return message.publish_time not in (0, message.log_time)


def _pack(spec: StreamSpec, column: tuple[Any, ...]) -> Any:
    if spec.kind is not Kind.VECTOR or spec.varies:
        return list(column)
    return np.array(column, spec.dtype).reshape(len(column), *spec.shape)
