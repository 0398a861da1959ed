"""Many rollouts at once: each a job that a worker process can do on its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from viae.errors import ViaeError
from viae.evaluate import InitialState
from viae.schema import JsonValue
from viae.verbs.progress import Progress, Tell, quiet

OPERATOR = ""
"""In place of a bundle's folder: the world's own operator acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutJob:
    """One attempt.

    Args:
        start: the initial state.
        bundle: folder of the bundle that acts, or `OPERATOR`.
        log: the MCAP file to write; a job whose log exists is done.
        horizon: steps after which the attempt has failed.
        realtime: whether to run at the robot's own speed.
    """

    start: InitialState
    bundle: str
    log: Path
    horizon: int
    realtime: bool = False
    notes: Mapping[str, JsonValue] = field(default_factory=dict)


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """Processes that run rollouts; one thread each, so that they do not fight for the cores."""
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_start_worker
    ) as executor:
        yield executor


def run_rollouts(
    jobs: Sequence[RolloutJob], executor: Executor, *, phase: str, tell: Tell = quiet
) -> None:
    """Do every job whose log does not exist yet.

    Raises:
        ViaeError: what the first failing job raised, or a worker died; the others' logs stay.
    """
    todo = [job for job in jobs if not job.log.exists()]
    done = len(jobs) - len(todo)
    tell(Progress(phase=phase, done=done, total=len(jobs)))
    futures = {executor.submit(do, job): job for job in todo}
    try:
        for future in as_completed(futures):
            future.result()
            done += 1
            tell(Progress(phase=phase, done=done, total=len(jobs), note=futures[future].start.task))
    except BrokenProcessPool as error:
        raise ViaeError(
            f"a process that ran rollouts died, with {done} of {len(jobs)} done; perhaps for "
            "want of memory. Run the same command again, with fewer --workers: it goes on where it "
            "stopped"
        ) from error
    finally:
        for future in futures:
            future.cancel()


def do(job: RolloutJob) -> None:
    """Run one job, in whatever process this is."""
    from viae.act import WallClock, run

    robot = _robot(job.start.world, job.start.task)
    run(
        robot,
        _policy(job.start.world, job.start.task, job.bundle),
        job.log,
        conditions={"seed": job.start.seed},
        notes={"world": job.start.world, **job.notes},
        horizon=job.horizon,
        clock=WallClock() if job.realtime else None,
    )


def _start_worker() -> None:
    """One thread of torch; and no life after the main process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(ModuleNotFoundError):  # an operator needs no torch
        import torch

        torch.set_num_threads(1)


def _die_with_parent() -> None:
    """Without this, workers wait for ever for the jobs of a main process that was killed."""
    if parent := parent_process():
        wait([parent.sentinel])
        os._exit(1)


@lru_cache(maxsize=64)
def _robot(world: str, task: str) -> Any:
    """A world's robot; worlds fit `viae.act.Robot` by shape, so their types say nothing."""
    from viae.worlds import open_world

    return open_world(world).robot(task)


@lru_cache(maxsize=64)
def _policy(world: str, task: str, bundle: str) -> Any:
    if bundle == OPERATOR:
        from viae.worlds import open_world

        return open_world(world).operator(task)
    from viae.act.base_policy import BasePolicy
    from viae.act.bundle_policy import BundlePolicy
    from viae.model import BaseBundle
    from viae.model.base_bundle import load_bundle

    loaded = load_bundle(Path(bundle))
    return BasePolicy(loaded) if isinstance(loaded, BaseBundle) else BundlePolicy(loaded)
