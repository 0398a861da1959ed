"""Recorded attempts as a base model sees them after fixed numbers of steps.

Shapes: N attempts, K fixed steps, D width of the trunk, P features, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.evaluate import initial_states_of
from viae.schema import Episode
from viae.store import Store
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.trust_cases import Cases

if TYPE_CHECKING:
    from viae.foresee import Signs, Usual
    from viae.model import BaseBundle
    from viae.trust.scorer import Labelled

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """Attempts after fixed numbers of steps; NaN where an attempt had ended by then.

    Args:
        steps: the K numbers, rising.
        horizon: steps after which an attempt has failed.
        sources: S names.
        going: bool [N, K], which were still going on.
        embedding: float64 [N, K, D].
        features: float64 [N, K, P].
        given: float64 [N, K, S].
        outcome: bool [N].
        tasks: [N], strings.
        units: [N], initial states as strings; the episode's id where there is none.
        names: [N], episode ids.
    """

    steps: tuple[int, ...]
    horizon: int
    sources: tuple[str, ...]
    going: Bools
    embedding: Floats
    features: Floats
    given: Floats
    outcome: Bools
    tasks: npt.NDArray[Any]
    units: npt.NDArray[Any]
    names: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.outcome)

    def part(self, chosen: Bools) -> Watched:
        """Some of the attempts."""
        arrays = ("going", "embedding", "features", "given", "outcome", "tasks", "units", "names")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def at(self, which: npt.NDArray[np.int64]) -> Watched:
        """At some of the numbers of steps."""
        arrays = {
            name: getattr(self, name)[:, which]
            for name in ("going", "embedding", "features", "given")
        }
        return replace(self, steps=tuple(self.steps[k] for k in which.tolist()), **arrays)

    def labelled(self, k: int) -> Labelled:
        """Those still going on after the k-th number of steps, in their order."""
        from viae.trust.scorer import Labelled

        on = self.going[:, k]
        return Labelled(
            steps=self.steps[k], sources=self.sources, features=self.features[on, k],
            given=self.given[on, k], outcome=self.outcome[on], tasks=self.tasks[on],
            units=self.units[on],
        )  # fmt: skip

    def cases(self, score: Floats, path: Path) -> Cases:
        """As cases over time, for calibration and alarms.

        Args:
            score: float64 [N, K], speaks for success; NaN where an attempt had ended.
            path: what messages name.
        """
        rows = np.argwhere(self.going)
        elapsed = np.array(self.steps) / self.horizon
        return Cases(
            path=path, sources=("success",), scores=score[self.going][:, None],
            score_means="success", attempt=rows[:, 0], elapsed=elapsed[rows[:, 1]],
            row=np.arange(len(rows)), timed=True, horizon=float(self.horizon),
            outcome=self.outcome, group=self.tasks, unit=self.units, name=self.names,
        )  # fmt: skip


def watch(
    bundle: BaseBundle,
    store: Store,
    episodes: Sequence[Episode],
    *,
    steps: Sequence[int],
    horizon: int,
    usual: Usual | None,
    tell: Tell = quiet,
) -> Watched:
    """Watch recorded attempts whose outcome is known.

    Args:
        bundle: the model.
        store: where they are.
        episodes: the attempts.
        steps: fixed numbers, rising.
        horizon: steps after which an attempt has failed.
        usual: of the model's training.
        tell: told of progress.
    """
    from viae.foresee import of_store, signs
    from viae.foresee.signs import sources_of

    sources = sources_of(bundle.vocabulary, usual)
    seen: list[Signs] = []
    for number, episode in enumerate(episodes):
        tell(Progress(phase="watch", done=number, total=len(episodes)))
        history, _ = of_store(bundle, store, episode, usual=usual)
        seen.append(signs(bundle, history.events, steps, usual=usual))
    shape = len(episodes), len(steps)
    going = np.zeros(shape, np.bool_)
    widths = (seen[0].embedding.shape[1], seen[0].features.shape[1]) if seen else (0, 0)
    embedding, features = (np.full((*shape, width), np.nan) for width in widths)
    given = np.full((*shape, len(sources)), np.nan)
    for number, one in enumerate(seen):
        on = np.isin(steps, one.steps)
        going[number], embedding[number, on], features[number, on] = on, one.embedding, one.features
        given[number, on] = np.stack([one.sources[name] for name in sources], 1)
    units = [str(initial_states_of([e])) if initial_states_of([e]) else e.episode_id
             for e in episodes]  # fmt: skip
    return Watched(
        steps=tuple(steps), horizon=horizon, sources=sources, going=going, embedding=embedding,
        features=features, given=given, outcome=np.array([bool(e.outcome) for e in episodes]),
        tasks=np.array([e.task for e in episodes]), units=np.array(units),
        names=np.array([e.episode_id for e in episodes]),
    )  # fmt: skip
