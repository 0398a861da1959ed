"""Recording: streams into an MCAP file that Foxglove opens and viae reads back exactly.

Each stream is one channel whose metadata carries its `StreamSpec`; `viae.record.messages` says what
is in a message. Task, robot, agent, conditions and outcome go into metadata records
``viae.episode``, whose values are JSON; of two that state the same, the later counts. The same
calls write the same bytes: there is no wall time and no random number in the file.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import foxglove
import numpy as np
from foxglove import Channel, Context, Schema
from foxglove.mcap import MCAPWriteOptions
from PIL import Image

from viae.errors import RecorderError, SchemaError, UsageError
from viae.logs.mcap.format import EPISODE_RECORD
from viae.logs.mcap.plan import SPEC_KEY
from viae.record.messages import RecordedMessage, recorded_message
from viae.schema import JsonValue, Kind, StreamSpec

CODED = frozenset({"png", "jpeg", "webp"})
MAX_TIME_NS = (1 << 63) - 1


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

    Raises:
        RecorderError: the file exists or cannot be made.
        UsageError: a stream that cannot be recorded, or two of one name.

    Example:
        >>> spec = StreamSpec(name="q", shape=(2,), unit="rad")
        >>> with Recorder("demo.mcap", streams=[spec], robot="arm", task="wave") as recorder:
        ...     recorder.write("q", [0.1, 0.2], capture_ns=5, arrival_ns=7)
        ...     recorder.finish(True)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        streams: Sequence[StreamSpec],
        robot: str = "",
        task: str = "",
        agent: str = "",
        conditions: Mapping[str, JsonValue] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = Path(path)
        self._conditions = dict(conditions or {})
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        _check(streams)
        self._file = _File(self.path)
        # Our own: the SDK's default one is shared by the whole process. Channels die with it.
        self._context = context = Context()
        self._writer = foxglove.open_mcap(
            self._file, context=context, writer_options=MCAPWriteOptions(compression_threads=0)
        )
        self._streams = {spec.name: _Stream(spec, context) for spec in streams}
        self._closed = False
        stated: dict[str, JsonValue] = {}
        stated |= {"robot": robot, "task": task, "agent": agent, "conditions": self._conditions}
        self.state(**{key: value for key, value in stated.items() if value})

    def write(
        self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int | None = None
    ) -> None:
        """Add one sample.

        Args:
            stream: the stream's name.
            value: for a vector, numbers of the spec's shape that its dtype holds exactly; for an
                image, coded bytes, or where the encoding is PNG an array uint8 [H, W, 1 or 3]; for
                text, a string; for bytes, bytes.
            capture_ns: when the world was in that state, by the stream's own clock.
            arrival_ns: when this was known here, ns since 1970; None for now.

        Raises:
            UsageError: no such stream, or the recording is closed.
            SchemaError: the value does not fit the stream's spec.
            RecorderError: it cannot be written.
        """
        if stream not in self._streams:
            raise UsageError(
                f"{self.path}: there is no stream '{stream}' among {sorted(self._streams)}"
            )
        arrival_ns = self._clock_ns() if arrival_ns is None else int(arrival_ns)
        if not 0 <= arrival_ns <= MAX_TIME_NS or not -MAX_TIME_NS <= capture_ns <= MAX_TIME_NS:
            raise SchemaError(
                f"stream '{stream}': times {capture_ns} and {arrival_ns} ns are not both in int64, "
                "or the arrival is negative"
            )
        data = self._streams[stream].pack(int(capture_ns), value)
        with self._lock:
            self._check_open()
            self._streams[stream].channel.log(data, log_time=arrival_ns)
            self._check_file()

    def state(self, **statements: JsonValue) -> None:
        """State something about the episode, now and for good; a later statement of a key wins.

        Raises:
            UsageError: the recording is closed.
            RecorderError: it cannot be written.
        """
        with self._lock:
            self._check_open()
            texts = {key: json.dumps(value, sort_keys=True) for key, value in statements.items()}
            if texts:
                self._attempt(lambda: self._writer.write_metadata(EPISODE_RECORD, texts))

    def finish(self, outcome: bool | None, **conditions: JsonValue) -> None:
        """State how it ended, and add to the conditions. Does not close the file."""
        self._conditions.update(conditions)
        stated: dict[str, JsonValue] = {}
        if outcome is not None:
            stated["outcome"] = bool(outcome)
        if conditions:
            stated["conditions"] = dict(self._conditions)
        self.state(**stated)

    def close(self) -> None:
        """Write the index and close the file. A second time does nothing.

        Raises:
            RecorderError: it cannot be written; what was there before stays readable.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for stream in self._streams.values():
                stream.channel.close()
            try:
                self._attempt(self._writer.close)
            finally:
                self._file.close()

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

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.path}: the recording is closed")

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except RuntimeError as error:
            self._check_file()
            raise RecorderError(f"{self.path}: cannot write ({error})") from error
        self._check_file()

    def _check_file(self) -> None:
        """The SDK only logs what goes wrong in a sink; the file remembers it."""
        if self._file.error:
            raise RecorderError(
                f"{self.path}: cannot write ({self._file.error.strerror}); the first "
                f"{self._file.size} bytes are there and stay readable. Free some space and record "
                "to a new file"
            ) from self._file.error


