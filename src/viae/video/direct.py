"""FFmpeg's own scaler, writing straight into a batch.

PyAV's `VideoReformatter` gives each picture a frame of its own, which then has to be copied; that
copy, in and out of a cold cache, is a tenth of what a picture costs. Here libswscale, the one that
PyAV has loaded already, is called with the batch's memory as its destination. Only for what is most
common (8-bit 4:2:0 in the usual colours); everything else goes through PyAV, with the same pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.video.libav import Pointers, Strides, swscale

if TYPE_CHECKING:
    import av

AREA = 0x20
"""FFmpeg's flag for scaling by area, as ``interpolation="AREA"``."""

USUAL_COLOURS = frozenset({2, 5, 6})
"""Colour spaces that libswscale takes for its default (ITU-R 601): unspecified, 470BG, 170M."""
UNSPECIFIED_RANGE, LIMITED_RANGE = 0, 1

SMALL_PIXELS = 1 << 15
"""So few are converted without releasing Python's lock: taking it again would cost more."""
BLOCK = 32
"""Libswscale writes whole vectors of bytes: a width that is no multiple of them would be written
beyond, into what lies behind."""


class Canvas:
    """Memory that pictures are written into.

    Args:
        pixels: uint8 [N, 3, H, W].
    """

    __slots__ = ("address", "direct", "height", "picture", "pixels", "plane", "width")

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[2:]
        self.address: int = pixels.ctypes.data
        self.picture, self.plane = pixels.strides[:2]
        self.direct = (
            pixels.strides[2:] == (self.width, 1)
            and not self.width % BLOCK
            and not self.height % 2
            and swscale() is not None
        )
        """Whether libswscale may write here."""


class DirectScaler:
    """Converts pictures of one size into planes of another; one thread at a time."""

    def __init__(self) -> None:
        self._library = swscale()
        self._size: tuple[int, int, int, int] | None = None
        self._context: int | None = None
        self._scale: Any = None
        self._source, self._target = Pointers(), Pointers()
        self._source_strides, self._target_strides = Strides(), Strides()

    def into(self, frame: av.VideoFrame, canvas: Canvas, slot: int) -> bool:
        """Write a picture as RGB planes, if this is one of those that can be.

        Args:
            frame: any.
            canvas: where to.
            slot: which picture of the canvas.

        Returns:
            Whether it was written; where not, the canvas is as it was.
        """
        if (
            not canvas.direct
            or frame.format.name != "yuv420p"
            or frame.colorspace not in USUAL_COLOURS
            or frame.color_range not in (UNSPECIFIED_RANGE, LIMITED_RANGE)
        ):
            return False
        height = frame.height
        size = (frame.width, height, canvas.width, canvas.height)
        if size != self._size and self.context(size) is None:
            return False  # PyAV will say what is wrong with these sizes
        source, strides, target = self._source, self._source_strides, self._target
        planes: Any = frame.planes
        y, u, v = planes
        source[0], source[1], source[2] = y.buffer_ptr, u.buffer_ptr, v.buffer_ptr
        strides[0], strides[1], strides[2] = y.line_size, u.line_size, v.line_size
        red = canvas.address + slot * canvas.picture
        target[0], target[1], target[2] = red + canvas.plane, red + 2 * canvas.plane, red  # gbrp
        self._scale(self._context, source, strides, 0, height, target, self._target_strides)
        return True

    def context(self, size: tuple[int, int, int, int]) -> int | None:
        """Libswscale's own context, for as long as this lives or until another size is asked for.

        Args:
            size: width and height of pictures, width and height of what becomes of them.

        Returns:
            Its address, or None where it does not convert between these sizes.
        """
        if size == self._size:
            return self._context
        self._close()
        width, height, to_width, to_height = size
        library = self._library
        source, target = (library.av_get_pix_fmt(name) for name in (b"yuv420p", b"gbrp"))
        few = max(width * height, to_width * to_height) <= SMALL_PIXELS
        self._scale = library.held.sws_scale if few else library.sws_scale
        self._context = library.sws_getContext(
            width, height, source, to_width, to_height, target, AREA, None, None, None
        )
        self._size = size if self._context else None
        for i in range(3):
            self._target_strides[i] = to_width
        return self._context

    def _close(self) -> None:
        if self._context:
            self._library.sws_freeContext(self._context)
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_library", None) is not None:
            self._close()
