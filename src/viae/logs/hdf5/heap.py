"""Damaged heaps in an HDF5 file, found before libhdf5 reads them.

Values of varying length, so nearly all texts, lie in global heaps: the signature ``GCOL``, a
version, a size, then objects one after another, each with an index and its size (HDF5 File Format
Specification 3.0, III.E). libhdf5 2.0 goes round for ever in one whose free space says it has no
bytes, and nothing can stop it from outside. So each heap is walked here first, in one pass over the
file at the speed of a search for eight bytes; one that does not add up is not shown to libhdf5.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

HEAP = b"GCOL\x01\0\0\0"
HEADER = struct.Struct("<8xQ")
OBJECT = struct.Struct("<HHIQ")


def damaged_heaps(path: Path) -> list[tuple[int, int]]:
    """The heaps that do not add up: first byte, and the one past their header.

    Empty where the file does not use eight bytes for sizes, as all known writers do.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not _has_long_sizes(data[:16]):
            return []
        return [(at, at + HEADER.size) for at in _heaps(data) if not _adds_up(data, at)]


def _has_long_sizes(head: bytes) -> bool:
    if len(head) < 16:
        return False
    at = 13 if head[8] < 2 else 9
    return head[at : at + 2] == b"\x08\x08"


def _heaps(data: mmap.mmap) -> Iterator[int]:
    at = data.find(HEAP)
    while at >= 0:
        yield at
        at = data.find(HEAP, at + len(HEAP))


def _adds_up(data: mmap.mmap, at: int) -> bool:
    if at + HEADER.size > len(data):
        return False
    end = at + HEADER.unpack_from(data, at)[0]
    if not at + HEADER.size <= end <= len(data):
        return False
    at += HEADER.size
    while end - at >= OBJECT.size:
        index, _, _, size = OBJECT.unpack_from(data, at)
        at += OBJECT.size + -(-size // 8) * 8 if index else size
        if at > end or (not index and size < OBJECT.size):
            return False
    return True
