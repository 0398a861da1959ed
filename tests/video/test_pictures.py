"""Coded images and video to pixels: the same for a log and for a camera."""

import dataclasses
import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ns, png, samples
from viae.errors import WindowError
from viae.load import decode_picture, decode_pictures
from viae.schema import Kind, StreamSpec, VideoGroup

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:200:10j, 0:200:14j], 90), axis=2).astype(np.uint8)


def images(encoding, coded, shape=PIXELS.shape):
    spec = StreamSpec(name="eye", kind=Kind.IMAGE, dtype="uint8", shape=shape, encoding=encoding)
    return samples(spec, coded, [1_500_000_000 + i for i in range(len(coded))])


def test_png_comes_back_to_the_bit():
    read = decode_pictures(images("png", [png(PIXELS), png(SMOOTH)]), None)
    assert read.dtype == np.uint8
    assert (read == np.stack([PIXELS, SMOOTH]).transpose(0, 3, 1, 2)).all()


def test_jpeg_comes_back_nearly():
    [read] = decode_pictures(images("jpeg", [png(SMOOTH, "jpeg")]), None)
    assert np.abs(read.astype(int) - SMOOTH.transpose(2, 0, 1)).mean() < 10


def test_gray_png_becomes_rgb():
    [read] = decode_pictures(images("png", [png(PIXELS[..., 0])], (10, 14, 1)), None)
    assert (read == PIXELS[..., 0]).all()


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("rgb8", PIXELS),
        ("bgr8", PIXELS[..., ::-1]),
        ("rgba8", np.dstack([PIXELS, np.full((10, 14), 255, np.uint8)])),
        ("bgra8", np.dstack([PIXELS[..., ::-1], np.full((10, 14), 255, np.uint8)])),
    ],
)
def test_raw_encodings(encoding, raw):
    [read] = decode_pictures(images(encoding, [raw.tobytes()], raw.shape), None)
    assert (read == PIXELS.transpose(2, 0, 1)).all()


def test_raw_gray():
    gray = PIXELS[..., :1]
    [read] = decode_pictures(images("mono8", [gray.tobytes()], gray.shape), None)
    assert (read == gray[..., 0]).all()


def test_raw_sixteen_bits_are_scaled_to_eight():
    deep = np.linspace(0, 65535, 140).astype(np.uint16).reshape(10, 14, 1)
    stream = images("mono16", [deep.tobytes()], deep.shape)
    spec = dataclasses.replace(stream.spec, dtype="uint16")
    [read] = decode_pictures(dataclasses.replace(stream, spec=spec), None)
    assert np.abs(read.astype(int) - (deep[..., 0] >> 8)).max() <= 2


def test_raw_bayer_of_one_colour_is_that_colour():
    [read] = decode_pictures(images("bayer_rggb8", [bytes([200]) * 140], (10, 14, 1)), None)
    assert (read == 200).all()


@pytest.mark.parametrize("size", [None, (5, 7), (10, 14), (3, 20), (24, 24)])
@pytest.mark.parametrize("pixels", [PIXELS, SMOOTH, PIXELS[:, ::-1]])
def test_a_camera_frame_is_scaled_as_a_recorded_one(pixels, size):
    stream = images("png", []).spec
    live = decode_picture(pixels, stream, size)
    assert (
        decode_picture(png(np.ascontiguousarray(pixels)), stream, size).tobytes() == live.tobytes()
    )
    [recorded] = decode_pictures(images("png", [png(np.ascontiguousarray(pixels))]), size)
    [raw] = decode_pictures(images("rgb8", [pixels.tobytes()]), size)
    assert live.shape == (3, *(size or pixels.shape[:2]))
    assert live.tobytes() == recorded.tobytes() == raw.tobytes()


def test_a_gray_camera_frame_is_what_its_recording_is():
    recorded = images("png", [png(PIXELS[..., 0])], (10, 14, 1))
    live = decode_picture(PIXELS[..., :1], recorded.spec, None)
    assert (live == decode_pictures(recorded, None)[0]).all()


def test_no_pictures():
    assert decode_pictures(images("png", []), (4, 6)).shape == (0, 3, 4, 6)
    assert decode_pictures([], (4, 6)).shape == (0, 3, 4, 6)


