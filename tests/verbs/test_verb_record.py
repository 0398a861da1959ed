"""Record: as many successes as asked, each from an initial state of its own."""

import sys
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pytest

from viae import Store
from viae.errors import WorldError
from viae.verbs.record import record
from viae.verbs.rollouts import do


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def seeds(store: Store) -> dict[int, bool | None]:
    return {e.conditions["seed"]: e.outcome for e in store.episodes()}


def test_only_successes_count(store: Store, tmp_path: Path, inline: Executor, monkeypatch):
    """The seeds 0 and 2 are given no time to succeed."""

    def with_failures(jobs, executor, **options) -> None:
        for job in jobs:
            hurried = job.start.seed in (0, 2)
            do(Hurried(job) if hurried else job)

    monkeypatch.setattr(sys.modules["viae.verbs.record"], "run_rollouts", with_failures)
    shown = record("metaworld", {"drawer-open": 2}, store, tmp_path / "logs", inline, horizon=120)
    assert [state.seed for state in shown["drawer-open"]] == [1, 3]
    assert seeds(store) == {0: False, 1: True, 2: False, 3: True}


@dataclass
class Hurried:
    job: object
    horizon: int = 5

    def __getattr__(self, name: str):
        return getattr(self.job, name)


def test_more_are_added_to_those_there_are(store: Store, tmp_path: Path, inline: Executor):
    logs = tmp_path / "logs"
    record("metaworld", {"drawer-open": 1}, store, logs, inline, horizon=120)
    [first] = store.episode_ids()
    record("metaworld", {"drawer-open": 2}, store, logs, inline, horizon=120)
    assert first in store.episode_ids()
    assert seeds(store) == {0: True, 1: True}
    before = store.snapshot()
    record("metaworld", {"drawer-open": 2}, store, logs, inline, horizon=120)
    assert store.snapshot() == before


def test_the_same_seed_gives_the_same_episode(tmp_path: Path, inline: Executor):
    """Wherever and whenever it is recorded: so a rerun finds what a killed run recorded."""
    ids = []
    for name in ("a", "b"):
        store = Store.create(tmp_path / name / "store")
        record("metaworld", {"button-press": 1}, store, tmp_path / name, inline, horizon=120)
        ids.append(store.episode_ids())
    assert ids[0] == ids[1]


def test_an_operator_that_never_succeeds(store: Store, tmp_path: Path, inline: Executor):
    with pytest.raises(WorldError) as caught:
        record("metaworld", {"drawer-open": 1}, store, tmp_path / "logs", inline, horizon=3)
    assert str(caught.value) == (
        "the operator of world 'metaworld' did not reach {'drawer-open': 1} successful "
        "demonstrations in 10 tries; raise the horizon of 3 steps"
    )
    assert set(seeds(store).values()) == {False}
