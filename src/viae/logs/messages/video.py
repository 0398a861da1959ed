"""One topic of coded video: its messages, a frame each, become groups of pictures.

The messages are those of ``foxglove.CompressedVideo``: one frame each, in decode order, without
frames that refer to later ones, parameter sets before every key frame. A group is a key frame and
what follows until the next one.

Key frames are found by what the codecs' specifications put into the first bits (ITU-T H.264 table
7-1, H.265 table 7-1, AV1 section 5.5, VP9 section 6.2): a parser of FFmpeg hands out a frame only
when it has seen the next, and so cannot say which message held it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from viae.logs.messages import protobuf, ros
from viae.logs.messages.batch import Channel, Messages
from viae.logs.messages.plan import SPEC_KEY, stamp_path_of
from viae.logs.messages.rows import Piece, Rows
from viae.logs.messages.sequence import SequenceGaps
from viae.logs.messages.shape import MessageType
from viae.schema import NS_PER_S, Block, Kind, Loss, LossKind, StreamSpec, VideoGroup

SCHEMAS = frozenset({"foxglove.CompressedVideo", "foxglove_msgs/msg/CompressedVideo"})
TYPES: dict[tuple[str, str], Callable[[Channel], MessageType]] = {
    ("cdr", "ros2msg"): ros.message_type,
    ("cdr", "ros2idl"): ros.message_type,
    ("protobuf", "protobuf"): protobuf.message_type,
}
CODECS = {"h264": "h264", "h265": "hevc", "hevc": "hevc", "av1": "av1", "vp9": "vp9"}
"""What messages call a codec, and what FFmpeg does."""

MAX_GROUP = 1 << 14
"""Frames of one group; without a key frame in so many, what follows is kept as bytes."""
MAX_GROUP_BYTES = 256 << 20

NAL = re.compile(rb"\x00\x00\x01([\s\S])")
H264_KEY, H264_PARAMETERS, H264_PICTURES = 5, 7, frozenset(range(1, 6))
H265_KEYS = frozenset(range(16, 22))
AV1_SEQUENCE_HEADER = 1


def is_video(channel: Channel) -> bool:
    """Whether a channel's messages are frames of coded video."""
    return channel.schema_name in SCHEMAS and (channel.encoding, channel.schema_encoding) in TYPES


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether a coded frame decodes by itself.

    Args:
        codec: FFmpeg's name, one of `CODECS`.
        data: the frame; H.264 and H.265 in Annex B, AV1 as low-overhead OBUs.
    """
    match codec:
        case "h264":
            types = {unit[1][0] & 31 for unit in NAL.finditer(data)}
            return H264_KEY in types or (H264_PARAMETERS in types and bool(types & H264_PICTURES))
        case "hevc":
            return any(unit[1][0] >> 1 & 63 in H265_KEYS for unit in NAL.finditer(data))
        case "vp9":
            return bool(data) and data[0] >> 6 == 2 and not data[0] & 0b1100
    return _has_sequence_header(data)


def _has_sequence_header(data: bytes) -> bool:
    at = 0
    while at < len(data):
        head = data[at]
        if head >> 3 & 15 == AV1_SEQUENCE_HEADER:
            return True
        at += 2 if head & 4 else 1
        if not head & 2:  # the last one: it has no size of its own
            break
        size = 0
        for place in range(8):
            if at >= len(data):
                return False
            size |= (data[at] & 127) << (7 * place)
            at += 1
            if not data[at - 1] & 128:
                break
        at += size
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    data: bytes
    capture_ns: int
    arrival_ns: int
    seq: int


class VideoTopic:
    """Everything on one topic of coded video.

    A message that holds no frame, or one before the first key frame, goes whole into the stream
    ``topic#raw``; ``seq``, the message's position in its topic, says where it belongs.

    Args:
        path: the file, for what is reported.
        channel: what the container says of its messages; `is_video` says yes to it.
        names: the stream names taken so far in this episode; added to.
    """

    def __init__(self, path: str, channel: Channel, names: set[str]) -> None:
        self.count = 0
        self._path, self._channel, self._names = path, channel, names
        self._gaps = SequenceGaps()
        self._type: MessageType | None = None
        self._why_no_type = ""
        self._spec: StreamSpec | None = None
        self._codec = ""
        self._group: list[_Frame] = []
        self._nbytes = 0
        self._raw: Rows | None = None
        self._headless = self._undecodable = self._zero_stamps = 0
        self._first_undecodable: tuple[int, str] | None = None
        try:
            self._type = TYPES[channel.encoding, channel.schema_encoding](channel)
        except Exception as error:  # whatever a foreign schema provokes, the bytes are kept
            why = f"{error!s:.200} ({type(error).__name__})"
            self._why_no_type = f"the schema '{channel.schema_name}' cannot be read: {why}"

    @property
    def nbytes(self) -> int:
        """Rough size of what `flush` would yield."""
        return self._raw.nbytes if self._raw else 0

    def add(self, messages: Messages) -> Iterator[Block]:
        """Take messages; yields the groups that they end."""
        self._gaps.add(messages.sequence, messages.log_ns)
        for place, data in enumerate(messages.data()):
            message, seq = messages[place : place + 1], self.count
            self.count += 1
            try:
                codec, frame = self._frame(data, message, seq)
                is_key = is_key_frame(codec, frame.data)
                if is_key and self._spec is None:
                    self._spec = self._make_spec(codec, frame.data)
                    self._codec = codec
                if self._spec is not None and codec != self._codec:
                    raise ValueError(f"a frame of {codec}, where the stream began with "
                                     f"{self._codec}")  # fmt: skip
            except Exception as error:  # whatever foreign bytes provoke, they are kept
                why = f"{error!s:.200} ({type(error).__name__})"
                at_ns = int(message.log_ns[0])
                self._first_undecodable = self._first_undecodable or (at_ns, why)
                self._undecodable += 1
                yield from self._keep_bytes(message, seq)
                continue
            if is_key:
                yield from self._end_group()
            elif not self._group or self._is_full():
                yield from self._end_group()
                self._headless += 1
                yield from self._keep_bytes(message, seq)
                continue
            self._group.append(frame)
            self._nbytes += len(frame.data)

    def flush(self) -> Iterator[Block]:
        """What waits, but for the group that has not ended."""
        if self._raw:
            yield from self._raw.flush()

    def finish(self) -> Iterator[Block]:
        """Everything that waits."""
        yield from self._end_group()
        yield from self.flush()

    def losses(self) -> Iterator[Loss]:
        """What could not be taken as it was declared."""

        def loss(
            kind: LossKind, name: str, count: int, detail: str, at_ns: int | None = None
        ) -> Loss:
            return Loss(
                kind=kind, name=name, path=self._path, stream=self._channel.topic, count=count,
                at_ns=at_ns, detail=detail,
            )  # fmt: skip

        if self._first_undecodable and self._raw:
            at_ns, why = self._first_undecodable
            detail = f"the first: {why}; they are kept as bytes in '{self._raw.specs[0].name}'"
            yield loss(LossKind.REPAIRED, "undecodable", self._undecodable, detail, at_ns)
        if self._headless and self._raw:
            detail = (
                "no key frame comes before them, so they cannot be decoded; they are kept as "
                f"bytes in '{self._raw.specs[0].name}'. Begin recordings with a key frame"
            )
            yield loss(LossKind.REPAIRED, "no-key-frame", self._headless, detail)
        if self._zero_stamps:
            detail = "the field 'timestamp' is zero; capture is taken as arrival there"
            yield loss(LossKind.REPAIRED, "zero-stamp", self._zero_stamps, detail)
        if self._gaps.count:
            detail = "the sender's count skips them: they never reached the recorder"
            first_ns = self._gaps.first_ns
            yield loss(LossKind.LOST, "sequence-gap", self._gaps.count, detail, first_ns)

    def _frame(self, data: bytes, message: Messages, seq: int) -> tuple[str, _Frame]:
        if self._type is None:
            raise ValueError(self._why_no_type)
        type_, decoded = self._type, self._type.decode(data)
        coded, format_ = type_.pick([("data",), ("format",)])(decoded)
        codec = CODECS.get(str(format_).lower())
        if codec is None:
            raise ValueError(f"the format is '{format_}', not one of {', '.join(CODECS)}")
        arrival_ns = int(message.log_ns[0])
        capture_ns = self._capture(decoded, arrival_ns)
        return codec, _Frame(
            data=bytes(coded), capture_ns=capture_ns, arrival_ns=arrival_ns, seq=seq
        )

    def _capture(self, decoded: Any, arrival_ns: int) -> int:
        assert self._type
        stamp = stamp_path_of(self._type.shape)
        capture_ns = self._type.ns(self._type.pick([stamp])(decoded)[0]) if stamp else 0
        if capture_ns == 0 and SPEC_KEY not in self._channel.metadata:
            self._zero_stamps += 1
            return arrival_ns
        if not -(1 << 63) <= capture_ns < 1 << 63:
            raise ValueError(f"its timestamp is {capture_ns} ns, which int64 cannot hold")
        return capture_ns

    def _make_spec(self, codec: str, key_frame: bytes) -> StreamSpec:
        """The stream; of a topic that viae recorded, what the recorder said of it."""
        topic = self._channel.topic
        if SPEC_KEY in self._channel.metadata:
            try:
                said = StreamSpec.from_json(json.loads(self._channel.metadata[SPEC_KEY]))
            except (ValueError, KeyError, TypeError, AttributeError):
                said = None
            if said and said.kind is Kind.VIDEO and said.name not in self._names:
                self._names.add(said.name)
                return replace(said, topic=topic, encoding=codec)
        height, width = picture_size(codec, key_frame)
        return StreamSpec(
            name=self._take_name(""), kind=Kind.VIDEO, dtype="uint8", shape=(height, width, 3),
            clock=topic or "log", topic=topic, encoding=codec,
        )  # fmt: skip

    def _is_full(self) -> bool:
        return len(self._group) >= MAX_GROUP or self._nbytes >= MAX_GROUP_BYTES

    def _end_group(self) -> Iterator[VideoGroup]:
        frames, self._group, self._nbytes = self._group, [], 0
        if not frames:
            return
        assert self._spec
        capture = np.array([frame.capture_ns for frame in frames], np.int64)
        arrival = np.array([frame.arrival_ns for frame in frames], np.int64)
        pts = capture
        if (np.diff(pts) <= 0).any():  # its clock stands or steps back; the order is known
            pts = arrival[0] + np.arange(len(frames), dtype=np.int64)
        yield VideoGroup(
            spec=self._spec,
            extradata=b"",
            packets=[frame.data for frame in frames],
            pts=pts,
            time_base=(1, NS_PER_S),
            capture_ns=capture,
            arrival_ns=arrival,
            seq=np.array([frame.seq for frame in frames], np.int64),
        )

    def _keep_bytes(self, message: Messages, seq: int) -> Iterator[Block]:
        if self._raw is None:
            name = self._take_name("#raw")
            topic = self._channel.topic
            self._raw = Rows([StreamSpec(name=name, kind=Kind.BYTES, dtype="", topic=topic)])
        piece = Piece(
            capture_ns=message.log_ns, arrival_ns=message.log_ns,
            seq=np.array([seq], np.int64), values=[list(message.data())],
        )  # fmt: skip
        self._raw.append(piece, message.nbytes)
        if self._raw.full:
            yield from self._raw.flush()

    def _take_name(self, suffix: str) -> str:
        base = name = (self._channel.topic or "unnamed") + suffix
        for n in count(2):
            if name not in self._names:
                break
            name = f"{base}#{n}"
        self._names.add(name)
        return name


def picture_size(codec: str, key_frame: bytes) -> tuple[int, int]:
    """Height and width of a coded picture.

    Raises:
        ValueError: it does not decode.
    """
    import av

    context = av.VideoCodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    try:
        for packet in (av.Packet(key_frame), None):
            for frame in context.decode(packet):
                return frame.height, frame.width
    except av.FFmpegError as error:
        raise ValueError(f"the key frame does not decode: {error}") from error
    raise ValueError("the key frame holds no picture")
