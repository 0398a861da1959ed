"""A chunk, opened: its records, its messages in runs."""

from __future__ import annotations

import io
import zlib
from typing import TypeAlias

import lz4.frame
import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema

from viae.logs.mcap.layout import LEAST, OUTER
from viae.logs.mcap.run import MessageRun

MAX_CHUNK = 1 << 30
"""Bytes of one uncompressed chunk; more is taken for damage."""

ALIKE = 8
"""Messages of one size in a row after which more are expected."""

Inner: TypeAlias = Schema | Channel | MessageRun


def open_chunk(chunk: Chunk, start: int) -> list[Inner]:
    """The records of a chunk that starts there in the file, in order.

    Raises:
        Exception: of any kind, where it does not open, or not to what its checksum says.
    """
    data = _uncompressed(chunk)
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError(
            f"its checksum is {zlib.crc32(data):#010x}, declared {chunk.uncompressed_crc:#010x}"
        )
    return _records(data, start)


def _uncompressed(chunk: Chunk) -> bytes:
    size = chunk.uncompressed_size
    if size > MAX_CHUNK:
        raise ValueError(f"it claims {size} bytes")
    if chunk.compression == "zstd":
        # The decoder takes its memory by what the frame says of itself, before it looks at it.
        said = zstandard.frame_content_size(chunk.data)
        if said not in (size, -1):
            raise ValueError(f"its frame claims {said} bytes, declared {size}")
        data = zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=size)
    elif chunk.compression == "lz4":
        with lz4.frame.LZ4FrameFile(io.BytesIO(chunk.data)) as file:  # never more than it claims
            data = file.read(size + 1)
    elif chunk.compression:
        raise ValueError(f"its compression '{chunk.compression}' is neither zstd nor lz4")
    else:
        data = chunk.data
    if len(data) != size:
        raise ValueError(f"it opens to {len(data)} bytes, declared {size}")
    return bytes(data)


def _records(data: bytes, start: int) -> list[Inner]:
    found: list[Inner] = []
    starts: list[int] = []
    ends: list[int] = []
    at, head, alike, last = 0, OUTER.size, 0, -1
    unpack, message = OUTER.unpack_from, int(Opcode.MESSAGE)

    def run() -> None:
        if starts:
            found.append(MessageRun.at(data, starts, ends, origin=start, in_chunk=True))
            starts.clear()
            ends.clear()

    while at < len(data):
        opcode, size = unpack(data, at)
        at += head
        end = at + size
        if end > len(data) or size < LEAST.get(opcode, 0):
            raise ValueError(f"a record of {size} bytes does not fit")
        if opcode == message:
            starts.append(at)
            ends.append(end)
            alike = alike + 1 if size == last else 0
            last = size
            if alike == ALIKE:  # probably all of one topic: step over them at once
                stride = head + size
                more = _alike(data, end, stride) * stride
                starts.extend(range(at + stride, at + stride + more, stride))
                ends.extend(range(end + stride, end + stride + more, stride))
                alike, end = 0, end + more
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            run()
            type_ = Schema if opcode == Opcode.SCHEMA else Channel
            found.append(type_.read(ReadDataStream(io.BytesIO(data[at:end]))))
        at = end
    run()
    return found


def _alike(data: bytes, at: int, stride: int) -> int:
    """How many records from ``at`` on have the type and length of the one just before."""
    heads = np.ndarray(((len(data) - at) // stride, OUTER.size), np.uint8, data, at, (stride, 1))
    differs = (heads != np.frombuffer(data, np.uint8, OUTER.size, at - stride)).any(axis=1)
    return int(np.argmax(differs)) if differs.any() else len(heads)