@pytest.mark.parametrize(
    ("encoding", "coded"),
    [("png", b"nonsense"), ("png", b""), ("jpeg", png(SMOOTH, "jpeg")[:200]), ("rgb8", b"abc")],
)
def test_a_picture_that_cannot_be_decoded_is_placed(encoding, coded):
    with pytest.raises(WindowError) as caught:
        decode_pictures(images(encoding, [coded]), None)
    assert str(caught.value).startswith(
        f"stream 'eye', at 1.500 s: a picture in '{encoding}' cannot be decoded: "
    )


@given(st.data())
def test_a_damaged_png_is_decoded_or_refused(data):
    whole = png(PIXELS)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_pictures(images("png", [bytes(damaged)]), (4, 4))
    except WindowError:
        return
    assert read.shape == (1, 3, 4, 4)


def scenes(n):
    """Smooth pictures, each a little brighter than the one before: easy for any codec."""
    y, x = np.mgrid[0:48, 0:64]
    scene = np.stack([y * 2, x * 2, (x + y)], axis=2)
    return [(scene + 4 * i).clip(0, 255).astype(np.uint8) for i in range(n)]


def film(frames, codec="libx264", **options):
    """Encode, and cut into groups of pictures as remuxing does."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        [stream] = container.streams.video
        spec = StreamSpec(
            name="film", kind=Kind.VIDEO, dtype="uint8", shape=(48, 64, 3),
            encoding=stream.codec_context.name,
        )  # fmt: skip
        groups, extradata = [], stream.codec_context.extradata or b""
        for packet in container.demux(stream):
            if packet.size:
                if packet.is_keyframe:
                    groups.append([])
                groups[-1].append((bytes(packet), packet.pts))
    made, position = [], 0
    for group in groups:
        times = ns(range(position, position + len(group)))
        made.append(
            VideoGroup(
                spec=spec, extradata=extradata, packets=[data for data, _ in group],
                pts=ns(pts for _, pts in group), time_base=(1, 10), capture_ns=times,
                arrival_ns=times, seq=times,
            )
        )  # fmt: skip
        position += len(group)
    return made


@pytest.mark.parametrize("bframes", ["0", "2"])
def test_h264_comes_back_in_presentation_order(bframes):
    frames = scenes(10)
    groups = film(
        frames, g="4", bf=bframes, crf="10", flags="+cgop", **{"x264-params": "scenecut=0"}
    )
    assert [len(group) for group in groups] == [4, 4, 2]
    assert any((np.diff(g.pts) < 0).any() for g in groups) == (bframes == "2")
    read = decode_pictures(groups, None)
    assert read.shape == (10, 3, 48, 64)
    wanted = np.stack(frames).transpose(0, 3, 1, 2).astype(int)
    assert np.abs(read - wanted).mean() < 3  # yuv420p rounds
    means = read.reshape(10, -1).mean(1)
    assert (np.diff(means) > 1).all()
    assert decode_pictures(groups, (12, 16)).shape == (10, 3, 12, 16)


def test_a_later_group_decodes_by_itself():
    groups = film(scenes(8), g="4", bf="0", **{"x264-params": "scenecut=0"})
    assert (decode_pictures(groups[1:], None) == decode_pictures(groups, None)[4:]).all()


def test_video_that_lost_packets_is_refused():
    [group] = film(scenes(4), g="4", bf="0")
    broken = VideoGroup(
        spec=group.spec, extradata=b"", packets=[b"\x00\x00\x00\x01junk"] * 4, pts=group.pts,
        time_base=group.time_base, capture_ns=group.capture_ns, arrival_ns=group.arrival_ns,
        seq=group.seq,
    )  # fmt: skip
    with pytest.raises(WindowError, match="stream 'film'"):
        decode_pictures([broken], None)


def test_a_codec_without_decoder_is_named():
    [group] = film(scenes(1))
    spec = StreamSpec(name="film", kind=Kind.VIDEO, dtype="uint8", encoding="nonsense")
    unknown = VideoGroup(
        spec=spec, extradata=b"", packets=group.packets, pts=group.pts, time_base=(1, 10),
        capture_ns=group.capture_ns, arrival_ns=group.arrival_ns, seq=group.seq,
    )  # fmt: skip
    with pytest.raises(WindowError, match="stream 'film': FFmpeg has no decoder for 'nonsense'"):
        decode_pictures([unknown], None)
