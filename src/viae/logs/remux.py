"""Video files to groups of pictures: coded packets are moved, never decoded or coded again.

A file is read twice: once for the times of its packets, once for the packets. A span of a file
that several episodes share is found by seeking, so that reading them all costs the file once.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from viae.schema import Kind, Loss, LossKind, Role, StreamSpec, TimesNs, VideoGroup

FFMPEG_NAMES = {"libx264": "h264", "avc": "h264", "avc1": "h264", "x264": "h264",
                "h264_nvenc": "h264", "h264_vaapi": "h264", "h264_qsv": "h264",
                "h264_videotoolbox": "h264", "libx265": "hevc", "h265": "hevc",
                "hevc_nvenc": "hevc", "hevc_videotoolbox": "hevc", "libsvtav1": "av1",
                "libaom-av1": "av1", "libdav1d": "av1", "mp4v": "mpeg4"}  # fmt: skip
"""Other names under which a codec is declared."""

MAX_PICTURES = 4096
MAX_BYTES = 64 << 20
"""Where a group is cut even though the pictures around the cut need both sides of it."""

RATE_TOLERANCE = 0.01
"""Two frame rates that differ by less, relatively, are the same."""

VideoPacket: TypeAlias = "Packet[VideoStream]"
Span: TypeAlias = tuple[float, float]
"""From and to, seconds by the file's own times; to is exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is said about a video by others than itself; empty or None where nothing is.

    Args:
        codec: its codec, by any of its usual names.
        size: height and width, pixels.
        rate_hz: frames per second.
    """

    codec: str = ""
    size: tuple[int, int] | None = None
    rate_hz: float | None = None


class NoVideoError(ValueError):
    """A media file without a video stream, or without times in it."""


UNREADABLE_VIDEO = (av.FFmpegError, NoVideoError, OSError)
"""What opening a file raises that is no whole video."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoLook:
    """What the packets of a video, or of a span of it, say of themselves, in decode order.

    Args:
        codec: FFmpeg's name of it.
        size: height and width, pixels.
        time_base: seconds per tick.
        pts: int64 [P], ticks.
        keys: bool [P], which packets decode alone.
        place: int64 [P], which picture of the span, in presentation order; -1 for none of them.
        seek: the tick that demuxing starts from; None for the file's beginning.
        corrupt: packets that the container knows to be damaged.
        cut: what shows that the file once was longer, as a sentence; empty where nothing does.
        metadata: what the container and the stream say, e.g. ``creation_time``.
    """

    codec: str
    size: tuple[int, int]
    time_base: tuple[int, int]
    pts: TimesNs
    keys: npt.NDArray[np.bool_]
    place: TimesNs
    seek: int | None
    corrupt: int = 0
    cut: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> int:
        """Pictures in the span."""
        return int((self.place >= 0).sum())

    @property
    def ticks(self) -> TimesNs:
        """int64 [pictures], presentation times in order."""
        return np.sort(self.pts[self.place >= 0])

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """float64 [pictures], the same in seconds."""
        numerator, denominator = self.time_base
        return np.asarray(self.ticks * (numerator / denominator), np.float64)

    @property
    def rate_hz(self) -> float | None:
        """Pictures per second from the first to the last; None for fewer than two."""
        times_s = self.times_s
        span_s = float(times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
        return (len(times_s) - 1) / span_s if span_s > 0 else None


def look_at_video(path: Path, span: Span | None = None) -> VideoLook:
    """The times and key frames of a video, or of the pictures in a span of it.

    Raises:
        av.FFmpegError: the file cannot be opened.
        NoVideoError: there is no video in it, or its pictures have no times.
    """
    if span is None:
        return _look(path, None, None)
    start_s = span[0]
    for margin_s in (0.0, 2.0, 10.0):  # decode times lead presentation times: seek may overshoot
        if start_s - margin_s <= 0:
            break
        with contextlib.suppress(av.FFmpegError, NoVideoError, OverflowError):
            look = _look(path, span, start_s - margin_s)
            numerator, denominator = look.time_base
            if look.keys[0] and look.pts[0] * numerator / denominator <= start_s:
                return look
    return _look(path, span, None)


def read_video(
    path: Path,
    *,
    name: str,
    role: Role,
    times_ns: TimesNs,
    declared: Declared | None = None,
    span: Span | None = None,
    clock: str = "log",
) -> Iterator[VideoGroup | Loss]:
    """One video, whose pictures are, in presentation order, the frames of a table.

    A group begins at each key frame from which on everything decodes. Where pictures after a key
    frame are shown before it (an open group, as x265 writes them) they need both neighbours, and
    so the two runs are one group.

    Args:
        path: the file.
        name: the stream's name.
        role: the stream's role.
        times_ns: int64 [N], the table's times; picture i is stamped with time i.
        declared: what the video is said to be; the video itself is believed.
        span: where in the file the table's pictures are; None for all of it.
        clock: the stream's clock.

    Yields:
        Groups; and a `Loss` for a file that is missing, unreadable, of another codec, size or
        rate than declared, shorter or longer than the table, and for pictures before the span's
        first key frame, which only the pictures of others could decode. No picture is invented.
    """

    def loss(kind: LossKind, what: str, count: int, detail: str) -> Loss:
        return Loss(kind=kind, name=what, path=str(path), stream=name, count=count, detail=detail)

    rows = len(times_ns)
    if not path.is_file():
        detail = f"the video is not there; the table has {rows} frames"
        yield loss(LossKind.LOST, "video-missing", rows, detail)
        return
    try:
        if not path.stat().st_size:
            raise NoVideoError("the file holds no bytes")
        look = look_at_video(path, span)
    except UNREADABLE_VIDEO as error:
        detail = f"the video cannot be opened ({error}); the table has {rows} frames"
        yield loss(LossKind.LOST, "video-unreadable", rows, detail)
        return
    for what, detail in _disagreements(look, times_ns, declared or Declared()):
        yield loss(LossKind.REPAIRED, what, look.pictures, detail)
    kept = 0
    for group in _groups(path, look, name, role, times_ns, clock):
        kept += len(group)
        yield group
    if look.pictures < rows:
        detail = (
            f"the video has {look.pictures} frames, its table {rows}; all that are there are "
            "kept. Copy the video again if the original still exists"
        )
        yield loss(LossKind.LOST, "video-short", rows - look.pictures, detail)
    if look.pictures > rows:
        detail = f"the video has {look.pictures} frames, its table {rows}: no times for the rest"
        yield loss(LossKind.SKIPPED, "video-long", look.pictures - rows, detail)
    if look.corrupt:
        detail = "pictures whose bytes are damaged in the file; they are kept as they are"
        yield loss(LossKind.LOST, "video-corrupt", look.corrupt, detail)
    if undecodable := min(look.pictures, rows) - kept:
        detail = "frames that need a picture which is missing, or was left out"
        yield loss(LossKind.LOST, "video-no-key-frame", undecodable, detail)


def hash_video(path: Path, span: Span | None = None) -> str:
    """Hex digest of the packets of a span and their times from its start on: equal wherever the
    same pictures lie in whatever file. Of a file that is no video: of what is wrong with it.
    """  # noqa: D205
    digest = hashlib.blake2b(digest_size=16)
    try:
        look = look_at_video(path, span)
        digest.update(f"{look.codec} {look.size} {look.time_base}".encode())
        digest.update((look.ticks - look.ticks[:1]).tobytes())
        with _open(path) as container:
            for packet, place in zip(_packets(container, look.seek), look.place, strict=False):
                if place >= 0:
                    digest.update(bytes(packet))
    except UNREADABLE_VIDEO as error:
        digest.update(type(error).__name__.encode())
    return digest.hexdigest()


def _disagreements(
    look: VideoLook, times_ns: TimesNs, declared: Declared
) -> Iterator[tuple[str, str]]:
    """What the video is otherwise than declared: a loss's name, and a sentence."""
    codec = declared.codec.lower()
    if codec and FFMPEG_NAMES.get(codec, codec) != look.codec:
        yield "codec-differs", f"declared as {declared.codec}, is and is kept as {look.codec}"
    if declared.size and declared.size != look.size:
        (h, w), (high, wide) = declared.size, look.size
        yield (
            "video-size-differs",
            f"declared as {w} wide and {h} high, is and is kept as {wide} by {high}",
        )
    rate_hz, actual_hz = declared.rate_hz, look.rate_hz
    if not rate_hz or not actual_hz:
        return
    if abs(actual_hz / rate_hz - 1) > RATE_TOLERANCE:
        yield (
            "video-rate-differs",
            f"declared as {rate_hz:g} frames a second, plays at {actual_hz:.4g}; picture i is "
            "stamped with the table's time i",
        )
        return
    n = min(look.pictures, len(times_ns))
    own_s = look.times_s[:n] - look.times_s[0]
    table_s = (times_ns[:n] - times_ns[0]) / 1e9 if n else own_s
    if off := int((np.abs(own_s - table_s) > 0.5 / rate_hz).sum()):
        yield (
            "video-times-differ",
            f"{off} pictures are more than half a frame away from their row in time; picture i is "
            "stamped with the table's time i. Look for dropped frames",
        )


def _open(path: Path) -> InputContainer:
    return av.open(path, metadata_errors="replace")


def _stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise NoVideoError("there is no video stream in it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise NoVideoError("its codec is unknown")
    return stream


def _packets(container: InputContainer, seek: int | None = None) -> Iterator[VideoPacket]:
    """Packets in decode order, up to the first that cannot be read."""
    stream = _stream(container)
    try:
        if seek is not None:
            container.seek(seek, stream=stream, backward=True, any_frame=False)
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def _look(path: Path, span: Span | None, seek_s: float | None) -> VideoLook:
    """The packets from where a seek leads to where no picture of the span can follow."""
    pts: list[int] = []
    keys: list[bool] = []
    shown: list[bool] = []
    corrupt = 0
    with _open(path) as container:
        stream = _stream(container)
        if stream.time_base is None:
            raise NoVideoError("no frame in it has a time")
        tick_s = float(stream.time_base)
        seek = None if seek_s is None else int(seek_s / tick_s)
        for packet in _packets(container, seek):
            if packet.pts is None:
                raise NoVideoError("it has frames without a time")
            if span and packet.dts is not None and packet.dts * tick_s >= span[1]:
                break
            pts.append(packet.pts)
            keys.append(packet.is_keyframe)
            shown.append(not packet.is_discard)
            corrupt += packet.is_corrupt
        if not pts:
            raise NoVideoError("no frame in it has a time")
        context: Any = stream.codec_context
        metadata = {**container.metadata, **stream.metadata}
        if context.width <= 0 or context.height <= 0:
            raise NoVideoError("its pictures have no size")
        ticks, inside = np.array(pts, np.int64), np.array(shown)
        if span:
            inside &= (ticks * tick_s >= span[0]) & (ticks * tick_s < span[1])
        place = np.full(len(ticks), -1, np.int64)
        order = np.flatnonzero(inside)[np.argsort(ticks[inside], kind="stable")]
        place[order] = np.arange(len(order))
        return VideoLook(
            codec=str(context.codec.canonical_name),
            size=(context.height, context.width),
            time_base=(stream.time_base.numerator, stream.time_base.denominator),
            pts=ticks,
            keys=np.array(keys),
            place=place,
            seek=seek,
            corrupt=corrupt,
            cut="" if span else _cut(container, stream, ticks),
            metadata={str(key): str(value) for key, value in metadata.items()},
        )


def _cut(container: InputContainer, stream: VideoStream, ticks: TimesNs) -> str:
    """What shows that there were more pictures: an index, or else a duration."""
    if stream.frames > len(ticks):
        return f"its index names {stream.frames} pictures, {len(ticks)} can be read"
    if stream.frames or container.duration is None or len(container.streams) > 1 or len(ticks) < 2:
        return ""
    declared_s = container.duration / av.time_base
    ends_s = float(ticks.max() * stream.time_base) if stream.time_base else declared_s
    step_s = float(np.diff(np.sort(ticks)).max() * stream.time_base) if stream.time_base else 0.0
    if declared_s - ends_s > 2 * step_s:
        return f"it declares {declared_s:.3f} s, its last picture is at {ends_s:.3f} s"
    return ""


@dataclass(slots=True)
class _Run:
    """Packets that decode from the first one on."""

    first_pts: int
    packets: list[bytes] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    size: int = 0


def _groups(
    path: Path, look: VideoLook, name: str, role: Role, times_ns: TimesNs, clock: str
) -> Iterator[VideoGroup]:
    with _open(path) as container:
        extradata = bytes(_stream(container).codec_context.extradata or b"")
        spec = StreamSpec(
            name=name,
            kind=Kind.VIDEO,
            dtype="uint8",
            shape=(*look.size, 3),
            role=role,
            clock=clock,
            topic=name,
            encoding=look.codec,
        )
        for run in _runs(container, look, limit=len(times_ns)):
            places = np.array(sorted(run.places), np.int64)
            yield VideoGroup(
                spec=spec,
                extradata=extradata,
                packets=run.packets,
                pts=np.array(run.pts, np.int64),
                time_base=look.time_base,
                capture_ns=times_ns[places],
                arrival_ns=times_ns[places],
                seq=places,
            )


def _runs(container: InputContainer, look: VideoLook, *, limit: int) -> Iterator[_Run]:
    """Runs of packets that decode from their first, of pictures in the span and below the limit.

    After the first picture that is not wanted the rest of its run is left out too: in decode
    order it may need that picture. The exception is one that is shown before the run's key frame:
    nothing shown after it needs it.
    """
    later = np.minimum.accumulate(look.pts[::-1])[::-1]  # the least time from here on
    run: _Run | None = None
    for i, packet in enumerate(_packets(container, look.seek)):
        if i == len(look.pts):
            break
        pts, place = int(look.pts[i]), int(look.place[i])
        if look.keys[i]:
            closed = i + 1 == len(look.pts) or later[i + 1] >= pts
            full = run and (len(run.packets) >= MAX_PICTURES or run.size >= MAX_BYTES)
            if run is None or closed or full:
                if run and run.packets:
                    yield run
                run = _Run(pts)
        if run is None or pts < run.first_pts:
            continue
        if not 0 <= place < limit:
            if run.packets:
                yield run
            run = None
            continue
        data = bytes(packet)
        run.packets.append(data)
        run.pts.append(pts)
        run.places.append(place)
        run.size += len(data)
    if run and run.packets:
        yield run
