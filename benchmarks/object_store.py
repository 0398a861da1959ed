"""Windows a second from a store on S3 against the same store in a folder.

The store is the one of the other loading figures, copied byte for byte to an S3-compatible server
on loopback, where each request takes 20 ms longer. Packets are not kept in memory: each batch reads
its groups of pictures from the store. Server, proxy and loader share the machine's cores.
"""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from driver import DATA
from load_peers import CORES, HERE
from load_rates import frames_of, make_store_of
from load_timing import Contender, race
from rows import Row
from slow_s3 import SlowS3, slow_s3

DELAY_S = 0.02
BUCKET = "viae"
SECONDS = {"96": 5.0, "640": 12.0}
REPEATS = 5
TAKEN = {"path": "decode", "memory_bytes": 0}


def s3_ratio(work: Path) -> Iterator[Row]:
    """On demand, two threads: 96x96, and 640x480 where the real logs are."""
    work.mkdir(parents=True, exist_ok=True)
    for size in ("96", "640"):
        if size == "640" and not DATA.is_dir():
            continue
        yield from _against_folder(size, work)


def _against_folder(size: str, work: Path) -> Iterator[Row]:
    folder = make_store_of(size, work)
    cameras = frames_of(size, work).cameras
    name = "s3_ratio" if size == "96" else f"s3_ratio_{size}"
    with slow_s3(delay_s=DELAY_S, bucket=BUCKET) as server:
        _copy(folder, server)
        os.environ |= {name.upper(): value for name, value in server.at(server.slow).items()}
        jobs = {"folder": str(folder), "s3": f"s3://{BUCKET}/{folder.name}"}
        started: dict[str, Contender] = {}
        try:
            for where, uri in jobs.items():
                job = {"store": uri, "cameras": cameras, "threads": 2, "access": TAKEN}
                log = work / f"object-store-{size}-{where}.log"
                started[where] = Contender(sys.executable, HERE / "load_ours.py", job, CORES, log)
            before = server.counts()
            rates = race(started, seconds=SECONDS[size], repeats=REPEATS)
            after = server.counts()
        finally:
            for contender in started.values():
                contender.close()
    ratios = [a / b for a, b in zip(rates["folder"], rates["s3"], strict=True)]
    windows = sum(rates["s3"]) * SECONDS[size]
    requests = after["requests"] - before["requests"]
    yield Row(
        name=name, value=median(ratios), unit="ratio", target="<= 2", n=REPEATS, low=min(ratios),
        high=max(ratios), peer=f"20 ms a request, {requests / windows * 64:.1f} of "
        f"{(after['bytes'] - before['bytes']) / max(1, requests) / 1e3:.0f} kB for 64 windows",
    )  # fmt: skip
    yield Row(
        name=f"{name}_rate", value=median(rates["s3"]), unit="windows/s", n=REPEATS,
        low=min(rates["s3"]), high=max(rates["s3"]),
        peer=f"in a folder: {median(rates['folder']):.0f}",
    )  # fmt: skip


def _copy(folder: Path, server: SlowS3) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put = urllib.request.Request(
                f"{server.direct}/{BUCKET}/{folder.name}/{path.relative_to(folder)}",
                data=path.read_bytes(), method="PUT",
                headers={"Content-Type": "application/octet-stream"},
            )  # fmt: skip
            urllib.request.urlopen(put).close()
