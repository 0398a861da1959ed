"""Gaps in the count that a sender puts on its messages: what never reached the recorder."""

from __future__ import annotations

import numpy as np

from viae.schema import TimesNs


class SequenceGaps:
    """Watches the sequence numbers of one channel.

    They are a count of its messages if most steps are 1; else nothing can be said of them: many
    writers leave them 0, or count over all channels.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.first_ns: int | None = None
        self._last: int | None = None
        self._ones = self._steps = 0

    def add(self, sequence: TimesNs, log_ns: TimesNs) -> None:
        """The next messages: int64 [N] each."""
        if not len(sequence):
            return
        last = sequence[0] - 1 if self._last is None else self._last
        steps = np.diff(sequence, prepend=last)
        if self._last is None:
            steps = steps[1:]
            log_ns = log_ns[1:]
        self._last = int(sequence[-1])
        self._steps += len(steps)
        self._ones += int((steps == 1).sum())
        gaps = steps > 1
        self.missing += int((steps[gaps] - 1).sum())
        if self.first_ns is None and gaps.any():
            self.first_ns = int(log_ns[np.argmax(gaps)])

    @property
    def count(self) -> int:
        """Messages missing; 0 where the numbers are no count."""
        return self.missing if 2 * self._ones > self._steps else 0
