"""The fast way from values to messages gives the bytes of protobuf's own serialiser."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import SchemaError
from viae.record.messages import recorded_message
from viae.record.packing import pack_vectors, packer
from viae.schema import Kind, StreamSpec

SECOND = 10**9
TIMES = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.integers(0, 2 * SECOND),
    st.sampled_from([n + d for n in (0, SECOND, 2**14, 2**28, -SECOND) for d in (-1, 0, 1)]),
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
DTYPES = st.sampled_from(["float64", "float32", "float16", "int32", "uint8", "bool"])


@st.composite
def vectors(draw):
    """A stream, capture times, and an array of values."""
    spec = StreamSpec(name="v", dtype=draw(DTYPES), shape=draw(SHAPES))
    times = draw(st.lists(TIMES, max_size=6))
    return spec, times, draw(hnp.arrays(spec.dtype, (len(times), *spec.shape)))


@given(vectors())
def test_vectors(vector):
    spec, times, values = vector
    pack, slow = packer(spec), recorded_message(Kind.VECTOR).pack
    expected = [
        slow(ns, value.ravel().astype(np.float64).tolist())
        for ns, value in zip(times, values, strict=True)
    ]
    pairs = list(zip(times, values, strict=True))
    assert [pack(ns, value) for ns, value in pairs] == expected
    if values.size:  # else the list has lost its shape
        assert [pack(ns, value.tolist()) for ns, value in pairs] == expected
    assert pack_vectors(spec, np.array(times, np.int64), values) == expected


@given(st.lists(TIMES, max_size=5), st.lists(st.floats(), max_size=4))
def test_varying_vectors(times, value):
    pack, slow = packer(StreamSpec(name="v", shape=(-1,))), recorded_message(Kind.VECTOR).pack
    assert [pack(ns, value) for ns in times] == [slow(ns, value) for ns in times]


@given(TIMES, st.text(), st.binary())
def test_text_and_bytes(ns, text, data):
    for kind, value in ((Kind.TEXT, text), (Kind.BYTES, data)):
        pack = packer(StreamSpec(name="v", kind=kind, dtype=""))
        assert pack(ns, value) == recorded_message(kind).pack(ns, value)


@given(TIMES, st.binary(), st.sampled_from(["jpeg", "png", "webp"]))
def test_images(ns, data, encoding):
    spec = StreamSpec(name="v", kind=Kind.IMAGE, dtype="uint8", encoding=encoding)
    assert packer(spec)(ns, data) == recorded_message(Kind.IMAGE).pack(ns, data, format=encoding)


@pytest.mark.parametrize(
    ("encoding", "format_"),
    [("h264", "h264"), ("h265", "h265"), ("hevc", "h265"), ("av1", "av1"), ("vp9", "vp9")],
)
@given(ns=TIMES, data=st.binary())
def test_video(encoding, format_, ns, data):
    data = b"\0\0\0\1" + data
    spec = StreamSpec(name="v", kind=Kind.VIDEO, dtype="uint8", encoding=encoding)
    assert packer(spec)(ns, data) == recorded_message(Kind.VIDEO).pack(ns, data, format=format_)


def test_length_prefixed_video_is_refused():
    spec = StreamSpec(name="v", kind=Kind.VIDEO, dtype="uint8", encoding="h264")
    with pytest.raises(SchemaError) as caught:
        packer(spec)(0, b"\0\0\x10\0frame")
    assert "begins with 00 00 10 00, not with an Annex B start code" in str(caught.value)
    assert "h264_mp4toannexb" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0, 3.0],
        [1.0, "a"],
        [1.0, 2**53 + 1],
        (0.5, 2**60 + 1),
        [[1.0, 2.0]],
        np.ones(3),
        ["1", "2"],
    ],
)
def test_the_fast_way_refuses_what_the_slow_one_does(value):
    with pytest.raises(SchemaError, match="stream 'v'"):
        packer(StreamSpec(name="v", shape=(2,)))(0, value)


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(SchemaError, match="surrogates not allowed; text is recorded as UTF-8"):
        packer(StreamSpec(name="v", kind=Kind.TEXT, dtype=""))(0, "\ud800")


def test_arrays_of_any_layout_are_the_same():
    spec = StreamSpec(name="v", shape=(2, 3))
    values = np.arange(24.0).reshape(4, 2, 3)
    times = np.arange(4)
    expected = pack_vectors(spec, times, values)
    assert pack_vectors(spec, times, np.asfortranarray(values)) == expected
    assert pack_vectors(spec, times, values.astype(">f8")) == expected
    pack = packer(spec)
    assert [pack(i, np.asfortranarray(v)) for i, v in enumerate(values)] == expected
    assert [pack(i, v.astype(">f8")) for i, v in enumerate(values)] == expected
    with pytest.raises(SchemaError, match="a value of shape"):
        pack_vectors(spec, times, values[:2])
