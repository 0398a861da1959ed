"""Contenders run in processes of their own and are timed in turns: A B A B.

A contender's script ends in `serve`; the driver starts it as a `Contender` and asks it for slices.
Needs the standard library alone, so that each contender's Python can import it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

READY_S = 600
"""How long a contender may take to start."""


def serve(batches: Iterator[int], *, ahead: int, facts: Mapping[str, Any] | None = None) -> None:
    """Time slices of an endless loader, as often as the driver asks.

    Args:
        batches: gives the number of windows of each batch, once it is complete in memory.
        ahead: batches that may have been made before a slice begins; so many are thrown away.
        facts: said once the first batch is there.
    """
    next(batches)
    _say({"ready": True, **(facts or {})})
    for line in sys.stdin:
        seconds = float(line)
        for _ in range(ahead):
            next(batches)
        windows, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            windows += next(batches)
        _say({"rate": windows / (time.perf_counter() - begin)})
    sys.stdout.flush()
    os._exit(0)  # a loader with workers in the midst of an epoch takes long to end in order


def run_peer(make: Callable[..., None], load: Callable[[dict[str, Any]], None]) -> None:
    """The program of a peer: ``make FRAMES OUT`` makes its form, a JOB makes it a contender."""
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(*rest)
    else:
        load(json.loads(verb))


def _say(what: Mapping[str, Any]) -> None:
    print(json.dumps(what), flush=True)


class Contender:
    """A process that loads, pinned to some cores.

    Args:
        python: its interpreter.
        script: ends in `serve`.
        job: handed to it as JSON.
        cores: it and its children run on these.
        log: its standard error.

    Raises:
        RuntimeError: it ended instead of getting ready.
    """

    def __init__(
        self, python: str | Path, script: Path, job: Mapping[str, Any], cores: Sequence[int],
        log: Path,
    ) -> None:  # fmt: skip
        self.log = log
        with log.open("wb") as errors, on_cores(cores):
            self._process = subprocess.Popen(
                [str(python), str(script), json.dumps(dict(job))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=environment(log.parent), start_new_session=True,
            )  # fmt: skip
        try:
            self.facts = self._answer()
        except BaseException:
            self.close()
            raise

    def pause(self) -> None:
        """Stop it and its workers, which would go on filling their queues in others' slices."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def rate(self, seconds: float) -> float:
        """Windows a second over a slice."""
        assert self._process.stdin is not None
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._answer()["rate"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries may print before
                found: dict[str, Any] = json.loads(line)
                return found
        self._process.wait()
        raise RuntimeError(f"{self._process.args}: {self.log.read_text()[-2000:]}")

    def close(self) -> None:
        """End it and its children."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """What this thread starts inside runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(home: Path) -> dict[str, str]:
    """For contenders: no network, no other one's modules, one thread in each numeric library."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    homes = dict.fromkeys(("HF_HOME", "HF_LEROBOT_HOME"), str(home.resolve()))
    return {
        **kept, **threads, **homes, "HF_HUB_OFFLINE": "1",
        "SVT_LOG": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip


def race(
    contenders: Mapping[str, Contender], *, seconds: float, repeats: int, warm_s: float = 0
) -> dict[str, list[float]]:
    """Rates of each contender, taken in turns, so that what else the machine does hits all.

    With ``warm_s`` each first runs that long and is not timed.
    """
    for contender in contenders.values():
        if warm_s:
            contender.rate(warm_s)
        contender.pause()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats):
        names = list(contenders)
        for name in names if turn % 2 == 0 else reversed(names):
            rates[name].append(contenders[name].rate(seconds))
            contenders[name].pause()
    return rates
