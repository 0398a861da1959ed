"""The picture of each row, decoded one at a time, and coded alone where a target wants that."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.schema import Samples, VideoGroup
from viae.video.pictures import decode_frames

if TYPE_CHECKING:
    import av

CODED = ("png", "jpeg", "webp")
"""Encodings in which a picture alone is a file that everyone opens."""

Look = Callable[[int, "av.VideoFrame"], None]
"""Shown each row's picture in passing."""


def row_frames(
    samples: Samples | Sequence[VideoGroup], index: npt.NDArray[np.int64], look: Look | None = None
) -> Iterator[av.VideoFrame]:
    """The picture of each row; one picture is in memory at a time.

    Args:
        samples: an image stream, or all groups of a video stream.
        index: int64 [N], which picture each row has.
        look: shown each row and its picture.

    Raises:
        UsageError: rows of a video go back in time.
        WindowError: a picture cannot be decoded.
    """
    if isinstance(samples, Samples):
        samples, index = _taken(samples, index)
    if (np.diff(index) < 0).any():
        raise UsageError("pictures of a video came out of order; choose another --clock")
    row = 0
    for number, frame in enumerate(decode_frames(samples)):
        while row < len(index) and index[row] == number:
            if look:
                look(row, frame)
            yield frame
            row += 1
        if row == len(index) and isinstance(samples, Samples):
            return


def as_png(frame: av.VideoFrame) -> bytes:
    """A picture as PNG, without loss beyond its conversion to RGB."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame.to_ndarray(format="rgb24")).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def _taken(samples: Samples, index: npt.NDArray[np.int64]) -> tuple[Samples, npt.NDArray[np.int64]]:
    """The pictures that rows have, in the order of the rows, each once in a run."""
    changes = np.flatnonzero(np.diff(index, prepend=-1) != 0)
    run = np.cumsum(np.diff(index, prepend=-1) != 0) - 1
    taken = index[changes]
    return Samples(
        spec=samples.spec,
        capture_ns=samples.capture_ns[taken],
        arrival_ns=samples.arrival_ns[taken],
        seq=np.arange(len(taken), dtype=np.int64),
        values=[bytes(samples.values[i]) for i in taken.tolist()],
    ), run.astype(np.int64)
