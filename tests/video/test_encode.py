"""Pictures coded for fast access: every picture back, in its place, its size and its colours."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viae.errors import UsageError, VideoError
from viae.schema import Kind, StreamSpec
from viae.video import decode_frames, decode_pictures
from viae.video.decoder import Coding, GroupDecoder
from viae.video.encode import FastVideo, GroupEncoder, Stamp

COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
     (255, 255, 255), (0, 0, 0), (128, 64, 32)], np.uint8,
)  # fmt: skip


def spec_of(height: int, width: int) -> StreamSpec:
    return StreamSpec(
        name="eye", kind=Kind.IMAGE, dtype="uint8", shape=(height, width, 3), encoding="png",
        unit="", topic="/eye", clock="eye",
    )  # fmt: skip


def moving(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    """A square that walks over a gradient: uint8 [count, H, W, 3]."""
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[..., 0] = np.linspace(0, 200, width).astype(np.uint8)
    pictures[..., 1] = 60
    for number in range(count):
        at = 2 * number % (width - 8)
        pictures[number, 4:12, at : at + 8] = (20, 200, 240)
    return pictures


def frame_of(pixels: np.ndarray, to: str = "rgb24") -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame if to == "rgb24" else frame.reformat(format=to)


def encode(pictures, options=FastVideo(), *, stamps=None, to="rgb24"):  # noqa: B008 (frozen)
    encoder = GroupEncoder(spec_of(*pictures.shape[1:3]), options)
    stamps = stamps or [Stamp(10 * i, 10 * i + 3, i) for i in range(len(pictures))]
    groups = []
    for pixels, stamp in zip(pictures, stamps, strict=True):
        groups.extend(encoder.add(frame_of(pixels, to), stamp))
    return [*groups, *encoder.finish()]


def psnr(one, other) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / error))


def test_it_says_what_the_stream_is_now():
    [spec] = {group.spec for group in encode(moving(3))}
    assert (spec.kind, spec.encoding, spec.dtype, spec.shape) == (
        Kind.VIDEO, "h264", "uint8", (32, 48, 3),
    )  # fmt: skip
    assert (spec.name, spec.topic, spec.clock) == ("eye", "/eye", "eye")


@settings(max_examples=15)
@given(count=st.integers(1, 12), group=st.integers(1, 5))
def test_times_and_pictures_are_all_there_in_order(count, group):
    random = np.random.default_rng(count)
    times = random.integers(-(10**18), 10**18, (2, count))
    seq = np.cumsum(random.integers(1, 5, count))
    stamps = [Stamp(*map(int, stamp)) for stamp in zip(*times, seq, strict=True)]
    pictures = moving(count)
    groups = encode(pictures, FastVideo(group=group), stamps=stamps)
    assert [len(each) for each in groups] == [
        min(group, count - start) for start in range(0, count, group)
    ]
    for field, expected in zip(("capture_ns", "arrival_ns", "seq"), (*times, seq), strict=True):
        assert np.concatenate([getattr(each, field) for each in groups]).tolist() == list(expected)
    assert all((np.diff(each.pts) > 0).all() for each in groups)
    read = decode_pictures(groups, None).transpose(0, 2, 3, 1)
    for number, picture in enumerate(read):
        assert np.argmax([psnr(picture, other) for other in pictures]) == number


def test_each_group_decodes_alone_with_a_fresh_or_a_used_decoder():
    groups = encode(moving(9), FastVideo(group=3))
    expected = [frame.to_ndarray() for frame in decode_frames(groups)]
    used = GroupDecoder()
    for number in (2, 0, 1, 2):
        group = groups[number]
        coding = Coding(group.spec.encoding, group.extradata, in_order=True)
        for decoder in (used, GroupDecoder()):
            found = [
                frame.to_ndarray() for _, frame in decoder.frames(coding, group.packets, range(3))
            ]
            assert (np.array(found) == expected[3 * number : 3 * number + 3]).all()


def test_parameter_sets_are_beside_the_packets_not_in_them():
    for group in encode(moving(4)):
        assert group.extradata
        for packet in group.packets:
            kinds = {unit[0] & 31 for unit in packet.split(b"\0\0\1")[1:]}
            assert not kinds & {7, 8}


def test_it_needs_few_of_a_long_stream_at_once():
    encoder = GroupEncoder(spec_of(16, 16), FastVideo())
    behind = 0
    taken = 0
    for number, pixels in enumerate(moving(60, 16, 16)):
        taken += sum(map(len, encoder.add(frame_of(pixels), Stamp(number, number, number))))
        behind = max(behind, number + 1 - taken)
    taken += sum(map(len, encoder.finish()))
    assert taken == 60
    assert behind <= 8


def test_equal_pictures_give_equal_bytes_whatever_their_times():
    one, other = (
        encode(moving(7), stamps=[Stamp(scale * i, scale * i, i) for i in range(7)])
        for scale in (1, 10**9)
    )
    assert [each.packets for each in one] == [each.packets for each in other]


@pytest.mark.parametrize("size", [(16, 16), (15, 17), (16, 17), (1, 3)])
def test_every_size_comes_back(size):
    pictures = np.full((3, *size, 3), (200, 40, 90), np.uint8)
    read = decode_pictures(encode(pictures), None)
    assert read.shape == (3, 3, *size)
    assert np.abs(read.transpose(0, 2, 3, 1).astype(int) - pictures).mean() < 2.5


@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_saturated_colours_come_back(size):
    pictures = np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), *size, 3))
    groups = encode(pictures, FastVideo(group=1))
    read = decode_pictures(groups, None).transpose(0, 2, 3, 1)
    error = np.abs(read.astype(int) - pictures).mean(axis=(1, 2, 3))
    assert error.max() < 2.5
    [frame, *_] = decode_frames(groups)
    assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)


@pytest.mark.parametrize("matrix", [1, 6, 2])
@pytest.mark.parametrize("limits", [1, 2, 0])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_pictures_that_are_no_rgb_keep_their_colours(matrix, limits, pixels):
    encoder = GroupEncoder(spec_of(16, 16), FastVideo(group=1))
    frames, groups = [], []
    for number, colour in enumerate(COLOURS):
        rgb = frame_of(np.full((16, 16, 3), colour, np.uint8))
        frame = rgb.reformat(
            format=pixels, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=limits or 1
        )
        frame.colorspace, frame.color_range = matrix, limits
        frames.append(frame.to_ndarray(format="rgb24").astype(int))
        groups.extend(encoder.add(frame, Stamp(number, number, number)))
    groups.extend(encoder.finish())
    read = decode_pictures(groups, None).transpose(0, 2, 3, 1)
    assert (
        np.abs(read - np.array(frames)).mean(axis=(1, 2, 3)).max() < 5
    )  # another matrix or range: 13 and more


def test_own_times_stay_where_they_increase():
    base = (1, 90_000)
    stamps = [Stamp(5, 7, i, pts, base) for i, pts in enumerate((3, 900, 1000, 999))]
    one, other = encode(moving(4), stamps=stamps)
    assert (one.pts.tolist(), one.time_base) == ([3, 900], base)
    assert (other.pts.tolist(), other.time_base) == ([7, 8], (1, 10**9))


def test_pictures_that_video_cannot_hold_are_refused():
    encoder = GroupEncoder(spec_of(16, 16), FastVideo())
    stamp = Stamp(0, 0, 0)
    for frame, why in (
        (frame_of(moving(1, 16, 18)[0]), "a picture is 18x16, the stream is 16x16"),
        (frame_of(moving(1, 16, 16)[0], "rgba"), "transparency"),
        (frame_of(moving(1, 16, 16)[0], "gray16le"), "16 bits"),
        (frame_of(moving(1, 16, 16)[0], "yuv420p10le"), "10 bits"),
        (av.VideoFrame(16, 16, "bayer_rggb8"), "mosaic"),
    ):
        with pytest.raises(VideoError, match=why):
            list(encoder.add(frame, stamp))


@pytest.mark.parametrize(
    "wrong", [{"group": 0}, {"crf": -1}, {"crf": 52}, {"crf": float("nan")}, {"preset": "best"}]
)
def test_options_that_x264_does_not_have(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        FastVideo(**wrong)
