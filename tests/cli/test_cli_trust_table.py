"""``viae trust --table``: any model's scores; what is odd is refused in one sentence."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from viae.trust import calibration_error


def answers(n=240, seed=0):
    """A language model's answers: how sure it said it was, and whether it was right."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return {
        "score": 1 / (1 + np.exp(-4 * z)),
        "outcome": rng.random(n) < 1 / (1 + np.exp(-z)),
        "group": rng.choice(["law", "maths"], n).tolist(),
    }


def followed(n=120, seed=0, steps=20):
    """Attempts over time; failures run to the horizon, and are told by danger in their midst."""
    rng = np.random.default_rng(seed)
    rows = []
    for attempt in range(n):
        good = bool(rng.random() < 0.6)
        onset = rng.uniform(0.1, 0.6) * steps
        for step in range(int(rng.integers(12, 16)) if good else steps):
            danger = rng.normal() + (0 if good or step < onset else 3)
            rows.append((f"a{attempt}", step, steps, danger, good, "push"))
    names = ("attempt", "step", "horizon", "danger", "outcome", "group")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.fixture
def table(tmp_path: Path):
    """Columns as a Parquet file."""

    def write(columns, name="t.parquet") -> Path:
        pq.write_table(pa.table(columns), tmp_path / name)
        return tmp_path / name

    return write


def test_answers_are_calibrated_and_the_thresholds_apply_to_new_ones(viae, table, tmp_path: Path):
    saved, page = tmp_path / "thresholds.json", tmp_path / "report.html"
    said = viae("trust", "--table", table(answers()), "--save", saved, "--out", page, "--json")
    assert said.code == 0
    report = json.loads(said.out)
    (moment,) = report["moments"]
    everything, law, maths = moment["judged"]
    assert [everything["name"], law["name"], maths["name"]] == ["all", "law", "maths"]
    assert law["base_rate"]["n"] + maths["base_rate"]["n"] == everything["base_rate"]["n"] == 240
    assert everything["calibrated"]["ece"]["value"] < everything["given"]["ece"]["value"]
    assert everything["given"]["ece"]["low"] < everything["given"]["ece"]["high"]
    assert (report["timed"], report["refused"], moment["at"]) == (False, [], None)
    assert report["rules"][0]["measured"]["false_alarms"]["value"] < 0.15
    assert "<svg" in page.read_text()

    new = answers(seed=1)
    said = viae("trust", "--table", table(new), "--with", saved, "--json")
    assert said.code == 0
    applied = json.loads(said.out)
    assert [row["row"] for row in applied["rows"]] == list(range(1, 241))
    probability = np.array([row["probability"] for row in applied["rows"]])
    assert np.corrcoef(probability, new["score"])[0, 1] > 0.8
    raw = calibration_error(new["outcome"], new["score"])
    assert applied["held"][0]["measured"]["ece"]["value"] < raw - 0.05
    assert applied["rules"][0]["measured"]["false_alarms"]["value"] < 0.15

    del new["outcome"]
    judged = tmp_path / "judged.csv"
    said = viae("trust", "--table", table(new), "--with", saved, "--out", judged)
    assert said.code == 0
    assert "written" in said.out
    columns = pc.read_csv(judged)
    assert columns.column_names == [
        "row", "attempt", "probability", "low", "high", "alarm_constant",
    ]  # fmt: skip
    np.testing.assert_allclose(columns["probability"].to_numpy(), probability)


def test_attempts_are_judged_at_fixed_times(viae, table, tmp_path: Path):
    saved, figure = tmp_path / "thresholds.json", tmp_path / "r.svg"
    words = ("--score", "danger", "--score-means", "failure", "--alpha", "0.1")
    path = table(followed())
    said = viae("trust", "--table", path, *words, "--save", saved, "--out", figure, "--json")
    assert said.code == 0
    report = json.loads(said.out)
    assert report["elapsed_alone"]["value"] == 1
    assert [moment["at"] for moment in report["moments"]] == [0.1, 0.25, 0.5]
    assert all(moment["elapsed_alone"]["value"] == 0.5 for moment in report["moments"])
    rules = {rule["kind"]: rule["measured"] for rule in report["rules"]}
    assert list(rules) == ["constant", "band", "elapsed time alone"]
    assert rules["constant"]["false_alarms"]["value"] < 0.2
    assert rules["constant"]["twa"]["value"] > rules["elapsed time alone"]["twa"]["value"]
    assert figure.read_text().startswith("<svg")

    said = viae("trust", "--table", path, "--with", saved, "--json")
    applied = json.loads(said.out)
    first = [row for row in applied["rows"] if row["attempt"] == "a0"]
    assert [row["probability"] is None for row in first[:3]] == [True, True, False]
    for kind in ("constant", "band"):
        raised = [row["alarm"][kind] for row in first]
        assert raised == sorted(raised)  # once up, it stays
    said = viae("trust", "--table", path, "--with", saved)
    assert "elapsed time alone" in said.out


