"""Relative chances of windows in independent draws: from a SQL expression over episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError, WindowError
from viae.schema import Episode
from viae.store import Store, query

Floats = npt.NDArray[np.float64]
Mass = Literal["window", "episode"]
MASSES: tuple[Mass, ...] = ("window", "episode")

_WEIGHTS = """
SELECT episode_id, CAST(({expression}) AS DOUBLE) AS weight
FROM (
    SELECT *, (end_ns - start_ns) / 1e9 AS seconds,
           (max(end_ns) OVER () - end_ns) / 86400e9 AS age_days
    FROM episodes
) episodes
"""


def episode_weights(store: Store, episodes: Sequence[Episode], expression: str) -> Floats:
    """A weight per episode, as a SQL expression says.

    The expression sees the columns of ``episodes`` (its outcome as the newest fact has it), and

    - ``seconds``: how long the episode lasts,
    - ``age_days``: how long before the last episode of the store it ended, by the clocks of the
      logs (no other is asked: a snapshot gives the same weights on any day); a log whose times
      begin at 0 has no date, and ``ingested_ns`` may serve,
    - ``fact(episode_id, 'KEY')``: the newest fact about the episode with this key, as text.

    For example ``CASE WHEN outcome THEN 2 ELSE 1 END * exp(-age_days / 30)``.

    Args:
        store: at the snapshot of the episodes.
        episodes: whose weights.
        expression: DuckDB SQL that gives a number.

    Returns:
        float64 [E], finite, not negative, not all 0.

    Raises:
        QueryError: it is not SQL, or not over these columns.
        UsageError: an episode's weight is NULL, not finite or negative, or all are 0.
    """
    if not episodes:
        return np.empty(0)
    rows = query(store, _WEIGHTS.format(expression=expression))
    found = dict(zip(rows["episode_id"].to_pylist(), rows["weight"].to_pylist(), strict=True))
    ids = [episode.episode_id for episode in episodes]
    weights: list[float] = []
    for episode_id in ids:
        weight = found[episode_id]
        if weight is None or not 0 <= weight < np.inf:
            said = "NULL" if weight is None else weight
            raise UsageError(
                f"the weight of episode {episode_id} is {said}: weights are finite numbers from 0 "
                f"up. Change  {expression} , or leave such episodes out with where"
            )
        weights.append(weight)
    if not any(weights):
        raise UsageError(f"{expression}  is 0 for all {len(ids)} episodes: nothing can be drawn")
    return np.asarray(weights, np.float64)


def window_weights(episode_of: npt.NDArray[np.int64], weights: Floats, *, mass: Mass) -> Floats:
    """A weight per window, from a weight per episode.

    Args:
        episode_of: int64 [W], the episode of each window (`Windows.episode_of`).
        weights: float64 [E], finite, not negative.
        mass: what a weight is. ``"window"``: of each window, so that of two episodes of equal
            weight the longer one is drawn more often. ``"episode"``: of all windows of the episode
            together, so that both are drawn alike often.

    Returns:
        float64 [W]. With ``"episode"`` the windows of an episode sum up to its weight.

    Raises:
        UsageError: ``mass`` is neither.
        WindowError: every episode of positive weight is without windows.
    """
    per_window: Floats = np.asarray(weights, np.float64)[episode_of]
    if mass == "episode":
        per_window = per_window / np.bincount(episode_of, minlength=len(weights))[episode_of]
    elif mass != "window":
        raise UsageError(f"mass is 'window' or 'episode', not {mass!r}")
    if not per_window.any():
        raise WindowError("no window has a weight above 0: nothing can be drawn")
    return per_window
