"""The messages that are images, in ROS 2 and Foxglove's protobuf and JSON schemas.

A coded image stays the bytes it is. A raw one is stored as its rows without padding, little-endian,
so that the stream's encoding and shape say all about it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from viae.logs.images import Look, look_at_image
from viae.logs.messages.shape import UnfitError
from viae.schema import Kind, StreamSpec

CODED = frozenset(
    {"sensor_msgs/CompressedImage", "sensor_msgs/msg/CompressedImage", "foxglove.CompressedImage"}
)
RAW = frozenset({"sensor_msgs/Image", "sensor_msgs/msg/Image", "foxglove.RawImage"})

PIXELS = {
    "mono8": ("uint8", 1), "8UC1": ("uint8", 1), "8UC3": ("uint8", 3), "8UC4": ("uint8", 4),
    "rgb8": ("uint8", 3), "bgr8": ("uint8", 3), "rgba8": ("uint8", 4), "bgra8": ("uint8", 4),
    "mono16": ("uint16", 1), "16UC1": ("uint16", 1), "32FC1": ("float32", 1),
    "bayer_rggb8": ("uint8", 1), "bayer_bggr8": ("uint8", 1),
    "bayer_gbrg8": ("uint8", 1), "bayer_grbg8": ("uint8", 1),
    "yuv422": ("uint8", 2), "uyvy": ("uint8", 2), "yuv422_yuy2": ("uint8", 2), "yuyv": ("uint8", 2),
}  # fmt: skip
"""dtype and channels of the raw encodings that ROS and Foxglove name."""


def image_stream(
    schema_name: str, topic: str, name: str, clock: str, first: Any
) -> tuple[StreamSpec, Callable[[Any], bytes]] | None:
    """The one stream that an image topic is, and how to take an image from a message.

    Args:
        schema_name: the schema's name.
        topic: the topic.
        name: the stream's name.
        clock: the stream's clock.
        first: the first message, whose image fixes size and encoding.

    Returns:
        None where the topic is not of images, or not of ones that Pillow or the table above know:
        then the general rules keep its fields.
    """
    if schema_name in CODED:
        look, take = _look_at_coded, _data
    elif schema_name in RAW:
        look, take = _look_at_raw, _rows
    else:
        return None
    seen = look(first)
    if seen is None:
        return None

    def take_image(message: Any) -> bytes:
        if look(message) != seen:
            raise UnfitError(f"its image is {look(message)}; the stream began with {seen}")
        return take(message)

    encoding, dtype, shape = seen
    spec = StreamSpec(
        name=name,
        kind=Kind.IMAGE,
        dtype=dtype,
        shape=shape,
        clock=clock,
        topic=topic,
        encoding=encoding,
    )
    return spec, take_image


def _look_at_coded(message: Any) -> Look | None:
    return look_at_image(_data(message))


def _look_at_raw(message: Any) -> Look | None:
    encoding = _get(message, "encoding")
    if encoding not in PIXELS:
        return None
    dtype, channels = PIXELS[encoding]
    return encoding, dtype, (_get(message, "height"), _get(message, "width"), channels)


def _rows(message: Any) -> bytes:
    encoding, height, width = (_get(message, key) for key in ("encoding", "height", "width"))
    dtype, channels = PIXELS[encoding]
    row = width * channels * np.dtype(dtype).itemsize
    step = _get(message, "step") or row
    data = _data(message)
    if step < row or len(data) < step * height:
        raise UnfitError(f"its {len(data)} bytes are not {height} rows of {step}, {row} of pixels")
    pixels = np.frombuffer(data, np.uint8, count=step * height).reshape(height, step)[:, :row]
    if getattr(message, "is_bigendian", False):
        pixels = np.ascontiguousarray(pixels).view(np.dtype(dtype)).byteswap()
    return pixels.tobytes()


def _data(message: Any) -> bytes:
    data = _get(message, "data")
    return base64.b64decode(data) if isinstance(data, str) else bytes(data)


def _get(message: Any, field: str) -> Any:
    return message[field] if isinstance(message, dict) else getattr(message, field)
