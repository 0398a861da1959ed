"""The Pythons of other loaders, and the shared frames in each one's own form, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load_frames import Frames
from load_timing import Contender, environment

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))[:2]
ONE_CORE = CORES[:1]
MINUTES = 20
SETUP = {
    "lance": (
        "VIAE_LANCE_PYTHON",
        "python3.12 -m venv lance && lance/bin/pip install 'lerobot[dataset]==0.6.1' "
        "lancedb==0.40.0 lerobot-lancedb==0.3.1",
    ),
    "mosaic": (
        "VIAE_PEERS_PYTHON",
        "python3.12 -m venv peers && peers/bin/pip install mosaicml-streaming==0.13.0 "
        "webdataset==1.0.2",
    ),
}
"""Where a peer's Python is named, and how its environment is made. LeRobot's: see ``roundtrip``."""
SETUP["webdataset"] = SETUP["mosaic"]


def python_of(peer: str) -> Path | None:
    """A peer's Python; None, and the reason said, without one."""
    if peer == "lerobot":
        from roundtrip import lerobot_python

        return lerobot_python()
    variable, how = SETUP[peer]
    if named := os.environ.get(variable):
        return Path(named)
    print(f"{peer}: skipped; name its Python in {variable}, made by:  {how}", file=sys.stderr)
    return None


def prepared(peer: str, python: Path, frames: Frames, work: Path) -> Path:
    """The frames in a peer's form, made by the peer."""
    root = work / f"{peer}-{Path(frames.folder).name.removeprefix('frames-')}"
    done = work / f"{root.name}.done"
    if done.exists():
        return root
    if peer == "lance":
        lerobot = python_of("lerobot")
        if lerobot is None:
            raise RuntimeError("what lerobot-lancedb converts is recorded by LeRobot")
        source = prepared("lerobot", lerobot, frames, work)
        words = [python.with_name("lerobot-lance-convert"), "--root", source, "--out", root]
    else:
        words = [python, HERE / f"load_peer_{peer}.py", "make", frames.folder, root]
    shutil.rmtree(root, ignore_errors=True)
    run(words, work)
    done.touch()
    return root


def run(words: list[str | Path], work: Path) -> None:
    """Run a peer's command.

    Raises:
        RuntimeError: it failed.
    """
    found = subprocess.run(
        list(map(str, words)), env=environment(work), capture_output=True, text=True,
        timeout=60 * MINUTES, check=False,
    )  # fmt: skip
    if found.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {found.stderr[-2000:]}")


@contextmanager
def running(
    contenders: dict[str, tuple[str | Path, str, dict[str, object], list[int]]], work: Path
) -> Iterator[dict[str, Contender]]:
    """Contenders, by name: Python, script, job, cores. All are ready inside, and ended after."""
    started: dict[str, Contender] = {}
    try:
        for name, (python, script, job, cores) in contenders.items():
            log = work / f"{name}.log"
            started[name] = Contender(python, HERE / script, job, cores, log)
        yield started
    finally:
        for contender in started.values():
            contender.close()
