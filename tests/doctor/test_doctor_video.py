"""Videos against their tables."""

from dataclasses import replace

import numpy as np
import pytest
from traces import numbers, seconds, trace

from viae.doctor import video
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import Kind, StreamSpec


def movie(
    frames: int, hz: float, *, table_hz: float | None = None, name: str = "video"
) -> StreamTrace:
    times = seconds(frames, table_hz or hz)
    return StreamTrace(
        spec=StreamSpec(
            name=name, kind=Kind.VIDEO, dtype="uint8", shape=(4, 4, 3), encoding="h264",
        ),
        capture_ns=times, arrival_ns=times, codec="h264", frames_per_s=hz,
    )  # fmt: skip


def file(frames: int, hz: float, path: str = "logs/run.mp4") -> EpisodeTrace:
    return EpisodeTrace(path=path, episode="", format="video", streams={"video": movie(frames, hz)})


def table(topic: str, rows: int, hz: float, *others: tuple[str, int, float]) -> EpisodeTrace:
    blocks = [
        numbers(f"{t}.x", np.zeros((n, 1)), seconds(n, rate))
        for t, n, rate in [(topic, rows, hz), *others]
    ]
    return trace(*blocks, path="logs/run.mcap")


def names(found: list) -> list[str]:
    return [finding.name for finding in found]


@pytest.mark.parametrize(("own", "of_table"), [(30, 25), (30, 30.5), (50, 100)])
def test_a_video_with_a_rate_of_its_own(own: float, of_table: float):
    made = EpisodeTrace(
        path="d",
        episode="e",
        format="made",
        streams={"cam": movie(90, own, table_hz=of_table, name="cam")},
    )
    [found] = video.check(made)
    assert (found.name, found.stream) == ("video-rate-wrong", "cam")
    assert found.values["video_hz"] == own


@pytest.mark.parametrize("of_table", [30, 29.97, 30.2])
def test_rates_that_agree(of_table: float):
    streams = {"cam": movie(90, 30, table_hz=of_table)}
    assert video.check(EpisodeTrace(path="d", episode="", format="made", streams=streams)) == []


def test_dropped_frames_do_not_change_the_rate():
    whole = movie(300, 30)
    keep = np.r_[0:100, 160:300]  # a hole: the mean rate is lower, the period is not
    cut = replace(whole, capture_ns=whole.capture_ns[keep], arrival_ns=whole.arrival_ns[keep])
    assert video.check(EpisodeTrace(path="d", episode="", format="m", streams={"v": cut})) == []


def test_a_video_beside_its_log():
    found = video.check_pair(file(103, 33), table("video", 124, 30))
    assert names(found) == ["video-frames-missing", "video-rate-wrong"]
    assert found[0].count == 21
    assert "run.mp4 has 103 of the 124 frames" in found[0].evidence
    assert "33.00" in found[1].evidence
    assert "30.00" in found[1].evidence


def test_a_video_that_is_whole():
    assert video.check_pair(file(124, 30), table("/camera/info", 124, 30)) == []


def test_a_video_that_is_longer():
    assert names(video.check_pair(file(130, 30), table("frames", 124, 30))) == [
        "video-frames-extra"
    ]


def test_the_table_is_the_stream_that_is_named_for_pictures():
    log = table("joints", 103, 33, ("/front_camera/metadata", 120, 30))
    assert names(video.check_pair(file(103, 30), log)) == ["video-frames-missing"]
    log = table("/run/times", 120, 30, ("joints", 103, 30))  # the stem of the video's name
    assert names(video.check_pair(file(103, 30), log)) == ["video-frames-missing"]


def test_no_table_no_finding():
    assert video.check_pair(file(103, 30), table("imu", 4000, 200, ("joints", 124, 30))) == []
    assert video.check_pair(file(103, 30), table("video", 4000, 200)) == []


def test_which_video_belongs_to_which_log():
    assert video.pairs(["a/run.mp4"], ["a/run.mcap", "a/other.mcap", "b/run.mcap"]) == [
        ("a/run.mp4", "a/run.mcap")
    ]
    assert video.pairs(["a/cam.mp4"], ["a/log.mcap", "b/other.mcap"]) == [
        ("a/cam.mp4", "a/log.mcap")
    ]
    assert video.pairs(["a/cam.mp4"], ["a/1.mcap", "a/2.mcap"]) == []
    assert video.pairs(["a/left.mp4", "a/right.mp4"], ["a/log.mcap"]) == []
