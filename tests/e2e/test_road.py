"""From nothing to a better policy, by the command line alone."""

import json
from pathlib import Path

WORLD = ("--horizon", "100", "--workers", "2")


def test_step_by_step(viae, tmp_path: Path, monkeypatch):
    """Every room once: each command finds what the last one left in the store."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        said = viae(*words, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    tasks = ("--task", "button-press", "--task", "drawer-open")
    recorded = run("record", *tasks, "-n", "2", *WORLD)
    assert recorded == {"button-press": [0, 1], "drawer-open": [0, 1]}
    again = run("ingest", "store/logs")  # what was recorded came in by the same door
    assert (again["ingested"], again["known"]) == (0, 4)
    trained = run("train", "first", "--steps", "60")
    assert trained["episodes"] == {"trained_on": 4, "held_out": 0}
    [first] = run("evaluate", "first", "-n", "3", *WORLD)
    assert first["overall"]["n"] == 6
    queue = run("select", "--budget", "2")
    assert sum(line["demonstrations"] for line in queue) == 2
    for line in queue:
        if line["demonstrations"]:
            count = str(line["have"] + line["demonstrations"])
            run("record", "--task", line["task"], "-n", count, *WORLD)
    assert run("train", "second", "--steps", "60")["episodes"]["trained_on"] == 6
    first, second = run("evaluate", "first", "second", "-n", "3", *WORLD)
    assert first["against_first"] is None
    assert second["against_first"]["n"] == 6
    [counted] = run(
        "query", "SELECT count(*) AS n FROM episodes WHERE starts_with(agent, 'bundle:')"
    )
    assert counted["n"] == 12


def test_in_one_command(viae, tmp_path: Path):
    words = (
        "improve", "--task", "drawer-open", "--demonstrations", "2", "--rounds", "1",
        "--budget", "1", "--attempts", "3", "--steps", "40", *WORLD,
        "--store", tmp_path / "store",
    )  # fmt: skip
    said = viae(*words)
    assert said.code == 0, said.err
    rows = [line for line in said.out.splitlines() if line.startswith("│") and "%" in line]
    assert len(rows) == 3  # the task, all, the change
    assert all(row.count("%]") == row.count("n=3") > 0 for row in rows)
    assert (tmp_path / "report.html").exists()
    assert viae(*words).out == said.out
    told = json.loads(viae(*words, "--json").out)
    assert [told_round["overall"]["n"] for told_round in told["rounds"]] == [3, 3]
