"""What becomes of the pictures of a log on the way into a store, as the user asks it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from viae.errors import UsageError
from viae.schema import Kind, StreamSpec
from viae.video.encode import FastVideo
from viae.video.pictures import RAW_FORMATS

VIDEO_CHOICES = ("keep", "fast")
IMAGE_CHOICES = ("keep", "video")
NEEDED_CHANNELS = (1, 3)
UNREAD = frozenset({"uyvy", "yuv422"})
"""Raw encodings that logs have and `open_image` does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recoding:
    """What becomes of pictures on the way in.

    Args:
        video: ``"keep"`` moves coded video as it is; ``"fast"`` codes it anew.
        images: ``"keep"`` leaves images (JPEG, PNG, raw) as they are; ``"video"`` makes them video.
        coding: how what is coded anew is coded.

    Raises:
        UsageError: another choice.
    """

    video: str = "keep"
    images: str = "keep"
    coding: FastVideo = field(default_factory=FastVideo)

    def __post_init__(self) -> None:
        for name, said, known in (
            ("video", self.video, VIDEO_CHOICES), ("images", self.images, IMAGE_CHOICES),
        ):  # fmt: skip
            if said not in known:
                raise UsageError(f"{name} is one of {', '.join(known)}, not '{said}'")

    def __bool__(self) -> bool:
        return (self.video, self.images) != ("keep", "keep")

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"video": self.video, "images": self.images, "coding": self.coding.to_json()}

    @property
    def digest(self) -> str:
        """Hex digest of what it says: coded otherwise, a log gives other episodes."""
        said = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def wants(self, spec: StreamSpec) -> bool:
        """Whether a stream is to be coded anew."""
        if spec.kind is Kind.VIDEO:
            return self.video == "fast"
        return spec.kind is Kind.IMAGE and self.images == "video"


def why_kept(spec: StreamSpec) -> str:
    """Why a stream of pictures stays as it is, as a clause; empty where it need not."""
    if spec.dtype != "uint8":
        return f"its pictures are {spec.dtype}, and video has 8 bits"
    if spec.encoding.startswith("bayer"):
        return "its pictures are the raw mosaic of a sensor"
    if len(spec.shape) != 3 or min(spec.shape[:2]) < 1:
        return f"its shape {list(spec.shape)} is no picture's"
    channels = spec.shape[2]
    if spec.kind is Kind.IMAGE and RAW_FORMATS.get(spec.encoding) != "yuyv422":
        if channels not in NEEDED_CHANNELS:
            return f"its pictures have {channels} channels, and video has 3"
        if spec.encoding in UNREAD:
            return f"nothing here reads '{spec.encoding}'"
    return ""
