"""The threshold of a shield, chosen conformally on attempts whose end is known."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.conformal import conformal_quantile


def shield_threshold(
    bound: npt.NDArray[np.float64],
    dangerous: npt.NDArray[np.bool_],
    attempt: npt.NDArray[np.int64],
    *,
    alpha: float,
    guarantee: Literal["false alarms", "misses"] = "false alarms",
) -> float:
    """The bound of danger above which a shield acts (`viae.foresee.shield.Shield`).

    ``"false alarms"``: of the attempts that stay out of danger, at most a share alpha is disturbed,
    ever. ``"misses"``: of the attempts that get into danger, at most a share alpha gets there
    without an alarm before. Either holds for attempts that are exchangeable with these, averaged
    over calibrations. Both at once cannot be guaranteed: it depends on the model.

    Args:
        bound: float64 [R], at decisions of attempts that no shield disturbed, before any danger.
        dangerous: bool [R], whether the attempt got into danger later: the same in all its rows for
            attempts without.
        attempt: int64 [R], which attempt.
        alpha: the share.
        guarantee: of what.

    Raises:
        UsageError: too few attempts of the kind for alpha; nothing is guaranteed then. Or a bound
            is not a number: where nothing could be foreseen, a shield asks at any threshold.
    """
    if not len(bound) == len(dangerous) == len(attempt):
        raise UsageError(f"{len(bound)} bounds, {len(dangerous)} ends, {len(attempt)} attempts")
    if (missing := np.isnan(bound)).any():
        raise UsageError(
            f"{int(missing.sum())} of {len(bound)} bounds are not a number: nothing was foreseen "
            f"there (attempts {sorted(set(attempt[missing].tolist()))[:5]}), and a shield asks at "
            "any threshold. Leave these attempts out, and count them"
        )
    attempts = np.unique(attempt)
    greatest = np.array([bound[attempt == one].max() for one in attempts])
    ended = np.array([dangerous[attempt == one].any() for one in attempts])
    if guarantee == "false alarms":
        return min(conformal_quantile(greatest[~ended], alpha), 1.0)
    if not ended.any():
        raise UsageError("no attempt got into danger: misses cannot be calibrated")
    # An alarm is a bound above the threshold, so the threshold lies just below the quantile.
    return max(float(np.nextafter(-conformal_quantile(-greatest[ended], alpha), -np.inf)), 0.0)
