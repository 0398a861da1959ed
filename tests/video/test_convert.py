"""To RGB planes: the direct way into a batch and PyAV's own give the same pixels."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viae.errors import SchemaError
from viae.video import AS_RECORDED, Canvas, Converter, PictureView
from viae.video.direct import DirectScaler


def frame(width, height, seed=0, pixel_format="yuv420p"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)


def by_pyav(picture, height, width):
    planar = picture.reformat(width=width, height=height, format="gbrp", interpolation="AREA")
    planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in planar.planes]
    return np.stack([planes[i][:height, :width] for i in (2, 0, 1)])


sizes = st.integers(1, 40).map(lambda n: 2 * n)


@settings(deadline=None)
@given(sizes, sizes, st.integers(1, 60), st.integers(1, 5), st.integers(0, 9), st.booleans())
def test_direct_equals_pyav_and_writes_nothing_beside(width, height, rows, blocks, seed, scale):
    if scale:
        to_height, to_width = 2 * rows, 32 * blocks
    else:
        width = 32 * blocks
        to_height, to_width = height, width
    picture = frame(width, height, seed)
    memory = np.full(3 * to_height * to_width + 512, 77, np.uint8)
    out = memory[256:-256].reshape(3, to_height, to_width)
    assert DirectScaler().into(picture, Canvas(out[None]), 0)
    assert (out == by_pyav(picture, to_height, to_width)).all()
    assert (memory[:256] == 77).all()
    assert (memory[-256:] == 77).all()


def test_sizes_that_would_be_written_beyond_go_through_pyav():
    for height, width in ((24, 30), (23, 32)):
        canvas = Canvas(np.empty((1, 3, height, width), np.uint8))
        assert not DirectScaler().into(frame(32, 24), canvas, 0)


def test_direct_equals_pyav_in_the_colours_of_recordings():
    for colorspace in (1, 2, 5, 6, 9):
        for color_range in (0, 1, 2):
            picture = frame(64, 48)
            picture.colorspace, picture.color_range = colorspace, color_range
            out = np.zeros((3, 48, 64), np.uint8)
            if DirectScaler().into(picture, Canvas(out[None]), 0):
                assert (out == by_pyav(picture, 48, 64)).all(), (colorspace, color_range)


@pytest.mark.parametrize("pixel_format", ["yuv444p", "gray", "rgb24", "yuvj420p", "yuv420p10le"])
def test_what_the_direct_way_does_not_know_goes_through_pyav(pixel_format):
    picture = frame(32, 24, pixel_format=pixel_format)
    out = np.full((3, 12, 20), 7, np.uint8)
    assert not DirectScaler().into(picture, Canvas(out[None]), 0)
    assert (out == 7).all()
    got = Converter().picture(picture, PictureView((12, 20)))
    assert (got == by_pyav(picture, 12, 20)).all()


def test_a_slice_of_a_batch_is_written_and_nothing_beside_it():
    batch = np.full((3, 2, 3, 24, 32), 9, np.uint8)
    Converter().into(frame(32, 24), AS_RECORDED, Canvas(batch[1]), 1)
    assert (batch[[0, 2]] == 9).all()
    assert (batch[1, 0] == 9).all()
    assert (batch[1, 1] == by_pyav(frame(32, 24), 24, 32)).all()


def test_a_crop_is_cut_before_scaling():
    picture = frame(32, 24)
    whole = by_pyav(picture, 24, 32)
    got = Converter().picture(picture, PictureView(crop=(3, 5, 10, 11)))
    assert (got == whole[:, 3:13, 5:16]).all()
    assert Converter().picture(picture, PictureView((8, 8), (3, 5, 10, 11))).shape == (3, 8, 8)
    with pytest.raises(SchemaError, match="a crop of 20x20 at"):
        Converter().picture(picture, PictureView(crop=(10, 10, 20, 20)))


def test_a_view_that_makes_no_sense_is_refused():
    with pytest.raises(SchemaError, match="no pixels"):
        PictureView((0, 5))
    with pytest.raises(SchemaError, match="a crop is"):
        PictureView(crop=(0, 0, 0, 4))
    assert PictureView.from_json(PictureView((4, 5), (0, 1, 2, 3)).to_json()) == PictureView(
        (4, 5), (0, 1, 2, 3)
    )