def test_sources_are_compared_and_combined(viae, table, tmp_path: Path):
    columns = answers()
    columns["other"] = np.random.default_rng(5).random(240) + columns["outcome"]
    saved = tmp_path / "two.json"
    words = ("--score", "score", "--score", "other")
    said = viae("trust", "--table", table(columns), *words, "--save", saved)
    assert said.code == 0
    assert "combined" in said.out
    assert viae("trust", "--table", table(columns), "--with", saved).code == 0
    said = viae("trust", "--table", table(columns), "--with", saved, "--score", "score")
    assert "the thresholds were made from 2 scores (score, other), not from 1" in said.err


def test_csv_and_json_lines_say_the_same(viae, table, tmp_path: Path):
    columns = answers(60)
    there = pa.table(columns)
    pc.write_csv(there, tmp_path / "t.csv")
    lines = "".join(json.dumps(row) + "\n" for row in there.to_pylist())
    (tmp_path / "t.jsonl").write_text(lines)
    reports = [
        json.loads(viae("trust", "--table", path, "--json").out)
        for path in (table(columns), tmp_path / "t.csv", tmp_path / "t.jsonl")
    ]
    assert reports[0]["moments"] == reports[1]["moments"] == reports[2]["moments"]


def test_too_few_successes_for_alpha_are_named_and_the_rest_is_done(viae, table):
    said = viae("trust", "--table", table(answers(60)), "--alpha", "0.01")
    assert said.code == 1
    assert "ECE after" in said.out
    assert "constant alarm thresholds were not set: " in said.err
    assert "more are needed (99 in all), or a greater alpha" in said.err


def test_a_group_of_three_is_calibrated_like_the_others(viae, table):
    columns = answers()
    columns["group"][:3] = ["tiny"] * 3
    report = json.loads(viae("trust", "--table", table(columns), "--json").out)
    tiny = report["moments"][0]["judged"][-1]
    assert (tiny["name"], tiny["given"], tiny["calibrated"]) == ("tiny", None, None)
    assert tiny["weight"] <= 1 / 21
    assert any("tiny (3 cases:" in note for note in report["notes"])


def test_a_score_that_speaks_for_failure_is_noticed(viae, table):
    columns = answers()
    columns["score"] = 10 * (1 - columns["score"])
    notes = json.loads(viae("trust", "--table", table(columns), "--json").out)["notes"]
    assert "--score-means failure" in notes[0]
    assert "the scores are no probabilities" in notes[1]


