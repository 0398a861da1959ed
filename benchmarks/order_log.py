"""How much memory it takes to order a log whose topics are appended one after another.

The log is the one of ``ingest.py``: 10 GB of camera images, then all of the IMU that was recorded
beside them. It is ordered by ``viae order`` in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ingest import MIXED_BYTES, write_mixed
from rows import Row


def order_memory_gb(work: Path) -> Iterator[Row]:
    """Peak memory of the whole process, interpreter and libraries included."""
    work.mkdir(parents=True, exist_ok=True)
    size = int(os.environ.get("VIAE_BENCH_BYTES", MIXED_BYTES))
    old, new = work / "appended.mcap", work / "ordered.mcap"
    write_mixed(old, size, one_after_another=True)
    seconds, peak_gb, said = _ordered(old, new)
    gigabytes = old.stat().st_size / 1e9
    before, after = _contents(old), _contents(new)
    old.unlink()
    again = work / "again.mcap"
    again_s, again_gb, kept = _ordered(new, again)
    new.unlink()
    again.unlink()
    sound = after.disordered == 0 and before.messages == after.messages
    yield Row(
        name="order_memory_gb", value=peak_gb, unit="GB", target="<= 1", n=1,
        peer=f"a file of {gigabytes:.1f} GB, {said['late']} of {sum(before.counts.values())} "
        f"messages late, {said['runs']} runs",
    )  # fmt: skip
    yield Row(name="order_mb_s", value=1e3 * gigabytes / seconds, unit="MB/s")
    yield Row(
        name="order_whole", value=float(sound), unit="share", target=">= 1",
        n=sum(before.counts.values()), peer="messages by topic and checksum, and their order",
    )  # fmt: skip
    yield Row(
        name="order_again_mb_s", value=1e3 * gigabytes / again_s, unit="MB/s",
        peer=f"in order already: {kept['runs']} run, {kept['spilled_bytes']} bytes spilled, "
        f"{again_gb:.2f} GB",
    )  # fmt: skip


def _ordered(old: Path, new: Path) -> tuple[float, float, dict[str, int]]:
    """Seconds, peak memory in GB, and what the command says."""
    command = [sys.executable, __file__, str(old), str(new)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    said, peak = done.stdout.rsplit("PEAK", 1)
    return seconds, float(peak), json.loads(said)


@dataclass
class _Contents:
    """What is in a file, whatever its order; and whether it is in order."""

    counts: Counter[str] = field(default_factory=Counter)
    messages: dict[str, tuple[int, int]] = field(default_factory=dict)
    disordered: int = 0


def _contents(path: Path) -> _Contents:
    """Read by the scan that trusts no index."""
    from mcap.records import Channel

    from viae.logs.mcap.records import Reader
    from viae.logs.mcap.run import MessageRun

    found = _Contents()
    topics: dict[int, str] = {}
    sums: Counter[str] = Counter()
    last = 0
    with Reader(path) as reader:
        for record in reader.records():
            if isinstance(record, Channel):
                topics[record.id] = record.topic
            if not isinstance(record, MessageRun):
                continue
            times = record.heads["log_time"]
            back = np.diff(times, prepend=np.uint64(last)).view(np.int64) < 0
            found.disordered += int(back.sum())
            last = int(times[-1])
            view = memoryview(record.buffer)
            heads = zip(
                record.heads["channel_id"].tolist(), record.starts.tolist(), record.ends.tolist(),
                strict=True,
            )  # fmt: skip
            for channel, start, end in heads:  # all of the record behind the channel's number
                sums[topics[channel]] += zlib.crc32(view[start - 20 : end])
                found.counts[topics[channel]] += 1
    found.messages = {topic: (found.counts[topic], sums[topic]) for topic in found.counts}
    return found


def _order() -> None:
    from viae.cli import main

    old, new = sys.argv[1:]
    sys.argv = ["viae", "order", old, new, "--json"]
    try:
        main()
    except SystemExit as left:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(f"PEAK{peak}")
        sys.exit(left.code)


if __name__ == "__main__":
    _order()
