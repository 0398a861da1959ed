"""Embedded windows: appended, seen with their episode, and the nearest of them found."""

import numpy as np
import pytest

from builders import STATE, samples, write
from viae.errors import QueryError, SchemaError, StoreError, UsageError
from viae.store import Store, query
from viae.store.vectors import Embedded, Vectors

rng = np.random.default_rng(0)


def embedded(episode_id, vectors, step_ns=10):
    at = np.arange(len(vectors), dtype=np.int64) * step_ns
    return Embedded(
        episode_id=episode_id, start_ns=at - 5, end_ns=at, decision_ns=at,
        vectors=np.asarray(vectors, np.float32),
    )  # fmt: skip


def random(count, dimension=6):
    return rng.standard_normal((count, dimension)).astype(np.float32)


def exact(parts, vector, k):
    """Episode, decision and distance of the nearest, the obvious way."""
    rows = [
        (each.episode_id, int(at), 1 - row @ vector / np.linalg.norm(row) / np.linalg.norm(vector))
        for each in parts
        for at, row in zip(each.decision_ns, each.vectors, strict=True)
    ]
    return sorted(rows, key=lambda row: row[2])[:k]


def pairs(rows):
    return list(zip(rows["episode_id"].to_pylist(), rows["decision_ns"].to_pylist(), strict=True))


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    for name in ("a", "b", "c"):
        write(store, name, [samples(STATE, [[1, 2], [3, 4]])])
    return store


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("dimension", [1, 6, 8, 39])
def test_the_nearest_are_those_that_comparing_all_gives(store, dimension, dtype):
    parts = [embedded(name, random(40, dimension)) for name in "abc"]
    vectors = Vectors.create(store, "one", dimension=dimension, dtype=dtype)
    vectors.append(parts)
    asked = random(1, dimension)[0]
    found = vectors.nearest(asked, 7)
    wanted = exact(parts, asked, 7)
    tolerance = 1e-5 if dtype == "float32" else 5e-3
    np.testing.assert_allclose(
        found["_distance"].to_numpy(), [row[2] for row in wanted], atol=tolerance
    )
    if dimension > 1 and dtype == "float32":  # else many are equally near
        assert pairs(found) == [row[:2] for row in wanted]
    assert found.column_names == ["episode_id", "start_ns", "end_ns", "decision_ns", "_distance"]


def test_within_episodes_and_spans(store):
    parts = [embedded(name, random(40)) for name in "abc"]
    vectors = Vectors.create(store, "one", dimension=6)
    vectors.append(parts)
    asked = random(1)[0]
    assert pairs(vectors.nearest(asked, 5, within={"b": None})) == [
        row[:2] for row in exact(parts[1:2], asked, 5)
    ]
    spans = {"a": [(100, 120), (300, 300)], "c": None}
    inside = [
        row for row in exact(parts, asked, 200)
        if row[0] == "c" or (row[0] == "a" and (100 <= row[1] <= 120 or row[1] == 300))
    ]  # fmt: skip
    found = vectors.nearest(asked, 5, within=spans)
    assert pairs(found) == [row[:2] for row in inside[:5]]
    assert found.schema == vectors.nearest(asked, 5).schema
    for nowhere in ({}, {"a": []}, {"a": [(1, 2)]}, {"it's": None}):
        found = vectors.nearest(asked, 5, within=nowhere)
        assert (found.num_rows, found.schema) == (0, vectors.nearest(asked, 5).schema)


def test_an_index_finds_them_too_and_what_came_after_it(store):
    centres = random(20, 16) * 4
    many = [centres[rng.integers(20, size=3000)] + random(3000, 16) for _ in "ab"]
    parts = [embedded(name, each) for name, each in zip("ab", many, strict=True)]
    vectors = Vectors.create(store, "one", dimension=16)
    vectors.append(parts)
    assert not vectors.index()  # too few to be worth it
    assert vectors.unindexed == 6000
    assert vectors.index(rows=1000)
    vectors.load()
    assert vectors.unindexed == 0
    later = embedded("c", random(50, 16))
    vectors.append([later])
    assert vectors.unindexed == 50
    shares = []
    for asked in (centres[3], many[0][7], later.vectors[4], -centres[9]):
        found = pairs(vectors.nearest(asked, 10))
        wanted = [row[:2] for row in exact([*parts, later], asked, 10)]
        assert found[0] == wanted[0]
        shares.append(len(set(found) & set(wanted)) / 10)
        own = pairs(vectors.nearest(asked, 10, within={"b": None}))
        assert len(own) == 10
        assert {episode_id for episode_id, _ in own} == {"b"}
    assert np.mean(shares) > 0.9
    assert vectors.index(rows=50)  # the few that are new are added to it
    assert vectors.unindexed == 0
    assert pairs(vectors.nearest(later.vectors[4], 1)) == [("c", 40)]


def test_at_is_the_last_window_before(store):
    vectors = Vectors.create(store, "one", dimension=6)
    vectors.append([embedded("a", random(4))])
    assert [int(vectors.at("a", t).decision_ns[0]) for t in (-5, 0, 9, 10, 99)] == [0, 0, 0, 10, 30]
    assert vectors.at("b", 0) is None


