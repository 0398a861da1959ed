"""Select: from what the store says, and from nothing else."""

from pathlib import Path

import pytest

from viae import Episode, Fact, Store
from viae.errors import UsageError
from viae.store import StoreWriter
from viae.verbs.select import select


def store_of(folder: Path, outcomes: dict[str, tuple[int, int, int]], world: str = "w") -> Store:
    """A store with one training and its rollouts: demonstrations, successes, n per task."""
    store = Store.create(folder)
    store.add_run(
        run_id="train-b", kind="train", bundle="b", config={}, time_ns=0,
        metrics={"demonstrations": {task: d for task, (d, _, _) in outcomes.items()}},
    )  # fmt: skip
    for task, (_, successes, n) in outcomes.items():
        add_rollouts(store, "bundle:b", world, task, [True] * successes + [False] * (n - successes))
    return store


def add_rollouts(store: Store, agent: str, world: str, task: str, outcomes: list[bool]) -> None:
    """Episodes without samples, which is all that selection reads."""
    writer = StoreWriter(store, now_ns=lambda: 0)
    for number, outcome in enumerate(outcomes):
        episode = Episode(
            episode_id=f"{agent}-{task}-{number}", log_uri="", log_hash="", log_range="",
            log_format="", task=task, agent=agent, outcome=outcome,
            conditions={"world": world, "seed": number},
        )  # fmt: skip
        writer.begin(episode.episode_id).finish(episode)
    writer.commit()


def test_no_logs_and_no_bundles_are_needed(tmp_path: Path):
    store = store_of(tmp_path / "store", {"easy": (3, 20, 20), "hard": (3, 2, 20)})
    first, second = select(store, world="w", budget=10)
    assert first.task == "hard"
    assert first.demonstrations + second.demonstrations == 10
    assert first.demonstrations > second.demonstrations
    assert "failed 18 of 20 attempts with 3 demonstrations" in first.reason
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_it_changes_nothing(tmp_path: Path):
    store = store_of(tmp_path / "store", {"a": (3, 5, 20), "b": (3, 9, 20)})
    before = store.snapshot()
    assert select(store, world="w", budget=4) == select(store, world="w", budget=4)
    assert store.snapshot() == before


def test_a_verdict_said_later_counts(tmp_path: Path):
    store = store_of(tmp_path / "store", {"a": (3, 5, 20)})
    fact = Fact(episode_id="bundle:b-a-0", key="outcome", value=False, author="me", time_ns=1)
    store.add_facts([fact])
    [line] = select(store, world="w", budget=4)
    assert "failed 16 of 20" in line.reason


def test_rollouts_of_strangers_and_in_other_worlds_do_not_count(tmp_path: Path):
    store = store_of(tmp_path / "store", {"a": (3, 5, 20)}, world="elsewhere")
    add_rollouts(store, "bundle:stranger", "w", "a", [True, False])
    with pytest.raises(UsageError, match="holds no rollout in world 'w'"):
        select(store, world="w", budget=4)
