"""A message index: when the messages of one channel in one chunk came, and where they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

HEAD = struct.Struct("<HI")
ENTRY = np.dtype([("log_time", "<u8"), ("offset", "<u8")])

MAX_BEHIND = 15
"""Bytes behind the entries, of fields yet to come; with more it is something else, e.g. a chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """A message index record, parsed at once: there may be as many entries as messages.

    Args:
        channel_id: the channel.
        entries: `ENTRY` [N]; offsets are of message records in the opened chunk.
    """

    channel_id: int
    entries: npt.NDArray[Any]


def read_index(content: bytes) -> tuple[Index, int]:
    """The index, and bytes that it takes.

    Raises:
        ValueError: its length is not what it says.
    """
    channel_id, nbytes = HEAD.unpack_from(content)
    if nbytes % ENTRY.itemsize or not 0 <= len(content) - HEAD.size - nbytes <= MAX_BEHIND:
        raise ValueError(f"{nbytes} of {len(content)} bytes are no entries of a message index")
    count = nbytes // ENTRY.itemsize
    return Index(channel_id, np.frombuffer(content, ENTRY, count, HEAD.size)), HEAD.size + nbytes