def test_rows_are_seen_when_their_episode_is(store):
    vectors = Vectors.create(store, "one", dimension=6)
    parts = [embedded(name, random(5)) for name in ("a", "nobody")]
    vectors.append(parts)
    asked = parts[1].vectors[0]
    assert {name for name, _ in pairs(vectors.nearest(asked, 5))} == {"a"}
    assert vectors.at("nobody", 0) is None
    rows = query(store, "SELECT DISTINCT episode_id, embedder FROM vectors").to_pylist()
    assert rows == [{"episode_id": "a", "embedder": "one"}]
    write(store, "nobody")
    assert {name for name, _ in pairs(Vectors(store, "one").nearest(asked, 6))} == {"a", "nobody"}


def test_rows_of_another_write_are_not_seen(store):
    vectors = Vectors.create(store, "one", dimension=8)
    vectors.append([embedded("a", random(3, 8))])
    rows = store.table("vectors.one").to_table()
    column = rows.schema.get_field_index("write_id")
    store.append("vectors.one", rows.set_column(column, rows.schema.field(column), [["x"] * 3]))
    assert len(Vectors(store, "one")) == 6
    assert Vectors(store, "one").nearest(random(1, 8)[0], 9).num_rows == 3
    assert query(store, "SELECT count(*) AS n FROM vectors").to_pylist() == [{"n": 3}]


def test_sql_sees_the_windows_of_all_embedders(store):
    with pytest.raises(QueryError, match="vectors"):
        query(store, "FROM vectors")
    for name, dtype in (("one", "float32"), ("two", "float16")):
        vectors = Vectors.create(store, name, dimension=3, dtype=dtype)
        vectors.append([embedded("a", random(2, 3))])
    twice = "(SELECT DISTINCT episode_id FROM vectors)"
    sql = f"SELECT embedder, count(*) AS n FROM vectors JOIN {twice} USING (episode_id) GROUP BY 1"
    rows = query(store, f"{sql} ORDER BY 1").to_pylist()
    assert rows == [{"embedder": "one", "n": 2}, {"embedder": "two", "n": 2}]


def test_a_snapshot_is_searched_as_it_was(store):
    before = store.at(store.snapshot())
    assert store.vector_tables() == []
    vectors = Vectors.create(store, "one", dimension=6)
    vectors.append([embedded("a", random(3))])
    then = store.at(store.snapshot())
    vectors.append([embedded("b", random(3))])
    assert len(Vectors(then, "one")) == 3
    assert len(Vectors(store, "one")) == 6
    with pytest.raises(UsageError, match="nothing is embedded in it yet"):
        Vectors(before, "one")
    with pytest.raises(StoreError, match="read-only"):
        Vectors(then, "one").append([embedded("c", random(3))])
    assert set(store.snapshot().versions) - set(before.snapshot().versions) == {"vectors.one"}


def test_another_embedder_has_another_table(store):
    Vectors.create(store, "one", dimension=6).append([embedded("a", random(3))])
    version = store.table("vectors.one").version
    Vectors.create(store, "two", dimension=2).append([embedded("a", random(3, 2))])
    assert store.vector_tables() == ["vectors.one", "vectors.two"]
    assert store.table("vectors.one").version == version
    with pytest.raises(UsageError, match=r"no vectors of 'three'; it has those of one, two"):
        Vectors(store, "three")


def test_killed_between_the_table_and_its_run(store, monkeypatch):
    def killed(self, **run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add_run", killed)
        with pytest.raises(KeyboardInterrupt):
            Vectors.create(store, "one", dimension=6)
    assert store.vector_tables() == []
    vectors = Vectors.create(store, "one", dimension=6)
    vectors.append([embedded("a", random(3))])
    assert len(vectors) == 3


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(6, np.nan), np.full(6, np.inf)])
def test_a_vector_without_a_direction_is_refused(store, bad):
    rows = random(3)
    rows[1] = bad
    with pytest.raises(
        SchemaError, match=r"episode a: .* decides at 0.000 s is zero or not finite"
    ):
        embedded("a", rows)
    vectors = Vectors.create(store, "one", dimension=6)
    with pytest.raises(SchemaError, match="near to nothing"):
        vectors.nearest(bad, 1)


def test_what_does_not_fit_is_refused(store):
    vectors = Vectors.create(store, "one", dimension=6)
    with pytest.raises(SchemaError, match="6 elements, those of episode a have 5"):
        vectors.append([embedded("a", random(3, 5))])
    with pytest.raises(SchemaError, match=r"6 elements, this one has the shape \[5\]"):
        vectors.nearest(random(1, 5)[0], 1)
    with pytest.raises(SchemaError, match=r"are float32\[6\], and these are float16\[6\]"):
        Vectors.create(store, "one", dimension=6, dtype="float16")
    with pytest.raises(SchemaError, match="no id of an embedder"):
        Vectors.create(store, "../one", dimension=6)
