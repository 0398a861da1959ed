"""Messages on their way to streams: a run of one topic, its bytes in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viae.schema import TimesNs

Places = npt.NDArray[np.int64]
"""int64 [N]: byte offsets in a buffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What a container says of the messages of one topic.

    Args:
        topic: the topic's name.
        encoding: of the messages: ``"cdr"``, ``"ros1"``, ``"protobuf"``, ``"json"``, …
        schema_name: the message type's name; empty where there is none.
        schema_encoding: ``"ros2msg"``, ``"ros1msg"``, ``"protobuf"``, ``"jsonschema"``, …
        schema: the message type's definition; empty where there is none.
        metadata: whatever else is said of it.
    """

    topic: str
    encoding: str
    schema_name: str = ""
    schema_encoding: str = ""
    schema: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Messages:
    """A run of messages of one topic, in the order of the log.

    Args:
        buffer: holds the bytes of all of them, and maybe others.
        starts: int64 [N], where each begins.
        ends: int64 [N], where each ends, exclusive.
        log_ns: int64 [N], when the recorder had it.
        publish_ns: int64 [N], when its sender sent it; 0 where nobody says.
        sequence: int64 [N], the sender's count; 0 where nobody counts.
    """

    buffer: bytes
    starts: Places
    ends: Places
    log_ns: TimesNs
    publish_ns: TimesNs
    sequence: Places

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, at: slice) -> Messages:
        return self._at(at)

    def take(self, places: list[int]) -> Messages:
        """Some of the messages."""
        return self._at(places)

    def _at(self, at: slice | list[int]) -> Messages:
        return Messages(
            buffer=self.buffer,
            starts=self.starts[at],
            ends=self.ends[at],
            log_ns=self.log_ns[at],
            publish_ns=self.publish_ns[at],
            sequence=self.sequence[at],
        )

    def data(self) -> Iterator[bytes]:
        """The bytes of each message."""
        buffer = self.buffer
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield buffer[start:end]

    @property
    def nbytes(self) -> int:
        """Bytes of the messages."""
        return int((self.ends - self.starts).sum())

    def pieces(self, *, samples: int, nbytes: int) -> Iterator[Messages]:
        """The same in pieces of at most so many messages, and bytes unless one alone has more."""
        filled = np.cumsum(self.ends - self.starts)
        start = 0
        while start < len(self):
            before = int(filled[start - 1]) if start else 0
            fits = int(np.searchsorted(filled, before + nbytes, side="right"))
            end = min(max(fits, start + 1), start + samples)
            yield self[start:end]
            start = end


def one_by_one(
    data: list[bytes], log_ns: list[int], publish_ns: list[int], sequence: list[int]
) -> Messages:
    """Messages that are not in one buffer yet."""
    ends = np.cumsum([len(each) for each in data], dtype=np.int64)
    return Messages(
        buffer=b"".join(data),
        starts=np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if data else ends,
        ends=ends,
        log_ns=np.array(log_ns, np.int64),
        publish_ns=np.array(publish_ns, np.int64),
        sequence=np.array(sequence, np.int64),
    )
