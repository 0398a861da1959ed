"""Streams coded anew while they pass: what is wanted, nothing else, and an account of it."""

import io
import itertools
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from builders import STATE, ns, png, samples
from viae.errors import SchemaError, UsageError
from viae.schema import Kind, Samples, StreamSpec, VideoGroup
from viae.video import decode_frames, decode_pictures
from viae.video.encode import FastVideo
from viae.video.lines import UnrecodableError
from viae.video.recode import Recoder
from viae.video.recoding import Recoding, why_kept

ALL = Recoding(video="fast", images="video")
WALK = np.zeros((12, 16, 24, 3), np.uint8)
for number in range(len(WALK)):
    WALK[number, :, number : number + 6] = (210, 90, 30)


def spec_of(encoding: str, kind: Kind = Kind.IMAGE, **changes) -> StreamSpec:
    fields = {"shape": (16, 24, 3), "dtype": "uint8", "name": "eye"} | changes
    return StreamSpec(kind=kind, encoding=encoding, **fields)


def images(encoding: str, coded, start: int = 0, **changes) -> Samples:
    times = ns(range(start, start + len(coded)))
    return Samples(
        spec=spec_of(encoding, **changes), capture_ns=times * 10, arrival_ns=times * 10 + 4,
        seq=times, values=coded,
    )  # fmt: skip


def jpeg(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="jpeg", quality=95, subsampling=0)
    return buffer.getvalue()


def video(
    codec: str = "libx264", *, group: int = 5, beside: bool = False, **options
) -> list[VideoGroup]:
    """Coded video with B-frames, in groups as a reader yields them."""
    coder = av.CodecContext.create(codec, "w")
    coder.height, coder.width, coder.pix_fmt = 16, 24, "yuv420p"
    coder.time_base = Fraction(1, 30)
    coder.gop_size = group
    coder.flags |= beside << 22  # parameter sets beside the packets
    coder.options = {"crf": "10", **options}
    packets = []
    for number, pixels in enumerate(WALK):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        packets += coder.encode(frame)
    packets += coder.encode(None)
    starts = [i for i, packet in enumerate(packets) if packet.is_keyframe] + [len(packets)]
    groups, seen = [], 0
    for begin, end in itertools.pairwise(starts):
        n = end - begin
        times = ns(range(seen, seen + n))
        seen += n
        groups.append(
            VideoGroup(
                spec=spec_of("h264", Kind.VIDEO),
                extradata=bytes(coder.extradata or b""),
                packets=[bytes(packet) for packet in packets[begin:end]],
                pts=ns(packet.pts for packet in packets[begin:end]),
                time_base=(1, 30),
                capture_ns=times * 10,
                arrival_ns=times * 10 + 4,
                seq=times,
            )
        )
    return groups


def recode(items, options=ALL, kept=None):
    recoder = Recoder(options, kept)
    return list(recoder.items(items)), recoder.accounts


def same_samples(groups, count=12):
    for name, expected in (
        ("seq", ns(range(count))), ("capture_ns", ns(range(count)) * 10),
        ("arrival_ns", ns(range(count)) * 10 + 4),
    ):  # fmt: skip
        assert (np.concatenate([getattr(group, name) for group in groups]) == expected).all()


def near(groups, pixels=WALK, most=6.0):
    read = decode_pictures(groups, None).transpose(0, 2, 3, 1)
    errors = np.abs(read[:, None].astype(int) - pixels).mean(axis=(2, 3, 4))
    assert errors.argmin(axis=1).tolist() == list(range(len(pixels)))
    assert np.diag(errors).max() < most


