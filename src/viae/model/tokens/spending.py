"""What pictures cost, and how well they come back: the dense grid, and what is sent of it.

Shapes: N pictures of one episode, in order; P patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.model.tokens.codec import SILENT, Coded
from viae.model.tokens.grid import Look, Painter, Pixels
from viae.model.tokens.runs import PictureCodec

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spent:
    """An episode's pictures as they are sent.

    Args:
        tokens: int64 [N], of each picture; the first sends every patch.
        errors: float64 [N], mean squared error in levels of 0 to 255.
        sent: bool [N, P], which patches were sent.
        shown: uint8 [N, 3, H, W], what the decoder has.
    """

    tokens: npt.NDArray[np.int64]
    errors: Doubles
    sent: npt.NDArray[np.bool_]
    shown: Pixels


def coded(codec: PictureCodec, pictures: Pixels) -> tuple[Coded, Coded]:
    """An episode's first picture, and those after it, as tokens."""
    first = codec.first.code(pictures[:1])
    return first, codec.code(pictures[1:], first.after)


def look_at(painter: Painter, pictures: Pixels) -> list[Look]:
    """Pictures uint8 [N, 3, H, W] as the network has them: what the dense grid is."""
    return [painter.look(picture) for picture in painter.check(pictures)]


def dense_errors(looks: Sequence[Look]) -> Doubles:
    """Mean squared errors float64 [N] if every patch of every picture is sent."""
    return np.array([look.errors.mean() for look in looks])


def spend(codec: PictureCodec, pictures: Pixels, looks: Sequence[Look]) -> Spent:
    """What an episode's pictures cost.

    Args:
        codec: of pictures after the first.
        pictures: uint8 [N, 3, H, W], N at least 1.
        looks: `look_at` of them.
    """
    start = looks[0].codes
    steps = list(codec.steps(pictures[1:], looks[1:], start))
    shown = np.stack([codec.painter.paint(start), *(step.shown for step in steps)])
    counts = [(step.tokens != SILENT).sum() for step in steps]
    errors = zip(pictures, shown, strict=True)
    return Spent(
        tokens=np.array([len(start), *counts], np.int64),
        errors=np.array([codec.painter.errors(*pair).mean() for pair in errors]),
        sent=np.stack([np.ones(len(start), np.bool_), *(step.sent for step in steps)]),
        shown=shown,
    )


def psnr(errors: Doubles) -> float:
    """Peak signal to noise, dB, of pictures with these mean squared errors, over all pixels."""
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-12)))
