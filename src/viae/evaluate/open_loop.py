"""Open loop: how far a policy's actions are from recorded ones, where it cannot act.

Not to be confused with success: a policy can be near in every step and fail, or far and succeed.
It is what can be said of real logs without a robot, and only against a baseline does it say much:
repeating the last action is hard to beat from one control period to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.load import Windows
from viae.model import Bundle
from viae.schema import Episode, Take, WindowSpec
from viae.store import Store

Floats: TypeAlias = npt.NDArray[np.float64]

DECISIONS_PER_BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActionErrors:
    """Mean absolute errors on one episode, in the action's own unit.

    Args:
        episode: the episode.
        decisions: how many were compared: those that have a last action.
        policy: float64 [K, A], per step of the chunk and element of the action; NaN for steps that
            the episode is too short for.
        persistence: float64 [K, A], of repeating the last action.
    """

    episode: Episode
    decisions: int
    policy: Floats
    persistence: Floats

    @property
    def policy_error(self) -> float:
        """Over the whole chunk and all elements."""
        return float(np.nanmean(self.policy))

    @property
    def persistence_error(self) -> float:
        """The same, of repeating the last action."""
        return float(np.nanmean(self.persistence))

    @property
    def ratio(self) -> float:
        """Policy ÷ persistence over the whole chunk; below 1 the policy is nearer."""
        return self.policy_error / self.persistence_error

    @property
    def first_step_ratio(self) -> float:
        """The same at the first step alone."""
        return float(self.policy[0].mean() / self.persistence[0].mean())


def action_errors(bundle: Bundle, store: Store, episodes: Sequence[Episode]) -> list[ActionErrors]:
    """Compare a policy's actions with recorded ones.

    Args:
        bundle: the policy; it is asked at every decision, and does not act.
        store: where the episodes are.
        episodes: with the bundle's streams; best ones it never saw.

    Returns:
        One entry per episode.

    Raises:
        UsageError: no episodes, or one without any decision that has a last action.
        WindowError: an episode lacks a stream.
        BundleError: an episode's task is unknown to the bundle.
    """
    if not episodes:
        raise UsageError("there are no episodes to compare actions on; widen --where")
    action = bundle.window.targets[0].stream
    inputs = {take.stream: take for take in bundle.window.inputs}
    inputs.setdefault(action, Take(stream=action, steps=(0,)))
    spec = WindowSpec(
        decision=bundle.window.decision,
        inputs=tuple(inputs.values()),
        targets=bundle.window.targets,
        missing="skip",  # so that both are compared at the same decisions
    )
    windows = Windows(store, spec, episodes, picture_sizes=bundle.picture_sizes)
    results = []
    for number, episode in enumerate(episodes):
        which = np.flatnonzero(windows.episode_of == number)
        if not len(which):
            raise UsageError(f"episode {episode.episode_id} has no decision with a last '{action}'")
        parts = [
            _gaps(bundle, windows, part, action)
            for part in np.array_split(which, -(-len(which) // DECISIONS_PER_BATCH))
        ]
        ours, last = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        results.append(
            ActionErrors(
                episode=episode,
                decisions=len(which),
                policy=_mean(ours),
                persistence=_mean(last),
            )
        )
    return results


def _gaps(
    bundle: Bundle, windows: Windows, which: npt.NDArray[np.int64], action: str
) -> tuple[Any, Any]:
    """Absolute errors of policy and persistence, [B, K, A], NaN past the end of the episode."""
    batch = windows.batch(which)
    wanted = batch.targets[action].astype(np.float64)
    past_end = ~batch.masks[f"targets/{action}"]
    pair = []
    for said in (bundle.predict(batch)[action], batch.inputs[action][:, -1:]):
        gap = np.abs(said - wanted).reshape(*wanted.shape[:2], -1)
        gap[past_end] = np.nan
        pair.append(gap)
    return pair[0], pair[1]


def _mean(gaps_BKA: Floats) -> Floats:
    """Over the decisions that have the step; NaN where none has."""
    there = (~np.isnan(gaps_BKA)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.nansum(gaps_BKA, axis=0) / there
    return mean