@pytest.mark.parametrize(
    ("encoding", "coded", "shape"),
    [
        ("png", [png(pixels) for pixels in WALK], (16, 24, 3)),
        ("jpeg", [jpeg(pixels) for pixels in WALK], (16, 24, 3)),
        ("rgb8", [pixels.tobytes() for pixels in WALK], (16, 24, 3)),
        ("bgr8", [pixels[..., ::-1].tobytes() for pixels in WALK], (16, 24, 3)),
    ],
)
def test_images_become_video(encoding, coded, shape):
    before = [images(encoding, coded[:5]), images(encoding, coded[5:], 5)]
    groups, accounts = recode(before)
    assert {(g.spec.kind, g.spec.encoding, g.spec.shape) for g in groups} == {
        (Kind.VIDEO, "h264", (16, 24, 3))
    }
    assert [len(group) for group in groups] == [2] * 6
    same_samples(groups)
    near(groups)
    account = accounts["eye"]
    assert (account.pictures, account.groups, account.kept) == (12, 6, "")
    assert account.bytes_before == sum(map(len, coded))
    assert account.bytes_after == sum(len(p) for group in groups for p in group.packets)
    assert account.to_json()["was"] == {"kind": "image", "encoding": encoding}


def test_gray_images_stay_gray():
    gray = WALK[..., 0]
    block = images("mono8", [pixels.tobytes() for pixels in gray], shape=(16, 24, 1))
    groups, _ = recode([block])
    near(groups, np.repeat(gray[..., None], 3, axis=3), most=2)


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-pyramid": "normal"}])
def test_video_is_coded_anew_in_order_of_presentation(options):
    before = video(x264opts="open-gop=0", **options)
    assert any((np.diff(group.pts) < 0).any() for group in before) == (options["bf"] != "0")
    groups, accounts = recode(before)
    assert {group.spec.encoding for group in groups} == {"h264"}
    assert all((np.diff(group.pts) > 0).all() for group in groups)
    assert np.concatenate([group.pts for group in groups]).tolist() == list(range(12))
    assert {group.time_base for group in groups} == {(1, 30)}
    same_samples(groups)
    old, new = (decode_pictures(each, None).astype(int) for each in (before, groups))
    assert np.abs(old - new).mean(axis=(1, 2, 3)).max() < 2
    assert accounts["eye"].pictures == 12


def test_pictures_that_refer_to_the_group_before_are_there():
    before = video(**{"bf": "3", "x264-params": "open-gop=1:b-adapt=0:keyint=5:scenecut=0"})
    groups, _ = recode(before)
    same_samples(groups)
    near(groups)


def test_a_decoder_configuration_may_change_midway():
    later = [
        replace(
            group, pts=group.pts + 100, time_base=(1, 15), capture_ns=group.capture_ns + 120,
            arrival_ns=group.arrival_ns + 120, seq=group.seq + 12,
        )
        for group in video(beside=True, bf="0")
    ]  # fmt: skip
    one = video(beside=True, bf="2")
    assert one[0].extradata != later[0].extradata
    groups, _ = recode([*one, *later])
    same_samples(groups, 24)


def test_what_is_not_asked_for_passes_untouched():
    state = samples(STATE, [[1, 2], [3, 4]])
    picture, movie = images("png", [png(WALK[0])], name="still"), video()
    for options, kinds in (
        (Recoding(), ()),
        (Recoding(video="fast"), (Kind.VIDEO,)),
        (Recoding(images="video"), (Kind.IMAGE,)),
    ):
        before = ["a statement", state, picture, *movie]
        after, accounts = recode(before, options)
        assert {a.spec.kind for a in accounts.values()} == set(kinds)
        for item in before:
            touched = not isinstance(item, str) and item.spec.kind in kinds
            assert any(item is other for other in after) != touched


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (spec_of("mono16", dtype="uint16", shape=(4, 4, 1)), "uint16"),
        (spec_of("16UC1", dtype="uint16", shape=(4, 4, 1)), "uint16"),
        (spec_of("32FC1", dtype="float32", shape=(4, 4, 1)), "float32"),
        (spec_of("png", dtype="uint16", shape=(4, 4, 1)), "uint16"),
        (spec_of("bayer_rggb8", shape=(4, 4, 1)), "mosaic"),
        (spec_of("rgba8", shape=(4, 4, 4)), "4 channels"),
        (spec_of("png", shape=(4, 4, 4)), "4 channels"),
        (spec_of("uyvy", shape=(4, 4, 2)), "2 channels"),
    ],
)
def test_what_would_lose_more_than_coding_does_stays(spec, why):
    block = Samples(
        spec=spec, capture_ns=ns([1]), arrival_ns=ns([2]), seq=ns([0]), values=[b"whatever"]
    )
    after, accounts = recode([block])
    assert after == [block]
    assert why in accounts["eye"].kept == why_kept(spec)
    assert accounts["eye"].to_json()["kept"] == why_kept(spec)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(WALK[0]).quantize(4),
        Image.fromarray(WALK[0]).convert("RGBA"),
        Image.fromarray(np.zeros((16, 24), np.uint16)),
        Image.fromarray(np.zeros((16, 24), bool)),
    ],
    ids=lambda image: image.mode,
)
def test_an_image_that_is_not_what_its_stream_says_is_no_video(image):
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    with pytest.raises(UnrecodableError, match=f"kind '{image.mode}'"):
        recode([images("png", [png(WALK[0]), buffer.getvalue()])])


