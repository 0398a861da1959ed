"""Video files to groups of pictures: coded packets are moved, never decoded or coded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from viae.schema import Kind, Loss, LossKind, Role, StreamSpec, TimesNs, VideoGroup

FFMPEG_NAMES = {"libx264": "h264", "avc": "h264", "avc1": "h264", "x264": "h264",
                "libx265": "hevc", "h265": "hevc", "libsvtav1": "av1", "libaom-av1": "av1",
                "mp4v": "mpeg4"}  # fmt: skip
"""Other names under which a codec is declared."""

VideoPacket: TypeAlias = "Packet[VideoStream]"

Order: TypeAlias = TimesNs
"""int64 [P]: per packet in decode order, which picture in presentation order it is."""


def read_video(
    path: Path, *, name: str, role: Role, times_ns: TimesNs, declared_codec: str = ""
) -> Iterator[VideoGroup | Loss]:
    """One video, whose pictures are, in presentation order, the frames of a table.

    Args:
        path: the file.
        name: the stream's name.
        role: the stream's role.
        times_ns: int64 [N], the table's times; picture i is stamped with time i.
        declared_codec: the codec it is said to have; empty where nothing is said.

    Yields:
        One group per key frame; and a `Loss` for a file that is missing, unreadable, of another
        codec than declared, shorter or longer than the table. No picture is ever invented.
    """

    def loss(kind: LossKind, what: str, count: int, detail: str) -> Loss:
        return Loss(kind=kind, name=what, path=str(path), stream=name, count=count, detail=detail)

    if not path.is_file():
        detail = f"the video is not there; the table has {len(times_ns)} frames"
        yield loss(LossKind.LOST, "video-missing", len(times_ns), detail)
        return
    try:
        order = _presentation_order(path)
    except (av.FFmpegError, _NoVideoError) as error:
        detail = f"the video cannot be opened ({error}); the table has {len(times_ns)} frames"
        yield loss(LossKind.LOST, "video-unreadable", len(times_ns), detail)
        return
    if declared_codec:
        codec = _codec(path)
        if FFMPEG_NAMES.get(declared_codec.lower(), declared_codec.lower()) != codec:
            detail = f"declared as {declared_codec}, is and is kept as {codec}"
            yield loss(LossKind.REPAIRED, "codec-differs", order.size, detail)
    kept = 0
    for group in _groups(path, name, role, times_ns, order):
        kept += len(group)
        yield group
    if order.size < len(times_ns):
        detail = (
            f"the video has {order.size} frames, its table {len(times_ns)}; all that are there are "
            "kept. Copy the video again if the original still exists"
        )
        yield loss(LossKind.LOST, "video-short", len(times_ns) - order.size, detail)
    if order.size > len(times_ns):
        detail = (
            f"the video has {order.size} frames, its table {len(times_ns)}: no times for the rest"
        )
        yield loss(LossKind.SKIPPED, "video-long", order.size - len(times_ns), detail)
    undecodable = min(order.size, len(times_ns)) - kept
    if undecodable:
        detail = "frames that need a picture which is missing, or was left out"
        yield loss(LossKind.LOST, "video-no-key-frame", undecodable, detail)


class _NoVideoError(ValueError):
    """A media file without a video stream, or without times in it."""


def _open(path: Path) -> InputContainer:
    return av.open(path, metadata_errors="replace")


def _stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise _NoVideoError("there is no video stream in it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise _NoVideoError("its codec is unknown")
    return stream


def _packets(container: InputContainer) -> Iterator[VideoPacket]:
    """Packets in decode order, up to the first that cannot be read."""
    try:
        for packet in container.demux(_stream(container)):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def _presentation_order(path: Path) -> Order:
    with _open(path) as container:
        pts = [packet.pts for packet in _packets(container)]
    if not pts or any(time is None for time in pts):
        raise _NoVideoError("no frame in it has a time")
    order = np.empty(len(pts), np.int64)
    order[np.argsort(np.array(pts, np.int64), kind="stable")] = np.arange(len(pts))
    return order


def _codec(path: Path) -> str:
    with _open(path) as container:
        return str(_stream(container).codec_context.codec.canonical_name)


@dataclass(slots=True)
class _Run:
    """Packets from one key frame to the next."""

    packets: list[VideoPacket]
    places: list[int]


def _groups(
    path: Path, name: str, role: Role, times_ns: TimesNs, order: Order
) -> Iterator[VideoGroup]:
    with _open(path) as container:
        stream = _stream(container)
        context = stream.codec_context
        spec = StreamSpec(
            name=name,
            kind=Kind.VIDEO,
            dtype="uint8",
            shape=(context.height, context.width, 3),
            role=role,
            topic=name,
            encoding=str(context.codec.canonical_name),
        )
        extradata = bytes(context.extradata or b"")
        for run in _runs(container, order, limit=len(times_ns)):
            time_base = run.packets[0].time_base
            places = np.array(sorted(run.places), np.int64)
            yield VideoGroup(
                spec=spec,
                extradata=extradata,
                packets=[bytes(packet) for packet in run.packets],
                pts=np.array([packet.pts for packet in run.packets], np.int64),
                time_base=(time_base.numerator, time_base.denominator),
                capture_ns=times_ns[places],
                arrival_ns=times_ns[places],
                seq=places,
            )


def _runs(container: InputContainer, order: Order, *, limit: int) -> Iterator[_Run]:
    """Runs of packets that decode from their first, of pictures below the limit.

    After the first picture at or above the limit the rest of its run is left out too: in decode
    order it may need that picture.
    """
    run: _Run | None = None
    for packet, place in zip(_packets(container), order.tolist(), strict=False):
        if packet.is_keyframe:
            if run and run.packets:
                yield run
            run = _Run([], [])
        if run is None:
            continue
        if place >= limit:
            if run.packets:
                yield run
            run = None
            continue
        run.packets.append(packet)
        run.places.append(place)
    if run and run.packets:
        yield run
