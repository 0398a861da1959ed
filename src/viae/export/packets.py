"""Coded video outside of a container: every packet carries what it needs to be decoded."""

from __future__ import annotations

from viae.export.movie import Clip

START = b"\0\0\0\1"
ANNEX_B = frozenset({"h264", "hevc"})


def bare_packets(clip: Clip) -> list[bytes]:
    """The packets of a clip as streams carry them: H.264 and H.265 in Annex B, with their parameter
    sets before each key frame; AV1 likewise with its sequence header.

    Packets that are so already are left as they are.
    """  # noqa: D205
    if clip.codec in ANNEX_B:
        if not is_configured(clip):
            return list(clip.packets)
        sets, size = _parameter_sets(clip.codec, clip.extradata)
        return [
            (sets if key else b"") + _with_start_codes(packet, size)
            for packet, key in zip(clip.packets, clip.keys.tolist(), strict=True)
        ]
    if clip.codec == "av1" and clip.extradata[:1] == b"\x81":
        header = clip.extradata[4:]  # after the fixed part of the box av1C: OBUs
        return [
            header + packet if key and header and header not in packet else packet
            for packet, key in zip(clip.packets, clip.keys.tolist(), strict=True)
        ]
    return list(clip.packets)


def is_configured(clip: Clip) -> bool:
    """Whether the packets are as MP4 holds them: lengths before units, parameter sets beside."""
    return clip.extradata[:1] == b"\x01"


def _parameter_sets(codec: str, box: bytes) -> tuple[bytes, int]:
    """Units of an avcC or hvcC box with start codes, and how many bytes a length has in packets."""
    units: list[bytes] = []
    if codec == "h264":  # ISO/IEC 14496-15, 5.3.3.1
        size, at = (box[4] & 3) + 1, 5
        for mask in (0x1F, 0xFF):
            count, at = box[at] & mask, at + 1
            at = _take(box, at, count, units)
    else:  # 8.3.3.1
        size, at = (box[21] & 3) + 1, 23
        for _ in range(box[22]):
            count = int.from_bytes(box[at + 1 : at + 3], "big")
            at = _take(box, at + 3, count, units)
    return b"".join(START + unit for unit in units), size


def _take(box: bytes, at: int, count: int, units: list[bytes]) -> int:
    for _ in range(count):
        length = int.from_bytes(box[at : at + 2], "big")
        units.append(box[at + 2 : at + 2 + length])
        at += 2 + length
    return at


def _with_start_codes(packet: bytes, size: int) -> bytes:
    units: list[bytes] = []
    at = 0
    while at + size <= len(packet):
        length = int.from_bytes(packet[at : at + size], "big")
        units.append(packet[at + size : at + size + length])
        at += size + length
    return b"".join(START + unit for unit in units)
