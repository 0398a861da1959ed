"""Which episodes are held out, and in which order windows are drawn: functions of a seed only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt


def held_out(groups: Mapping[str, Sequence[str]], *, fraction: float, seed: int) -> frozenset[str]:
    """Choose episodes to hold out, the same share of each group.

    Args:
        groups: episode ids per group, e.g. per task.
        fraction: share of each group, rounded to nearest; a group never loses its last episode.
        seed: of the choice, which depends on each group's own ids only.

    Returns:
        The ids held out.
    """
    chosen: set[str] = set()
    for name in sorted(groups):
        ids = sorted(groups[name])
        count = min(round(fraction * len(ids)), len(ids) - 1)
        order = np.random.default_rng([seed, len(ids)]).permutation(len(ids))
        chosen.update(ids[i] for i in order[:count])
    return frozenset(chosen)


def iid_order(
    n: int,
    *,
    seed: int,
    draw: int,
    size: int,
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.int64]:
    """Draw ``size`` of ``n`` windows, independently, with replacement.

    A function of its arguments only: the state of a loader is the integer ``draw``.

    Args:
        n: number of windows, at least 1.
        seed: of the whole run.
        draw: number of the draw, 0, 1, 2, …
        size: windows per draw.
        weights: float64 [n], relative chances, not negative; None draws uniformly.

    Returns:
        int64 [size], each in [0, n).
    """
    rng = np.random.default_rng([seed, draw])
    if weights is None:
        return rng.integers(0, n, size)
    bounds = np.cumsum(weights)
    drawn: npt.NDArray[np.int64] = np.searchsorted(bounds, rng.random(size) * bounds[-1], "right")
    return drawn
