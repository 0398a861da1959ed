"""``viae export`` on the command line."""

import json

import pytest

from builders import reaching_store


@pytest.fixture
def store(tmp_path):
    return reaching_store(tmp_path / "store", episodes=2, steps=6)


def test_says_what_was_written(viae, store, tmp_path):
    said = viae("export", tmp_path / "out", "--to", "lerobot", "--store", store.uri, "--fps", 10)
    assert said.code == 0
    assert "2 episodes, 12 rows" in said.out
    assert "observation.state" in said.out
    assert (tmp_path / "out/meta/info.json").is_file()


def test_prints_json(viae, store, tmp_path):
    said = viae("export", tmp_path / "out", "--to", "parquet", "--store", store.uri, "--json")
    report = json.loads(said.out)
    assert (report["to"], report["rows"], report["losses"]) == ("parquet", 24, [])
    assert "episodes.parquet" in report["files"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--to", "csv"), "there is no export to 'csv'"),
        (("--to", "lerobot", "--clock", "nope"), "the clock 'nope' is no stream"),
        (("--to", "lerobot", "--late", "maybe"), "late is hold, drop, keep, not 'maybe'"),
        (("--to", "mcap", "--rate", "10"), "for  --to lerobot"),
        (("--to", "parquet", "--episode", "zz"), "no episode begins with 'zz'"),
    ],
)
def test_requests_that_make_no_sense_are_one_sentence(viae, store, tmp_path, words, text):
    said = viae("export", tmp_path / "out", "--store", store.uri, *words)
    assert said.code == 2
    assert text in said.err
    assert not (tmp_path / "out").exists()
