"""From windows to batches: i.i.d., seeded, masked; the same code for training and for acting."""

from viae.load.history import History
from viae.load.reference import PictureSize
from viae.load.windows import Windows
from viae.video.pictures import decode_picture, decode_pictures

__all__ = ["History", "PictureSize", "Windows", "decode_picture", "decode_pictures"]
