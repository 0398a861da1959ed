"""From windows to batches: i.i.d., seeded, masked; the same code for training and for acting."""

from viae.load.history import History
from viae.load.pictures import decode_picture, decode_pictures
from viae.load.windows import PictureSize, Windows

__all__ = ["History", "PictureSize", "Windows", "decode_picture", "decode_pictures"]
