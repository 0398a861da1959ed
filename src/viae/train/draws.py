"""Windows drawn at random from encoded episodes.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.model.base import EventBatch
from viae.model.tokens.vocabulary import Encoded, Vocabulary
from viae.model.windows import Asked, asked_of, event_batch, lay
from viae.schema import INSTRUCTION
from viae.train.recipe import BaseRecipe

Ints: TypeAlias = npt.NDArray[np.int64]


class Draws:
    """Windows of some episodes, drawn at random: batch ``n`` is a function of ``(seed, n)``.

    Every event is in as many windows as any other, as far as an episode has an end.

    Args:
        episodes: encoded.
        tasks: of each.
        vocabulary: theirs.
        recipe: how long windows are, and what is hidden.
        weights: how often each is drawn, against its number of events; None for alike.

    Attributes:
        chances: float64 per episode, in proportion to how often it is drawn.
    """

    def __init__(
        self,
        episodes: Sequence[Encoded],
        tasks: Sequence[str],
        vocabulary: Vocabulary,
        recipe: BaseRecipe,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.episodes = tuple(episodes)
        self._recipe = recipe
        self._types = len(vocabulary.types)
        self._pinned = [_pinned(episode, vocabulary) for episode in episodes]
        counts = np.array([len(episode) for episode in episodes], np.float64)
        of_task: dict[str, float] = {}
        for task, count in zip(tasks, counts, strict=True):
            of_task[task] = of_task.get(task, 0.0) + count
        shares = np.array([of_task[task] for task in tasks])
        chances = counts * shares**-recipe.balance * (1.0 if weights is None else np.array(weights))
        if not chances.sum() > 0:
            raise UsageError("no window can be drawn: the episodes are empty, or weigh nothing")
        self.chances: npt.NDArray[np.float64] = chances
        self._p = chances / chances.sum()

    def batch(
        self, seed: int, number: int, size: int, *, rank: int = 0, ranks: int = 1
    ) -> tuple[EventBatch, Asked]:
        """A batch of windows and what they are asked.

        Args:
            seed: of the draw.
            number: of the batch.
            size: of the whole batch.
            rank: gives windows ``rank``, ``rank + ranks``, … of it.
            ranks: how many processes share a batch.
        """
        rng = np.random.default_rng((seed, number))
        which = rng.choice(len(self.episodes), size=size, p=self._p)
        length = self._recipe.length
        starts = np.zeros(size, np.int64)
        for row, i in enumerate(which.tolist()):
            count = len(self.episodes[i])
            start = int(rng.integers(-(length // 2), max(1, count - length // 2)))
            starts[row] = min(max(start, 0), max(0, count - length + 1))
        hide = rng.random(size) < self._recipe.hide_actions
        own = range(rank, size, ranks)
        episodes = [self.episodes[which[row]] for row in own]
        where = np.stack(
            [
                lay(self.episodes[which[row]], int(starts[row]), length, self._pinned[which[row]])
                for row in own
            ]
        )
        hidden = np.stack(
            [h & (w >= 0) & e.action[w] for h, w, e in zip(hide[own], where, episodes, strict=True)]
        )
        return event_batch(episodes, where, hidden, self._types), asked_of(episodes, where)


def _pinned(episode: Encoded, vocabulary: Vocabulary) -> Ints:
    names = [spec.name for spec in vocabulary.streams]
    if INSTRUCTION not in names:
        return np.empty(0, np.int64)
    return np.flatnonzero(episode.stream == names.index(INSTRUCTION))[:1]


__all__ = ["Draws"]
