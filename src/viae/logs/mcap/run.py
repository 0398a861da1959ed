"""A run of messages in an MCAP file, of any channels, parsed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from mcap.records import Message

from viae.logs.messages import Messages

HEAD = np.dtype(
    [("channel_id", "<u2"), ("sequence", "<u4"), ("log_time", "<u8"), ("publish_time", "<u8")]
)
"""What comes before the data in a message record."""

Owner = TypeVar("Owner")

Place: TypeAlias = tuple[int, int]
"""Where a message is: its chunk in the file, and the message in the opened chunk; outside of
chunks, the message in the file, and 0. Places order messages as the file does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MessageRun:
    """Messages that follow each other in a file.

    Args:
        buffer: holds their bytes.
        starts: int64 [N], where the data of each begins.
        ends: int64 [N], where it ends.
        heads: `HEAD` [N].
        origin: where in the file the chunk begins, or else the buffer.
        in_chunk: whether the buffer is an opened chunk.
    """

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    heads: npt.NDArray[Any]
    origin: int
    in_chunk: bool

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def at(
        cls, buffer: bytes, starts: list[int], ends: list[int], *, origin: int, in_chunk: bool
    ) -> MessageRun:
        """The message records whose contents begin and end there."""
        first = np.array(starts, np.int64)
        offsets = first[:, None] + np.arange(HEAD.itemsize)
        heads = np.frombuffer(buffer, np.uint8)[offsets].view(HEAD)[:, 0]
        return cls(
            buffer=buffer,
            starts=first + HEAD.itemsize,
            ends=np.array(ends, np.int64),
            heads=heads,
            origin=origin,
            in_chunk=in_chunk,
        )

    def take(self, kept: npt.NDArray[np.bool_]) -> MessageRun:
        """Some of the messages."""
        return replace(self, starts=self.starts[kept], ends=self.ends[kept], heads=self.heads[kept])

    def is_before(self, place: Place) -> npt.NDArray[np.bool_]:
        """Bool [N], whether each is before a place in the file."""
        records = self.starts - HEAD.itemsize - 9
        if not self.in_chunk:
            return self.origin + records < place[0]
        if self.origin != place[0]:
            return np.full(len(self), self.origin < place[0])
        return records < place[1]

    def by_owner(self, owner_of: Callable[[int], Owner]) -> Iterator[tuple[Owner, Messages]]:
        """The messages of each owner of channels, in order.

        Args:
            owner_of: whose a channel is.

        Times beyond int64 come out negative.
        """
        ids = self.heads["channel_id"]
        channels: dict[int, list[int]] = {}
        owners: dict[int, Owner] = {}
        for channel_id in np.unique(ids).tolist():
            owner = owner_of(channel_id)
            owners[id(owner)] = owner
            channels.setdefault(id(owner), []).append(channel_id)
        for key, owner in owners.items():
            mine: Any = slice(None)
            if len(owners) > 1:
                mine = np.flatnonzero(np.isin(ids, channels[key]))
            heads = self.heads[mine]
            yield (
                owner,
                Messages(
                    buffer=self.buffer,
                    starts=self.starts[mine],
                    ends=self.ends[mine],
                    log_ns=heads["log_time"].astype(np.int64),
                    publish_ns=heads["publish_time"].astype(np.int64),
                    sequence=heads["sequence"].astype(np.int64),
                ),
            )

    def messages(self) -> Iterator[Message]:
        """One by one, as the ``mcap`` library has them."""
        for head, start, end in zip(
            self.heads.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True
        ):
            channel_id, sequence, log_time, publish_time = head
            yield Message(
                channel_id=channel_id,
                sequence=sequence,
                log_time=log_time,
                publish_time=publish_time,
                data=self.buffer[start:end],
            )
