"""Random access to coded video: only the packets that are needed, in contexts that are kept.

A group of pictures decodes from its first packet on. To get at its fifth picture, five packets are
decoded, not the rest of the group; where pictures are stored out of order (B-frames), as many as it
takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from viae.errors import VideoError
from viae.video.pictures import DECODERS

if TYPE_CHECKING:
    import av

Coded: TypeAlias = bytes | memoryview

LOW_DELAY = {"flags": "low_delay"}
H264_IDR = 5
MOST_CONTEXTS = 16
"""Decoders kept by one `GroupDecoder`: one for each kind of coding that it meets."""


@dataclass(frozen=True, slots=True)
class Coding:
    """What a decoder has to know before the first packet.

    Args:
        codec: FFmpeg's name.
        extradata: decoder configuration from the container, often empty.
        in_order: whether packets are in the order of the pictures (no B-frames): then each packet
            gives its picture at once.
    """

    codec: str
    extradata: bytes
    in_order: bool


class GroupDecoder:
    """Decodes groups of pictures, whole or in part.

    Keeps a decoder per coding. Not for use by several threads at once: each has its own.
    """

    def __init__(self) -> None:
        import av

        self._as_packet: Any = av.Packet
        self._refusal = av.FFmpegError
        self._contexts: OrderedDict[Coding, Any] = OrderedDict()
        self._last: tuple[Coding | None, Any] = (None, None)
        self._dirty = False
        """Whether the decoder used last may hold on to something of another group."""

    def frames(
        self, coding: Coding, packets: Sequence[Coded], wanted: Collection[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Pictures of one group.

        Args:
            coding: of the group.
            packets: all of them, in decode order.
            wanted: which pictures, by place in presentation order.

        Yields:
            Place and picture of those wanted, in presentation order.

        Raises:
            VideoError: there is no decoder, it refuses a packet, or gives fewer pictures.
        """
        context = self._context(coding)
        decode, as_packet = context.decode, self._as_packet
        left, place = len(wanted), 0
        last = max(wanted) if wanted else -1
        try:
            if self._dirty or not (coding.in_order and _starts_anew(coding, packets[0])):
                context.flush_buffers()
            self._dirty = True
            for coded in packets[: last + 1] if coding.in_order else packets:
                for frame in decode(as_packet(coded)):
                    if frame.is_corrupt:
                        self._discard(coding)
                    if place in wanted:
                        left -= 1
                        yield place, frame
                    place += 1
                if not left and not coding.in_order:
                    return
            if place == last + 1 and coding.in_order:  # each packet gave its picture: none is left
                self._dirty = False
            for frame in decode(None) if left else ():
                if frame.is_corrupt:
                    self._discard(coding)
                if place in wanted:
                    left -= 1
                    yield place, frame
                place += 1
        except self._refusal as error:
            self._discard(coding)
            raise VideoError(f"picture {place} of a group of {len(packets)}: {error}") from error
        if left:
            raise VideoError(
                f"a group of {len(packets)} {coding.codec} packets gave {place} pictures"
            )

    def forget(self) -> None:
        """Decode the next group as if none had been decoded before."""
        self._dirty = True

    def _discard(self, coding: Coding) -> None:
        """Open another decoder next time: what one has of a damaged picture shows in the next."""
        self._contexts.pop(coding, None)
        self._last = (None, None)

    def _context(self, coding: Coding) -> Any:
        last, context = self._last
        if coding is last:  # nearly always: a dataset is coded in one way
            return context
        self._dirty = True
        found = self._contexts.get(coding)
        if found is None:
            found = self._contexts[coding] = open_decoder(coding)
            if len(self._contexts) > MOST_CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(coding)
        self._last = (coding, found)
        return found


def _starts_anew(coding: Coding, packet: Coded) -> bool:
    """Whether a packet is seen at a glance to need nothing before it: an IDR picture of H.264."""
    if coding.codec != "h264" or len(packet) < 5:
        return False
    # A NAL unit begins after a length of four bytes, or a start code of three or four.
    short = packet[0] == 0 and packet[1] == 0 and packet[2] == 1
    return packet[3 if short else 4] & 0x1F == H264_IDR


def open_decoder(coding: Coding) -> Any:
    """A decoder context of one thread: threads decode different groups, not parts of a picture."""
    import av

    try:
        context: Any = av.CodecContext.create(DECODERS.get(coding.codec, coding.codec), "r")
    except ValueError as error:
        raise VideoError(f"FFmpeg has no decoder for '{coding.codec}'") from error
    context.thread_count = 1
    if coding.extradata:
        context.extradata = coding.extradata
    if coding.in_order:
        context.options = LOW_DELAY
    return context
