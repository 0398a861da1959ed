"""Every pixel of a picture is written, in the colours that the picture names."""

import av
import numpy as np
import pytest

from viae.video import AS_RECORDED, Canvas, Converter


def coded(width, height, *, colours=2):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    frame.colorspace = colours
    return frame


@pytest.mark.parametrize("width", [*range(48, 82, 2), 84, 100, 200])
def test_no_column_is_left_unwritten(width):
    frame = coded(width, 48)
    out = np.full((3, 48, width), 77, np.uint8)
    Converter().into(frame, AS_RECORDED, Canvas(out[None]), 0)
    assert (out.transpose(1, 2, 0) == frame.to_ndarray(format="rgb24")).all()


@pytest.mark.parametrize("width", [64, 84])
def test_colours_are_those_that_the_picture_names(width):
    frame = coded(width, 48, colours=1)  # ITU-R 709
    planes = [np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size) for p in frame.planes]
    y, u, v = (
        plane[:height, :across].astype(float)
        for plane, height, across in zip(
            planes, (48, 24, 24), (width, width // 2, width // 2), strict=True
        )
    )
    blue, red = (chroma.repeat(2, 0).repeat(2, 1) - 128 for chroma in (u, v))
    bright = (y - 16) * 255 / 219
    exact = np.stack([
        bright + 1.5748 * red * 255 / 224,
        bright - (0.1873 * blue + 0.4681 * red) * 255 / 224,
        bright + 1.8556 * blue * 255 / 224,
    ])  # fmt: skip
    out = Converter().picture(frame, AS_RECORDED)
    assert np.abs(out - np.clip(exact, 0, 255)).max() <= 3
