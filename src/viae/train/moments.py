"""Moments drawn at random: what is asked of the present alone.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.model.base import PADDED, EventBatch
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import Asked, event_batch, newest
from viae.train.draws import Draws

Ints: TypeAlias = npt.NDArray[np.int64]


class Moments:
    """Moments at which chunks of actions are asked: batch ``n`` is a function of ``(seed, n)``.

    The trunk is shown the newest event of each stream, no actions, and nothing before: what
    `viae.model.context.Context.present` shows it. From all that happened, a policy learns to go on
    as it did, which costs nothing on demonstrations and fails when it acts (de Haan et al. 2019,
    arXiv:1905.11979); and neighbours in a window are so alike that they teach little.

    Args:
        draws: of the same episodes.
        vocabulary: theirs.
    """

    def __init__(self, draws: Draws, vocabulary: Vocabulary) -> None:
        self._episodes, self._types = draws.episodes, len(vocabulary.types)
        chunks = list(vocabulary.gaps)
        self._at: list[Ints] = []
        for episode in draws.episodes:
            found = [episode.asked[group][0] for group in chunks if group in episode.asked]
            self._at.append(np.unique(np.concatenate([np.empty(0, np.int64), *found])))
        self._newest = [newest(episode, len(vocabulary.streams)) for episode in draws.episodes]
        chances = draws.chances * np.array([len(at) > 0 for at in self._at])
        self.any = bool(chances.sum() > 0)
        self._p = chances / chances.sum() if self.any else chances
        self._chunks = chunks

    def batch(
        self, seed: int, number: int, size: int, *, rank: int = 0, ranks: int = 1
    ) -> tuple[EventBatch, Asked]:
        """A batch of moments and what came: windows of as many events as there are streams.

        Args:
            seed: of the draw.
            number: of the batch.
            size: of the whole batch.
            rank: gives moments ``rank``, ``rank + ranks``, … of it.
            ranks: how many processes share a batch.
        """
        rng = np.random.default_rng((seed, number, 2))
        which = rng.choice(len(self._episodes), size=size, p=self._p)[rank::ranks]
        share = rng.random(size)[rank::ranks]
        at = [self._at[i][int(s * len(self._at[i]))] for i, s in zip(which, share, strict=True)]
        rows = [self._newest[i][moment] for i, moment in zip(which, at, strict=True)]
        shown = [np.sort(row[row >= 0]) for row in rows]
        length = max(1, *map(len, shown))
        where = np.full((len(which), length), PADDED, np.int64)
        groups: dict[int, tuple[list[int], list[npt.NDArray[np.int32]]]] = {}
        for b, (i, moment) in enumerate(zip(which, at, strict=True)):
            last = len(shown[b]) - 1
            where[b, : last + 1] = shown[b]
            for group in self._chunks:
                after, answers = self._episodes[i].asked[group]
                row = int(np.searchsorted(after, moment))
                if last >= 0 and row < len(after) and after[row] == moment:
                    places, tokens = groups.setdefault(group, ([], []))
                    places.append(b * length + last)
                    tokens.append(answers[row])
        nothing = torch.empty(0, dtype=torch.int64)
        episodes = [self._episodes[i] for i in which.tolist()]
        return event_batch(episodes, where, np.zeros(where.shape, np.bool_), self._types), Asked(
            types=(nothing, nothing),
            groups={
                group: (torch.tensor(at), torch.from_numpy(np.stack(tokens).astype(np.int64)))
                for group, (at, tokens) in sorted(groups.items())
            },
        )


__all__ = ["Moments"]
