"""Recorders killed at random moments, and what their files hold.

A child writes as fast as it can, from two threads, and keeps telling what was durable; it is
killed (SIGKILL); the file it leaves is read by viae, and every sample that was said to be durable
has to be in it, unchanged. Arrivals are partly out of order.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import LogError
from viae.logs import open_log
from viae.record import Recorder
from viae.schema import Kind, Samples, StreamSpec

JOINTS = StreamSpec(name="joints", shape=(7,), unit="rad")
FRAMES = StreamSpec(name="frames", kind=Kind.BYTES, dtype="")
FRAME_BYTES = 100_000
NOISE = random.Random(0).randbytes(FRAME_BYTES)
TELL_S = 0.002
LATEST_S = 0.8
FLUSHES_S = (0.02, 0.1, 0.5)
AT_THE_END = frozenset({"truncated"})
"""Losses that say no more than that the file was never finished."""


@dataclass(slots=True, kw_only=True)
class Killed:
    """What became of the kills.

    Args:
        kills: recorders killed.
        unreadable: files that could not be read to their end, though something in them was durable.
        lost: samples reported durable that are missing or changed.
        durable: samples reported durable.
        early: kills before anything was reported durable.
        failures: what was wrong, in words.
    """

    kills: int = 0
    unreadable: int = 0
    lost: int = 0
    durable: int = 0
    early: int = 0
    failures: list[str] = field(default_factory=list)


def kill_recorders(n: int, *, seed: int, work: Path, fsync: bool = False) -> Killed:
    """Kill n recorders, one after another, each at its own moment.

    Args:
        n: how many.
        seed: of the moments.
        work: a folder for their files, which are removed again.
        fsync: whether they flush to the disk itself.
    """
    work.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    result = Killed()
    for number in range(n):
        path = work / f"killed-{number}.mcap"
        ours, theirs = processes.Pipe(duplex=False)
        child = processes.Process(
            target=record_for_ever, args=(path, theirs, rng.choice(FLUSHES_S), fsync)
        )
        child.start()
        theirs.close()
        reports = [ours.recv()]  # the first comes when the file has been made
        time.sleep(rng.uniform(0, LATEST_S))
        child.kill()
        child.join()
        reports += _rest(ours)
        result.kills += 1
        _judge(path, reports, result)
        path.unlink()
    return result


def record_for_ever(path: Path, tell: Connection, flush_s: float, fsync: bool) -> None:
    """The child: ends only by being killed."""
    done = {JOINTS.name: 0, FRAMES.name: 0}
    with Recorder(
        path, streams=[JOINTS, FRAMES], flush_s=flush_s, fsync=fsync, queue_bytes=8 << 20
    ) as recorder:
        tell.send((-1, dict(done)))

        def write(stream: str, value: Any, pause_s: float) -> None:
            for i in range(1 << 40):
                recorder.write(stream, value(i), capture_ns=i, arrival_ns=arrival_ns(i))
                done[stream] = i + 1
                if pause_s:
                    time.sleep(pause_s)

        for stream, value, pause_s in ((JOINTS.name, joints, 0.0), (FRAMES.name, frame, 0.002)):
            threading.Thread(target=write, args=(stream, value, pause_s), daemon=True).start()
        while True:
            written = dict(done)  # first: only of these does what is asked now say anything
            tell.send((recorder.durable_until_ns, written))
            time.sleep(TELL_S)


def arrival_ns(i: int) -> int:
    """Mostly in order; every seventh arrives as if much earlier."""
    return 1_000_000 + i * 1000 - (i % 7 == 6) * 40_000


def joints(i: int) -> list[float]:
    """A value that tells its number."""
    return [float(i), 0.5, 1.5, 2.5, 3.5, 4.5, -float(i)]


def frame(i: int) -> bytes:
    """Likewise."""
    return i.to_bytes(8, "little") + NOISE


def _rest(pipe: Connection) -> list[tuple[int, dict[str, int]]]:
    found = []
    try:
        while pipe.poll():
            found.append(pipe.recv())
    except (EOFError, OSError):  # the last message may be cut short by the kill
        pass
    pipe.close()
    return found


def _judge(path: Path, reports: list[tuple[int, dict[str, int]]], result: Killed) -> None:
    promised: dict[str, set[int]] = {}
    for stream in (JOINTS.name, FRAMES.name):
        sure, near = 0, set()
        for until_ns, written in reports:
            # No arrival is more than 40 samples earlier than its place: up to here all have come.
            first = max(0, min(written[stream], (until_ns - 1_000_000) // 1000 + 1))
            others = range(first, min(written[stream], first + 50))
            near.update(i for i in others if arrival_ns(i) <= until_ns)
            sure = max(sure, first)
        promised[stream] = near.union(range(sure))
    durable = sum(map(len, promised.values()))
    result.durable += durable
    result.early += not durable
    try:
        held, losses = _read(path)
    except LogError as error:
        if durable:
            result.unreadable += 1
            result.lost += durable
            result.failures.append(str(error))
        return
    if losses - AT_THE_END:
        result.unreadable += 1
        result.failures.append(f"{path.name}: {', '.join(sorted(losses))}")
    missing = sum(len(promised[stream] - held[stream]) for stream in promised)
    result.lost += missing
    if missing:
        result.failures.append(f"{path.name}: {missing} of {durable} durable samples are missing")


def _read(path: Path) -> tuple[dict[str, set[int]], set[str]]:
    """The numbers of the samples that a file holds unchanged, and what the reader says is lost."""
    held: dict[str, set[int]] = {JOINTS.name: set(), FRAMES.name: set()}
    log = open_log(path)
    losses = {loss.name for loss in log.losses}
    for episode in log.episodes:
        for item in episode.read():
            if not isinstance(item, Samples):
                if hasattr(item, "kind") and hasattr(item, "detail"):
                    losses.add(item.name)
                continue
            numbers = item.capture_ns.tolist()
            if item.spec.name == JOINTS.name:
                expected = np.array([joints(i) for i in numbers])
                same = (np.asarray(item.values) == expected).all(axis=1).tolist()
            else:
                same = [value == frame(i) for i, value in zip(numbers, item.values, strict=True)]
            held[item.spec.name].update(i for i, ok in zip(numbers, same, strict=True) if ok)
    return held, losses
