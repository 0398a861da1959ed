"""From windows to batches: i.i.d., seeded, masked; the same code for training and for acting."""

from viae.load.access import Access
from viae.load.history import History
from viae.load.lerobot_items import lerobot
from viae.load.loader import Loader
from viae.load.reference import PictureSize
from viae.load.windows import Windows
from viae.video.pictures import decode_picture, decode_pictures

__all__ = [
    "Access", "History", "Loader", "PictureSize", "Windows", "decode_picture", "decode_pictures",
    "lerobot",
]  # fmt: skip
