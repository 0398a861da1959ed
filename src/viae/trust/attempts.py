"""The first part of attempts as numbers: what was seen, what the policy made of it, what it did.

Everything is recomputed from the recorded log with the bundle's own windows and network, so any
stored attempt can be judged, also one that the bundle did not make.
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
from viae.model.pipeline import Flat
from viae.schema import Batch, Episode
from viae.store import Snapshot, Store

Floats: TypeAlias = npt.NDArray[np.float64]

RECENT = 5
"""Steps that count as recent."""
LIMIT = 20.0
"""Features are standard deviations; beyond this they say no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attempts:
    """Attempts that were still going on at one time.

    Args:
        features: float64 [N, P].
        episodes: the N attempts.
        ended: how many others had ended by then, and are left out.
    """

    features: Floats
    episodes: tuple[Episode, ...]
    ended: int


class Familiarity:
    """How near a state is to those that the bundle was trained on, of the same task.

    Args:
        bundle: its training windows are read from the store that it was trained from.
        store: that store.
    """

    def __init__(self, bundle: Bundle, store: Store) -> None:
        snapshot = Snapshot(versions=bundle.provenance.snapshot)
        trained_on = set(bundle.provenance.episodes["trained_on"])
        episodes = [e for e in store.at(snapshot).episodes() if e.episode_id in trained_on]
        if not episodes:
            raise UsageError(
                f"{store.uri} does not hold the episodes that bundle {bundle.bundle_id} was "
                f"trained on; give the store it came from ({bundle.provenance.store})"
            )
        windows = Windows(
            store.at(snapshot), bundle.window, episodes, picture_sizes=bundle.picture_sizes
        )
        batch = windows.batch(np.arange(len(windows)))
        states = _states(bundle, bundle.pipeline.forward(batch))
        first = np.append(True, np.diff(windows.episode_of) > 0)
        tasks = np.array(batch.tasks)
        self._states = {task: states[tasks == task] for task in bundle.tasks}
        self._starts = {task: states[(tasks == task) & first] for task in bundle.tasks}

    def features(self, states_TD: Floats, task: str) -> Floats:
        """Distances to the nearest training states, all along and at the start: float64 [7]."""
        near = _nearest(states_TD, self._states[task])[:, 0]
        start = _nearest(states_TD[:1], self._starts[task])[0]
        start = np.resize(start[:3], 3)
        return np.concatenate([[near.mean(), near.max(), near[-1], near[-RECENT:].mean()], start])


def describe_attempts(
    bundle: Bundle,
    store: Store,
    episodes: Sequence[Episode],
    *,
    steps: int,
    familiarity: Familiarity,
) -> Attempts:
    """Describe attempts by their first ``steps`` decisions.

    Args:
        bundle: the policy whose view is taken.
        store: where the attempts are.
        episodes: the attempts.
        steps: decisions seen; attempts that took no more are left out and counted.
        familiarity: with the bundle's training data.

    Raises:
        UsageError: no attempt went on that long.
    """
    windows = Windows(store, bundle.window, episodes, picture_sizes=bundle.picture_sizes)
    rows, kept = [], []
    for number, episode in enumerate(episodes):
        which = np.flatnonzero(windows.episode_of == number)
        if len(which) > steps:
            rows.append(_describe(bundle, windows.batch(which[:steps]), familiarity))
            kept.append(episode)
    if not rows:
        raise UsageError(
            f"none of {len(episodes)} attempts went on for more than {steps} steps; "
            "judge them earlier with --fraction"
        )
    return Attempts(
        features=np.clip(np.stack(rows), -LIMIT, LIMIT),
        episodes=tuple(kept),
        ended=len(episodes) - len(kept),
    )


def _describe(bundle: Bundle, batch: Batch, familiarity: Familiarity) -> Floats:
    """One attempt, T windows, as a vector."""
    look = bundle.look(batch)
    flat = look.shown
    states_TD = _states(bundle, flat)
    hidden_TF, said_TKA = look.features.astype(np.float64), look.said.astype(np.float64)
    did_TA = flat[bundle.model.config.target][:, 0].reshape(len(batch), -1)
    changed_mind = np.zeros(len(batch) - 1)
    if bundle.model.config.chunk > 1:  # else no two chunks speak of the same step
        changed_mind = np.abs(said_TKA[1:, :-1] - said_TKA[:-1, 1:]).mean(axis=(1, 2))
    disobeyed = np.abs(said_TKA[:, 0] - did_TA).mean(axis=1)
    return np.concatenate(
        [
            states_TD[0], states_TD[-1], states_TD.mean(0), states_TD.std(0),
            states_TD[-1] - states_TD[0], states_TD[-1] - states_TD[len(batch) // 2],
            hidden_TF[-1], hidden_TF.mean(0),
            did_TA.mean(0), did_TA[-RECENT:].mean(0), did_TA[-1], did_TA.std(0),
            np.abs(np.diff(did_TA, axis=0)).mean(0), said_TKA[-1].mean(0),
            _log([changed_mind.mean(), changed_mind.max(), changed_mind[-RECENT:].mean()]),
            _log([disobeyed.mean(), disobeyed.max()]),
            _log(familiarity.features(states_TD, batch.tasks[0])),
            flat["inputs/task"][0],
        ]
    )  # fmt: skip


def _states(bundle: Bundle, flat: Flat) -> Floats:
    """The vectors the policy is shown, the task left out: float64 [B, D]."""
    keys = [key for key in sorted(bundle.model.config.vectors) if key != "inputs/task"]
    return np.concatenate([flat[key].reshape(len(flat[key]), -1) for key in keys], 1).astype(float)


def _nearest(states_TD: Floats, known_ND: Floats) -> Floats:
    """Root mean square distance to the nearest known states, nearest first: [T, min(N, 3)]."""
    square = (states_TD**2).sum(1)[:, None] + (known_ND**2).sum(1) - 2 * states_TD @ known_ND.T
    nearest = np.sort(square, axis=1)[:, :3]
    distance: Floats = np.sqrt(np.maximum(nearest, 0) / states_TD.shape[1])
    return distance


def _log(values: Any) -> Floats:
    return np.log(1e-3 + np.asarray(values, np.float64))
