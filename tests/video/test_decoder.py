"""Random access to groups of pictures: the same pictures as from start to end."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clips import groups, moving
from viae.errors import VideoError
from viae.video import AS_RECORDED, Converter, decode_pictures
from viae.video.decoder import Coding, GroupDecoder

N = 12
TIMES = np.arange(N) * 33_000_000
CLIPS = {
    "intra": groups(moving(N), TIMES, group=1),
    "pairs": groups(moving(N), TIMES, group=2),
    "long": groups(moving(N), TIMES, group=12),
    "b-frames": groups(moving(N), TIMES, group=6, b_frames=2),
    "mpeg4": groups(moving(N), TIMES, group=4, codec="mpeg4"),
}


def coding(group):
    in_order = bool((np.diff(group.pts) > 0).all())
    return Coding(group.spec.encoding, group.extradata, in_order)


@pytest.fixture(scope="module")
def whole():
    return {name: decode_pictures(clip, None) for name, clip in CLIPS.items()}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(CLIPS)), st.sets(st.integers(0, N - 1))), max_size=6)
)
def test_any_pictures_in_any_order_from_one_decoder(whole, requests):
    decoder, converter = GroupDecoder(), Converter()
    for name, wanted in requests:
        start = 0
        for group in CLIPS[name]:
            places = {i - start for i in wanted if start <= i < start + len(group)}
            found = list(decoder.frames(coding(group), group.packets, places))
            assert [place for place, _ in found] == sorted(places)
            for place, frame in found:
                got = converter.picture(frame, AS_RECORDED)
                assert (got == whole[name][start + place]).all()
            start += len(group)


def test_b_frames_are_seen_to_be_out_of_order():
    assert not coding(CLIPS["b-frames"][0]).in_order
    assert all(coding(group).in_order for group in CLIPS["long"])


def test_only_the_packets_up_to_the_picture_are_decoded():
    [group] = CLIPS["long"]
    broken = [*group.packets[:5], *(b"\x00" for _ in group.packets[5:])]
    found = dict(GroupDecoder().frames(coding(group), broken, {2, 4}))
    assert sorted(found) == [2, 4]


def test_what_cannot_be_decoded_is_an_error():
    [group] = CLIPS["long"]
    with pytest.raises(VideoError, match="picture 0 of a group of 2"):
        list(GroupDecoder().frames(coding(group), [b"garbage", b"garbage"], {1}))
    with pytest.raises(VideoError, match=r"a group of 5 mpeg4 packets gave|picture"):
        few = list(itertools.islice(CLIPS["mpeg4"][0].packets, 3))
        list(GroupDecoder().frames(coding(CLIPS["mpeg4"][0]), [*few, b"", b""], {4}))
    with pytest.raises(VideoError, match="no decoder for 'fishsticks'"):
        list(GroupDecoder().frames(Coding("fishsticks", b"", True), [b"x"], {0}))


def test_a_damaged_group_does_not_show_in_the_next():
    decoder, converter = GroupDecoder(), Converter()
    for group in CLIPS["intra"]:
        [packet], how = group.packets, coding(group)
        expected = converter.picture(dict(decoder.frames(how, [packet], {0}))[0], AS_RECORDED)
        for cut in range(len(packet) // 3, len(packet), len(packet) // 6):
            damaged = memoryview(packet[:cut] + bytes(64))[:cut]
            with contextlib.suppress(VideoError):
                list(decoder.frames(how, [damaged], {0}))
            [(_, frame)] = decoder.frames(how, [packet], {0})
            assert (converter.picture(frame, AS_RECORDED) == expected).all()
