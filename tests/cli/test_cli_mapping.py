"""viae ingest --explain drafts a mapping; viae ingest --mapping applies it."""

import json
from pathlib import Path

import pytest
import yaml

from viae.record import Recorder
from viae.schema import StreamSpec


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.mcap"
    streams = [StreamSpec(name="/cmd", shape=(2,), unit="rad"), StreamSpec(name="/debug/x")]
    with Recorder(path, streams=streams, robot="toy") as recorder:
        for t in range(5):
            recorder.write("/cmd", [t, t], capture_ns=t, arrival_ns=t * 10)
            recorder.write("/debug/x", t, capture_ns=t, arrival_ns=t * 10)
    return path


def test_the_draft_changes_nothing(viae, log, tmp_path):
    draft = viae("ingest", log, "--explain", "--store", tmp_path / "store").out
    assert not (tmp_path / "store").exists()
    said = yaml.safe_load(draft)
    assert said["streams"] == {
        "/cmd": {"role": "observation", "unit": "rad"},
        "/debug/x": {"role": "observation"},
    }
    assert "# vector float64 [2], 5 samples, 1e+08 Hz" in draft
    (tmp_path / "draft.yaml").write_text(draft)
    mapping = ("--mapping", tmp_path / "draft.yaml")
    assert viae("ingest", log, *mapping, "--store", tmp_path / "store").code == 0
    assert (
        yaml.safe_load(viae("ingest", log, "--explain", *mapping).out)["streams"]
        == (said["streams"])
    )


def test_a_mapping_is_applied_and_remembered(viae, log, tmp_path):
    mapping, store = tmp_path / "mapping.yaml", tmp_path / "store"
    mapping.write_text(
        "viae_mapping: 1\nepisode: {task: wave}\n"
        'streams: {/cmd: {name: action, role: action}, "/debug/*": {skip: true}}\n'
    )
    assert viae("ingest", log, "--mapping", mapping, "--store", store).code == 0
    [episode] = json.loads(viae("ls", "--store", store, "--json").out)
    assert (episode["task"], episode["robot"]) == ("wave", "toy")
    shown = json.loads(viae("show", episode["episode_id"], "--store", store, "--json").out)
    assert [(s["name"], s["role"]) for s in shown["streams"]] == [("action", "action")]
    assert "viae.mapping" in [fact["key"] for fact in shown["facts"]]
    # Another mapping is another episode; the same one is known.
    again = json.loads(viae("ingest", log, "--mapping", mapping, "--store", store, "--json").out)
    assert (again["ingested"], again["known"]) == (0, 1)


def test_a_pattern_that_fits_nothing_is_said(viae, log, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("viae_mapping: 1\nstreams: {/cmb: {role: action}}\n")
    said = viae("ingest", log, "--mapping", mapping, "--store", tmp_path / "store")
    assert said.code == 1
    assert "nothing fits /cmb" in said.out
