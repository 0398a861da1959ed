"""Killed at any moment, a command leaves whole episodes, and run again it ends the same."""

import subprocess
import sys
from pathlib import Path

import pytest

SHORT_PLAN = (
    "--task", "drawer-open", "--demonstrations", "1", "--rounds", "0", "--attempts", "2",
    "--steps", "20", "--horizon", "90", "--workers", "1",
)  # fmt: skip


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import kill

    return kill


def test_ingest(kill, tmp_path: Path):
    result = kill.kill_ingest(3, seed=0, work=tmp_path / "work", small=70, big_mb=34, data=None)
    assert result.failures == []
    assert (result.opened, result.whole, result.recovered) == (3, 3, 3)


def test_improve(kill, tmp_path: Path):
    result = kill.kill_improve(2, seed=1, work=tmp_path / "work", plan=SHORT_PLAN)
    assert result.failures == []
    assert (result.opened, result.whole, result.recovered) == (2, 2, 2)


def test_workers_die_with_the_main_process(tmp_path: Path):
    """They hold its standard output: it ends when the last of them does."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"  # two workers wait for jobs
    process.kill()
    rest, _ = process.communicate(timeout=60)
    assert rest == b""


MAIN = """
import os
from viae.verbs.rollouts import workers

if __name__ == "__main__":
    with workers(2) as pool:
        assert {pool.submit(os.getpid).result() for _ in range(2)}
        print("ready", flush=True)
        input_never_comes, _ = os.pipe()
        os.read(input_never_comes, 1)
"""
