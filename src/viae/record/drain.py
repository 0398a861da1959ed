"""The one thread that writes a recording: from the queue into the file, chunk by chunk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from viae.errors import RecorderError
from viae.logs.mcap.recorded import DROPPED_RECORD
from viae.record.queue import Block, MessageQueue
from viae.record.sink import McapSink

LOOK_ROUND_S = 1.0
"""How often it sees whether anyone is still there, at least."""


class Drain:
    """Runs from the start until `end`, or until something cannot be written.

    Args:
        queue: what to empty.
        sink: where to; closed by `end`.
        flush_s: seconds after which what was written is made safe; None for only when asked.
        is_abandoned: whether nobody is left who could write or close; then it ends by itself, as it
            does when the main thread ends.
        monotonic_s: the time by which that is, s.
    """

    def __init__(
        self,
        queue: MessageQueue,
        sink: McapSink,
        *,
        flush_s: float | None,
        is_abandoned: Callable[[], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._sink = queue, sink
        self._flush_s = flush_s
        self._is_abandoned = is_abandoned
        self._monotonic_s = monotonic_s
        self._error: RecorderError | None = None
        self._said: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="viae-record")
        self._thread.start()

    def end(self) -> None:
        """Write what waits, close the file, and wait for that."""
        self._queue.close()
        self._thread.join()

    def take_error(self) -> RecorderError | None:
        """Why it stopped, once."""
        error, self._error = self._error, None
        return error

    def _run(self) -> None:
        try:
            try:
                self._empty()
                self._say_dropped()
            finally:
                self._sink.close()
        except RecorderError as error:
            self._fail(error)
        except Exception as error:  # whatever the SDK raises, those who wait must hear of it
            failure = RecorderError(f"{self._sink.path}: cannot write ({error})")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: RecorderError) -> None:
        self._error = error
        self._queue.fail(error)

    def _empty(self) -> None:
        due_s = self._next_due_s()
        while not self._queue.is_over:
            wait_s = LOOK_ROUND_S
            if due_s is not None:
                wait_s = min(wait_s, max(0.0, due_s - self._monotonic_s()))
            block = self._queue.take(wait_s)
            if self._is_abandoned() or not threading.main_thread().is_alive():
                self._queue.close()
            is_due = due_s is not None and self._monotonic_s() >= due_s
            if block is None and is_due:
                block = self._queue.cut()
            if block:
                self._write(block)
            if is_due or self._queue.is_awaited:
                self._make_safe()
                due_s = self._next_due_s()

    def _write(self, block: Block) -> None:
        for log, message, arrival_ns in block.entries:
            log(message, log_time=arrival_ns)
        self._sink.check()
        self._queue.drained(block)

    def _make_safe(self) -> None:
        self._say_dropped()
        if self._queue.is_unsafe:
            self._sink.flush()
            self._queue.safe()

    def _say_dropped(self) -> None:
        """Write the counts down whenever they changed: a kill may come any time."""
        dropped = self._queue.dropped
        if dropped != self._said:
            self._said = dropped
            self._sink.state(DROPPED_RECORD, {name: str(n) for name, n in dropped.items()})

    def _next_due_s(self) -> float | None:
        return None if self._flush_s is None else self._monotonic_s() + self._flush_s
