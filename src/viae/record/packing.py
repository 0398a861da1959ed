"""Values into the bytes of the messages of `viae.record.messages`, fast.

The protobuf wire format of these messages is a few constant bytes around the value, so they are put
together here: several times faster than through message objects, and every sample passes through.
What comes out is, byte for byte, what protobuf's own serialiser makes of the same message; tests
prove it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from viae.errors import SchemaError, UsageError
from viae.record.messages import FIELD_NUMBERS, VIDEO_FORMATS
from viae.schema import NS_PER_S, Kind, StreamSpec, TimesNs

CODED = frozenset({"png", "jpeg", "webp"})
START_CODES = (b"\0\0\1", b"\0\0\0\1")
ANNEX_B = frozenset({"h264", "h265"})

Pack: TypeAlias = Callable[[int, Any], bytes]
"""The message of a sample, from its capture time, ns, and its value."""

_FLOAT64 = np.dtype(np.float64)
_GROUP = 1 << 14
"""Numbers that two groups of seven bits hold: the step in which varints are made."""
_SECONDS_KEPT = 64
_LENGTH_DELIMITED = 2


def packer(spec: StreamSpec) -> Pack:
    """How samples of a stream become messages.

    The function raises `SchemaError` where a value does not fit the spec, or could not be read back
    exactly.

    Raises:
        UsageError: such a stream cannot be recorded.
    """
    match spec.kind:
        case Kind.VECTOR:
            return _pack_vector(spec)
        case Kind.TEXT:
            return _pack_value(spec, lambda value: _text(spec, value))
        case Kind.BYTES:
            return _pack_value(spec, lambda value: _typed(spec, value, bytes))
        case Kind.IMAGE:
            if spec.encoding not in CODED:
                raise UsageError(
                    f"stream '{spec.name}': images are recorded as {', '.join(sorted(CODED))}, "
                    f"not '{spec.encoding}'"
                )
            return _pack_value(spec, lambda value: _picture(spec, value), format=spec.encoding)
        case Kind.VIDEO:
            if spec.encoding not in VIDEO_FORMATS:
                raise UsageError(
                    f"stream '{spec.name}': video is recorded as "
                    f"{', '.join(sorted(VIDEO_FORMATS))}, not '{spec.encoding}'"
                )
            format_ = VIDEO_FORMATS[spec.encoding]
            return _pack_value(spec, lambda value: _frame(spec, format_, value), format=format_)


def _pack_vector(spec: StreamSpec) -> Pack:
    """Doubles, packed. What is float64 of the right shape already needs no check of its numbers."""
    stamp, shape, size = _stamper(), spec.shape, spec.size
    number = FIELD_NUMBERS[spec.kind]["value"]
    is_float64 = np.dtype(spec.dtype) == _FLOAT64 and not spec.varies and size > 0
    head = _head(number, 8 * size) if is_float64 else b""
    doubles = struct.Struct(f"<{size}d").pack if is_float64 and len(shape) == 1 else None
    only_floats = {float}

    def pack(capture_ns: int, value: Any) -> bytes:
        kind = type(value)
        if kind is np.ndarray:
            if is_float64 and value.dtype is _FLOAT64 and value.shape == shape:
                data: bytes = value.tobytes()
                return stamp(capture_ns) + head + data
        elif doubles and kind is list and len(value) == size and {*map(type, value)} == only_floats:
            return stamp(capture_ns) + head + doubles(*value)
        data = _doubles(spec, value).tobytes()
        before = _head(number, len(data)) if data else b""
        return stamp(capture_ns) + before + data

    return pack


def pack_vectors(spec: StreamSpec, capture_ns: TimesNs, values: Any) -> list[bytes]:
    """The messages of many samples of a vector of fixed shape; equal to `packer`'s, and faster.

    Args:
        spec: the stream.
        capture_ns: int64 [N].
        values: [N, *shape].

    Raises:
        SchemaError: a value does not fit the spec, or could not be read back exactly.
    """
    if not len(capture_ns):
        return []
    many = replace(spec, shape=(len(capture_ns), *spec.shape), names=())
    doubles = np.ascontiguousarray(_doubles(many, values)).reshape(len(capture_ns), -1)
    rows = doubles.view(np.uint8) if doubles.size else np.empty((len(capture_ns), 0), np.uint8)
    head = _head(FIELD_NUMBERS[spec.kind]["value"], rows.shape[1]) if rows.shape[1] else b""
    seconds, nanos = np.divmod(capture_ns, NS_PER_S)
    unsigned = seconds.astype(np.uint64), nanos.astype(np.uint64)
    lengths = np.stack([_varint_lengths(numbers) for numbers in unsigned], axis=1)
    messages: list[bytes] = [b""] * len(capture_ns)
    for in_seconds, in_nanos in np.unique(lengths, axis=0).tolist():
        mine = np.flatnonzero((lengths == (in_seconds, in_nanos)).all(axis=1))
        parts = [_column(_head(1, sum(n + (n > 0) for n in (in_seconds, in_nanos))), len(mine))]
        for key, length, numbers in zip(
            (b"\x08", b"\x10"), (in_seconds, in_nanos), unsigned, strict=True
        ):
            if length:
                parts += [_column(key, len(mine)), _varint_columns(numbers[mine], length)]
        whole = np.concatenate([*parts, _column(head, len(mine)), rows[mine]], axis=1)
        data, width = whole.tobytes(), whole.shape[1]
        for number, start in zip(mine.tolist(), range(0, len(data), width), strict=True):
            messages[number] = data[start : start + width]
    return messages


def _varint_lengths(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Bytes of each as a varint; 0 for zero, whose field is left out."""
    bounds = np.array([1, *(1 << 7 * n for n in range(1, 10))], np.uint64)
    return np.searchsorted(bounds, numbers, side="right")


