"""The doctor reads files, folders and stores, compares what belongs together, never falls over."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from viae import Recorder, Store, StreamSpec
from viae.doctor import Severity
from viae.logs import format as log_format
from viae.schema import Role
from viae.testing import write_lerobot
from viae.testing.making import write_video
from viae.verbs.clock import clock
from viae.verbs.doctor import DoctorReport, doctor
from viae.verbs.ingest import ingest
from viae.verbs.progress import Progress

STATE = StreamSpec(name="state", shape=(2,))
FRAMES = StreamSpec(name="camera_frames", shape=(1,))
ACTION = StreamSpec(name="action", shape=(2,), role=Role.ACTION)


def times(count: int, hz: float = 30.0, *, seed: int = 0) -> list[int]:
    """Times with the jitter of a real clock, ns."""
    jitter = np.random.default_rng(seed).uniform(0, 1e-3, count)
    return [int(t) for t in (1_000 + np.arange(count) / hz + jitter) * 1e9]


def recording(path: Path, *, seed: int = 0, count: int = 90, frames: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.cumsum(np.random.default_rng(seed).standard_normal((count, 2)), axis=0)
    with Recorder(path, streams=[STATE, FRAMES]) as recorder:
        for value, t in zip(values, times(count, seed=seed), strict=True):
            recorder.write("state", value, capture_ns=t, arrival_ns=t)
        for i, t in enumerate(times(frames)):
            recorder.write("camera_frames", [i], capture_ns=t, arrival_ns=t)
    return path


def names(report: DoctorReport) -> set[str]:
    return {finding.name for finding in report.findings}


def test_a_good_recording(tmp_path: Path):
    report = doctor([recording(tmp_path / "run.mcap")])
    assert report.findings == []
    assert (report.worst, report.exit_code) == (None, 0)
    [log] = report.logs
    assert (log.format, log.episodes) == ("mcap", 1)
    [row] = [row for row in log.streams if row.stream == "state"]
    assert row.count == 90
    assert row.rate_hz == pytest.approx(30, rel=0.02)


def test_a_store_does_not_find_again_what_a_fact_corrects(tmp_path: Path):
    path = tmp_path / "run.mcap"
    with Recorder(path, streams=[STATE]) as recorder:
        for i, t in enumerate(times(90)):
            recorder.write("state", [i, i % 7], capture_ns=t - 3_600 * 10**9, arrival_ns=t)
    store = Store.create(tmp_path / "store")
    ingest([path], store)
    of_log, of_store = doctor([path]), doctor([store.uri])
    assert "clock-offset" in names(of_log)
    assert of_log.exit_code == 3
    [note] = [f for f in of_store.findings if f.name == "clock-corrected"]
    assert of_store.exit_code == 0
    assert (note.stream, note.values["settles"]) == ("state", ["clock-offset"])
    assert names(of_store) == names(of_log) - {"clock-offset"} | {"clock-corrected"}
    [row] = of_store.logs[0].streams
    assert row.delay_median_ms is None  # captured when it arrived, up to the least delay
    clock(store, streams=["state"], say="as-stamped", author="me")
    assert names(doctor([store.uri])) == names(of_log)


def test_a_store_says_what_its_logs_say(tmp_path: Path):
    root = write_lerobot(tmp_path / "set", episodes=3, frames=40, declared_codec="h264")
    store = Store.create(tmp_path / "store")
    ingest([root], store)
    of_log, of_store = doctor([root]), doctor([store.uri])
    assert "codec-differs" in names(of_log)
    assert names(of_log) == names(of_store)
    [log], [stored] = of_log.logs, of_store.logs
    assert stored.format == "store"
    assert stored.episodes == log.episodes == 3
    by_name = {row.stream: row for row in log.streams}
    for row in stored.streams:
        assert row.count == by_name[row.stream].count
        assert row.rate_hz == by_name[row.stream].rate_hz


def test_what_is_declared_and_not_there(tmp_path: Path):
    root = write_lerobot(tmp_path / "set", episodes=2, total_episodes=5, video_frames=10)
    report = doctor([root])
    assert {"episodes-missing", "frames-missing", "video-short"} <= names(report)
    assert report.exit_code == 4


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_video_beside_a_recording(tmp_path: Path, what: str):
    log = recording(tmp_path / "run.mcap", frames=60)
    write_video(tmp_path / "run.mp4", frames=50, fps=25)
    report = doctor([log if what == "file" else tmp_path])
    [missing] = [f for f in report.across if f.name == "video-frames-missing"]
    assert missing.count == 10
    assert "video-rate-wrong" in names(report)
    assert missing.path.endswith("run.mp4")


def test_recordings_of_one_folder_are_a_dataset(tmp_path: Path):
    for number, seed in enumerate([0, 1, 2, 1]):
        recording(tmp_path / f"{number}.mcap", seed=seed)
    report = doctor([tmp_path])
    [found] = report.across
    assert found.name == "near-duplicate-episodes"
    assert found.path == str(tmp_path)
    assert found.values["groups"] == [["1.mcap", "3.mcap"]]


def test_what_cannot_be_read_is_an_error_and_the_rest_is_read(tmp_path: Path):
    recording(tmp_path / "good.mcap")
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "noise.mcap").write_bytes(bytes(range(256)) * 20)
    report = doctor([tmp_path])
    bad = {Path(f.path).name for f in report.findings if f.name == "unreadable"}
    assert bad == {"empty.mcap", "noise.mcap"}
    assert report.exit_code == 4
    assert sum(log.episodes for log in report.logs) == 1


def test_a_reader_that_fails_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = recording(tmp_path / "run.mcap")

    class Broken(log_format.LogEpisode):
        uri, range = str(log), "a part"

        def fingerprint(self) -> str:
            return ""

        def read(self):
            yield log_format.Statement(key="task", value="x")
            raise ZeroDivisionError("a bug in a parser")

    opened = log_format.Log(path=log, format="mcap", episodes=(Broken(),))
    monkeypatch.setattr(sys.modules["viae.verbs.doctor"], "open_log", lambda path: opened)
    [found] = doctor([log]).findings
    assert (found.name, found.severity) == ("unreadable", Severity.ERROR)
    assert "ZeroDivisionError: a bug in a parser" in found.evidence


def test_a_folder_without_logs(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    [found] = doctor([tmp_path]).findings
    assert found.name == "unreadable"
    assert "no log is here" in found.evidence


def test_progress_and_json(tmp_path: Path):
    moments: list[Progress] = []
    for number in range(2):
        recording(tmp_path / f"{number}.mcap", seed=number)
    report = doctor([tmp_path], tell=moments.append)
    assert moments[-1].done == moments[-1].total == 2
    value = json.loads(json.dumps(report.to_json()))
    assert value["exit_code"] == 0
    assert len(value["logs"]) == 2
    assert value["logs"][0]["streams"][0]["stream"]


def test_the_page_stands_alone(tmp_path: Path):
    root = write_lerobot(tmp_path / "set", episodes=3, frames=40, total_episodes=5)
    page = tmp_path / "out" / "page.html"
    doctor([root, recording(tmp_path / "run.mcap")], html=page)
    text = page.read_text()
    assert "episodes-missing" in text
    assert "exact-grid-times" in text
    assert text.count("<svg") > 4
    assert "src=" not in text
    assert "<script" not in text
    assert "<link" not in text
    assert text.count('role="img"') == text.count("<figure")
    assert len(text) < 3_000_000


def test_names_in_a_log_are_text_on_the_page(tmp_path: Path):
    path = tmp_path / "run.mcap"
    with Recorder(path, streams=[StreamSpec(name="<b>bold", shape=(1,))]) as recorder:
        for t in times(60):
            recorder.write("<b>bold", [t % 7], capture_ns=t, arrival_ns=t)
    page = tmp_path / "page.html"
    doctor([path], html=page)
    assert "<b>bold" not in page.read_text()


@pytest.mark.data
def test_real_logs(data_dir: Path):
    oak = doctor([data_dir / "depthai_oak_recording"])
    [missing] = [f for f in oak.findings if f.name == "video-frames-missing"]
    assert missing.count == 21
    assert "103 of the 124" in missing.evidence
    [rate] = [f for f in oak.findings if f.name == "video-rate-wrong"]
    assert rate.values["video_hz"] == pytest.approx(33, abs=0.01)
    assert rate.values["table_hz"] == pytest.approx(30, abs=0.01)

    drone = doctor([data_dir / "px4_ulog" / "sample.ulg"])
    assert {"dropout", "time-never-advances"} <= names(drone)

    humanoid = doctor([data_dir / "g1_inspire_lerobot_v21"], pictures=False)
    assert {"episodes-missing", "exact-grid-times", "state-lags-action"} <= names(humanoid)
    [lag] = [f for f in humanoid.findings if f.name == "state-lags-action"]
    assert 4 <= lag.values["lag_frames"] <= 5

    apples = doctor([data_dir / "rerun_lerobot_v30_apple_storage"], pictures=False)
    [frames] = [f for f in apples.findings if f.name == "frames-missing"]
    assert "14983" in frames.evidence
    assert "899" in frames.evidence
