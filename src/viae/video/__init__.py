"""Pictures and video: coded bytes to pixels and back. The one place where FFmpeg is driven."""

from viae.video.convert import AS_RECORDED, Converter, PictureView
from viae.video.direct import Canvas
from viae.video.pictures import decode_frames, decode_picture, decode_pictures

__all__ = [
    "AS_RECORDED", "Canvas", "Converter", "PictureView", "decode_frames", "decode_picture",
    "decode_pictures",
]  # fmt: skip
