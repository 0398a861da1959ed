"""Video files that lie alone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs import open_log
from viae.schema import Kind, LossKind
from viae.testing.making import write_video


def test_one_stream_with_the_files_own_times(tmp_path: Path, read):
    write_video(tmp_path / "made.mp4", frames=9)
    episode = read(tmp_path / "made.mp4")
    spec = episode.specs["video"]
    assert (spec.kind, spec.shape, spec.clock) == (Kind.VIDEO, (48, 64, 3), "video")
    assert episode.capture["video"] == [i * 100_000_000 for i in range(9)]
    assert episode.statements["video.major_brand"] == "isom"
    assert episode.statements["video.rate_hz"] == pytest.approx(10)
    assert episode.losses == []


def test_variable_rate_is_kept(tmp_path: Path, read):
    ticks = [0, 1, 2, 10, 11, 40]
    with av.open(tmp_path / "made.mkv", "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    episode = read(tmp_path / "made.mkv")
    assert episode.capture["video"] == [tick * 10_000_000 for tick in ticks]


def test_b_frames_come_in_the_order_they_are_shown(tmp_path: Path, read):
    write_video(tmp_path / "m.mp4", frames=9, codec="libx264", options={"g": "9", "bf": "2"})
    episode = read(tmp_path / "m.mp4")
    assert episode.capture["video"] == [i * 100_000_000 for i in range(9)]
    [group] = episode.groups
    assert group.pts.tolist() != sorted(group.pts.tolist())


def test_no_bytes_and_no_video(tmp_path: Path):
    path = tmp_path / "made.mp4"
    path.write_bytes(b"")
    with pytest.raises(EmptyLogError):
        open_log(path)
    path.write_text("nothing to see")
    with pytest.raises(DamagedLogError, match="it cannot be read as a video"):
        open_log(path)


def test_a_file_that_is_cut_says_so(tmp_path: Path, read):
    """By its index (mp4) or by its declared duration (mkv)."""
    write_video(tmp_path / "made.mkv", frames=12)
    data = (tmp_path / "made.mkv").read_bytes()
    (tmp_path / "made.mkv").write_bytes(data[: int(len(data) * 0.85)])
    episode = read(tmp_path / "made.mkv")
    assert 0 < len(episode.seq["video"]) < 12
    loss = episode.loss("truncated")
    assert loss.kind is LossKind.LOST
    assert loss.detail.startswith("it declares 1.200 s, its last picture is at")