class _Stream:
    """One stream: its channel, and how a value becomes a message."""

    def __init__(self, spec: StreamSpec, context: Context) -> None:
        self.spec = replace(spec, topic=spec.name)
        self._message: RecordedMessage = recorded_message(spec.kind)
        self.channel = Channel(
            spec.name,
            message_encoding="protobuf",
            schema=Schema(name=self._message.name, encoding="protobuf", data=self._message.schema),
            metadata={SPEC_KEY: json.dumps(self.spec.to_json(), sort_keys=True)},
            context=context,
        )

    def pack(self, capture_ns: int, value: Any) -> bytes:
        match self.spec.kind:
            case Kind.VECTOR:
                return self._message.pack(capture_ns, _doubles(self.spec, value))
            case Kind.IMAGE:
                data = value if isinstance(value, bytes) else _png(self.spec, value)
                return self._message.pack(capture_ns, data, format=self.spec.encoding)
            case kind:
                expected = str if kind is Kind.TEXT else bytes
                if not isinstance(value, expected):
                    raise SchemaError(
                        f"stream '{self.spec.name}': {kind} is given as {type(value).__name__}"
                    )
                return self._message.pack(capture_ns, value)


class _File(io.RawIOBase):
    """The file under the SDK's writer: it remembers its first error, and what came before it."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self.size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = path.open("xb", buffering=0)
        except OSError as error:
            if path.exists():
                raise RecorderError(
                    f"{path}: there is a file already, and recordings are never overwritten. "
                    "Give another name"
                ) from error
            raise RecorderError(f"{path}: cannot make the file ({error.strerror})") from error

    def write(self, data: Any) -> int:
        try:
            view = memoryview(data)
            while view:  # an unbuffered file may take only a part
                view = view[self._raw.write(view) :]
        except OSError as error:
            self.error = self.error or error
            raise
        self.size = max(self.size, self._raw.tell())
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _check(streams: Sequence[StreamSpec]) -> None:
    for spec in streams:
        if spec.kind is Kind.VIDEO:
            raise UsageError(f"stream '{spec.name}': video is not recorded yet; record images")
        if spec.kind is Kind.IMAGE and spec.encoding not in CODED:
            raise UsageError(
                f"stream '{spec.name}': images are recorded as {', '.join(sorted(CODED))}, "
                f"not '{spec.encoding}'"
            )
    names = [spec.name for spec in streams]
    if len(set(names)) != len(names):
        raise UsageError(f"a stream is given twice among {names}")


def _doubles(spec: StreamSpec, value: Any) -> list[float]:
    """The value as the doubles that are recorded; raises where they would not be the same."""
    try:
        given = np.asarray(value)
    except ValueError as error:  # lists of unequal length
        raise SchemaError(f"stream '{spec.name}': {error}") from error
    fits = given.ndim == 1 if spec.varies else given.shape == spec.shape
    if not fits and not (given.ndim == 0 and spec.shape == (1,)):
        raise SchemaError(f"stream '{spec.name}': a value of shape {given.shape}, not {spec.shape}")
    if given.dtype.kind not in "biuf":
        raise SchemaError(f"stream '{spec.name}': a value of {given.dtype}, not {spec.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit differs, and is refused
        array = given.astype(spec.dtype)
        doubles = array.astype(np.float64)
        same = (array == given) & (doubles.astype(spec.dtype) == array)
    if array.dtype.kind == "f":
        same |= np.isnan(array)
    if not same.all():
        raise SchemaError(
            f"stream '{spec.name}': a value of {given.dtype} that {spec.dtype}, recorded as a "
            "double, cannot hold exactly"
        )
    return doubles.ravel().tolist()


def _png(spec: StreamSpec, value: Any) -> bytes:
    array = np.asarray(value)
    if spec.encoding != "png" or array.dtype != np.uint8 or array.shape != spec.shape:
        raise SchemaError(
            f"stream '{spec.name}': {array.dtype}{list(array.shape)} is not {spec.dtype}"
            f"{list(spec.shape)} as png; other encodings take coded bytes"
        )
    buffer = io.BytesIO()
    pixels = array[..., 0] if array.shape[-1] == 1 else array
    Image.fromarray(pixels).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()
