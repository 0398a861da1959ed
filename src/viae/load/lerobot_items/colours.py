"""Colours as torchcodec makes them, LeRobot's decoder: the same libswscale, asked the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viae.load.frames import OnDemand
from viae.video import Canvas, Converter, PictureView
from viae.video.convert import DEFAULT_COLOURS, FULL_RANGE
from viae.video.decoder import GroupDecoder

if TYPE_CHECKING:
    import av


class TorchcodecColours(Converter):
    """Converts pictures of any format to RGB in their own size.

    8-bit 4:2:0 of the usual colours takes the fast way, which gives the same. For others it
    matters how chroma is spread (bicubic) and that the colour matrix is the one that the video
    names.
    """

    def into(self, frame: av.VideoFrame, view: PictureView, canvas: Canvas, slot: int) -> None:
        """See `Converter.into`; ``view`` is ``AS_RECORDED``."""
        if self._direct.into(frame, canvas, slot):
            return
        told: dict[str, Any] = {}
        if frame.format.name.startswith("yuv"):
            told = {
                "src_colorspace": frame.colorspace, "dst_colorspace": DEFAULT_COLOURS,
                "src_color_range": frame.color_range, "dst_color_range": FULL_RANGE,
            }  # fmt: skip
        pixels: Any = self._reformatter.reformat(
            frame, format="rgb24", interpolation="BICUBIC", **told, **self._options
        ).to_ndarray()
        canvas.pixels[slot] = pixels.transpose(2, 0, 1)


class MovieFrames(OnDemand):
    """Frames on demand, in these colours."""

    def _tools(self) -> tuple[GroupDecoder, Converter]:
        tools: tuple[GroupDecoder, Converter] | None = getattr(self._mine, "tools", None)
        if tools is None:
            tools = self._mine.tools = (GroupDecoder(), TorchcodecColours())
        return tools
