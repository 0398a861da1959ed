"""What a coded image says of itself, by its header alone."""

from __future__ import annotations

import io
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

Look: TypeAlias = tuple[str, str, tuple[int, int, int]]
"""Encoding, dtype and shape (height, width, channels)."""


def look_at_image(data: bytes) -> Look | None:
    """What an image is, e.g. ``("jpeg", "uint8", (480, 640, 3))``; None where it is none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            dtype = {"I;16": "uint16", "I": "int32", "F": "float32"}.get(image.mode, "uint8")
            shape = (image.height, image.width, len(image.getbands()))
            return str(image.format).lower(), dtype, shape
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
