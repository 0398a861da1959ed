"""Rollouts in other processes: done once, and what goes wrong is said."""

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import pytest

from viae.errors import ViaeError, WorldError
from viae.evaluate import InitialState
from viae.verbs.rollouts import OPERATOR, RolloutJob, run_rollouts, workers


def job(folder: Path, seed: int, task: str = "drawer-open") -> RolloutJob:
    start = InitialState(world="metaworld", task=task, seed=seed)
    return RolloutJob(start=start, bundle=OPERATOR, log=folder / f"{seed}.mcap", horizon=20)


def test_what_is_done_is_not_done_again(inline: Executor, tmp_path: Path):
    jobs = [job(tmp_path, seed) for seed in (0, 1)]
    run_rollouts(jobs[:1], inline, phase="record")
    written = jobs[0].log.stat()
    moments = []
    run_rollouts(jobs, inline, phase="record", tell=moments.append)
    assert jobs[0].log.stat() == written
    assert [(moment.done, moment.total) for moment in moments] == [(1, 2), (2, 2)]


def test_a_killed_rollout_is_run_again(inline: Executor, tmp_path: Path):
    """What it left does not get in the way, and the log is that of an undisturbed one."""
    here, there = job(tmp_path / "here", 0), job(tmp_path / "there", 0)
    here.log.parent.mkdir()
    partial = here.log.with_name("0.mcap.partial")
    partial.write_bytes(b"\x89MCAP0\r\n half a chunk")
    run_rollouts([here, there], inline, phase="record")
    assert here.log.read_bytes() == there.log.read_bytes()
    assert not partial.exists()


def test_an_error_in_a_worker_is_raised_and_others_are_kept(tmp_path: Path):
    good, bad = job(tmp_path, 0), job(tmp_path, 1, task="juggle")
    with workers(1) as pool, pytest.raises(WorldError, match="has no task 'juggle'"):
        run_rollouts([good, bad], pool, phase="record")
    assert good.log.exists()
    assert not bad.log.exists()


def test_a_worker_that_dies_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Suicidal(InitialState):
        def __reduce__(self):
            return eval, ("__import__('os')._exit(9)",)

    start = Suicidal(world="metaworld", task="push", seed=0)
    with workers(1) as pool, pytest.raises(ViaeError) as caught:
        run_rollouts([replace(job(tmp_path, 0), start=start)], pool, phase="record")
    assert str(caught.value) == (
        "a process that ran rollouts died, with 0 of 1 done; perhaps for want of memory. "
        "Run the same command again, with fewer --workers: it goes on where it stopped"
    )
