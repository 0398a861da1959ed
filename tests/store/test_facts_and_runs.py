"""The newest word counts, and nothing that was said is lost."""

import pytest

from builders import episode, write
from viae.schema import Fact
from viae.store import Store, StoreWriter, query


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path)
    write(store, "e", outcome=True)
    return store


def fact(value, time_ns, key="label", episode_id="e", **fields):
    return Fact(
        episode_id=episode_id, key=key, value=value, author="me", time_ns=time_ns, **fields
    )  # fmt: skip


def test_the_newest_fact_of_a_subject_and_key_wins_in_any_order_of_writing(store):
    store.add_facts([fact("new", 2), fact("old", 1), fact("other", 0, key="k")])
    assert [f.value for f in store.facts(key="label")] == ["new"]
    assert {f.value for f in store.facts()} == {"new", "other"}
    assert len(store.table("facts").to_table()) == 3


def test_of_facts_said_at_once_the_greater_id_wins(store):
    said = [fact(value, 1) for value in range(5)]
    store.add_facts(said)
    assert store.facts() == [max(said, key=lambda f: f.fact_id)]


def test_spans_and_pairs_are_subjects_of_their_own(store):
    said = [fact(1, 1), fact(2, 2, start_ns=0, end_ns=5), fact(3, 3, other_episode_id="f")]
    store.add_facts(said)
    assert store.facts() == said


def test_values_are_any_json(store):
    values = ["it's", 1, 2.5, None, True, [1, "a"], {"k": [None]}]
    store.add_facts([fact(value, n, key=f"k'{n}") for n, value in enumerate(values)])
    assert [f.value for f in store.facts()] == values
    assert [f.value for f in store.facts(key="k'0")] == ["it's"]


def test_no_facts_write_no_version(store):
    before = store.snapshot()
    store.add_facts([])
    assert store.snapshot() == before


def outcomes(store):
    """By both roads, which must agree."""
    by_sql = query(store, "SELECT episode_id, outcome FROM episodes").to_pylist()
    by_store = {e.episode_id: e.outcome for e in store.episodes()}
    assert {row["episode_id"]: row["outcome"] for row in by_sql} == by_store
    return by_store


def test_the_newest_outcome_wins_over_the_recorded_one(store):
    write(store, "silent")
    assert outcomes(store) == {"e": True, "silent": None}
    store.add_facts([fact(False, 5, key="outcome"), fact(True, 4, key="outcome")])
    assert outcomes(store) == {"e": False, "silent": None}
    store.add_facts([fact(True, 6, key="outcome", episode_id="silent")])
    assert outcomes(store) == {"e": False, "silent": True}


def test_an_outcome_can_be_taken_back(store):
    store.add_facts([fact(None, 5, key="outcome")])
    assert outcomes(store) == {"e": None}


def test_the_outcome_of_a_span_or_a_pair_is_not_the_episodes(store):
    store.add_facts([fact(False, 5, key="outcome", start_ns=0, end_ns=1)])
    store.add_facts([fact(False, 6, key="outcome", other_episode_id="f")])
    assert outcomes(store) == {"e": True}


def test_facts_of_an_episode_that_was_never_committed_are_invisible(store):
    writer = StoreWriter(store, now_ns=lambda: 1)
    writer.begin("killed").finish(episode("killed"), [fact(1, 1, episode_id="killed")])
    writer._flush_children()
    assert store.facts() == []
    assert query(store, "FROM facts").num_rows == 0


def test_the_newest_row_of_a_run_wins(store):
    for run_id, kind, loss, at in [
        ("a", "train", 3, 2), ("a", "train", 2, 3), ("b", "train", 5, 1), ("c", "evaluate", 0, 9),
    ]:  # fmt: skip
        store.add_run(run_id=run_id, kind=kind, config={"n": 1}, metrics={"loss": loss}, time_ns=at)
    assert [(r["run_id"], r["metrics"]["loss"]) for r in store.runs("train")] == [
        ("b", 5),
        ("a", 2),
    ]
    assert {r["run_id"] for r in store.runs()} == {"a", "b", "c"}
    assert store.runs("evaluate")[0]["config"] == {"n": 1}


def test_a_run_keeps_its_snapshot_and_bundle(store):
    snapshot = store.snapshot()
    store.add_run(
        run_id="a", kind="train", config={}, metrics={}, time_ns=1, snapshot=snapshot, bundle="b"
    )  # fmt: skip
    [run] = store.runs()
    assert (run["snapshot"], run["bundle"]) == (snapshot.to_json(), "b")
