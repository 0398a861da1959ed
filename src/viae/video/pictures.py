"""Pictures: coded images and video to uint8 arrays, channels first.

Training reads frames from a log and acting reads them from a camera. Both go through one
`Converter`, so that a policy sees the same pixels in both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import VideoError, WindowError
from viae.schema import Samples, StreamSpec, VideoGroup
from viae.video.convert import Converter, PictureView

if TYPE_CHECKING:
    import av

Pictures = npt.NDArray[np.uint8]
RAW_FORMATS = {
    "rgb8": "rgb24", "bgr8": "bgr24", "mono8": "gray", "rgba8": "rgba", "bgra8": "bgra",
    "8UC1": "gray", "8UC3": "bgr24", "8UC4": "bgra", "mono16": "gray16le", "16UC1": "gray16le",
    "bayer_rggb8": "bayer_rggb8", "bayer_bggr8": "bayer_bggr8", "bayer_gbrg8": "bayer_gbrg8",
    "bayer_grbg8": "bayer_grbg8", "yuv422_yuy2": "yuyv422", "yuyv": "yuyv422",
}  # fmt: skip
"""Raw image encodings (ROS names) and FFmpeg's names for them."""
DECODERS = {"av1": "libdav1d"}
"""Where the decoder named like its codec needs hardware, the one that does not."""


def decode_pictures(
    samples: Samples | Sequence[VideoGroup], size: tuple[int, int] | None
) -> Pictures:
    """Decode every picture of a stream.

    Args:
        samples: an image stream, or all groups of a video stream.
        size: (height, width) to scale to by area; None keeps the recorded size.

    Returns:
        uint8 [N, 3, H, W], RGB, in presentation order.

    Raises:
        WindowError: a picture cannot be decoded; the text names the stream and the time.
    """
    converter, view = Converter(), PictureView(size)
    pictures = [converter.picture(frame, view) for frame in decode_frames(samples)]
    return np.stack(pictures) if pictures else np.empty((0, 3, *(size or (0, 0))), np.uint8)


def decode_frames(samples: Samples | Sequence[VideoGroup]) -> Iterator[av.VideoFrame]:
    """Decode the pictures of a stream one at a time, in their own size and pixel format.

    Args:
        samples: an image stream, or all groups of a video stream.

    Raises:
        WindowError: a picture cannot be decoded; the text names the stream and the time.
    """
    return _image_frames(samples) if isinstance(samples, Samples) else _video_frames(samples)


def decode_picture(
    picture: bytes | npt.NDArray[np.uint8], spec: StreamSpec, size: tuple[int, int] | None
) -> Pictures:
    """Decode one picture, coded or not, exactly as `decode_pictures` decodes recorded ones.

    Args:
        picture: bytes in the stream's encoding, or uint8 [H, W, 1 or 3].
        spec: the image stream.
        size: (height, width), or None.

    Returns:
        uint8 [3, H, W].

    Raises:
        WindowError: it cannot be decoded.
    """
    import av

    if isinstance(picture, bytes):
        zero = np.zeros(1, np.int64)
        coded = Samples(spec=spec, capture_ns=zero, arrival_ns=zero, seq=zero, values=[picture])
        [decoded] = decode_pictures(coded, size)
        return np.asarray(decoded, np.uint8)
    pixels = np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return Converter().picture(frame, PictureView(size))


def _video_frames(groups: Sequence[VideoGroup]) -> Iterator[av.VideoFrame]:
    """Decode groups one after another with one decoder; frames come in presentation order."""
    import av

    if not groups:
        return
    spec = groups[0].spec
    try:
        decoder: Any = av.CodecContext.create(DECODERS.get(spec.encoding, spec.encoding), "r")
    except ValueError as error:
        raise WindowError(
            f"stream '{spec.name}': FFmpeg has no decoder for '{spec.encoding}'; exclude the stream"
        ) from error
    if groups[0].extradata:
        decoder.extradata = groups[0].extradata
    expected = sum(len(group) for group in groups)
    seen = 0
    try:
        for group in groups:
            for data, pts in zip(group.packets, group.pts, strict=True):
                packet = av.Packet(data)
                packet.pts = int(pts)
                for frame in decoder.decode(packet):
                    seen += 1
                    yield frame
        for frame in decoder.decode(None):
            seen += 1
            yield frame
    except av.FFmpegError as error:
        at_s = groups[0].arrival_ns[0] / 1e9
        raise WindowError(
            f"stream '{spec.name}', from {at_s:.3f} s: frame {seen} of {expected} "
            f"({spec.encoding}) cannot be decoded: {error}"
        ) from error
    if seen != expected:
        raise WindowError(
            f"stream '{spec.name}': {expected} {spec.encoding} packets gave {seen} frames; "
            "exclude the stream, or ingest the log again from an undamaged copy"
        )


def _image_frames(samples: Samples) -> Iterator[av.VideoFrame]:
    for coded, arrival_ns in zip(samples.values, samples.arrival_ns, strict=True):
        try:
            yield open_image(bytes(coded), samples.spec)
        except VideoError as error:
            raise WindowError(
                f"stream '{samples.spec.name}', at {arrival_ns / 1e9:.3f} s: {error}"
            ) from error


def open_image(coded: bytes, spec: StreamSpec) -> av.VideoFrame:
    """A picture that is coded by itself, or raw.

    Args:
        coded: in the stream's encoding.
        spec: of the stream.

    Raises:
        VideoError: it cannot be decoded.
    """
    import av
    from PIL import Image

    try:
        if spec.encoding in RAW_FORMATS:
            return av.VideoFrame.from_ndarray(
                _raw_pixels(coded, spec), format=RAW_FORMATS[spec.encoding]
            )
        with Image.open(io.BytesIO(coded)) as image:
            return av.VideoFrame.from_ndarray(np.array(image.convert("RGB")), format="rgb24")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"a picture in '{spec.encoding}' cannot be decoded: {error}") from error


def _raw_pixels(coded: bytes, spec: StreamSpec) -> npt.NDArray[Any]:
    height, width, channels = spec.shape
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.frombuffer(coded, spec.dtype).reshape(shape)
