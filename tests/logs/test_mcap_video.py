"""Topics of coded video become groups of pictures."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from foxglove.messages import CompressedVideo, Timestamp
from mcap.writer import Writer

from viae.logs.messages.video import CODECS, is_key_frame
from viae.record import Recorder
from viae.schema import Kind, LossKind, StreamSpec

S = 10**9
HEIGHT, WIDTH, FRAMES, GROUP = 48, 64, 10, 4
ENCODERS = {
    "h264": ("libx264", {"tune": "zerolatency", "preset": "ultrafast"}),
    "hevc": ("libx265", {"x265-params": "bframes=0:log-level=none", "preset": "ultrafast",
                         "tune": "zerolatency"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "lag-in-frames": "0"}),
}  # fmt: skip
"""FFmpeg's encoders, told to make no frame that refers to a later one."""


def encode(codec: str, frames: int = FRAMES) -> list[tuple[bool, bytes]]:
    """Frames with a key frame every `GROUP`, as FFmpeg's encoder says and makes them."""
    name, options = ENCODERS[codec]
    try:
        context = av.CodecContext.create(name, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this build of FFmpeg has no encoder {name}")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, 10), Fraction(10), GROUP
    context.options = options
    packets = []
    for number in range(frames):
        pixels = np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")
        frame.pts = number
        if number % GROUP == 0:
            frame.pict_type = av.video.frame.PictureType.I
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(packet.is_keyframe, bytes(packet)) for packet in packets]


@pytest.mark.parametrize("codec", ENCODERS)
def test_key_frames_are_those_that_the_encoder_means(codec):
    frames = encode(codec)
    assert len(frames) == FRAMES
    assert [is_key_frame(codec, data) for _, data in frames] == [is_key for is_key, _ in frames]
    assert frames[0][0]


def write(path: Path, frames, *, format_="h264", stamp=lambda i: i * S // 10) -> Path:
    schema = CompressedVideo.get_schema()
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        id_ = writer.register_schema(schema.name, schema.encoding, schema.data)
        channel = writer.register_channel("/eye", "protobuf", id_)
        for i, data in enumerate(frames):
            at = Timestamp(*divmod(stamp(i), S))
            message = CompressedVideo(timestamp=at, frame_id="f", data=data, format=format_)
            writer.add_message(channel, 7 * S + i, message.encode(), 0, i)
        writer.finish()
    return path


@pytest.mark.parametrize(("codec", "format_"), [("h264", "h264"), ("hevc", "h265"), ("vp9", "vp9")])
def test_messages_become_groups(tmp_path, read, codec, format_):
    frames = [data for _, data in encode(codec)]
    log = read(write(tmp_path / "log.mcap", frames, format_=format_, stamp=lambda i: S + i))
    assert log.losses == []
    spec = log.specs["/eye"]
    assert (spec.kind, spec.encoding, spec.shape) == (Kind.VIDEO, codec, (HEIGHT, WIDTH, 3))
    assert (spec.clock, spec.topic) == ("/eye", "/eye")
    assert [packet for group in log.groups for packet in group.packets] == frames
    assert len(log.groups) > 1
    assert log.capture["/eye"] == [S + i for i in range(FRAMES)]
    assert log.arrival["/eye"] == [7 * S + i for i in range(FRAMES)]
    assert log.seq["/eye"] == list(range(FRAMES))
    for group in log.groups:
        assert group.pts.tolist() == group.capture_ns.tolist()
        decoder = av.CodecContext.create(group.spec.encoding, "r")
        pictures = [
            picture
            for packet in (*map(av.Packet, group.packets), None)
            for picture in decoder.decode(packet)
        ]
        assert len(pictures) == len(group)


def test_what_comes_before_the_first_key_frame_is_kept_as_bytes(tmp_path, read):
    frames = [data for _, data in encode("h264")][1:]
    log = read(write(tmp_path / "log.mcap", [*frames, b"no frame at all"]))
    loss = log.loss("no-key-frame")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.REPAIRED, "/eye", GROUP - 1)
    assert log.seq["/eye#raw"] == [0, 1, 2]
    assert log.seq["/eye"] == list(range(3, FRAMES))


def test_frames_that_are_none_are_kept_as_bytes(tmp_path, read):
    log = read(write(tmp_path / "log.mcap", [b"\x00\x00\x00\x01\x65\x88", b""]))
    assert log.loss("undecodable").count == 1
    assert log.loss("no-key-frame").count == 1
    assert log.specs.keys() == {"/eye#raw"}


def test_a_format_that_nobody_knows(tmp_path, read):
    log = read(write(tmp_path / "log.mcap", [b"x"], format_="theora"))
    assert "the format is 'theora', not one of h264" in log.loss("undecodable").detail


def test_a_clock_that_stands_still(tmp_path, read):
    frames = [data for _, data in encode("h264")]
    log = read(write(tmp_path / "log.mcap", frames, stamp=lambda i: 0))
    assert log.loss("zero-stamp").count == FRAMES
    assert log.capture["/eye"] == log.arrival["/eye"]
    log = read(write(tmp_path / "log.mcap", frames, stamp=lambda i: 5))
    assert log.capture["/eye"] == [5] * FRAMES
    for group in log.groups:
        assert (np.diff(group.pts) > 0).all()


def test_what_the_recorder_writes_comes_back(tmp_path, read):
    spec = StreamSpec(
        name="eye", kind=Kind.VIDEO, dtype="uint8", shape=(HEIGHT, WIDTH, 3), encoding="h264",
        clock="camera",
    )  # fmt: skip
    frames = [data for _, data in encode("h264")]
    with Recorder(tmp_path / "log.mcap", streams=[spec]) as recorder:
        for i, data in enumerate(frames):
            recorder.write("eye", data, capture_ns=i, arrival_ns=10 + i)
    log = read(tmp_path / "log.mcap")
    assert log.losses == []
    assert log.specs["eye"].clock == "camera"
    assert log.capture["eye"] == list(range(FRAMES))
    assert [packet for group in log.groups for packet in group.packets] == frames


def test_every_codec_has_a_name_that_ffmpeg_knows():
    for name in CODECS.values():
        assert av.CodecContext.create(name, "r")
