"""A look at tokens: a picture, the dense grid's, and ours with what was sent outlined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from viae.model.tokens.grid import Pixels
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.spending import Spent, look_at, spend

GAP = 8
OUTLINE = (255, 200, 0)

Shown = npt.NDArray[np.uint8]


def show(
    codec: PictureCodec, pictures: Pixels, at: int, *, scale: int = 3, spent: Spent | None = None
) -> Shown:
    """Three panels: as recorded, every patch sent, and what a decoder has when few are.

    Args:
        codec: of the pictures.
        pictures: of an episode from its first on: uint8 [N, 3, H, W].
        at: which of them to show.
        scale: times that panels are enlarged.
        spent: of these pictures, where it is known already.

    Returns:
        uint8 [scale * H, 3 * scale * W + 2 * GAP, 3], RGB. Patches sent with this picture are
        outlined in the third panel.
    """
    painter = codec.painter
    if spent is None:
        spent = spend(codec, pictures[: at + 1], look_at(painter, pictures[: at + 1]))
    recorded, dense, ours = (
        _enlarged(picture, scale)
        for picture in (pictures[at], painter.paint(painter.codes(pictures[at])), spent.shown[at])
    )
    _outline(ours, spent.sent[at].reshape(painter.config.grid), scale * painter.config.patch)
    gap = np.full((len(ours), GAP, 3), 255, np.uint8)
    return np.concatenate([recorded, gap, dense, gap, ours], axis=1)


def _enlarged(picture: Pixels, scale: int) -> Shown:
    """uint8 [3, H, W] as [scale * H, scale * W, 3]."""
    return picture.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1)


def _outline(panel: Shown, sent: npt.NDArray[np.bool_], side: int) -> None:
    """Draw the border of the area that was sent, inside it."""
    padded = np.pad(sent, 1)
    for row, column in np.argwhere(sent).tolist():
        cell = panel[row * side : (row + 1) * side, column * side : (column + 1) * side]
        if not padded[row, column + 1]:
            cell[:2] = OUTLINE
        if not padded[row + 2, column + 1]:
            cell[-2:] = OUTLINE
        if not padded[row + 1, column]:
            cell[:, :2] = OUTLINE
        if not padded[row + 1, column + 2]:
            cell[:, -2:] = OUTLINE
