"""From a decoded picture to RGB planes: crop, then scale, then colour, in FFmpeg's own passes.

Training and acting both come through here, so a policy sees the same pixels in both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError
from viae.video.direct import Canvas, DirectScaler

if TYPE_CHECKING:
    import av

Pixels: TypeAlias = npt.NDArray[np.uint8]

WHOLE = 16
"""FFmpeg's ``gbrp`` of an unscaled picture leaves the last columns unwritten where the width is no
multiple of this (seen at 56, 84 and 100, in FFmpeg 7 and 8); its ``rgb24`` does not."""
UNUSUAL_COLOURS = frozenset({1, 4, 7, 9, 10})
"""Colour spaces other than ITU-R 601: 709, FCC, 240M, 2020."""
DEFAULT_COLOURS, FULL_RANGE = 5, 2

PLANES = ((2, 0), (0, 1), (1, 2))
"""Where FFmpeg's ``gbrp`` keeps red, green and blue: (plane, channel)."""


@dataclass(frozen=True, slots=True)
class PictureView:
    """How a picture is looked at.

    Args:
        size: (height, width) to scale to, by area; None keeps what is there.
        crop: (top, left, height, width) cut out before scaling, recorded pixels; None for all.

    Raises:
        SchemaError: a size that is no size.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise SchemaError(f"a picture of size {self.size} has no pixels")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise SchemaError(f"a crop is (top, left, height, width), not {self.crop}")

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what comes out of a picture of this height and width."""
        return self.size or (self.crop[2:] if self.crop else (height, width))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, what is None left out."""
        fields = {"size": self.size, "crop": self.crop}
        return {name: list(value) for name, value in fields.items() if value is not None}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PictureView:
        """The inverse of `to_json`.

        Raises:
            SchemaError: an unknown word, or a value that is no such list of whole numbers.
        """
        lengths = {"size": 2, "crop": 4}
        if not isinstance(fields, Mapping):
            raise SchemaError(f"a picture's view says size and crop, not {fields!r}")
        if unknown := [name for name in fields if name not in lengths]:
            raise SchemaError(
                f"unknown {', '.join(map(repr, unknown))} of a picture's view; there are "
                f"{sorted(lengths)}"
            )
        found: dict[str, Any] = {}
        for name, length in lengths.items():
            value = fields.get(name)
            if value is None:
                continue
            if (
                not isinstance(value, list | tuple)
                or len(value) != length
                or not all(type(number) is int for number in value)
            ):
                raise SchemaError(f"{name} is {length} whole numbers, not {value!r}")
            found[name] = tuple(value)
        return cls(**found)


AS_RECORDED = PictureView()


class Converter:
    """Converts pictures one after another; keeps FFmpeg's tables between those of one kind.

    Not for use by several threads at once.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._direct = DirectScaler()
        self._reformatter = VideoReformatter()
        self._options = _options()

    def into(self, frame: av.VideoFrame, view: PictureView, canvas: Canvas, slot: int) -> None:
        """Write a picture as RGB.

        Args:
            frame: of any size and pixel format.
            view: how it is looked at.
            canvas: where to; its pictures have the size that ``view.shape`` says.
            slot: which picture of the canvas.
        """
        if view.crop is not None:
            frame = _cropped(frame, view.crop)
        if self._direct.into(frame, canvas, slot):
            return
        height, width, out = canvas.height, canvas.width, canvas.pixels[slot]
        options = {**self._options, **colours(frame)}
        if (frame.height, frame.width) == (height, width) and width % WHOLE:
            pixels: Any = self._reformatter.reformat(frame, format="rgb24", **options).to_ndarray()
            out[:] = pixels.transpose(2, 0, 1)
            return
        planar = self._reformatter.reformat(
            frame, width=width, height=height, format="gbrp", interpolation="AREA", **options
        )
        for plane, channel in PLANES:
            memory: Any = planar.planes[plane]
            rows = np.frombuffer(memory, np.uint8).reshape(-1, memory.line_size)
            out[channel] = rows[:height, :width]

    def onto(self, view: PictureView, canvas: Canvas) -> Callable[[av.VideoFrame, int], None]:
        """`into` for many pictures, all looked at alike: a function of picture and slot."""
        direct, otherwise = self._direct.into, self.into

        def put(frame: av.VideoFrame, slot: int) -> None:
            if not direct(frame, canvas, slot):
                otherwise(frame, view, canvas, slot)

        if view.crop is None and canvas.direct:
            return put
        return lambda frame, slot: otherwise(frame, view, canvas, slot)

    def picture(self, frame: av.VideoFrame, view: PictureView) -> Pixels:
        """A picture as RGB in memory of its own: uint8 [3, H, W]."""
        out = np.empty((3, *view.shape(frame.height, frame.width)), np.uint8)
        self.into(frame, view, Canvas(out[None]), 0)
        return out


def colours(frame: av.VideoFrame) -> dict[str, Any]:
    """What a picture says of its colours, for a reformatter: some versions of PyAV do not ask it.

    Empty where it says nothing unusual.
    """
    if frame.colorspace in UNUSUAL_COLOURS:
        return {
            "src_colorspace": frame.colorspace, "dst_colorspace": DEFAULT_COLOURS,
            "src_color_range": frame.color_range, "dst_color_range": FULL_RANGE,
        }  # fmt: skip
    return {}


def _cropped(frame: av.VideoFrame, crop: tuple[int, int, int, int]) -> av.VideoFrame:
    """The part of a picture, in RGB, so that an odd edge does not split a pixel of colour."""
    import av

    top, left, height, width = crop
    if top + height > frame.height or left + width > frame.width:
        raise SchemaError(
            f"a crop of {height}x{width} at ({top}, {left}) does not fit into a picture of "
            f"{frame.height}x{frame.width}"
        )
    pixels: Any = frame.reformat(format="rgb24", **_options()).to_ndarray()
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    return av.VideoFrame.from_ndarray(part, format="rgb24")


@functools.cache
def _options() -> dict[str, Any]:
    """One thread a picture: starting more costs more than the picture (PyAV 16 on can say so)."""
    import av
    from av.video.reformatter import VideoReformatter

    try:
        VideoReformatter().reformat(av.VideoFrame(16, 16, "rgb24"), format="gbrp", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}
