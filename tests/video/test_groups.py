"""Groups decoded by the compiled loop: PyAV's pixels, or PyAV's word for what is wrong."""

import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clips import groups, moving
from viae.errors import VideoError
from viae.video import AS_RECORDED, Canvas, Converter, PictureView
from viae.video import groups as compiled_groups
from viae.video.decoder import Coding, GroupDecoder
from viae.video.groups import CompiledGroups, Request

pytest.importorskip("numba")

N = 12
HEIGHT, WIDTH = 32, 64
GLOBAL_HEADER = 1 << 22


def coded(group, extra="", *, header=True, pixel_format="yuv420p"):
    """Packets of each group, and how they are coded: parameter sets beside them or among them."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, pixel_format
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.max_b_frames = 0
    encoder.options = {
        "crf": "20", "tune": "fastdecode,psnr",
        "x264-params": f"keyint={group}:min-keyint={group}:scenecut=0:bframes=0{extra}",
    }  # fmt: skip
    if header:
        encoder.flags |= GLOBAL_HEADER
    packets = []
    for number, pixels in enumerate(moving(N, HEIGHT, WIDTH)):
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    found = []
    for packet in packets:
        if packet.is_keyframe:
            found.append([])
        found[-1].append(bytes(packet))
    return Coding("h264", bytes(encoder.extradata or b"") if header else b"", True), found


def with_lengths(clip):
    """The same as MP4 has it: lengths instead of start codes."""
    coding, found = clip
    sps, pps = (unit for unit in units(coding.extradata) if unit[0] & 31 in {7, 8})
    configuration = (
        b"\x01" + sps[1:4] + b"\xff\xe1" + len(sps).to_bytes(2, "big") + sps
        + b"\x01" + len(pps).to_bytes(2, "big") + pps
    )  # fmt: skip
    packets = [
        [b"".join(len(u).to_bytes(4, "big") + u for u in units(packet)) for packet in group]
        for group in found
    ]
    return Coding("h264", configuration, True), packets


def units(data):
    parts = data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [part for part in parts if part]


CLIPS = {
    "intra": coded(1),
    "pairs": coded(2),
    "long": coded(6),
    "default": coded(4, ":cabac=1:deblock=1"),
    "slices": coded(3, ":slices=2"),
    "inside": coded(3, header=False),
    "lengths": with_lengths(coded(2)),
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(compiled_groups, "WORTH", -1)
    monkeypatch.setattr(CompiledGroups, "closed", False)


def padded(group):
    """Packets with zeros behind them: FFmpeg reads a damaged one beyond its end."""
    return [memoryview(packet + bytes(64))[: len(packet)] for packet in group]


class Decoding:
    """`CompiledGroups` with PyAV beside it; counts what PyAV had to do."""

    def __init__(self):
        self.compiled, self.converter, self.by_pyav = CompiledGroups(), Converter(), 0

    def decode(self, coding, packets, wanted, view=AS_RECORDED, pictures=None):
        """Pictures wanted of each group: uint8 [N, 3, H, W]."""
        flat = [packet for group in packets for packet in group]
        memory = np.frombuffer(b"".join(flat) or b"\x00", np.uint8)
        sizes = np.array([len(packet) for packet in flat], np.int64)
        counts = np.array([len(group) for group in packets], np.int64)
        bounds = np.cumsum([0, *map(len, wanted)])
        height, width = view.shape(HEIGHT, WIDTH)
        if pictures is None:
            pictures = np.zeros((bounds[-1], 3, height, width), np.uint8)
        request = Request(
            addresses=memory.ctypes.data + np.cumsum(sizes) - sizes, sizes=sizes,
            firsts=np.cumsum(counts) - counts, counts=counts, bounds=bounds,
            places=np.concatenate([np.empty(0, np.int64), *map(np.array, wanted)]).astype(np.int64),
            pictures=pictures, slots=np.arange(bounds[-1]),
        )  # fmt: skip

        def by_pyav(group, _anew):
            self.by_pyav += 1
            frame, first = None, bounds[group]
            places = wanted[group]
            for place, frame in GroupDecoder().frames(coding, padded(packets[group]), places):
                canvas = Canvas(pictures[first + places.index(place)][None])
                self.converter.into(frame, view, canvas, 0)
            return frame

        self.compiled.decode(request, [(coding, np.arange(len(packets)))], by_pyav)
        return pictures


def by_pyav(coding, packets, wanted, view=AS_RECORDED):
    converter, found = Converter(), []
    for group, places in zip(packets, wanted, strict=True):
        for _, frame in GroupDecoder().frames(coding, padded(group), places):
            found.append(np.zeros((3, *view.shape(HEIGHT, WIDTH)), np.uint8))
            converter.into(frame, view, Canvas(found[-1][None]), 0)
    return np.stack(found)


def everything(packets):
    return [list(range(len(group))) for group in packets]


@pytest.mark.parametrize("name", sorted(CLIPS))
@pytest.mark.parametrize("view", [AS_RECORDED, PictureView((16, 32))], ids=["whole", "scaled"])
def test_what_follows_the_first_group_takes_the_compiled_way(name, view):
    coding, packets = CLIPS[name]
    wanted, decoding = everything(packets), Decoding()
    for _ in range(3):
        found = decoding.decode(coding, packets, wanted, view)
        assert (found == by_pyav(coding, packets, wanted, view)).all()
    heads = len(decoding.compiled._ready)
    assert 1 <= heads <= 2  # x264 writes what it is into the first packet
    decoding.by_pyav = 0
    decoding.decode(coding, packets, wanted, view)
    assert not decoding.by_pyav


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(CLIPS)),
            st.lists(
                st.tuples(st.integers(0, N - 1), st.sets(st.integers(0, 5), min_size=1)),
                min_size=1, max_size=5,
            ),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_pictures_of_any_groups(requests):
    decoding = Decoding()
    for name, chosen in requests:
        coding, found = CLIPS[name]
        packets = [found[number % len(found)] for number, _ in chosen]
        wanted = [
            sorted({place % len(group) for place in places})
            for group, (_, places) in zip(packets, chosen, strict=True)
        ]
        got = decoding.decode(coding, packets, wanted)
        assert (got == by_pyav(coding, packets, wanted)).all()


DAMAGES = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 1 << 20), st.integers(0, 7)),
    st.tuples(st.just("start"), st.integers(0, 40), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.just(0)),
    st.tuples(st.just("zero"), st.integers(0, 1 << 20), st.integers(1, 30)),
    st.tuples(st.just("swap"), st.integers(0, N), st.integers(0, N)),
    st.tuples(st.just("twice"), st.just(0), st.just(0)),
    st.tuples(st.just("behind"), st.integers(0, N), st.integers(0, N)),
)


def damaged(packets, group, place, damage):
    """Packets with one of them hurt."""
    packets = [list(each) for each in packets]
    group %= len(packets)
    place %= len(packets[group])
    data, (kind, at, more) = bytearray(packets[group][place] or b"\x00"), damage
    if kind in {"flip", "start"}:
        data[at % len(data)] ^= 1 << more
    elif kind == "cut":
        del data[at % len(data) :]
    elif kind == "zero":
        at %= len(data)
        data[at : at + more] = bytes(len(data[at : at + more]))
    elif kind == "twice":
        data *= 2
    else:
        other = packets[at % len(packets)]
        other = other[more % len(other)]
        data = other if kind == "swap" else data + other
    packets[group][place] = bytes(data)
    return packets


def outcome(decode, *args):
    try:
        return decode(*args)
    except VideoError:
        return None


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(CLIPS)),
    st.lists(st.tuples(st.integers(0, N), st.integers(0, N), DAMAGES), min_size=1, max_size=3),
)
def test_damage_has_the_outcome_that_it_has_with_pyav_and_leaves_the_rest_alone(name, damages):
    coding, whole = CLIPS[name]
    decoding = Decoding()
    decoding.decode(coding, whole, everything(whole))
    decoding.decode(coding, whole, everything(whole))
    packets = whole
    for group, place, damage in damages:
        packets = damaged(packets, group, place, damage)
    for again in (packets, whole, packets):
        for group in again:
            wanted = everything([group])
            got = outcome(decoding.decode, coding, [group], wanted)
            expected = outcome(by_pyav, coding, [group], wanted)
            assert (got is None) == (expected is None)
            assert got is None or (got == expected).all()


def test_a_difference_closes_the_way_and_changes_nothing(monkeypatch):
    coding, packets = CLIPS["pairs"]
    monkeypatch.setattr(np, "array_equal", lambda *_: False)
    decoding, wanted = Decoding(), everything(packets)
    for _ in range(3):
        found = decoding.decode(coding, packets, wanted)
        assert (found == by_pyav(coding, packets, wanted)).all()
    assert CompiledGroups.closed
    assert decoding.by_pyav == 3 * len(packets)


def test_what_the_loop_does_not_know_is_left_to_pyav():
    b_frames = groups(moving(N, HEIGHT, WIDTH), np.arange(N), group=6, b_frames=2)
    mpeg4 = groups(moving(N, HEIGHT, WIDTH), np.arange(N), group=4, codec="mpeg4")
    full = coded(2, ":range=pc", pixel_format="yuvj420p")
    cases = [
        (Coding("h264", b_frames[0].extradata, False), [list(g.packets) for g in b_frames]),
        (Coding("mpeg4", mpeg4[0].extradata, True), [list(g.packets) for g in mpeg4]),
        full, coded(2, pixel_format="yuv444p"), coded(2, ":colormatrix=bt709"),
    ]  # fmt: skip
    for coding, packets in cases:
        decoding, wanted = Decoding(), everything(packets)
        for _ in range(2):
            found = decoding.decode(coding, packets, wanted)
            assert (found == by_pyav(coding, packets, wanted)).all()
        assert decoding.by_pyav == 2 * len(packets)


def test_a_canvas_that_would_be_written_beyond_is_left_to_pyav():
    coding, packets = CLIPS["pairs"]
    decoding, wanted, view = Decoding(), everything(packets), PictureView((16, 20))
    for _ in range(2):
        found = decoding.decode(coding, packets, wanted, view)
        assert (found == by_pyav(coding, packets, wanted, view)).all()
    assert decoding.by_pyav == 2 * len(packets)


def test_pictures_that_lie_apart_are_written_and_nothing_beside_them():
    coding, packets = CLIPS["pairs"]
    decoding, wanted = Decoding(), everything(packets)
    for _ in range(2):
        memory = np.full((2 * N + 1, 3, HEIGHT, WIDTH), 77, np.uint8)
        places = [memory[2 * i + 1] for i in range(N)]
        decoding.decode(coding, packets, wanted, pictures=places)
        assert (memory[1::2] == by_pyav(coding, packets, wanted)).all()
        assert (memory[::2] == 77).all()


def test_more_pictures_than_there_are_packets_is_an_error():
    coding, packets = CLIPS["pairs"]
    decoding = Decoding()
    decoding.decode(coding, packets, everything(packets))
    with pytest.raises(VideoError, match="a group of 2 h264 packets gave 2 pictures"):
        decoding.decode(coding, [packets[1]], [[0, 5]])


def test_without_numba_pyav_does_it_all(monkeypatch):
    monkeypatch.setattr(compiled_groups, "_loop", lambda: None)
    coding, packets = CLIPS["pairs"]
    decoding = Decoding()
    for _ in range(2):
        decoding.decode(coding, packets, everything(packets))
    assert decoding.by_pyav == 2 * len(packets)


def test_it_begins_once_there_is_much_to_decode(monkeypatch):
    coding, packets = CLIPS["pairs"]
    decoding, before = Decoding(), CompiledGroups._seen
    monkeypatch.setattr(compiled_groups, "WORTH", 1 << 62)
    decoding.decode(coding, packets, everything(packets))
    once = CompiledGroups._seen - before
    monkeypatch.setattr(compiled_groups, "WORTH", CompiledGroups._seen + once)
    decoding.decode(coding, packets, everything(packets))
    assert not decoding.compiled._ready
    decoding.decode(coding, packets, everything(packets))
    assert decoding.compiled._ready


def test_threads_have_their_own():
    coding, packets = CLIPS["long"]
    wanted = everything(packets)
    expected, wrong = by_pyav(coding, packets, wanted), []

    def work():
        for _ in range(3):
            decoding = Decoding()
            found = [decoding.decode(coding, packets, wanted) for _ in range(10)]
            wrong.extend(pictures for pictures in found if not (pictures == expected).all())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
