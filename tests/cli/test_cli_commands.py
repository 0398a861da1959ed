"""Every command has help, is documented, and prints JSON that programs can read."""

import json
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import typer

from viae import Fact, Store
from viae.cli import data, learn  # noqa: F401 (importing them adds their commands)
from viae.cli.app import app
from viae.cli.render import print_table

COMMANDS: dict[str, click.Command] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_each_option_does(viae, name: str):
    said = viae(name, "--help")
    assert (said.code, said.err) == (0, "")
    command = COMMANDS[name]
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    self_evident = {"seed"}
    for parameter in command.params:
        assert parameter.name in self_evident or getattr(parameter, "help", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_is_in_the_readme(request: pytest.FixtureRequest, name: str):
    assert f"viae {name}" in (request.config.rootpath / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"report"}))  # it prints no table
def test_has_json(name: str):
    own = getattr(COMMANDS[name], "commands", {name: COMMANDS[name]})  # those of a group
    for command in own.values():
        assert "--json" in {option for p in command.params for option in p.opts}


def test_no_command_shows_help(viae):
    said = viae()
    assert said.code == 2
    assert all(name in said.out + said.err for name in COMMANDS)


def test_module_is_the_command():
    said = subprocess.run(
        [sys.executable, "-m", "viae", "ls", "--help"], capture_output=True, text=True, check=True
    )
    assert "List the episodes" in said.stdout


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("ls",), {"episode_id", "task", "outcome", "conditions"}),
        (("query", "SELECT count(*) AS n, 'nan'::DOUBLE AS x FROM samples"), {"n", "x"}),
        (("select", "--budget", "3"), {"task", "demonstrations", "gain", "reason"}),
        (("show", "EPISODE"), {"episode", "streams", "facts"}),
        (("errors", "FIRST_BUNDLE"), {"ratio", "first_step_ratio", "episodes"}),
        (("trust", "BUNDLE"), {"auroc", "brier_skill", "ece", "bins", "n_test"}),
        (("train", "BUNDLE", "--steps", "60"), {"bundle", "windows", "curve", "episodes"}),
        (
            ("evaluate", "BUNDLE", "-n", "2", "--horizon", "100", "--workers", "1"),
            {"bundle", "overall", "tasks", "against_first"},
        ),
        (
            ("record", "--task", "drawer-open", "-n", "2", "--horizon", "100", "--workers", "1"),
            {"drawer-open"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_json_is_all_there_is(viae, improved_copy, words: tuple[str, ...], keys: set[str]):
    say_that_half_succeeded(improved_copy.store)  # trust needs both
    stand_ins = {
        "EPISODE": improved_copy.store.episodes()[0].episode_id,
        "FIRST_BUNDLE": improved_copy.work / "bundles" / "round-0",
        "BUNDLE": improved_copy.work / "bundles" / "round-1",
    }
    said = viae(
        *(stand_ins.get(word, word) for word in words), "--store", improved_copy.store.uri, "--json"
    )
    assert said.code == 0, said.err
    value = json.loads(said.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    first = value[0] if isinstance(value, list) else value
    assert keys <= first.keys()


def say_that_half_succeeded(store: Store) -> None:
    now_ns = time.time_ns()
    store.add_facts(
        [
            Fact(
                episode_id=episode.episode_id, key="outcome", author="a judge", time_ns=now_ns,
                value=episode.conditions["seed"] % 2 == 0,
            )
            for episode in store.episodes()
            if episode.agent.startswith("bundle:")
        ]
    )  # fmt: skip


@pytest.mark.parametrize("words", [("ls",), ("query", "SELECT task, outcome FROM episodes")])
def test_tables_name_their_columns(viae, improved, words: tuple[str, ...]):
    said = viae(*words, "--store", improved.store.uri)
    assert said.code == 0
    assert "task" in said.out
    assert "drawer-open" in said.out


def test_rates_come_with_n_and_an_interval(viae, improved_copy):
    bundles = [improved_copy.work / "bundles" / f"round-{n}" for n in (0, 1)]
    said = viae(
        "evaluate", *bundles, "-n", "4", "--horizon", "100", "--workers", "1",
        "--logs", improved_copy.work / "logs", "--store", improved_copy.store.uri,
    )  # fmt: skip
    assert said.code == 0, said.err
    rows = [line for line in said.out.splitlines() if line.startswith("│") and "%" in line]
    assert len(rows) == 4  # two tasks, all, difference
    assert all(row.count("%]") == row.count("n=") for row in rows)


def test_ingest_json(viae, tmp_path: Path, data_dir: Path):
    said = viae("ingest", data_dir / "rerun_mcap", "--store", tmp_path / "s", "--json")
    value = json.loads(said.out)
    assert said.code == (0 if value["complete"] else 1)
    assert value["ingested"] == 4
    assert len(value["skipped_files"]) == 3


def test_numbers_in_tables_stay_short(capsys: pytest.CaptureFixture[str]):
    print_table(("a", "b", "c"), [(0.12345678, 1234567.8, -1e300)])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("0.1235", "1,234,568", "-1e+300"))