def _varint_columns(numbers: npt.NDArray[np.uint64], length: int) -> npt.NDArray[np.uint8]:
    groups = numbers[:, None] >> np.arange(0, 7 * length, 7, dtype=np.uint64) & np.uint64(127)
    groups[:, :-1] |= np.uint64(128)
    return groups.astype(np.uint8)


def _column(data: bytes, rows: int) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (rows, len(data)))


def _pack_value(spec: StreamSpec, to_bytes: Callable[[Any], bytes], **more: str) -> Pack:
    """One value of bytes, and constant strings before or after it, as their numbers say."""
    stamp, numbers = _stamper(), FIELD_NUMBERS[spec.kind]
    [name] = [name for name in ("data", "value") if name in numbers]
    number = numbers[name]
    after = b"".join(_field(numbers[key], text.encode()) for key, text in more.items())

    def pack(capture_ns: int, value: Any) -> bytes:
        data = to_bytes(value)
        head = _head(number, len(data)) if data else b""
        return b"".join((stamp(capture_ns), head, data, after))  # data is copied once

    return pack


def _stamper() -> Callable[[int], bytes]:
    """Field 1, a google.protobuf.Timestamp. Keeps what times of one second have in common."""
    low, high = _varints()
    kept: dict[int, list[bytes]] = {}

    def stamp(capture_ns: int) -> bytes:
        seconds, nanos = divmod(capture_ns, NS_PER_S)
        before = kept.get(seconds) or keep(seconds)
        if nanos >= _GROUP:
            end = high[nanos // _GROUP]
            return before[2 + len(end)] + low[nanos % _GROUP] + end
        end = _varint(nanos) if nanos else b""
        return before[len(end)] + end

    def keep(seconds: int) -> list[bytes]:
        """What stands before nanoseconds of 0, 1, 2, … bytes; a field of zero is left out."""
        inside = b"\x08" + _varint(seconds & (1 << 64) - 1) if seconds else b""
        before = [_head(1, len(inside)) + inside]
        before += [_head(1, len(inside) + 1 + n) + inside + b"\x10" for n in range(1, 6)]
        if len(kept) >= _SECONDS_KEPT:
            kept.clear()
        kept[seconds] = before
        return before

    return stamp


@cache
def _varints() -> tuple[list[bytes], list[bytes]]:
    """The first two bytes of a longer varint, by its low 14 bits; and what follows, by the rest.

    For nanoseconds, whose rest is below 2**16. A few megabytes, made once.
    """
    low = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(_GROUP)]
    return low, [_varint(n) for n in range(NS_PER_S // _GROUP + 1)]


def _varint(number: int) -> bytes:
    """A number of at least 0, seven bits a byte, the lowest first."""
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _head(number: int, length: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _field(number: int, data: bytes) -> bytes:
    return _head(number, len(data)) + data


def _typed(spec: StreamSpec, value: Any, expected: type) -> Any:
    if not isinstance(value, expected):
        raise SchemaError(f"stream '{spec.name}': {spec.kind} is given as {type(value).__name__}")
    return value


def _text(spec: StreamSpec, value: Any) -> bytes:
    text: str = _typed(spec, value, str)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(f"stream '{spec.name}': {error}; text is recorded as UTF-8") from error


def _doubles(spec: StreamSpec, value: Any) -> npt.NDArray[np.float64]:
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
        doubles = array.astype("<f8")
        same = (array == given) & (doubles.astype(spec.dtype) == array)
    if array.dtype.kind == "f":
        same |= np.isnan(array)
    if not same.all() or not _kept_integers(value, given):
        raise SchemaError(
            f"stream '{spec.name}': a value of {given.dtype} that {spec.dtype}, recorded as a "
            "double, cannot hold exactly"
        )
    return doubles


def _kept_integers(value: Any, given: npt.NDArray[Any]) -> bool:
    """Whether integers among floats, in a list, became the same numbers."""
    if given.dtype.kind != "f" or isinstance(value, np.ndarray | np.generic | float):
        return True
    pairs = zip(given.ravel().tolist(), np.asarray(value, object).ravel(), strict=True)
    return all(number == was for number, was in pairs if isinstance(was, int))


def _picture(spec: StreamSpec, value: Any) -> bytes:
    """Coded bytes as they are; pixels as PNG."""
    if isinstance(value, bytes):
        return value
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


def _frame(spec: StreamSpec, format_: str, value: Any) -> bytes:
    """One coded frame. H.264 and H.265 as viewers want them: Annex B, not length-prefixed."""
    data: bytes = _typed(spec, value, bytes)
    if format_ in ANNEX_B and not data.startswith(START_CODES):
        raise SchemaError(
            f"stream '{spec.name}': a frame of {len(data)} bytes that begins with "
            f"{data[:4].hex(' ') or 'nothing'}, not with an Annex B start code (00 00 00 01). "
            f"Convert length-prefixed frames, e.g. with FFmpeg's {_bitstream_filter(format_)}"
        )
    return data


def _bitstream_filter(format_: str) -> str:
    return {"h264": "h264_mp4toannexb", "h265": "hevc_mp4toannexb"}[format_]
