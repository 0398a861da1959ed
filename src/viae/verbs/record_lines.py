"""Record lines: whatever another program says, one JSON object a line, into an MCAP log.

A line is a sample, or it declares a stream before its first sample::

    {"spec": {"name": "joints", "kind": "vector", "dtype": "float64", "shape": [2], "unit": "rad"}}
    {"stream": "joints", "value": [0.1, 0.2], "capture_ns": 5, "arrival_ns": 7}
    {"stream": "camera", "base64": "/9j/4AAQ…", "capture_ns": 5}
    {"event": "grasp-lost", "force_n": 1.5}

A stream that nobody declared is what its first value is: a number or a list of numbers is a vector
of doubles, of that shape for good; a string is text. Without ``arrival_ns`` a sample arrives when
its line is read; without ``capture_ns`` it is captured when it arrives.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import SchemaError, UsageError
from viae.record import Overflow, Recorder
from viae.record.recorder import EVENTS, FLUSH_S
from viae.schema import Kind, StreamSpec

TIMES = ("capture_ns", "arrival_ns")
SAMPLE_KEYS = frozenset({"stream", "value", "base64", *TIMES})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLines:
    """What was recorded.

    Args:
        path: the log.
        samples: how many, by stream.
        dropped: how many a full queue dropped, by stream.
        interrupted: whether the one who recorded ended it, and not the end of the lines.
    """

    path: Path
    samples: dict[str, int]
    dropped: dict[str, int]
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "path": str(self.path), "samples": self.samples, "dropped": self.dropped,
            "interrupted": self.interrupted,
        }  # fmt: skip


def record_lines(
    lines: Iterable[str],
    path: Path,
    *,
    streams: Sequence[StreamSpec] = (),
    task: str = "",
    robot: str = "",
    overflow: Overflow | str = Overflow.BLOCK,
    flush_s: float | None = FLUSH_S,
    fsync: bool = False,
    clock_ns: Callable[[], int] = time.time_ns,
) -> RecordedLines:
    """Record samples until the lines end or someone interrupts; the log is whole in both cases.

    Args:
        lines: see above; empty ones are passed over.
        path: the new log.
        streams: declared beforehand.
        task: the instruction, in words.
        robot: the robot's name.
        overflow: as for `Recorder`, like the others.
        flush_s: likewise.
        fsync: likewise.
        clock_ns: likewise.

    Raises:
        UsageError: a line that says nothing; what came before it is in the log, which is whole.
        SchemaError: a value that does not fit its stream, likewise.
        RecorderError: the log exists or cannot be written.
    """
    samples: Counter[str] = Counter()
    interrupted = False
    with Recorder(
        path, streams=streams, task=task, robot=robot, overflow=overflow, flush_s=flush_s,
        fsync=fsync, clock_ns=clock_ns,
    ) as recorder:  # fmt: skip
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        name = _take(recorder, _object(line), clock_ns)
                    except (UsageError, SchemaError) as error:
                        raise type(error)(f"line {number}: {error}") from error
                    samples[name] += bool(name)
        except KeyboardInterrupt:
            interrupted = True
    del samples[""]
    return RecordedLines(
        path=path, samples=dict(sorted(samples.items())), dropped=recorder.dropped,
        interrupted=interrupted,
    )  # fmt: skip


def parse_stream(text: str) -> StreamSpec:
    """A stream in few words: ``NAME[:KIND[:SHAPE[:UNIT]]]``.

    The shape of a vector is numbers with ``x`` between them, ``-1`` where it varies. The kind of a
    picture is its encoding: ``jpeg``, ``png``, ``webp``, ``h264``, ``h265``, ``av1``, ``vp9``.

    Raises:
        UsageError: it is none.

    Example:
        >>> parse_stream("joints:vector:7:rad").shape
        (7,)
    """
    parts = text.split(":")
    try:
        if len(parts) > 4:
            raise UsageError(f"it has {len(parts)} parts")
        name, kind, shape, unit = parts + [""] * (4 - len(parts))
        sizes = tuple(int(size) for size in shape.split("x")) if shape else ()
        match kind:
            case "" | "vector":
                found = StreamSpec(name=name, shape=sizes or (1,), unit=unit)
            case "text" | "bytes":
                found = StreamSpec(name=name, kind=Kind(kind), dtype="", unit=unit)
            case "jpeg" | "png" | "webp":
                found = StreamSpec(
                    name=name, kind=Kind.IMAGE, dtype="uint8", shape=sizes, encoding=kind
                )
            case "h264" | "h265" | "av1" | "vp9":
                found = StreamSpec(
                    name=name, kind=Kind.VIDEO, dtype="uint8", shape=sizes, encoding=kind
                )
            case _:
                raise UsageError(f"there is no kind of stream '{kind}'")
    except (SchemaError, ValueError) as error:
        raise UsageError(f"'{text}' is no stream, NAME[:KIND[:SHAPE[:UNIT]]]: {error}") from error
    return found


def _object(line: str) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise UsageError(f"this is no JSON: {line.strip()[:80]!r} ({error})") from error
    if not isinstance(said, dict):
        raise UsageError(f"this is no JSON object: {line.strip()[:80]!r}")
    return said


def _take(recorder: Recorder, said: Mapping[str, Any], clock_ns: Callable[[], int]) -> str:
    """Do what one line says; the name of the stream that got a sample, or nothing."""
    if "event" in said:
        fields = {key: value for key, value in said.items() if key not in ("event", *TIMES)}
        return EVENTS if recorder.event(str(said["event"]), **_times(said), **fields) else ""
    if "spec" in said:
        try:
            recorder.add_stream(StreamSpec.from_json(said["spec"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{said['spec']!r} is no stream's spec: {error}") from error
        return ""
    stream, unknown = said.get("stream"), said.keys() - SAMPLE_KEYS
    if not isinstance(stream, str) or unknown or ("value" in said) == ("base64" in said):
        raise UsageError(
            f"a sample has 'stream', 'value' or 'base64', and may have {', '.join(TIMES)}; "
            f"this has {', '.join(sorted(said)) or 'nothing'}"
        )
    value = said["value"] if "value" in said else _decoded(said["base64"])
    if stream not in {spec.name for spec in recorder.streams}:
        recorder.add_stream(_spec_of(stream, value))
    times = _times(said)
    arrival_ns = times.get("arrival_ns")
    arrival_ns = clock_ns() if arrival_ns is None else arrival_ns
    capture_ns = times.get("capture_ns", arrival_ns)
    taken = recorder.write(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
    return stream if taken else ""


def _times(said: Mapping[str, Any]) -> dict[str, int]:
    times = {key: said[key] for key in TIMES if said.get(key) is not None}
    for key, value in times.items():
        if type(value) is not int:
            raise UsageError(f"{key} is {value!r}, not a whole number of nanoseconds")
    return times


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise UsageError(f"'base64' does not decode ({error})") from error


def _spec_of(name: str, value: Any) -> StreamSpec:
    """What a stream is whose first value this is."""
    if isinstance(value, str):
        return StreamSpec(name=name, kind=Kind.TEXT, dtype="")
    if isinstance(value, bytes):
        return StreamSpec(name=name, kind=Kind.BYTES, dtype="")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise UsageError(
            f"stream '{name}': {json.dumps(value)[:80]} is neither numbers nor text; declare the "
            "stream, or give JSON as text"
        )
    return StreamSpec(name=name, shape=array.shape or (1,))
