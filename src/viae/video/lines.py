"""One stream of pictures on its way through the encoder: images, or video through a decoder."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from viae.errors import VideoError
from viae.schema import StreamSpec, VideoGroup
from viae.video.encode import FastVideo, GroupEncoder, Stamp
from viae.video.pictures import DECODERS, RAW_FORMATS, open_image

if TYPE_CHECKING:
    import av


MODES = frozenset({"L", "RGB", "YCbCr"})
"""Pillow's names for images that video can hold."""


class UnrecodableError(VideoError):
    """A picture in the middle of a stream cannot be coded anew.

    Args:
        stream: the stream's name.
        at_ns: arrival of the picture; None where it is not known.
        reason: why, as a clause.
    """

    def __init__(self, stream: str, at_ns: int | None, reason: str) -> None:
        self.stream, self.at_ns, self.reason = stream, at_ns, reason
        when = "" if at_ns is None else f", at {at_ns / 1e9:.3f} s"
        super().__init__(f"stream '{stream}'{when}: {reason}")


@dataclass(slots=True, kw_only=True)
class Account:
    """What became of one stream.

    Args:
        spec: of the stream as recorded.
        pictures: how many were coded anew.
        groups: in how many groups.
        bytes_before: size of the recorded packets or images.
        bytes_after: size of the new packets.
        kept: why it stayed as it is, as a clause; empty where it was coded anew.
        pixel_format: of the new packets.
    """

    spec: StreamSpec
    pictures: int = 0
    groups: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    kept: str = ""
    pixel_format: str = ""

    def add(self, other: Account) -> None:
        """Count another episode's stream of the same name in."""
        self.pictures += other.pictures
        self.groups += other.groups
        self.bytes_before += other.bytes_before
        self.bytes_after += other.bytes_after

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        was = {"kind": str(self.spec.kind), "encoding": self.spec.encoding}
        if self.kept:
            return {"stream": self.spec.name, "was": was, "kept": self.kept}
        return {
            "stream": self.spec.name, "was": was, "pictures": self.pictures, "groups": self.groups,
            "bytes_before": self.bytes_before, "bytes_after": self.bytes_after,
            "pixel_format": self.pixel_format,
        }  # fmt: skip


class PictureLine:
    """One stream on its way through the encoder."""

    def __init__(self, spec: StreamSpec, coding: FastVideo, account: Account) -> None:
        self._spec, self._account = spec, account
        self._encoder = GroupEncoder(spec, coding)
        account.pixel_format = self._encoder.pixel_format

    def _code(self, picture: av.VideoFrame, stamp: Stamp) -> Iterator[VideoGroup]:
        try:
            yield from self._encoder.add(picture, stamp)
        except VideoError as error:
            raise self._unrecodable(stamp.arrival_ns, str(error)) from error

    def _unrecodable(self, at_ns: int | None, reason: str) -> UnrecodableError:
        return UnrecodableError(self._spec.name, at_ns, reason)

    def finish(self) -> Iterator[VideoGroup]:
        """Everything that waits."""
        try:
            yield from self._encoder.finish()
        except VideoError as error:
            raise UnrecodableError(self._spec.name, None, str(error)) from error


class ImageLine(PictureLine):
    """Images, each coded by itself."""

    def add(self, block: Any) -> Iterator[VideoGroup]:
        """Code the images of a block."""
        times = (block.capture_ns.tolist(), block.arrival_ns.tolist(), block.seq.tolist())
        for coded, *stamp in zip(block.values, *times, strict=True):
            data = bytes(coded)
            self._account.bytes_before += len(data)
            try:
                picture = open_image(data, self._spec)
                if self._spec.encoding not in RAW_FORMATS:
                    check_mode(data)
            except VideoError as error:
                raise self._unrecodable(stamp[1], str(error)) from error
            yield from self._code(picture, Stamp(*stamp))


def check_mode(data: bytes) -> None:
    """Whether an image is what its stream says, colours or gray of 8 bits.

    Raises:
        VideoError: it has more, or numbers a palette, and coding would mix the numbers.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        if image.mode not in MODES or "transparency" in image.info:
            raise VideoError(f"a picture is of kind '{image.mode}', not plain colours or gray")


class VideoLine(PictureLine):
    """Coded video: one decoder from group to group, since some refer to the group before."""

    def __init__(self, spec: StreamSpec, coding: FastVideo, account: Account) -> None:
        super().__init__(spec, coding, account)
        self._decoder: Any = None
        self._extradata = b""
        self._stamps: deque[Stamp] = deque()

    def add(self, block: Any) -> Iterator[VideoGroup]:
        """Code the pictures of a group, as far as the decoder gives them yet."""
        import av

        extradata = bytes(block.extradata or b"")
        if self._decoder is None or extradata != self._extradata:
            yield from self._drain()
            self._open(extradata, int(block.arrival_ns[0]))
        times = (block.capture_ns, block.arrival_ns, block.seq, np.sort(block.pts))
        for capture_ns, arrival_ns, seq, pts in zip(*(t.tolist() for t in times), strict=True):
            self._stamps.append(Stamp(capture_ns, arrival_ns, seq, pts, block.time_base))
        for data, pts in zip(block.packets, block.pts.tolist(), strict=True):
            self._account.bytes_before += len(data)
            packet = av.Packet(bytes(data))
            packet.pts = pts
            yield from self._decode(packet)

    def finish(self) -> Iterator[VideoGroup]:
        """Everything that waits."""
        yield from self._drain()
        yield from super().finish()

    def _open(self, extradata: bytes, at_ns: int) -> None:
        import av

        codec = self._spec.encoding
        try:
            self._decoder = av.CodecContext.create(DECODERS.get(codec, codec), "r")
        except ValueError as error:
            raise self._unrecodable(at_ns, f"FFmpeg has no decoder for '{codec}'") from error
        self._extradata = extradata
        if extradata:
            self._decoder.extradata = extradata

    def _drain(self) -> Iterator[VideoGroup]:
        """The pictures that the decoder still holds."""
        if self._decoder is not None:
            yield from self._decode(None)
        if self._stamps:
            why = f"{len(self._stamps)} packets gave no picture"
            raise self._unrecodable(self._stamps[0].arrival_ns, why)

    def _decode(self, packet: Any) -> Iterator[VideoGroup]:
        import av

        try:
            pictures = self._decoder.decode(packet)
        except av.FFmpegError as error:
            at_ns = self._stamps[0].arrival_ns if self._stamps else None
            raise self._unrecodable(at_ns, f"a picture cannot be decoded: {error}") from error
        for picture in pictures:
            if not self._stamps:
                raise self._unrecodable(None, "there are more pictures than packets")
            stamp = self._stamps.popleft()
            if picture.pts != stamp.pts:
                why = f"the picture for {stamp.pts} is the one of {picture.pts}"
                raise self._unrecodable(stamp.arrival_ns, why)
            if picture.is_corrupt:
                raise self._unrecodable(stamp.arrival_ns, "a picture is damaged")
            yield from self._code(picture, stamp)
