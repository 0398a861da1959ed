"""What rosbag2 compresses by itself: whole files, or each message (Zstandard)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from viae.errors import DamagedLogError
from viae.logs.messages import Messages, one_by_one

SUFFIX = ".zstd"
SUFFIXES = (SUFFIX, ".zst")
MAX_MESSAGE = 256 << 20
"""Bytes of an opened message; more is taken for damage."""
PIECE_BYTES = 8 << 20
STEP = 4 << 10
"""Bytes opened at once: Zstandard can make 32768 times as many of them."""
READ = 1 << 20
LEAST_ROOM = 64 << 20
MOST_RATIO = 1000
"""A file may open to so many times its size; more is taken for damage, or for an attack."""


def is_compressed(path: Path) -> bool:
    """Whether a whole file is compressed."""
    return path.suffix.lower() in SUFFIXES


@contextmanager
def opened_file(path: Path) -> Iterator[tuple[Path, str]]:
    """A file as it was before it was compressed, in a temporary folder; and why it is not whole.

    Raises:
        DamagedLogError: nothing of it opens.
    """
    if not is_compressed(path):
        yield path, ""
        return
    most = LEAST_ROOM + MOST_RATIO * path.stat().st_size
    with tempfile.TemporaryDirectory(prefix="viae-") as folder:
        to = Path(folder) / path.stem
        why, size = "", 0
        with path.open("rb") as source, to.open("wb") as target:
            decompressor = zstandard.ZstdDecompressor().decompressobj()
            try:
                while size <= most and (data := source.read(STEP)):
                    opened = decompressor.decompress(data)
                    size += target.write(opened)
            except zstandard.ZstdError as error:
                why = str(error)
            if size > most:
                why = f"it opens to more than {most} bytes"
            elif not why and not decompressor.eof:
                why = "its compressed data has no end"
        if not size:
            raise DamagedLogError(
                path,
                found=f"it does not open ({why or 'it is empty'})",
                expected="a file compressed with Zstandard",
                todo="copy the file again if the original still exists",
            )
        yield to, why


def opened_messages(messages: Messages) -> Iterator[Messages]:
    """Messages as they were before each was compressed; one that does not open stays as it is."""
    decompressor = zstandard.ZstdDecompressor()
    data: list[bytes] = []
    nbytes = first = 0
    for place, each in enumerate(messages.data()):
        opened = _opened(decompressor, each)
        data.append(opened)
        nbytes += len(opened)
        if nbytes >= PIECE_BYTES:
            yield _piece(messages[first : place + 1], data)
            data, nbytes, first = [], 0, place + 1
    if data:
        yield _piece(messages[first:], data)


def _opened(decompressor: zstandard.ZstdDecompressor, data: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(data)
        if size > MAX_MESSAGE:
            return data
        if size >= 0:
            return decompressor.decompress(data)
        parts, total = [], 0
        with decompressor.stream_reader(data) as reader:  # nobody says how much it will be
            while part := reader.read(READ):
                total += len(part)
                if total > MAX_MESSAGE:
                    return data
                parts.append(part)
        return b"".join(parts)
    except zstandard.ZstdError:
        return data


def _piece(messages: Messages, data: list[bytes]) -> Messages:
    return one_by_one(
        data, messages.log_ns.tolist(), messages.publish_ns.tolist(), messages.sequence.tolist()
    )
