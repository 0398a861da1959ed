"""An attachment, read piece by piece: it may be larger than memory."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

from viae.logs.mcap.source import Source

MAX_KEPT = 64 << 10
"""Bytes of an attachment whose data itself is kept, unless asked otherwise."""
PIECE = 1 << 20
MAX_NAME = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What is said of an attachment, and what is in it as far as it is small.

    Args:
        name: its name.
        media_type: of its data.
        log_time: when it was recorded, ns.
        create_time: when it was made, ns; 0 where nobody says.
        size: bytes of its data.
        blake2b: hex digest (128 bits) of its data.
        is_sound: whether its checksum agrees, or there is none.
        data: its data; None where it has more bytes than were to be kept.
    """

    name: str
    media_type: str
    log_time: int
    create_time: int
    size: int
    blake2b: str
    is_sound: bool
    data: bytes | None


def read_attachment(source: Source, start: int, end: int, keep: int) -> tuple[Attached, int]:
    """The attachment whose contents are there, and where its last field ends.

    Args:
        source: the file; its window moves through the attachment.
        start: where its contents begin.
        end: where they end.
        keep: bytes of data to keep; of a larger one, none.

    Raises:
        Exception: of any kind, where there is none.
    """
    at, crc = start, 0

    def take(count: int) -> bytes:
        nonlocal at, crc
        if at + count > end:
            raise ValueError(f"{count} bytes at byte {at} reach over its end")
        data = source.read(at, at + count)
        at += count
        crc = zlib.crc32(data, crc)
        return data

    def text() -> str:
        [length] = struct.unpack("<I", take(4))
        if length > MAX_NAME:
            raise ValueError(f"a name of {length} bytes")
        return str(take(length), "utf-8")

    log_time, create_time = struct.unpack("<QQ", take(16))
    name, media_type = text(), text()
    [size] = struct.unpack("<Q", take(8))
    if at + size > end:
        raise ValueError(f"it claims {size} bytes of data, and has {end - at}")
    digest = hashlib.blake2b(digest_size=16)
    kept: list[bytes] = []
    left = size
    while left:
        data = take(min(left, PIECE))
        digest.update(data)
        left -= len(data)
        if size <= keep:
            kept.append(data)
    actual = crc
    [declared] = struct.unpack("<I", take(4))
    attached = Attached(
        name=name,
        media_type=media_type,
        log_time=log_time,
        create_time=create_time,
        size=size,
        blake2b=digest.hexdigest(),
        is_sound=declared in (0, actual),
        data=b"".join(kept) if size <= keep else None,
    )
    return attached, at
