"""TFRecord framing: where the records of a file are, and their bytes, checked.

A record is its length (u64), a checksum of the length, its bytes, and a checksum of them: CRC-32C,
masked (https://www.tensorflow.org/tutorials/load_data/tfrecord). No kept library reads it without
TensorFlow *and* goes on behind damage, so the framing is read here.

A damaged length loses no other record: the next place where a length and its checksum agree is
searched, and what lies between is taken for the record. Whether it is that, its own checksum tells.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

from viae.errors import DamagedLogError, MissingExtraError

HEAD = struct.Struct("<QI")
FOOT = struct.Struct("<I")
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a record is.

    Args:
        path: the file.
        number: its position in the file.
        offset: where its bytes begin.
        length: how many there are.
        inferred: whether the length is damaged, and taken from where the next record begins.
        whole: whether the file holds all of it.
    """

    path: Path
    number: int
    offset: int
    length: int
    inferred: bool = False
    whole: bool = True


def find_records(path: Path) -> Iterator[Record]:
    """Every record of a file by its lengths alone; the bytes between are skipped.

    Only the last one may not be whole. Cost: one small read per record.
    """
    size = path.stat().st_size
    at, number = 0, 0
    with path.open("rb", buffering=0) as file:
        while at < size:
            file.seek(at)
            head = file.read(HEAD.size)
            begin = at + HEAD.size
            length = _length(head)
            if length is not None:
                end, inferred = begin + length + FOOT.size, False
            elif len(head) < HEAD.size:
                end, inferred = size + 1, False
            else:
                end, inferred = _next_head(file, begin + FOOT.size, size), True
            yield Record(
                path=path,
                number=number,
                offset=begin,
                length=max(0, end - begin - FOOT.size),
                inferred=inferred,
                whole=end <= size,
            )
            at, number = end, number + 1


def read_record(record: Record) -> bytes:
    """The bytes of a record.

    Raises:
        DamagedLogError: they do not have the checksum that is written behind them.
    """
    with record.path.open("rb") as file:
        if record.inferred:  # it may be most of the file: checked before it is held
            crc = 0
            for chunk in _chunks(file, record):
                crc = _extend()(crc, chunk)
        else:
            file.seek(record.offset)
            data = file.read(record.length)
            crc = _extend()(0, data)
        foot = file.read(FOOT.size)
        if len(foot) < FOOT.size or FOOT.unpack(foot)[0] != _mask(crc):
            raise DamagedLogError(
                record.path,
                found=f"record {record.number}, {record.length} bytes at byte {record.offset}, "
                "does not have the checksum written behind it",
                expected="an undamaged record",
                todo="copy the file again; the other episodes are kept",
            )
        if record.inferred:
            file.seek(record.offset)
            data = file.read(record.length)
    return data


def record_chunks(record: Record) -> Iterator[bytes]:
    """The bytes of a record as they are, unchecked, a megabyte at a time."""
    with record.path.open("rb") as file:
        yield from _chunks(file, record)


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord keeps of some bytes."""
    return _mask(_extend()(0, data))


def _chunks(file: IO[bytes], record: Record) -> Iterator[bytes]:
    file.seek(record.offset)
    left = record.length
    while left and (chunk := file.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _length(head: bytes) -> int | None:
    """The length in the head of a record; None where head and checksum disagree."""
    if len(head) < HEAD.size:
        return None
    length, crc = HEAD.unpack(head)
    return int(length) if masked_crc(head[:8]) == crc else None


def _next_head(file: io.FileIO, start: int, size: int) -> int:
    """Where the next length with its own checksum is, from ``start`` on; ``size`` if nowhere."""
    first_zero = (size.bit_length() + 7) // 8  # a length that fits the file has zeros from there on
    at = start
    while at < size:
        file.seek(at)
        chunk = file.read(CHUNK)
        places = len(chunk) - HEAD.size + 1
        if places <= 0:
            break
        array = np.frombuffer(chunk, np.uint8)
        possible = np.ones(places, bool)
        for byte in range(first_zero, 8):
            possible &= array[byte : byte + places] == 0
        for place in np.flatnonzero(possible).tolist():
            length = _length(chunk[place : place + HEAD.size])
            if length is not None and at + place + HEAD.size + length + FOOT.size <= size:
                return at + int(place)
        at += places
    return size


def _mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _extend() -> Callable[[int, bytes], int]:
    """CRC-32C of some bytes behind others."""
    try:
        from google_crc32c import extend
    except ImportError as error:
        raise MissingExtraError("google-crc32c", extra="formats") from error
    return extend  # type: ignore[no-any-return]
