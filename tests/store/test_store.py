"""Opening, committing, looking up and pinning."""

import pyarrow as pa
import pytest

from builders import STATE, episode, samples, write
from viae.errors import (
    NoSuchEpisodeError,
    SchemaError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from viae.schema import Fact, StreamSpec
from viae.schema.tables import COMPATIBILITY, COMPATIBILITY_KEY, EPISODES
from viae.store import Snapshot, Store, StoreWriter


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def test_nothing_to_open(tmp_path):
    with pytest.raises(StoreNotFoundError) as caught:
        Store.open(tmp_path / "none")
    assert str(caught.value) == (
        f"{tmp_path}/none: there is no viae store here. Make one with  "
        f"viae ingest PATH… --store {tmp_path}/none"
    )
    assert caught.value.exit_code == 2
    assert not (tmp_path / "none").exists()


def test_a_newer_store_is_named_and_left_alone(tmp_path):
    metadata = {COMPATIBILITY_KEY: str(COMPATIBILITY + 1).encode()}
    newer = EPISODES.with_metadata(metadata).empty_table()
    Store(str(tmp_path / "newer")).append("episodes", newer)
    for opening in (Store.open, Store.create):
        with pytest.raises(StoreVersionError) as caught:
            opening(tmp_path / "newer")
        assert (caught.value.found, caught.value.supported) == (COMPATIBILITY + 1, COMPATIBILITY)
        assert "Upgrade with  pip install -U viae" in str(caught.value)


def test_creating_twice_and_after_a_kill_gives_the_same_store(tmp_path, store):
    write(store, "a", [samples(STATE, [[1, 2]])])
    again = Store.create(store.uri)
    assert again.episode_ids() == {"a"}
    half_made = Store(str(tmp_path / "half"))
    half_made.append("chunks", store.table("chunks").schema.empty_table())
    with pytest.raises(StoreNotFoundError):
        Store.open(half_made.uri)
    assert Store.create(half_made.uri).episodes() == []


def test_a_table_that_cannot_be_opened_is_named(store, tmp_path):
    for file in (tmp_path / "store/facts.lance/_versions").iterdir():
        file.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="table 'facts' cannot be opened"):
        store.table("facts")


def test_episodes_are_found_by_the_start_of_their_id(store):
    for name in ("ab1", "ab2", "c"):
        write(store, name)
    assert store.episode("c").episode_id == "c"
    assert store.episode("ab2").episode_id == "ab2"
    for prefix, candidates, text in [
        ("ab", 2, "2 episodes begin with 'ab'"),
        ("x", 0, "no episode begins with 'x'"),
        ("", 0, "no episode begins with ''"),
    ]:
        with pytest.raises(NoSuchEpisodeError, match=text) as caught:
            store.episode(prefix)
        assert caught.value.candidates == candidates
        assert isinstance(caught.value, LookupError)


def test_episodes_come_back_as_written_and_sorted(store):
    fields = {
        "robot": "r", "task": "t", "agent": "a", "start_ns": 3, "end_ns": 2**62, "outcome": False,
        "conditions": {"seed": 1, "deep": [None, {"x": 0.1}]},
    }  # fmt: skip
    write(store, "b", **fields)
    write(store, "a")
    assert store.episodes() == [episode("a"), episode("b", **fields)]


def test_a_second_episode_of_one_id_changes_nothing(store):
    assert write(store, "a", [samples(STATE, [[1, 2]])], task="first") == 1
    assert write(store, "a", [samples(STATE, [[9, 9], [9, 9]])], task="second") == 0
    assert [e.task for e in store.episodes()] == ["first"]
    read = store.samples(["a"], [STATE.name])["a", STATE.name]
    assert read.values.tolist() == [[1, 2]]
    assert [row["samples"] for row in store.streams()] == [1]


def test_one_commit_holds_an_id_once_and_the_first_counts(store):
    writer = StoreWriter(store, now_ns=lambda: 1)
    for task in ("first", "second"):
        writer.begin("a").finish(episode("a", task=task))
    assert writer.commit() == 1
    assert [e.task for e in store.episodes()] == ["first"]


def test_a_stream_keeps_its_spec_within_an_episode(store):
    draft = StoreWriter(store, now_ns=lambda: 1).begin("a")
    draft.add(samples(STATE, [[1, 2]]))
    with pytest.raises(SchemaError, match=r"stream 'observation.state' changes from"):
        draft.add(samples(StreamSpec(name=STATE.name, shape=(3,)), [[1, 2, 3]]))


def test_enough_finished_episodes_are_committed_without_being_asked(store):
    writer = StoreWriter(store, now_ns=lambda: 1, episodes_per_commit=2)
    for number in range(3):
        writer.begin(f"e{number}").finish(episode(f"e{number}"))
    assert store.episode_ids() == {"e0", "e1"}


def test_stream_rows_count_and_time_their_samples(store):
    times = [10**9, 2 * 10**9, 5 * 10**9]
    write(store, "a", [samples(STATE, [[0, 0]] * 3, times)])
    [row] = store.streams()
    assert (row["samples"], row["first_arrival_ns"], row["last_arrival_ns"]) == (
        3,
        times[0],
        times[2],
    )
    assert row["rate_hz"] == 0.5
    assert row["spec"] == STATE


def test_a_snapshot_is_read_only(store):
    pinned = store.at(store.snapshot())
    fact = Fact(episode_id="a", key="k", value=1, author="me", time_ns=1)
    for change in (
        lambda: pinned.add_facts([fact]),
        lambda: write(pinned, "a"),
        lambda: pinned.commit_episodes(pa.table({"episode_id": ["a"]})),
        lambda: pinned.compact(fragments=0),
    ):
        with pytest.raises(StoreError, match="is a snapshot: it is read-only"):
            change()
    assert store.episodes() == []


def test_snapshots_name_themselves_and_travel_as_text():
    snapshot = Snapshot(versions={"b": 2, "a": 1})
    assert snapshot.to_json() == '{"a": 1, "b": 2}'
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    assert Snapshot(versions={"a": 1, "b": 2}).snapshot_id == snapshot.snapshot_id
    assert Snapshot(versions={"a": 1, "b": 3}).snapshot_id != snapshot.snapshot_id
