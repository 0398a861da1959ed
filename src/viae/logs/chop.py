"""A stream of any length as blocks that are small enough to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from viae.schema import Samples, StreamSpec, TimesNs, Values

MAX_SAMPLES = 4096
MAX_BYTES = 1 << 20


def chop(
    spec: StreamSpec,
    *,
    capture_ns: TimesNs,
    arrival_ns: TimesNs,
    values: Values,
    seq: TimesNs | None = None,
) -> Iterator[Samples]:
    """Blocks of at most 4096 samples and about 1 MiB, in order; none where there are no samples.

    Args:
        spec: the stream.
        capture_ns: int64 [N].
        arrival_ns: int64 [N].
        values: N of them, as `Samples` wants them.
        seq: int64 [N]; None for 0 to N - 1.
    """
    n = len(arrival_ns)
    if seq is None:
        seq = np.arange(n, dtype=np.int64)
    for start, end in _ranges(values, n):
        rows = slice(start, end)
        yield Samples(
            spec=spec,
            capture_ns=capture_ns[rows],
            arrival_ns=arrival_ns[rows],
            seq=seq[rows],
            values=values[rows],
        )


def _ranges(values: Values, n: int) -> Iterator[tuple[int, int]]:
    if isinstance(values, np.ndarray):
        row = max(1, values.itemsize * int(np.prod(values.shape[1:], dtype=np.int64)))
        step = min(MAX_SAMPLES, max(1, MAX_BYTES // row))
        yield from ((start, min(start + step, n)) for start in range(0, n, step))
        return
    start, held = 0, 0
    for i in range(n):
        size = _size(values[i])
        if i > start and (i - start == MAX_SAMPLES or held + size > MAX_BYTES):
            yield start, i
            start, held = i, 0
        held += size
    if n:
        yield start, n


def _size(value: Any) -> int:
    return int(value.nbytes) if isinstance(value, np.ndarray) else len(value)
