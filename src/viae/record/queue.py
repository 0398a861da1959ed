"""The bounded queue between the threads that write and the one that drains.

Messages travel in blocks, so that a lock is all that a write costs, and threads wake one another
once a block. The bounds count what waits and the block that is being drained. What a full queue
does is the caller's choice: ``block`` until there is room, or ``drop`` the message at hand, and
count it.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from typing import Any, NoReturn, TypeAlias

from viae.errors import RecorderError, UsageError

MOST_MESSAGES = 512
"""Messages of a block."""
MOST_BYTES = 1 << 20
"""Bytes after which a block is full; a message may be larger."""

LATEST_NS = (1 << 63) - 1

Entry: TypeAlias = tuple[Callable[..., Any], bytes, int | None]
"""What logs the message, the message, and its arrival, ns; None where it is no sample."""


class Overflow(StrEnum):
    """What a write does when the queue is full."""

    BLOCK = "block"
    """It waits for room: nothing is lost, and the robot waits too."""
    DROP = "drop"
    """Its own sample is dropped, and counted; what waits already is kept."""


@dataclass(slots=True, kw_only=True)
class Block:
    """Messages in the order they were written.

    Args:
        entries: the messages.
        number: of the block; counts up.
        bytes_in: bytes that ever entered the queue, this block's included.
        earliest_ns: the least arrival in it; `LATEST_NS` where it holds no sample.
    """

    entries: list[Entry]
    number: int
    bytes_in: int
    earliest_ns: int


class MessageQueue:
    """Takes messages from any thread; gives blocks to one, the drain.

    Args:
        name: what is being recorded, for errors.
        overflow: what happens when it is full.
        max_messages: bound on messages inside.
        max_bytes: bound on their bytes; one larger message may be inside alone.

    Raises:
        UsageError: a bound below 1.
    """

    def __init__(self, *, name: str, overflow: Overflow, max_messages: int, max_bytes: int) -> None:
        if max_messages < 1 or max_bytes < 1:
            raise UsageError(
                f"{name}: a queue of {max_messages} messages and {max_bytes} bytes holds nothing"
            )
        self._name = name
        self._overflow = overflow
        self._max_messages, self._max_bytes = max_messages, max_bytes
        # A quarter of the bounds, so that a small queue drains while it fills.
        self._block_messages = max(1, min(MOST_MESSAGES, max_messages // 4))
        self._block_bytes = max(1, min(MOST_BYTES, max_bytes // 4))
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._dropped: Counter[str] = Counter()
        self._closing = False
        self._error: RecorderError | None = None

        self._open: list[Entry] = []  # the block being filled
        self._full: deque[Block] = deque()  # blocks that wait
        self._unsafe: deque[Block] = deque()  # blocks taken, and not yet safe
        self._inside = 0  # messages that wait in full blocks or are being drained
        self._bytes_in = self._bytes_out = 0
        self._open_bytes = self._block_bytes  # where bytes_in fills the open block
        self._last = self._drained = self._safe = self._wanted = 0  # numbers of blocks
        self._latest_ns = -1

    def put(self, stream: str, log: Callable[..., Any], data: bytes, arrival_ns: int) -> bool:
        """Add a message; False where it was dropped.

        Raises:
            UsageError: the queue is closed.
            RecorderError: the drain has failed.
        """
        with self._lock:
            if self._closing or self._error:
                self._refuse()
            size = len(data)
            entries = self._open
            if (
                self._bytes_in + size > self._bytes_out + self._max_bytes
                or self._inside + len(entries) >= self._max_messages
            ):
                if not self._make_room(stream, size, 1):
                    return False
                entries = self._open
            self._bytes_in = total = self._bytes_in + size
            entries.append((log, data, arrival_ns))
            if len(entries) >= self._block_messages or total >= self._open_bytes:
                self._close_block()
        return True

    def put_all(
        self, stream: str, log: Callable[..., Any], messages: list[bytes], arrival_ns: list[int]
    ) -> int:
        """Add messages of one stream, in blocks; how many were not dropped.

        Raises:
            As `put`.
        """
        size = max(map(len, messages), default=1)
        step = max(1, min(self._block_messages, self._block_bytes // max(size, 1)))
        taken = 0
        for start in range(0, len(messages), step):
            some = messages[start : start + step]
            size = sum(map(len, some))
            with self._lock:
                if self._closing or self._error:
                    self._refuse()
                self._close_block()
                if self._has_room(size, len(some)) or self._make_room(stream, size, len(some)):
                    self._bytes_in += size
                    self._open += zip(repeat(log), some, arrival_ns[start : start + step])
                    taken += len(some)
        return taken

    def insist(self, log: Callable[..., Any]) -> None:
        """Add what is no sample: it neither waits for room nor is dropped.

        Args:
            log: called in its turn, as what logs a message is.

        Raises:
            UsageError: the queue is closed.
            RecorderError: the drain has failed.
        """
        with self._lock:
            if self._closing or self._error:
                self._refuse()
            self._open.append((log, b"", None))

    def flush(self) -> None:
        """Wait until all that was put before is safe.

        Raises:
            RecorderError: the drain has failed.
        """
        with self._lock:
            if self._closing or self._error:
                self._refuse()
            self._close_block()
            number = self._wanted = self._last
            self._work.notify()
            while self._safe < number and not self._error:
                self._progress.wait()
            if self._error:
                self._refuse()

    def close(self) -> None:
        """Take no more; the drain ends when it has everything."""
        with self._lock:
            self._close_block()
            self._closing = True
            self._work.notify()
            self._progress.notify_all()

    @property
    def durable_until_ns(self) -> int:
        """Samples put so far that arrived until then are safe; -1 where there are none."""
        with self._lock:
            earliest = [block.earliest_ns for block in (*self._unsafe, *self._full)]
            earliest += [time_ns for *_, time_ns in self._open if time_ns is not None]
            first = min(earliest, default=LATEST_NS)
            return self._latest_ns if first == LATEST_NS else first - 1

    @property
    def dropped(self) -> dict[str, int]:
        """Messages dropped so far, by stream."""
        with self._lock:
            return dict(self._dropped)

    # What follows is the drain's.

    def take(self, timeout_s: float | None) -> Block | None:
        """The next full block; None after the timeout, or where someone waits and none is left."""
        with self._lock:
            if not (self._full or self._closing or self._wanted > self._safe):
                self._work.wait(timeout_s)
            return self._taken()

    def cut(self) -> Block | None:
        """The next block, full or not; None where there is nothing."""
        with self._lock:
            if not self._full:
                self._close_block()
            return self._taken()

    def drained(self, block: Block) -> None:
        """The block's messages are on their way: there is room again."""
        with self._lock:
            self._inside -= len(block.entries)
            self._bytes_out = block.bytes_in
            self._drained = block.number
            block.entries.clear()
            self._progress.notify_all()

    def safe(self) -> None:
        """What was drained would survive now."""
        with self._lock:
            self._safe = self._drained
            while self._unsafe and self._unsafe[0].number <= self._safe:
                self._unsafe.popleft()
            self._progress.notify_all()

    @property
    def is_awaited(self) -> bool:
        """Whether someone waits for what was drained to be safe."""
        return self._safe < self._wanted <= self._drained

    @property
    def is_unsafe(self) -> bool:
        """Whether anything was drained that is not safe yet."""
        return self._safe < self._drained

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        return self._closing and not self._full

    def fail(self, error: RecorderError) -> None:
        """Nothing more can be drained; all who wait are told."""
        with self._lock:
            self._error = error
            self._close_block()
            for block in self._full:  # the messages go; that they are not safe is still known
                block.entries.clear()
            self._progress.notify_all()

    # With the lock held.

    def _close_block(self) -> None:
        if not self._open:
            return
        times = [time_ns for *_, time_ns in self._open if time_ns is not None]
        self._latest_ns = max(self._latest_ns, max(times, default=-1))
        self._last += 1
        self._full.append(
            Block(
                entries=self._open,
                number=self._last,
                bytes_in=self._bytes_in,
                earliest_ns=min(times, default=LATEST_NS),
            )
        )
        self._inside += len(self._open)
        self._open = []
        self._open_bytes = self._bytes_in + self._block_bytes
        self._work.notify()

    def _taken(self) -> Block | None:
        if not self._full:
            return None
        block = self._full.popleft()
        self._unsafe.append(block)
        return block

    def _has_room(self, size: int, messages: int) -> bool:
        return self._bytes_in == self._bytes_out or (
            self._bytes_in + size <= self._bytes_out + self._max_bytes
            and self._inside + len(self._open) + messages <= self._max_messages
        )

    def _make_room(self, stream: str, size: int, messages: int) -> bool:
        """Whether there is room now, after waiting where that is the policy."""
        while not self._has_room(size, messages):
            self._close_block()
            if self._overflow is Overflow.DROP:
                self._dropped[stream] += messages
                return False
            self._progress.wait()
            if self._closing or self._error:
                self._refuse()
        return True

    def _refuse(self) -> NoReturn:
        if self._error:
            # A new one each time: an exception raised twice would collect tracebacks.
            raise RecorderError(*self._error.args) from self._error.__cause__
        raise UsageError(f"{self._name}: the recording is closed")