@pytest.mark.parametrize("group", [1, 2])
def test_a_picture_that_cannot_be_decoded_names_stream_and_time(group):
    coded = [png(pixels) for pixels in WALK]
    coded[7] = coded[7][:40]
    recoder = Recoder(Recoding(images="video", coding=FastVideo(group=group)))
    with pytest.raises(UnrecodableError, match=r"stream 'eye', at 0\.000 s: a picture") as caught:
        list(recoder.items([images("png", coded)]))
    assert (caught.value.stream, caught.value.at_ns) == ("eye", 74)
    after, accounts = recode([images("png", coded)], kept={"eye": caught.value.reason})
    assert [block.spec.encoding for block in after] == ["png"]
    assert accounts["eye"].kept == caught.value.reason


def test_video_that_cannot_be_decoded():
    groups = video(bf="0")
    broken = groups[1]
    damaged = [b"\0\0\0\1\x65" + b"\xff" * 40, *broken.packets[1:]]
    again = VideoGroup(
        spec=broken.spec, extradata=b"", packets=damaged, pts=broken.pts, time_base=(1, 30),
        capture_ns=broken.capture_ns, arrival_ns=broken.arrival_ns, seq=broken.seq,
    )  # fmt: skip
    with pytest.raises(UnrecodableError):
        recode([groups[0], again, *groups[2:]])
    with pytest.raises(UnrecodableError, match="no decoder for 'unheard'"):
        recode([
            VideoGroup(
                spec=spec_of("unheard", Kind.VIDEO), extradata=b"", packets=[b"x"], pts=ns([0]),
                time_base=(1, 30), capture_ns=ns([0]), arrival_ns=ns([0]), seq=ns([0]),
            )
        ])  # fmt: skip


def test_video_without_its_beginning():
    [first, *rest] = video(bf="0")
    headless = VideoGroup(
        spec=first.spec, extradata=b"", packets=first.packets[1:], pts=first.pts[1:],
        time_base=(1, 30), capture_ns=first.capture_ns[1:], arrival_ns=first.arrival_ns[1:],
        seq=first.seq[1:],
    )  # fmt: skip
    with pytest.raises(UnrecodableError):
        recode([headless, *rest])


def test_a_stream_that_changes_midway():
    with pytest.raises(SchemaError, match="'eye' changes"):
        recode([images("png", [png(WALK[0])]), images("jpeg", [jpeg(WALK[1])], 1)])


def test_options_say_what_they_are():
    assert not Recoding() and Recoding(video="fast") and Recoding(images="video")
    assert Recoding().digest != ALL.digest != Recoding(video="fast").digest
    assert ALL.digest == Recoding(video="fast", images="video").digest
    assert ALL.digest != Recoding(video="fast", images="video", coding=FastVideo(crf=20)).digest
    for wrong in ({"video": "slow"}, {"images": "fast"}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is one of keep"):
            Recoding(**wrong)


def test_frames_come_back_as_the_same_format():
    groups, _ = recode(video())
    assert {frame.format.name for frame in decode_frames(groups)} == {"yuv420p"}
