"""Offsets in time, as LeRobot's ``delta_timestamps`` has them, to offsets in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError

Rows = npt.NDArray[np.int64]


def row_deltas(
    delta_timestamps: Mapping[str, Sequence[float]],
    features: Mapping[str, Any],
    *,
    fps: float,
    tolerance_s: float,
) -> dict[str, list[int]]:
    """Offsets in rows.

    Args:
        delta_timestamps: seconds, per feature.
        features: those of the dataset.
        fps: rows per second.
        tolerance_s: how far an offset may be from a whole number of rows.

    Raises:
        UsageError: a feature that is none or is text, no offset, or one between two rows.
    """
    deltas = {}
    for key, offsets_s in delta_timestamps.items():
        if key not in features:
            raise UsageError(
                f"delta_timestamps names '{key}', which is no feature; there is {list(features)}"
            )
        if features[key]["dtype"] == "string":
            raise UsageError(f"delta_timestamps names '{key}': texts have none, in LeRobot either")
        steps = [round(offset_s * fps) for offset_s in offsets_s]
        if not steps:
            raise UsageError(f"delta_timestamps['{key}'] is empty: name offsets, or leave it out")
        if key == "task_index" and len(steps) > 1:
            raise UsageError("an item has one task: delta_timestamps['task_index'] has one offset")
        for offset_s, step in zip(offsets_s, steps, strict=True):
            if abs(offset_s * fps - step) / fps > tolerance_s:
                raise UsageError(
                    f"delta_timestamps['{key}'] has {offset_s} s, which is no multiple of "
                    f"1/{fps:g} s within tolerance_s={tolerance_s:g}"
                )
        deltas[key] = steps
    return deltas


def shifted(
    rows: Rows, steps: Sequence[int], firsts: Rows, ends: Rows
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Rows at offsets, the first or last of the episode where they leave it.

    Args:
        rows: int64 [B].
        steps: T offsets.
        firsts: int64 [B], first row of each row's episode.
        ends: int64 [B], the row after its last.

    Returns:
        int64 [B, T], and whether it is padding: bool [B, T].
    """
    at = rows[:, None] + np.asarray(steps, np.int64)
    first, end = firsts[:, None], ends[:, None]
    return np.clip(at, first, end - 1), (at < first) | (at >= end)
