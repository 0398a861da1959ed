"""``viae doctor``: what it prints, and its exit code."""

import json
import re
from pathlib import Path

import pytest

import viae.verbs.doctor  # noqa: F401 (its rules are in the catalogue, too)
from viae.doctor import CATALOGUE
from viae.testing import write_lerobot


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lerobot(
        tmp_path_factory.mktemp("made") / "set", episodes=3, frames=40, total_episodes=5
    )


def test_people_read_what_why_and_what_to_do(viae, dataset: Path):
    said = viae("doctor", dataset)
    assert said.code == 4
    for name in ("episodes-missing", "exact-grid-times"):
        rule = CATALOGUE[name]
        assert name in said.out
        flat = " ".join(said.out.split())
        assert rule.consequence in flat
        assert rule.fix in flat
    assert said.out.index("episodes-missing") < said.out.index("exact-grid-times")  # worst first
    assert said.out.count("exact-grid-times") == 1  # folded over episodes
    assert re.search(r"observation\.state.*120", said.out)
    assert "1 log, 3 episodes: 2 errors" in said.out


def test_text_fits_in_100_columns(viae, dataset: Path):
    lines = viae("doctor", dataset).out.splitlines()
    assert max(len(line) for line in lines if not set(line) & set("│┃┏┡└")) <= 100


def test_programs_read_json(viae, dataset: Path):
    said = viae("doctor", dataset, "--json", "--quick")
    value = json.loads(said.out)
    assert value["exit_code"] == said.code == 4
    found = value["logs"][0]["findings"]
    grid = [f for f in found if f["name"] == "exact-grid-times"]
    assert len(grid) == 3  # not folded
    assert {"name", "severity", "evidence", "consequence", "fix", "values"} <= grid[0].keys()


def test_a_page(viae, dataset: Path, tmp_path: Path):
    said = viae("doctor", dataset, "--html", tmp_path / "page.html")
    assert said.code == 4
    assert "page.html" in said.out
    assert "</html>" in (tmp_path / "page.html").read_text()


def test_the_catalogue(viae):
    said = viae("doctor", "--list", "--json")
    assert said.code == 0
    assert {rule["name"] for rule in json.loads(said.out)} == set(CATALOGUE)
    assert "state-lags-action" in viae("doctor", "--list").out


def test_a_request_without_sense(viae, tmp_path: Path):
    assert viae("doctor").code == 2
    assert viae("doctor", tmp_path / "nothing").code == 2


def test_every_rule_is_documented(request: pytest.FixtureRequest):
    text = (request.config.rootpath / "docs" / "doctor.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    written = {name: (severity, title, consequence) for name, severity, title, consequence in rows}
    assert len(written) == len(rows)
    assert written == {
        rule.name: (str(rule.severity), rule.title, rule.consequence) for rule in CATALOGUE.values()
    }, "python -m viae doctor --list --json has the catalogue; write its rows into docs/doctor.md"
