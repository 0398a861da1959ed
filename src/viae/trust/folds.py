"""Folds that keep dependent cases together, so that nothing is judged by what saw its like."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.measures import Bools

Ints: TypeAlias = npt.NDArray[np.int64]

FOLDS = 5


def folds(outcome: Bools, units: npt.NDArray[Any], *, count: int = FOLDS, seed: int = 0) -> Ints:
    """Which fold each case is in; whole units, with about the same share of successes in each.

    Args:
        outcome: bool [N].
        units: [N], equal for cases that must stay together: one initial state, one question.
        count: folds, at most; fewer where the rarer outcome has fewer units.
        seed: of the draw.

    Returns:
        int64 [N].

    Raises:
        UsageError: fewer than two units with either outcome.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names, which = np.unique(units, return_inverse=True)
    rarer = min(len(np.unique(which[outcome])), len(np.unique(which[~outcome])))
    if rarer < 2:
        raise UsageError(
            f"{len(outcome)} cases with {int(outcome.sum())} successes, from {rarer} units of the "
            "rarer outcome, cannot be divided so that none is judged by itself: at least two of "
            "either outcome are needed"
        )
    alone = len(names) == len(outcome)
    kind = StratifiedKFold if alone else StratifiedGroupKFold
    split = kind(min(count, rarer), shuffle=True, random_state=seed).split(
        np.zeros(len(outcome)), outcome, None if alone else which
    )
    fold = np.zeros(len(outcome), np.int64)
    for number, (_, rest) in enumerate(split):
        fold[rest] = number
    return fold
