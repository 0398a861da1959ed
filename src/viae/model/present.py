"""The present: the newest event of each stream in each of P histories, and nothing before.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import TokenError
from viae.model.base import PADDED, EventBatch
from viae.model.tokens.codec import Floats

Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest event of a stream in each of P histories: order -1 where there is none."""

    order: Ints
    kinds: Ints
    times: Floats
    features: Floats

    def put(self, rows: Ints, order: int, kind: int, times: Floats, features: Floats) -> _Newest:
        new = self.taken(np.arange(len(self.order)))
        new.order[rows], new.kinds[rows] = order, kind
        new.times[rows], new.features[rows] = times, features
        return new

    def taken(self, rows: Ints) -> _Newest:
        return _Newest(self.order[rows], self.kinds[rows], self.times[rows], self.features[rows])

    @classmethod
    def none(cls, count: int, features: int) -> _Newest:
        return cls(
            np.full(count, -1, np.int64), np.zeros(count, np.int64),
            np.zeros((count, 2), np.float32), np.zeros((count, features), np.float32),
        )  # fmt: skip


class Present:
    """What a policy is shown, as events arrive.

    Args:
        count: P.
        numbers: of each stream, how many of its features can be blurred: the first ones.
    """

    def __init__(self, count: int, numbers: Sequence[int]) -> None:
        self._count, self._numbers = count, numbers
        self._newest: dict[int, _Newest] = {}

    def put(
        self, stream: int, rows: Ints, order: int, kind: int, times: Floats, features: Floats
    ) -> None:
        """A stream has spoken in some histories.

        Args:
            stream: its number.
            rows: int64 [m], which histories.
            order: of the event in its history.
            kind: its type.
            times: [m, 2].
            features: [m, F].
        """
        held = self._newest.get(stream) or _Newest.none(self._count, features.shape[1])
        self._newest[stream] = held.put(rows, order, kind, times, features)

    def taken(self, rows: Ints) -> Present:
        """Some of the histories, each as often as named."""
        other = Present(len(rows), self._numbers)
        other._newest = {stream: own.taken(rows) for stream, own in self._newest.items()}
        return other

    def events(self, *, blur: float, copies: int, seed: int) -> tuple[EventBatch, torch.Tensor]:
        """As windows [P·copies, streams], and the last place of each, int64 [P·copies].

        Args:
            blur: see `viae.model.context.Context.present`.
            copies: of each history.
            seed: of the noise.

        Raises:
            TokenError: a history in which nothing has arrived.
        """
        held = sorted(self._newest.items())
        order = [own.order for _, own in held]
        if not held or (np.stack(order) < 0).all(0).any():
            raise TokenError("nothing has arrived yet but actions: there is no present to act on")
        order_PM = np.stack(order, axis=1)
        last = np.iinfo(np.int64).max
        place_PM = np.where(order_PM >= 0, order_PM, last).argsort(1).argsort(1)
        order_PM, place_PM = (np.repeat(each, copies, axis=0) for each in (order_PM, place_PM))
        kinds = np.full(order_PM.shape, PADDED, np.int64)
        times = np.zeros((*order_PM.shape, 2), np.float32)
        features: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        rng = np.random.default_rng(seed)
        for column, (stream, own) in enumerate(held):
            rows = np.flatnonzero(order_PM[:, column] >= 0)
            places, of = place_PM[rows, column], rows // copies
            kinds[rows, places], times[rows, places] = own.kinds[of], own.times[of]
            shown, numbers = own.features[of], self._numbers[stream]
            half_CF = blur * rng.standard_normal((-(-copies // 2), numbers))
            noise_CF = np.stack([half_CF, -half_CF], axis=1).reshape(2 * len(half_CF), numbers)
            shown[:, :numbers] += noise_CF[rows % copies].astype(np.float32)
            flat = torch.from_numpy(rows * len(held) + places)
            features[stream] = flat, torch.from_numpy(shown)
        events = EventBatch(
            types=torch.from_numpy(kinds), times=torch.from_numpy(times), features=features,
            hidden=torch.zeros(kinds.shape, dtype=torch.bool),
        )  # fmt: skip
        return events, torch.from_numpy((order_PM >= 0).sum(1) - 1)


__all__ = ["Present"]
