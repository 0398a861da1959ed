"""Split: what belongs together stays on one side, and the report says what a naive draw leaks."""

import json

import numpy as np
import pytest

from builders import STATE, samples, write
from viae.errors import QueryError, UsageError
from viae.schema import Fact
from viae.store import Store, query
from viae.verbs.split import split


def add(store, episode_id, seed, **fields):
    """An episode whose movement follows from a seed."""
    walk = np.cumsum(np.random.default_rng(seed).standard_normal((40, 2)), axis=0)
    fields = {"task": "reach", "log_format": "made"} | fields
    return write(store, episode_id, [samples(STATE, walk, range(0, 400, 10))], **fields)


@pytest.fixture
def store(tmp_path):
    """24 episodes of two tasks: six sessions, and a movement recorded twice."""
    store = Store.create(tmp_path / "store")
    for number in range(24):
        add(
            store, f"e{number:02}", 3 if number == 20 else number,
            task="reach" if number % 2 else "push", conditions={"operator": f"o{number % 6}"},
        )  # fmt: skip
    return store


def test_nothing_tied_is_on_both_sides(store):
    for seed in range(8):
        report = split(store, fraction=0.25, seed=seed)
        held, train = set(report.held_out), set(report.train)
        assert not held & train
        assert len(held | train) == 24
        operators = [{int(i[1:]) % 6 for i in side} for side in (held, train)]
        assert not operators[0] & operators[1]
        assert report.near_duplicates == [["e03", "e20"]]
        assert ({"e03", "e20"} <= held) or ({"e03", "e20"} <= train)
        assert (report.leak.sessions, report.leak.near_duplicates) == (0, 0)
        assert report.by_episode.sessions > 0
        assert report.sessions == (6, 6)
        assert report.rules == {"'operator' of the episode": 24}
    assert split(store, fraction=0.25, seed=7).held_out == report.held_out


def test_sessions_are_what_the_user_says(store):
    report = split(store, session="CASE WHEN episode_id < 'e04' THEN 'first' END", fraction=0.25)
    assert report.rules == {"--session": 4, "--session gives NULL: alone": 20}
    assert report.sessions == (21, 1)
    first = {"e00", "e01", "e02", "e03"}
    assert first <= set(report.held_out) or first <= set(report.train)
    with pytest.raises(QueryError):
        split(store, session="nonsense")


def test_sessions_without_a_word_are_files_where_a_file_is_a_recording(tmp_path):
    store = Store.create(tmp_path)
    for number in range(6):
        add(store, f"a{number}", number, log_format="mcap", log_uri=f"day{number // 3}.mcap")
        add(store, f"b{number}", 100 + number, log_format="lerobot", log_uri="dataset")
    store.add_facts(
        [Fact(episode_id="b0", key="session", value="s", author="me", time_ns=1),
         Fact(episode_id="b1", key="session", value="s", author="me", time_ns=1)]
    )  # fmt: skip
    report = split(store, fraction=0.3)
    assert report.rules == {
        "same log file": 6, "'session' of the episode": 2, "unknown: alone": 4,
    }  # fmt: skip
    assert report.sessions == (7, 3)


def test_facts_say_the_sides_in_sql(store):
    before = split(store, fraction=0.25, where="task = 'push'")
    assert query(store, "SELECT * FROM facts WHERE key = 'split'").num_rows == 0
    report = split(store, fraction=0.25, where="task = 'push'", append=True, now_ns=lambda: 5)
    assert report.held_out == before.held_out
    sql = "SELECT episode_id FROM episodes WHERE fact(episode_id, 'split') = 'held-out' ORDER BY 1"
    assert query(store, sql)["episode_id"].to_pylist() == report.held_out
    other = "SELECT count(*) AS n FROM episodes WHERE fact(episode_id, 'split') IS NULL"
    assert query(store, other).to_pylist() == [{"n": 12}]
    again = split(store, fraction=0.25, seed=3, append=True, now_ns=lambda: 6)
    assert query(store, sql)["episode_id"].to_pylist() == again.held_out


def test_what_cannot_be_split_says_why(store):
    with pytest.raises(UsageError, match="largest session has 24 of them"):
        split(store, session="'one'")
    with pytest.raises(UsageError, match=r"0\.1 rounds to none in each task.*--fraction"):
        split(store, session="NULL", where="episode_id < 'e02'")
    with pytest.raises(UsageError, match="no episode fits"):
        split(store, where="false")
    with pytest.raises(UsageError, match="between 0 and 1"):
        split(store, fraction=1.0)


def test_the_command(viae, store, tmp_path):
    said = viae("split", "--store", store.uri, "--fraction", 0.25, "--append",
                "--out", tmp_path / "split.json")  # fmt: skip
    assert said.code == 0
    assert "6 sessions, 6 of several episodes; by rule: 'operator' of the episode (24)" in said.out
    assert "here it is 0 and 0" in said.out
    assert "2 episodes are near-duplicates, in 1 groups" in said.out
    written = json.loads((tmp_path / "split.json").read_text())
    printed = viae("split", "--store", store.uri, "--fraction", 0.25, "--json")
    assert json.loads(printed.out)["held_out"] == written["held_out"]
    assert set(written["tasks"]) == {"push", "reach"}
    nowhere = viae("split", "--store", store.uri, "--fraction", 0.25, "--out",
                   tmp_path / "no" / "split.json")  # fmt: skip
    assert nowhere.code == 2
    assert "cannot be written" in nowhere.err
    assert "near-duplicates" not in nowhere.err  # said before the work
    assert viae("split", "--store", store.uri, "--seed", -1).code == 2
