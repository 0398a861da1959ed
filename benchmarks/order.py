"""Samples put into causal order in RAM, on one core."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rows import Row
from viae.schema import NS_PER_S, Role, StreamSpec
from viae.sequence import causal_order

Ints: TypeAlias = npt.NDArray[np.int64]
Recording: TypeAlias = tuple[list[StreamSpec], list[Ints], list[Ints]]
Order: TypeAlias = Callable[[Sequence[StreamSpec], Sequence[Ints], Sequence[Ints]], Ints]

SAMPLES = 20_000_000
RATES_HZ = (1000, 1000, 500, 500, 500, 400, 200, 200, 100, 100, 100, 50, 30, 30, 30, 10, 1)
START_NS = 1_760_000_000 * NS_PER_S
JITTER_NS = 300_000
GRID_NS = 1_000_000
LATE = 0.02
LATE_NS = 5_000_000
REPEATS = 7
PEER_REPEATS = 3


def order_msps(work: Path) -> Iterator[Row]:
    """M samples/s ordered, and what NumPy's sort by four keys takes for the same."""
    del work
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield from _measured()
    finally:
        os.sched_setaffinity(0, cores)


def _measured() -> Iterator[Row]:
    slowest: list[float] = []
    for name, recording in _recordings():
        peers, expected = _rates(_lexsort, recording, PEER_REPEATS)
        rates, found = _rates(causal_order, recording, REPEATS)
        if not np.array_equal(found, expected):
            raise RuntimeError(f"the order of {name} is not that of np.lexsort")
        realistic = name != "random"
        yield _row(
            f"order_msps_{name}", rates, target=">= 10" if realistic else "",
            peer="np.lexsort over (arrival, role, name, seq)",
        )  # fmt: skip
        yield _row(f"order_msps_{name}_lexsort", peers, peer="the peer's figure")
        if realistic:
            slowest = min(slowest or rates, rates, key=median)
    yield _row("order_msps", slowest, target=">= 10", peer="the slowest of all but random")
    yield Row(
        name="order_bytes", value=_peak_bytes(recording) / len(found), unit="B/sample",
        target="<= 26", peer="above the arguments; 16 of them are the result",
    )  # fmt: skip


def _recordings() -> Iterator[tuple[str, Recording]]:
    """Streams of mixed rates, about 20 M samples in all.

    In order; 2% of samples 5 ms late on average; every stamp on a grid of 1 ms, so that most are
    tied; topics one after another in time; and, as no log is, with times drawn at random.
    """
    rng = np.random.default_rng(0)
    roles = [Role.ACTION if n % 4 == 3 else Role.OBSERVATION for n in range(len(RATES_HZ))]
    specs = [StreamSpec(name=f"stream-{n}", role=role) for n, role in enumerate(roles)]
    counts = [int(rate * SAMPLES / sum(RATES_HZ)) for rate in RATES_HZ]
    seqs = [np.arange(count) for count in counts]
    arrivals = [
        np.sort(START_NS + _at(rate, count) + rng.exponential(JITTER_NS, count).astype(np.int64))
        for rate, count in zip(RATES_HZ, counts, strict=True)
    ]
    yield "in_order", (specs, arrivals, seqs)
    late = [_with_late(arrival, rng) for arrival in arrivals]
    yield "late", (specs, late, seqs)
    yield "ties", (specs, [arrival // GRID_NS * GRID_NS for arrival in arrivals], seqs)
    span = int(max(arrival[-1] for arrival in arrivals)) - START_NS
    yield "appended", (specs, [arrival + n * span for n, arrival in enumerate(arrivals)], seqs)
    yield "random", (specs, [rng.integers(0, 2**62, count) for count in counts], seqs)


def _at(rate_hz: int, count: int) -> Ints:
    at: Ints = (np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64)
    return at


def _with_late(arrival: Ints, rng: np.random.Generator) -> Ints:
    late = arrival.copy()
    which = rng.random(len(arrival)) < LATE
    late[which] += rng.exponential(LATE_NS, int(which.sum())).astype(np.int64)
    return late


def _lexsort(
    streams: Sequence[StreamSpec], arrivals_ns: Sequence[Ints], seqs: Sequence[Ints]
) -> Ints:
    """The plain way: a sort by four keys, of which the last is the primary one."""
    counts = [len(arrival) for arrival in arrivals_ns]
    names = sorted(spec.name for spec in streams)
    stream = np.repeat(np.arange(len(streams)), counts)
    position = np.concatenate([np.arange(count) for count in counts])
    name = np.array([names.index(spec.name) for spec in streams])[stream]
    role = np.array([spec.role.rank for spec in streams])[stream]
    order = np.lexsort((np.concatenate(seqs), name, role, np.concatenate(arrivals_ns)))
    return np.stack([stream, position], axis=1)[order]


def _rates(order: Order, recording: Recording, repeats: int) -> tuple[list[float], Ints]:
    """M samples/s of each repeat, and what came out."""
    rates = []
    for _ in range(repeats):
        begin = time.perf_counter()
        found = order(*recording)
        rates.append(len(found) / (time.perf_counter() - begin) / 1e6)
    return rates, found


def _row(name: str, rates: Sequence[float], *, target: str = "", peer: str) -> Row:
    return Row(
        name=name, value=median(rates), unit="M samples/s", target=target, n=len(rates),
        low=min(rates), high=max(rates), peer=peer,
    )  # fmt: skip


def _peak_bytes(recording: Recording) -> int:
    """How far memory rises while it orders."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status_bytes("VmRSS")
    causal_order(*recording)
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


if __name__ == "__main__":
    for row in order_msps(Path()):
        row.print(as_json="--json" in sys.argv)
