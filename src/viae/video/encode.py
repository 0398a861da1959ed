"""Pictures to H.264 that is fast to read at random: short closed groups, nothing out of order."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from viae.errors import UsageError, VideoError
from viae.schema import NS_PER_S, Kind, StreamSpec, VideoGroup

if TYPE_CHECKING:
    import av

PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
    "placebo",
)  # fmt: skip
MOST_GROUP = 1 << 12
WORST_CRF = 51.0
THREADS = 4
"""Fixed: with another number x264 codes a little differently, and machines would disagree."""
TICK = Fraction(1, 30)
"""Between any two pictures, for the encoder alone, so that times do not change how it codes."""
GLOBAL_HEADER = 1 << 22
"""FFmpeg's flag for parameter sets beside the packets."""
BT601, LIMITED = 6, 1
"""FFmpeg's numbers for the colours of standard definition and the range of television."""
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7}
"""From the matrix that a picture is tagged with to the scaler's number for it."""
TUNING = {
    "scenecut": "0", "open-gop": "0", "bframes": "0", "mbtree": "0", "rc-lookahead": "0",
    "ipratio": "1.0", "chroma-qp-offset": "-2",
}  # fmt: skip
"""No look into the future, and the same quality for every picture: half of them are key frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastVideo:
    """How pictures are coded for fast random access: H.264, closed groups, no B-frames.

    CAVLC without loop filter (x264's ``fastdecode``), tuned for the least squared error.

    Args:
        group: pictures a group; the first decodes alone, each other needs those before it.
        crf: x264's constant rate factor, 0 to 51; less is better and larger.
        preset: x264's, how long it searches.

    Raises:
        UsageError: a value that x264 does not have.
    """

    group: int = 2
    crf: float = 17.0
    preset: str = "veryfast"

    def __post_init__(self) -> None:
        if not 1 <= self.group <= MOST_GROUP:
            raise UsageError(f"a group has 1 to {MOST_GROUP} pictures, not {self.group}")
        if not (math.isfinite(self.crf) and 0 <= self.crf <= WORST_CRF):
            raise UsageError(f"the CRF is 0 (best) to 51, not {self.crf}")
        if self.preset not in PRESETS:
            raise UsageError(f"the preset is one of {', '.join(PRESETS)}, not '{self.preset}'")

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"codec": "h264", "group": self.group, "crf": self.crf, "preset": self.preset}


class Stamp(NamedTuple):
    """What belongs to a picture besides its pixels.

    Args:
        capture_ns: as recorded.
        arrival_ns: likewise.
        seq: likewise.
        pts: presentation time in ticks; None for pictures that had none.
        time_base: seconds per tick.
    """

    capture_ns: int
    arrival_ns: int
    seq: int
    pts: int | None = None
    time_base: tuple[int, int] = (1, NS_PER_S)


def fast_spec(spec: StreamSpec) -> StreamSpec:
    """What a stream of pictures is once it is coded anew."""
    return replace(
        spec, kind=Kind.VIDEO, dtype="uint8", shape=(*spec.shape[:2], 3), encoding="h264"
    )


class GroupEncoder:
    """Codes the pictures of one stream, one after another; holds no more than a few of them.

    Args:
        spec: of the stream as it comes.
        options: how to code.
    """

    def __init__(self, spec: StreamSpec, options: FastVideo) -> None:
        self.spec = fast_spec(spec)
        self._options = options
        self._size = spec.shape[:2]
        self._coder: Any = None
        self._format = "yuv420p" if all(side % 2 == 0 for side in self._size) else "yuv444p"
        self._reformatter: Any = None
        self._colours = (BT601, LIMITED)
        self._count = 0
        self._stamps: deque[Stamp] = deque()
        self._packets: list[bytes] = []

    @property
    def pixel_format(self) -> str:
        """4:2:0, or 4:4:4 where a side is odd and 4:2:0 would need another pixel."""
        return self._format

    def add(self, picture: av.VideoFrame, stamp: Stamp) -> Iterator[VideoGroup]:
        """Code the next picture in presentation order.

        Args:
            picture: of the size in the spec, at most 8 bits a channel; may be changed.
            stamp: its times.

        Yields:
            Groups that are complete.

        Raises:
            VideoError: another size, or more than H.264 of 8 bits can hold.
        """
        check_picture(picture, self._size)
        if self._coder is None:
            self._open(picture)
        frame = self._converted(picture)
        frame.pts, frame.time_base = self._count, TICK
        frame.pict_type = 0  # the encoder decides, whatever it was before
        self._count += 1
        self._stamps.append(stamp)
        yield from self._code(frame)

    def finish(self) -> Iterator[VideoGroup]:
        """What is left, the last group perhaps a short one."""
        if self._coder is not None:
            yield from self._code(None)
        if self._packets:
            yield self._group()

    def _open(self, first: av.VideoFrame) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        if self._is_as_wanted(first):  # goes in as it is, so it comes out with the same colours
            self._colours = (int(first.colorspace), int(first.color_range))
        options, group = self._options, self._options.group
        coder: Any = av.CodecContext.create("libx264", "w")
        coder.height, coder.width = self._size
        coder.pix_fmt = self._format
        coder.framerate, coder.time_base = 1 / TICK, TICK
        coder.thread_count = THREADS
        coder.gop_size, coder.max_b_frames = group, 0
        coder.colorspace, coder.color_range = self._colours
        tuning = TUNING | {"keyint": str(group), "min-keyint": str(group)}
        coder.options = {
            "preset": options.preset, "tune": "fastdecode,psnr", "crf": f"{options.crf:g}",
            "x264-params": ":".join(f"{key}={value}" for key, value in tuning.items()),
        }  # fmt: skip
        coder.flags |= GLOBAL_HEADER
        self._coder = coder

    def _is_as_wanted(self, picture: av.VideoFrame) -> bool:
        return self._format == picture.format.name == "yuv420p"

    def _converted(self, picture: av.VideoFrame) -> Any:
        colours = (int(picture.colorspace), int(picture.color_range))
        if self._is_as_wanted(picture) and colours == self._colours:
            return picture
        matrix, limits = self._colours
        return self._reformatter.reformat(
            picture,
            format=self._format,
            interpolation="AREA",
            dst_colorspace=MATRICES.get(matrix, MATRICES[BT601]),
            dst_color_range=limits or LIMITED,
        )

    def _code(self, frame: Any) -> Iterator[VideoGroup]:
        import av

        try:
            for packet in self._coder.encode(frame):
                if packet.is_keyframe and self._packets:
                    yield self._group()
                self._packets.append(bytes(packet))
        except av.FFmpegError as error:
            raise VideoError(f"picture {self._count - 1} cannot be coded: {error}") from error

    def _group(self) -> VideoGroup:
        packets, self._packets = self._packets, []
        stamps = [self._stamps.popleft() for _ in packets]
        pts, time_base = presentation_times(stamps)
        capture, arrival, seq = (
            np.array([stamp[field] for stamp in stamps], np.int64) for field in range(3)
        )
        return VideoGroup(
            spec=self.spec,
            extradata=bytes(self._coder.extradata or b""),
            packets=packets,
            pts=pts,
            time_base=time_base,
            capture_ns=capture,
            arrival_ns=arrival,
            seq=seq,
        )


def check_picture(picture: av.VideoFrame, size: tuple[int, ...]) -> None:
    """Whether a picture can be H.264 of 8 bits without losing more than coding loses.

    Raises:
        VideoError: it cannot; the text says why.
    """
    if (picture.height, picture.width) != size:
        raise VideoError(
            f"a picture is {picture.width}x{picture.height}, the stream is {size[1]}x{size[0]}"
        )
    if picture.format.name.startswith("bayer"):
        raise VideoError("a picture is the raw mosaic of a sensor")
    for component in picture.format.components:
        if component.bits > 8:
            raise VideoError(f"a picture has {component.bits} bits a channel")
        if component.is_alpha:
            raise VideoError("a picture has transparency")


def presentation_times(stamps: list[Stamp]) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
    """Times of one group that increase: the container's own, else captures, else from arrival on.

    Returns:
        int64 [P] ticks, and seconds per tick.
    """
    bases = {stamp.time_base for stamp in stamps}
    own = [stamp.pts for stamp in stamps if stamp.pts is not None]
    if len(own) == len(stamps) and len(bases) == 1 and _increase(own):
        return np.array(own, np.int64), bases.pop()
    captures = [stamp.capture_ns for stamp in stamps]
    if not _increase(captures):  # the clock stands or steps back; the order is known
        captures = list(range(stamps[0].arrival_ns, stamps[0].arrival_ns + len(stamps)))
    return np.array(captures, np.int64), (1, NS_PER_S)


def _increase(numbers: list[int]) -> bool:
    return all(one < other for one, other in itertools.pairwise(numbers))
