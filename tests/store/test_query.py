"""SQL sees what is visible, and nothing else on the machine."""

import numpy as np
import pyarrow as pa
import pytest

from builders import STATE, episode, samples, write
from viae.errors import QueryError
from viae.schema import Fact, StreamSpec
from viae.store import Store, StoreWriter, query


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "seen", [samples(STATE, [[1, 2], [3, 4]], [10, 20], [5, 6])], task="reach")
    return store


def test_views_hide_what_was_never_committed_and_what_came_second(store):
    killed = StoreWriter(store, now_ns=lambda: 1)
    draft = killed.begin("killed")
    draft.add(samples(STATE, [[7, 7]]))
    draft.finish(episode("killed"))
    killed._flush_children()
    write(store, "seen", [samples(STATE, [[9, 9]])])
    for view in ("episodes", "streams", "chunks", "samples"):
        ids = query(store, f"SELECT DISTINCT episode_id FROM {view}").to_pylist()
        assert ids == [{"episode_id": "seen"}], view
    assert query(store, "SELECT count(*) AS n FROM chunks").to_pylist() == [{"n": 1}]
    assert store.table("chunks").count_rows() == 3


def test_samples_have_a_row_each(store):
    assert query(store, "SELECT * FROM samples ORDER BY seq").to_pylist() == [
        {
            "episode_id": "seen", "stream": STATE.name, "seq": 0, "capture_ns": 5,
            "arrival_ns": 10, "value": [1.0, 2.0],
        },
        {
            "episode_id": "seen", "stream": STATE.name, "seq": 1, "capture_ns": 6,
            "arrival_ns": 20, "value": [3.0, 4.0],
        },
    ]  # fmt: skip


def test_samples_of_every_fixed_shape(store):
    whole = StreamSpec(name="n", dtype="int32", shape=(2, 2))
    ragged = StreamSpec(name="r", shape=(-1,))
    write(
        store, "more",
        [samples(whole, np.arange(8).reshape(2, 2, 2)), samples(ragged, [np.zeros(2)])],
    )  # fmt: skip
    rows = query(store, "SELECT value FROM samples WHERE episode_id = 'more' ORDER BY seq")
    assert rows["value"].to_pylist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_fact_is_the_newest_about_the_whole_episode(store):
    def say(key, value, time_ns, **subject):
        fact = Fact(
            episode_id="seen", key=key, value=value, author="me", time_ns=time_ns, **subject
        )
        store.add_facts([fact])

    write(store, "unsaid")
    say("split", "held-out", 1)
    say("split", "train", 2)
    say("split", "span", 3, start_ns=0, end_ns=1)
    say("split", "pair", 4, other_episode_id="unsaid")
    say("quality", 0.5, 1)
    sides = query(store, "SELECT episode_id, fact(episode_id, 'split') AS side FROM episodes")
    assert sorted(map(tuple, (row.values() for row in sides.to_pylist()))) == [
        ("seen", "train"), ("unsaid", None),
    ]  # fmt: skip
    for condition, found in (
        ("fact(episode_id, 'split') = 'train'", ["seen"]),
        ("fact(e.episode_id, 'split') = 'held-out'", []),
        ("fact(episode_id, 'split') IS NULL", ["unsaid"]),
        ("fact(episode_id, 'quality')::DOUBLE > 0.4 AND fact(episode_id, 'no') IS NULL", ["seen"]),
    ):
        rows = query(store, f"SELECT episode_id FROM episodes e WHERE {condition}")
        assert rows["episode_id"].to_pylist() == found, condition


def test_a_snapshot_answers_as_it_was(store):
    old = store.at(store.snapshot())
    write(store, "later")
    count = "SELECT count(*) AS n FROM episodes"
    assert query(old, count).to_pylist() == [{"n": 1}]
    assert query(store, count).to_pylist() == [{"n": 2}]


def test_a_statement_without_rows_gives_an_empty_table(store):
    assert query(store, "SELECT * FROM episodes WHERE false").num_rows == 0


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nothing FROM episodes", "FROM nowhere", "\x00"])
def test_bad_sql_is_refused_with_the_names_of_the_tables(store, sql):
    with pytest.raises(QueryError) as caught:
        query(store, sql)
    assert str(caught.value).startswith(f"{store.uri}: the query was refused: ")
    assert str(caught.value).endswith(
        "The tables are chunks, episodes, facts, runs, samples, streams, video"
    )
    assert caught.value.exit_code == 2


def test_nothing_outside_the_store_is_read_or_written(store, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    local = pa.table({"a": [1]})  # DuckDB would see the caller's variables
    assert local.num_rows
    for sql in [
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.db'",
        "SET enable_external_access = true; SELECT 1",
        "INSTALL httpfs",
        "SELECT * FROM local",
        "SELECT * FROM store",
    ]:
        with pytest.raises(QueryError):
            query(store, sql)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret.csv", "store"]


def test_what_a_query_makes_does_not_outlive_it(store):
    query(store, "CREATE TABLE mine AS SELECT 1")
    with pytest.raises(QueryError, match="mine"):
        query(store, "FROM mine")
