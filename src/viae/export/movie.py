"""Movies of constant frame rate: packets moved as they are, or pictures coded anew, into MP4."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from viae.errors import ExportError, UsageError
from viae.schema import VideoGroup

LEAST_TICKS_HZ = 12_800
"""MP4 counts time in ticks; each frame has a whole number of them, at least so many a second."""

WRITERS = {"av1": "libsvtav1", "vp9": "libvpx-vp9", "vp8": "libvpx"}
"""FFmpeg's encoder for a codec, where it is not called like the codec."""

GLOBAL_HEADER = 1 << 22
"""FFmpeg's flag for parameter sets beside the packets, as MP4 wants them."""


@dataclass(slots=True, kw_only=True)
class Clip:
    """The coded pictures of one episode.

    Args:
        codec: FFmpeg's name of the codec.
        size: height and width.
        extradata: decoder configuration.
        packets: in decode order.
        places: int64 [P], which picture in presentation order each packet is.
        keys: bool [P], which packets decode without others.
    """

    codec: str
    size: tuple[int, int]
    extradata: bytes
    packets: Sequence[bytes]
    places: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Size of all packets."""
        return sum(map(len, self.packets))

    @property
    def delay(self) -> int:
        """How many frames decoding must be ahead of presentation."""
        return int((np.arange(len(self.places)) - self.places).max(initial=0))


def clip_of(groups: Sequence[VideoGroup]) -> Clip:
    """The packets of a video stream as they are, in the form of MP4 (see `contained`).

    Raises:
        UsageError: the decoder configuration changes on the way, so that one movie cannot hold it.
    """
    first = groups[0]
    if any(group.extradata != first.extradata for group in groups):
        raise UsageError(
            f"stream '{first.spec.name}': the coding of the video changes midway; code it anew "
            "with  --rate"
        )
    places, keys, start = [], [], 0
    for group in groups:
        order = np.empty(len(group), np.int64)
        order[np.argsort(group.pts, kind="stable")] = np.arange(start, start + len(group))
        places.append(order)
        keys.append(np.arange(len(group)) == 0)
        start += len(group)
    return contained(
        Clip(
            codec=first.spec.encoding,
            size=(first.spec.shape[0], first.spec.shape[1]),
            extradata=first.extradata or parameter_sets(first.spec.encoding, first.packets[0]),
            packets=[packet for group in groups for packet in group.packets],
            places=np.concatenate(places),
            keys=np.concatenate(keys),
        )
    )


def encode_clip(frames: Iterable[av.VideoFrame], *, codec: str, fps: Fraction) -> Clip:
    """Code pictures anew, as LeRobot does: YUV 4:2:0, a key frame every second frame, CRF 30.

    Args:
        frames: the picture of each row, in order; all of one size.
        codec: ``"libsvtav1"``, ``"h264"`` or ``"hevc"``.
        fps: frames per second.

    Raises:
        UsageError: pictures of an odd size, or of several sizes.
    """
    coder: Any = None
    size = (0, 0)
    coded: list[Any] = []
    for number, frame in enumerate(frames):
        if coder is None:
            size = (frame.height, frame.width)
            coder = _coder(codec, size, fps)
        if (frame.height, frame.width) != size:
            raise UsageError(
                f"picture {number} is {frame.width}x{frame.height}, the ones before are "
                f"{size[1]}x{size[0]}; a movie has one size. Use  --codec images"
            )
        picture = frame.reformat(format="yuv420p")
        picture.pts, picture.time_base = number, 1 / fps
        picture.pict_type = 0  # the coder decides, whatever it was before
        coded.extend(coder.encode(picture))
    if coder is None:
        raise UsageError("a movie needs pictures")
    coded.extend(coder.encode(None))
    base = coded[0].time_base * fps
    return contained(
        Clip(
            codec=str(coder.codec.canonical_name),
            size=size,
            extradata=bytes(coder.extradata or b""),
            packets=[bytes(packet) for packet in coded],
            places=np.array([round(packet.pts * base) for packet in coded], np.int64),
            keys=np.array([packet.is_keyframe for packet in coded]),
        )
    )


def contained(clip: Clip) -> Clip:
    """The clip as MP4 holds it: lengths before units, what configures the decoder beside.

    Clips that are so already are left as they are; others go once through the muxer, which knows
    how to rewrite them. The pictures are the same.
    """
    begins = {"h264": b"\x01", "hevc": b"\x01", "av1": b"\x81"}.get(clip.codec)
    if begins is None or clip.extradata.startswith(begins):
        return clip
    buffer = io.BytesIO()
    file = MovieFile(buffer, Fraction(25), clip)
    file.append(clip)
    file.close()
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata or b"")
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    return replace(clip, extradata=extradata, packets=packets)


def _coder(codec: str, size: tuple[int, int], fps: Fraction) -> Any:
    if size[0] % 2 or size[1] % 2:
        raise UsageError(
            f"pictures of {size[1]}x{size[0]} pixels: movies need even sizes. Use  --codec images"
        )
    options = {"g": "2", "crf": "30", "bf": "0"}  # no frame is stored before one shown earlier
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # else it prints its settings for every clip
        del options["bf"]
        options["preset"] = "12"
    if codec == "hevc":
        options["x265-params"] = "log-level=none:open-gop=0"
    coder: Any = av.CodecContext.create(
        {"h264": "libx264", "hevc": "libx265"}.get(codec, codec), "w"
    )
    coder.height, coder.width = size
    coder.pix_fmt = "yuv420p"
    coder.framerate, coder.time_base = fps, 1 / fps
    coder.options = options
    coder.flags |= GLOBAL_HEADER
    return coder


@dataclass(slots=True)
class MovieFile:
    """An MP4 file that clips are appended to; frame i is at i / fps.

    Args:
        path: the file, which must not exist; or a buffer in memory.
        fps: frames per second.
        like: the first clip; later ones must be coded alike.
    """

    path: Path | io.BytesIO
    fps: Fraction
    like: Clip
    frames: int = 0
    nbytes: int = 0
    _output: Any = field(init=False)
    _stream: Any = field(init=False)
    _delay: int = field(init=False)
    _tick: Fraction = field(init=False)
    _ticks: int = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.path, Path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            index_first = {"movflags": "faststart"}
            self._output = av.open(str(self.path), "w", format="mp4", options=index_first)
        else:
            self._output = av.open(self.path, "w", format="mp4")
        name = WRITERS.get(self.like.codec, self.like.codec)
        try:
            template: Any = av.open(io.BytesIO(), "w", format="mp4").add_stream(name, self.fps)
        except ValueError as error:
            self._output.close()
            raise ExportError(f"MP4 holds no '{self.like.codec}' ({error})") from error
        # the ticks of a second must hold whole frames, also of 30000/1001 a second
        self._ticks = -(-LEAST_TICKS_HZ * self.fps.denominator // self.fps.numerator)
        self._tick = 1 / (self.fps * self._ticks)
        self._stream = self._output.add_stream_from_template(template, opaque=True)
        context = self._stream.codec_context
        context.height, context.width = self.like.size
        context.extradata = self.like.extradata or None
        self._stream.time_base = self._tick
        self._delay = self.like.delay

    def takes(self, clip: Clip) -> bool:
        """Whether the clip is coded like those here."""
        return (clip.codec, clip.size, clip.extradata) == (
            self.like.codec, self.like.size, self.like.extradata,
        ) and clip.delay <= self._delay  # fmt: skip

    def append(self, clip: Clip) -> None:
        """Add the pictures of an episode."""
        for number, (data, place) in enumerate(zip(clip.packets, clip.places, strict=True)):
            packet: Any = av.Packet(data)
            packet.stream = self._stream
            packet.time_base = self._tick
            packet.pts = (self.frames + int(place)) * self._ticks
            packet.dts = (self.frames + number - self._delay) * self._ticks
            packet.duration = self._ticks
            packet.is_keyframe = bool(clip.keys[number])
            self._output.mux(packet)
        self.frames += len(clip.packets)
        self.nbytes += clip.nbytes

    def close(self) -> None:
        """Write the index."""
        self._output.close()


def movie_info(path: Path) -> dict[str, Any]:
    """What a movie is: height, width, codec, pixel format, frames per second and frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or Fraction(0)
        return {
            "height": stream.height, "width": stream.width,
            "codec": stream.codec_context.codec.canonical_name,
            "pix_fmt": stream.codec_context.pix_fmt, "fps": rate, "frames": stream.frames,
        }  # fmt: skip


_PARAMETER_SETS = {"h264": ({7, 8}, 0x1F, 0), "hevc": ({32, 33, 34}, 0x3F, 1)}
"""Per codec: the types of its parameter sets, and where in the first byte the type is."""


def parameter_sets(codec: str, packet: bytes) -> bytes:
    """The parameter sets that a packet with start codes begins with; empty where there are none.

    Streams that were never in a container carry them in each key frame (H.264 Annex B, H.265
    likewise); MP4 wants them beside.
    """
    if codec not in _PARAMETER_SETS or not packet.startswith((b"\0\0\0\1", b"\0\0\1")):
        return b""
    wanted, mask, shift = _PARAMETER_SETS[codec]
    return b"".join(
        b"\0\0\0\1" + unit
        for unit in _units(packet)
        if unit and (unit[0] >> shift) & mask in wanted
    )


def _units(packet: bytes) -> Iterator[bytes]:
    for unit in packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1"):
        yield unit.rstrip(b"\0")
