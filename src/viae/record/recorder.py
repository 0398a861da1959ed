"""Recording: streams into an MCAP file that Foxglove opens and viae reads back exactly.

Each stream is one channel whose metadata carries its `StreamSpec`; `viae.record.messages` says what
is in a message. Task, robot, agent, conditions and outcome go into metadata records
``viae.episode``, whose values are JSON; of two that state the same, the later counts. Samples that
a full queue dropped are counted by stream in metadata records ``viae.dropped``, of which the last
one counts.

A write checks the value, makes its message and puts it into a queue (`viae.record.queue`). One
thread takes them out, in the order in which they were put in, and writes the file
(`viae.record.sink`). It closes a chunk whenever it is large enough and, at the latest, some time
after its first sample; whatever is in a closed chunk survives a kill of the process.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from viae.errors import RecorderError, SchemaError, UsageError
from viae.logs.mcap.format import EPISODE_RECORD
from viae.record.drain import Drain
from viae.record.packing import Pack, pack_vectors, packer
from viae.record.queue import MessageQueue, Overflow
from viae.record.sink import Compression, McapSink
from viae.schema import JsonValue, Kind, StreamSpec, TimesNs

FLUSH_S = 0.5
EVENTS = "events"
MAX_TIME_NS = (1 << 63) - 1

Choice = TypeVar("Choice", Overflow, Compression)


class Recorder:
    """Writes one episode to one new file. Any thread may write.

    Leaving the ``with`` block closes the file; if it is left by an exception, the file holds all
    that was written, and no outcome.

    Args:
        path: the file; it must not exist, as recordings are never overwritten.
        streams: what will be written; the topic of each is its name.
        robot: the robot's name.
        task: the instruction, in words.
        agent: who acts: ``"human"``, ``"scripted:…"``, ``"bundle:…"``.
        conditions: the initial condition and anything else known at the start.
        clock_ns: the time, ns; asked where a sample comes without its arrival.
        overflow: what a write does when the queue is full: ``"block"`` waits for room, ``"drop"``
            drops the sample being written, counts it, and writes the counts into the file.
        queue_messages: samples that may wait.
        queue_bytes: bytes of messages that may wait; one larger message may wait alone.
        flush_s: seconds after which a chunk is closed even if it is small. None for never: the
            same calls from one thread then write the same bytes, as no time of the machine and no
            random number gets into the file.
        fsync: whether a flush waits until the disk has it, so that it survives a loss of power,
            and not only a kill.
        compression: of chunks: ``"zstd"``; ``"lz4"``, faster on numbers and slower on what is
            compressed already; or ``"none"``, the fastest.

    Raises:
        RecorderError: the file exists or cannot be made.
        UsageError: a stream that cannot be recorded, or two of one name; a queue or a flush time
            that makes no sense.

    Example:
        >>> spec = StreamSpec(name="q", shape=(2,), unit="rad")
        >>> with Recorder("demo.mcap", streams=[spec], robot="arm", task="wave") as recorder:
        ...     recorder.write("q", [0.1, 0.2], capture_ns=5, arrival_ns=7)
        ...     recorder.finish(True)
        True
    """

    def __init__(
        self,
        path: str | Path,
        *,
        streams: Sequence[StreamSpec] = (),
        robot: str = "",
        task: str = "",
        agent: str = "",
        conditions: Mapping[str, JsonValue] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        overflow: Overflow | str = Overflow.BLOCK,
        queue_messages: int = 100_000,
        queue_bytes: int = 64 << 20,
        flush_s: float | None = FLUSH_S,
        fsync: bool = False,
        compression: Compression | str = Compression.ZSTD,
    ) -> None:
        self.path = Path(path)
        self._conditions = dict(conditions or {})
        self._clock_ns = clock_ns
        names = [spec.name for spec in streams]
        if len(set(names)) != len(names):
            raise UsageError(f"a stream is given twice among {names}")
        packs = [packer(spec) for spec in streams]
        if flush_s is not None and not flush_s > 0:
            raise UsageError(f"flush_s is {flush_s}; give seconds above 0, or None for never")
        self._queue = MessageQueue(
            name=str(self.path),
            overflow=_choice(Overflow, overflow, "overflow"),
            max_messages=queue_messages,
            max_bytes=queue_bytes,
        )
        self._sink = McapSink(
            self.path, compression=_choice(Compression, compression, "compression"), fsync=fsync
        )
        self._streams: dict[str, tuple[Pack, Callable[..., None]]] = {}
        self._specs: dict[str, StreamSpec] = {}
        self._adding = threading.Lock()
        for spec, pack in zip(streams, packs, strict=True):
            self._streams[spec.name] = pack, self._sink.channel(spec)
            self._specs[spec.name] = spec
        me = weakref.ref(self)
        self._drain = Drain(
            self._queue, self._sink, flush_s=flush_s, is_abandoned=lambda: me() is None
        )
        stated: dict[str, JsonValue] = {}
        stated |= {"robot": robot, "task": task, "agent": agent, "conditions": self._conditions}
        self.state(**{key: value for key, value in stated.items() if value})

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        """What can be written."""
        return tuple(self._specs.values())

    @property
    def durable_until_ns(self) -> int:
        """The file has every sample that was written and arrived until then, ns.

        Precisely: of the samples whose `write` had returned True when this was asked, those with
        ``arrival_ns <= durable_until_ns`` are in closed chunks that the operating system has (the
        disk, with ``fsync``): a kill loses none of them. A sample that is written later with an
        earlier arrival takes it back until the next flush. -1 before the first sample.
        """
        return self._queue.durable_until_ns

    @property
    def dropped(self) -> dict[str, int]:
        """Samples that the full queue dropped, by stream."""
        return self._queue.dropped

    def add_stream(self, spec: StreamSpec) -> None:
        """Record one more stream from now on. The same one a second time does nothing.

        Raises:
            UsageError: it cannot be recorded, or there is another one of this name.
        """
        with self._adding:
            known = self._specs.get(spec.name)
            if known is None:
                self._streams[spec.name] = packer(spec), self._sink.channel(spec)
                self._specs[spec.name] = spec
            elif known != spec:
                raise UsageError(f"{self.path}: there is another stream '{spec.name}' already")

    def write(
        self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int | None = None
    ) -> bool:
        """Add one sample.

        Args:
            stream: the stream's name.
            value: for a vector, numbers of the spec's shape that its dtype holds exactly; for an
                image, coded bytes, or where the encoding is PNG an array uint8 [H, W, 1 or 3]; for
                video, the bytes of one coded frame, in decode order, H.264 and H.265 in Annex B
                with their parameter sets before each key frame; for text, a string; for bytes,
                bytes.
            capture_ns: when the world was in that state, by the stream's own clock.
            arrival_ns: when this was known here, ns since 1970; None for now.

        Returns:
            Whether it was taken; False where the queue is full and ``overflow`` is ``"drop"``.

        Raises:
            UsageError: no such stream, or the recording is closed.
            SchemaError: the value does not fit the stream's spec.
            RecorderError: this sample or one before it cannot be written; the recording is over.

        Cost: under two microseconds for a short vector, if it is given as an array of float64 or a
        list of floats; the file is written by another thread.
        """
        pack, log = self._streams.get(stream) or self._stream(stream)
        if type(capture_ns) is not int:
            capture_ns = int(capture_ns)
        if type(arrival_ns) is not int:
            arrival_ns = self._clock_ns() if arrival_ns is None else int(arrival_ns)
        if not 0 <= arrival_ns <= MAX_TIME_NS or not -MAX_TIME_NS <= capture_ns <= MAX_TIME_NS:
            raise SchemaError(
                f"stream '{stream}': times {capture_ns} and {arrival_ns} ns are not both in int64, "
                "or the arrival is negative"
            )
        return self._queue.put(stream, log, pack(capture_ns, value), arrival_ns)

    def write_all(
        self, stream: str, values: Any, *, capture_ns: TimesNs, arrival_ns: TimesNs
    ) -> int:
        """Add many samples of a vector of fixed shape: what a sensor hands over in bursts.

        Args:
            stream: the stream's name.
            values: [N, *shape], as for `write`.
            capture_ns: int64 [N].
            arrival_ns: int64 [N].

        Returns:
            How many were taken: N, or less where ``overflow`` is ``"drop"``.

        Raises:
            UsageError: no such stream, it is no vector of fixed shape, or the recording is closed.
            SchemaError: a value does not fit the stream's spec, or the lengths differ; then none is
                taken.
            RecorderError: as `write`.

        Cost: half a microsecond for a short vector.
        """
        log, spec = self._stream(stream)[1], self._specs[stream]
        if spec.kind is not Kind.VECTOR or spec.varies:
            raise UsageError(f"{self.path}: stream '{stream}' is no vector of fixed shape")
        capture_ns, arrival_ns = (np.asarray(times, np.int64) for times in (capture_ns, arrival_ns))
        if capture_ns.shape != (n := len(capture_ns),) or arrival_ns.shape != (n,):
            raise SchemaError(
                f"stream '{stream}': times of shapes {capture_ns.shape} and {arrival_ns.shape}"
            )
        if n and (arrival_ns.min() < 0 or capture_ns.min() < -MAX_TIME_NS):
            raise SchemaError(f"stream '{stream}': an arrival is negative, or a capture too early")
        messages = pack_vectors(spec, capture_ns, values)
        return self._queue.put_all(stream, log, messages, arrival_ns.tolist())

    def _stream(self, stream: str) -> tuple[Pack, Callable[..., None]]:
        try:
            return self._streams[stream]
        except KeyError:
            raise UsageError(
                f"{self.path}: there is no stream '{stream}' among {sorted(self._streams)}"
            ) from None

    def event(
        self,
        name: str,
        *,
        capture_ns: int | None = None,
        arrival_ns: int | None = None,
        **fields: JsonValue,
    ) -> bool:
        """Note that something happened, as JSON on the text stream ``events``.

        Args:
            name: what happened, e.g. ``"grasp-lost"``.
            capture_ns: when; None for the arrival.
            arrival_ns: when this was known here, ns since 1970; None for now.
            fields: more about it.

        Returns:
            As `write`.

        Raises:
            UsageError: a field is called ``event``, or ``events`` is a stream that is no text.
            RecorderError, SchemaError: as `write`.
        """
        if "event" in fields:
            raise UsageError(f"{self.path}: 'event' is the event's name, not a field of it")
        if EVENTS not in self._specs:
            self.add_stream(StreamSpec(name=EVENTS, kind=Kind.TEXT, dtype=""))
        if self._specs[EVENTS].kind is not Kind.TEXT:
            raise UsageError(f"{self.path}: events need the stream '{EVENTS}' to be text")
        arrival_ns = self._clock_ns() if arrival_ns is None else arrival_ns
        text = json.dumps({"event": name, **fields}, ensure_ascii=False)
        return self.write(
            EVENTS, text, capture_ns=arrival_ns if capture_ns is None else capture_ns,
            arrival_ns=arrival_ns,
        )  # fmt: skip

    def state(self, **statements: JsonValue) -> None:
        """State something about the episode, now and for good; a later statement of a key wins.

        Raises:
            UsageError: the recording is closed.
            RecorderError: something cannot be written; the recording is over.
        """
        texts = {key: json.dumps(value, sort_keys=True) for key, value in statements.items()}
        if texts:
            sink = self._sink  # not self: what waits in the queue must not keep this alive
            self._queue.insist(lambda *_, **__: sink.state(EPISODE_RECORD, texts))

    def finish(self, outcome: bool | None, **conditions: JsonValue) -> None:
        """State how it ended, and add to the conditions. Does not close the file."""
        self._conditions.update(conditions)
        stated: dict[str, JsonValue] = {}
        if outcome is not None:
            stated["outcome"] = bool(outcome)
        if conditions:
            stated["conditions"] = dict(self._conditions)
        self.state(**stated)

    def flush(self) -> None:
        """Wait until everything written before is in the file (on the disk, with ``fsync``).

        Raises:
            UsageError: the recording is closed.
            RecorderError: it cannot be written; the recording is over.
        """
        self._queue.flush()

    def close(self) -> None:
        """Write what waits and the index, and close the file. A second time does nothing.

        Raises:
            RecorderError: it cannot be written; what was there before stays readable.
        """
        self._drain.end()
        if error := self._drain.take_error():
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except RecorderError:
            if error is None:  # else what broke the recording is already on its way
                raise


def _choice(kind: type[Choice], value: str, option: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{option} is {value!r}; choose from {', '.join(kind)}") from None