@pytest.mark.parametrize(
    ("change", "words", "text"),
    [
        ({"score": None}, (), "there is no column 'score'; it has outcome, group. Say which"),
        ({"outcome": None}, (), "there is no column 'outcome'"),
        ({}, ("--group", "task"), "there is no column 'task'"),
        ({"score": [float("nan")] + [0.5] * 39}, (), "no finite number in 1 of 40 rows, first in"),
        ({"score": ["high"] * 40}, (), "column 'score' is of type string; expected numbers"),
        ({"outcome": [2] + [1, 0] * 19 + [1]}, (), "column 'outcome' says 2 in row 1; an outcome"),
        ({"outcome": [None] + [True] * 39}, (), "column 'outcome' says None in row 1"),
        ({"outcome": [True] * 40}, (), "all 40 outcomes are successes; a score is calibrated"),
        ({"outcome": [False] + [True] * 39}, (), "at least two of either outcome are needed"),
        ({"time_s": [0.0] * 40}, (), "no column says which attempt a row is of"),
        ({"attempt": ["a"] * 20 + ["b"] * 20, "outcome": [True] * 20 + [False] * 20,
          "group": ["all"] * 40}, (), "attempt 'a' has several rows and no time"),
        ({"attempt": ["a"] * 40}, (), "another value of 'outcome' than row 1 does"),
        ({}, ("--alpha", "2"), "a false-alarm rate lies between 0 and 1, not at 2"),
        ({}, ("--method", "platt"), "there is no calibration 'platt'; there are venn-abers"),
        ({}, ("--score-means", "luck"), "a score means success or failure, not 'luck'"),
        ({}, ("--out", "r.pdf"), "r.pdf: a report is written as .html or .svg"),
        ({}, ("--save", "x", "--with", "y"), "--save writes new thresholds, --with applies old"),
        ({}, ("--figure", "x.svg"), "write a table's figure with --out FILE.svg"),
        ({}, ("--with", "nope.json"), "nope.json: there is no such file"),
        ({}, ("bundle",), "name either a bundle, or a table with --table"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(viae, table, change, words, text):
    columns = {k: v for k, v in (answers(40) | change).items() if v is not None}
    said = viae("trust", "--table", table(columns), *words)
    assert (said.code, said.out) == (2, "")
    assert text in said.err


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("t.parquet", None, "there is no such file"),
        ("t.xlsx", b"PK", "a table is one of .parquet, .csv, .jsonl"),
        ("t.parquet", b"no parquet", "this cannot be read as .parquet: "),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"score,outcome\n", "the table has no rows"),
        ("t.json", b"{[", "this cannot be read as .json: "),
    ],
)
def test_what_is_no_table_is_refused(viae, tmp_path: Path, name, content, text):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = viae("trust", "--table", tmp_path / name)
    assert (said.code, said.out) == (2, "")
    assert f"error {tmp_path / name}: {text}" in said.err


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("no json", "this is no JSON"),
        ("[]", "these are no alarm thresholds"),
        ('{"kind": "viae.trust", "version": 99}', "written in version 99"),
        ('{"kind": "viae.trust", "version": 1}', "the file is damaged"),
    ],
)
def test_what_are_no_thresholds_is_refused(viae, table, tmp_path: Path, content, text):
    (tmp_path / "x.json").write_text(content)
    said = viae("trust", "--table", table(answers(20)), "--with", tmp_path / "x.json")
    assert (said.code, said.out) == (2, "")
    assert f"error {tmp_path / 'x.json'}: {text}" in said.err


@pytest.mark.parametrize("package", ["sklearn", "venn_abers"])
def test_missing_extra_is_named(viae, table, monkeypatch, package: str):
    path = table(answers(20))
    monkeypatch.setitem(sys.modules, package, None)
    said = viae("trust", "--table", path)
    assert (said.code, said.out) == (2, "")
    assert f"needs the package '{package}'" in said.err
    assert "pip install 'viae[trust]'" in said.err


def test_rows_whose_times_tell_the_outcome_are_refused(viae, table):
    """Failures are scored late, successes early: the rows used would differ by the clock."""
    rng = np.random.default_rng(0)
    rows = [
        (f"a{a}", t, rng.random(), bool(a % 2))
        for a in range(80)
        for t in ((0.0, 10.0) if a % 2 else (0.9, 10.0))
    ]
    names = ("attempt", "time_s", "score", "outcome")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    said = viae("trust", "--table", table(columns), "--fraction", "0.1")
    assert (said.code, said.out) == (2, "")
    assert "at 10% of the horizon: elapsed time alone tells the outcome (AUROC 1.00)" in said.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--horizon", "5"), "row 7 is at 6, which its horizon of 5 does not allow"),
        (("--score", "danger", "--score", "step"), "combined only in a table without times"),
        (("--fraction", "1.0"), "at 100% of the horizon: of 120 attempts 120 had ended"),
    ],
)
def test_attempts_that_make_no_sense_are_refused(viae, table, words, text):
    columns = followed()
    del columns["horizon"]
    columns["score"] = columns["danger"]
    said = viae("trust", "--table", table(columns), *words)
    assert (said.code, said.out) == (2, "")
    assert text in said.err
