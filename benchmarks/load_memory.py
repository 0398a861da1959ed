"""Memory of loading 640x480 for three epochs: the whole process, libraries included.

``python load_memory.py JOB`` loads, and prints what it took at the end of each epoch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from load_frames import BATCH
from load_timing import on_cores
from rows import Row

EPOCHS = 3
RUNS = 5
EVERY_S = 0.1


def memory(work: Path) -> Iterator[Row]:
    """With two threads: the peak, and the end of the third epoch against that of the first."""
    from load_rates import make_store_of

    store = str(make_store_of("640", work))
    runs = [_measured({"store": store, "threads": 2}) for _ in range(RUNS)]
    peaks = [run["peak_gb"] for run in runs]
    yield Row(
        name="memory_gb", value=max(peaks), unit="GB", target="<= 1.5", n=RUNS, low=min(peaks),
        high=max(peaks), peer=f"resident, {EPOCHS} epochs of 640x480, two threads; the worst run",
    )  # fmt: skip
    growths = [run["ends_gb"][-1] / run["ends_gb"][0] for run in runs]
    yield Row(
        name="memory_growth", value=median(growths), unit="ratio", target="<= 1.02", n=RUNS,
        low=min(growths), high=max(growths),
        peer="resident at the end of the third epoch ÷ the first; the middle run",
    )  # fmt: skip
    found = _measured({"store": store, "workers": 2})
    yield Row(
        name="memory_gb_processes", value=found["sampled_gb"], unit="GB",
        peer="two worker processes: proportional share of all processes",
    )  # fmt: skip


def _measured(job: dict[str, Any]) -> dict[str, Any]:
    from load_peers import CORES

    with on_cores(CORES):
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(job)], stdout=subprocess.PIPE, text=True
        )
    sampled = 0
    while process.poll() is None:
        sampled = max(sampled, sum(map(_share, _family(process.pid))))
        time.sleep(EVERY_S)
    assert process.stdout is not None
    said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"load_memory.py failed on {job}")
    return {**json.loads(said), "sampled_gb": sampled / 1e9}


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
    return found


def _share(pid: int) -> int:
    """Proportional share of memory, bytes; 0 of a process that is gone."""
    try:
        return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss")
    except OSError:
        return 0


def _field(path: Path, name: str) -> int:
    """Bytes of a field of /proc."""
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def load(job: dict[str, Any]) -> None:
    """Load epochs as a training would, holding one batch at a time."""
    import torch

    from load_store import window
    from viae.load import Access, Loader, Windows
    from viae.store import Store

    torch.set_num_threads(1)
    store = Store.open(job.pop("store"))
    windows = Windows(store, window(("top",)), store.episodes(), access=Access(path="decode"))
    loader = Loader(windows, batch_size=BATCH, **job)
    own, ends = Path("/proc/self/status"), []
    for _ in range(EPOCHS):
        for batch in loader:
            torch.from_numpy(batch.inputs["top"])
        ends.append(_field(own, "VmRSS") / 1e9)
    print(json.dumps({"peak_gb": _field(own, "VmHWM") / 1e9, "ends_gb": ends}))


if __name__ == "__main__":
    load(json.loads(sys.argv[1]))
