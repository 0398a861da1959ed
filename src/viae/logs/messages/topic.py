"""One topic: its messages decoded as they come, and batched into one block per stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from viae.logs.messages import flatbuffer, jsonmsg, protobuf, ros
from viae.logs.messages.batch import Channel, Messages
from viae.logs.messages.layout import Run
from viae.logs.messages.named import Key, NamedArrays, named_arrays
from viae.logs.messages.plan import (
    SPEC_KEY,
    Columns,
    Plan,
    plan_recorded,
    plan_topic,
    stamp_path_of,
)
from viae.logs.messages.rows import Piece, Rows, pack
from viae.logs.messages.sequence import SequenceGaps
from viae.logs.messages.shape import MessageType
from viae.schema import Kind, Loss, LossKind, Samples, StreamSpec, TimesNs, Values

BY_SCHEMA: dict[tuple[str, str], Callable[[Channel], MessageType]] = {
    ("cdr", "ros2msg"): ros.message_type,
    ("cdr", "ros2idl"): ros.message_type,
    ("ros1", "ros1msg"): ros.message_type,
    ("protobuf", "protobuf"): protobuf.message_type,
    ("flatbuffer", "flatbuffer"): flatbuffer.message_type,
}
BY_FIRST_MESSAGE = (("json", "jsonschema"), ("json", ""))
"""The message and schema encodings that viae decodes."""

MOST_VARIANTS = 8
"""Sets of names on one topic that have streams of their own; the arrays of others vary."""

BATCH_MESSAGES = 1024
BATCH_BYTES = 1 << 20
"""Messages are taken in batches of at most so many, and blocks are made of whole batches."""


class Topic:
    """Everything on one topic of one type.

    A message that does not decode, or does not fit its topic's streams, goes whole into the stream
    ``topic#raw``; ``seq``, the message's position in its topic, says where it belongs. A topic in
    an encoding that viae does not know is one stream of bytes.

    Args:
        path: the file, for what is reported.
        channel: what the container says of its messages.
        names: the stream names taken so far in this episode; added to.
    """

    def __init__(self, path: str, channel: Channel, names: set[str]) -> None:
        self.count = 0
        self._path, self._channel, self._names = path, channel, names
        self._gaps = SequenceGaps()
        self._type: MessageType | None = None
        self._plan: Plan | None = None
        self._rows: Rows | None = None
        self._named: NamedArrays | None = None
        self._key: Key | None = None  # of the plan and rows at hand
        self._variants: dict[Key | None, tuple[Plan, Rows]] = {}
        self._raw: Rows | None = None
        self._unknown = ""
        self._spec_error = ""
        self._undecodable = 0
        self._first_undecodable: tuple[int, str] | None = None
        self._zero_stamps = 0
        self._absent: Counter[str] = Counter()
        encodings = (channel.encoding, channel.schema_encoding)
        if encodings in BY_SCHEMA:
            try:
                self._type = BY_SCHEMA[encodings](channel)
            except Exception as error:  # whatever a foreign schema provokes, the bytes are kept
                why = f"{error!s:.200} ({type(error).__name__})"
                self._unknown = f"the schema '{channel.schema_name}' cannot be read: {why}"
        elif encodings not in BY_FIRST_MESSAGE:
            known = ", ".join("/".join(filter(None, e)) for e in (*BY_SCHEMA, *BY_FIRST_MESSAGE))
            self._unknown = f"message/schema encoding is {'/'.join(encodings)}, not one of {known}"

    @property
    def nbytes(self) -> int:
        """Rough size of what waits to be flushed."""
        return sum(rows.nbytes for rows in self._all_rows())

    def add(self, messages: Messages) -> Iterator[Samples]:
        """Take messages; yields the blocks that they fill."""
        self._gaps.add(messages.sequence, messages.log_ns)
        for batch in messages.pieces(samples=BATCH_MESSAGES, nbytes=BATCH_BYTES):
            seq = np.arange(self.count, self.count + len(batch), dtype=np.int64)
            self.count += len(batch)
            if self._unknown:
                self._rows = self._rows or self._bytes_rows("")
                self._keep_bytes(self._rows, batch, seq)
            else:
                self._take(batch, seq)
            for rows in self._all_rows():
                if rows.full:
                    yield from rows.flush()

    def flush(self) -> Iterator[Samples]:
        """What waits."""
        for rows in self._all_rows():
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
        if self._gaps.count:
            detail = "the sender's count skips them: they never reached the recorder"
            yield Loss(
                kind=LossKind.LOST,
                name="sequence-gap",
                path=self._path,
                stream=self._channel.topic,
                count=self._gaps.count,
                at_ns=self._gaps.first_ns,
                detail=detail,
            )
        for note, n in (self._type.notes if self._type else {}).items():
            yield repaired("bytes-ignored", n, note)
        for field, n in self._absent.items():
            detail = f"the field '{field}' was left out; it reads as its default"
            yield repaired("field-absent", n, detail)

    def _take(self, batch: Messages, seq: TimesNs) -> None:
        """Decode a batch by columns as far as that goes, the rest one by one."""
        start = 0
        while self._rows is None and start < len(batch):  # the first that decodes makes the plan
            self._decode(batch[start : start + 1], seq[start : start + 1])
            start += 1
        batch, seq = batch[start:], seq[start:]
        for first, end, columns in self._runs(batch):
            run, places = batch[first:end], seq[first:end]
            if columns is None or not self._take_run(run, places, columns):
                self._decode(run, places)

    def _runs(self, batch: Messages) -> Iterator[Run]:
        paths = self._plan.paths if self._plan else None
        if paths and self._type and self._type.columns:
            yield from self._type.columns(batch, paths)
        elif len(batch):
            yield 0, len(batch), None

    def _take_run(self, run: Messages, seq: TimesNs, columns: Columns) -> bool:
        """Take a run by its columns; False where they do not fit the plan."""
        assert self._plan and self._rows and self._type
        type_ = self._type
        try:
            if self._named:
                first = type_.decode(next(run.data()))
                self._choose(type_, first, run)
            plan = self._plan
            values = [
                track.take_run(columns, len(run), lambda: type_.decode(next(run.data())))
                for track in plan.tracks
            ]
        except (ValueError, TypeError):
            return False
        stamps = columns.get(plan.stamp_path)
        capture = self._capture(run, stamps if isinstance(stamps, np.ndarray) else None)
        self._append(self._rows, run, capture, seq, values)
        return True

    def _decode(self, run: Messages, seq: TimesNs) -> None:
        """Take messages one by one; what does not decode is kept as bytes."""
        taken: list[list[Any]] = []
        stamps: list[int] = []
        good: list[int] = []
        key = self._key
        for place, data in enumerate(run.data()):
            try:
                values, stamp = self._decode_one(data, run[place : place + 1])
            except Exception as error:  # whatever foreign bytes provoke, they are kept
                at_ns, why = int(run.log_ns[place]), f"{error!s:.200} ({type(error).__name__})"
                self._first_undecodable = self._first_undecodable or (at_ns, why)
                self._undecodable += 1
                self._raw = self._raw or self._bytes_rows("#raw")
                self._keep_bytes(self._raw, run[place : place + 1], seq[place : place + 1])
                continue
            if self._key != key:  # what came before belongs to other streams
                self._append_taken(key, run, seq, good, taken, stamps)
                taken, stamps, good, key = [], [], [], self._key
            taken.append(values)
            good.append(place)
            if stamp is not None:
                stamps.append(stamp)
        self._append_taken(key, run, seq, good, taken, stamps)

    def _append_taken(
        self,
        key: Key | None,
        run: Messages,
        seq: TimesNs,
        good: list[int],
        taken: list[list[Any]],
        stamps: list[int],
    ) -> None:
        """Append what was taken one by one: the messages at some places of a run."""
        if not good:
            return
        plan, rows = self._variants[key]
        run, seq = (run, seq) if len(good) == len(run) else (run.take(good), seq[good])
        capture = self._capture(run, np.array(stamps, np.int64) if stamps else None)
        specs = [track.spec for track in plan.tracks]
        columns = zip(*taken, strict=True)
        values = [pack(spec, list(column)) for spec, column in zip(specs, columns, strict=True)]
        self._append(rows, run, capture, seq, values)

    def _decode_one(self, data: bytes, message: Messages) -> tuple[list[Any], int | None]:
        """The values and the stamp of one message."""
        if self._type is None:
            self._type = jsonmsg.message_type(self._channel.schema, data)
        decoded = self._type.decode(data)
        plan = self._choose(self._type, decoded, message)
        values = [track.take(decoded) for track in plan.tracks]
        stamp = plan.stamp(decoded) if plan.stamp else None
        self._absent.update(
            ".".join(field) for field in self._type.absent(decoded) if field != plan.stamp_path
        )
        return values, stamp

    def _choose(self, type_: MessageType, decoded: Any, message: Messages) -> Plan:
        """The plan for a message: the topic's, or that of the names it carries."""
        if not self._variants and SPEC_KEY not in self._channel.metadata:
            self._named = named_arrays(type_)
        key = self._named.key(decoded) if self._named else None
        if self._named and key not in self._variants and len(self._variants) >= MOST_VARIANTS:
            key = self._named.nameless
        if key not in self._variants:
            plan = self._make_plan(type_, decoded, message, key)
            self._variants[key] = plan, Rows([track.spec for track in plan.tracks])
        self._key = key
        self._plan, self._rows = self._variants[key]
        return self._plan

    def _all_rows(self) -> list[Rows]:
        """Everything that can wait."""
        rows = [rows for _, rows in self._variants.values()]
        unplanned = [self._rows] if self._rows and not rows else []
        return [*rows, *unplanned, *([self._raw] if self._raw else [])]

    def _append(
        self, rows: Rows, run: Messages, capture: TimesNs, seq: TimesNs, values: list[Values]
    ) -> None:
        piece = Piece(capture_ns=capture, arrival_ns=run.log_ns, seq=seq, values=values)
        rows.append(piece, run.nbytes)

    def _keep_bytes(self, rows: Rows, run: Messages, seq: TimesNs) -> None:
        self._append(rows, run, run.log_ns, seq, [list(run.data())])

    def _make_plan(
        self, type_: MessageType, first: Any, message: Messages, key: Key | None
    ) -> Plan:
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
        named = self._named.of(key) if self._named and key else {}
        for n in count(2):
            plan = plan_topic(
                topic=topic, name=name, clock=clock, type_=type_, first=first, named=named
            )
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

    def _capture(self, run: Messages, stamps: TimesNs | None) -> TimesNs:
        """When the world was in that state, as far as the messages say."""
        assert self._plan
        if stamps is None:  # the publisher's clock is the nearest to a capture there is
            return np.where(run.publish_ns > 0, run.publish_ns, run.log_ns)
        if self._plan.zero_is_a_time:
            return stamps
        self._zero_stamps += int((stamps == 0).sum())
        return np.where(stamps == 0, run.log_ns, stamps)

    def _bytes_rows(self, suffix: str) -> Rows:
        base = name = (self._channel.topic or "unnamed") + suffix
        for n in count(2):
            if name not in self._names:
                break
            name = f"{base}#{n}"
        self._names.add(name)
        return Rows([StreamSpec(name=name, kind=Kind.BYTES, dtype="", topic=self._channel.topic)])


def _publish_clock(message: Messages) -> bool:
    published = int(message.publish_ns[0])
    return published not in (0, int(message.log_ns[0]))
