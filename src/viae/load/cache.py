"""Frames decoded once and kept: in memory, then in a memory-mapped file, the rest on demand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.claims import Claims
from viae.load.frames import OnDemand
from viae.load.slots import Slots

Ints = npt.NDArray[np.int64]


class Cached:
    """Frames of one picture stream, each decoded once, with all that its group is asked for.

    Args:
        source: decodes them.
        used: int64 [U], the frames that windows use, ascending; the first of them are kept, as many
            as there is room for, and all others decoded each time.
        tiers: rooms to keep them in, fastest first.
    """

    def __init__(self, source: OnDemand, used: Ints, tiers: Sequence[Slots]) -> None:
        self.source = source
        self.shape = source.shape
        """(3, H, W)."""
        self.tiers = tuple(tiers)
        self._bounds = np.cumsum([0, *(tier.count for tier in tiers)])
        self._used = used[: int(self._bounds[-1])]
        self._slot_of = np.full(len(source), -1, np.int64)
        self._slot_of[self._used] = np.arange(len(self._used))
        rows = np.searchsorted(source.stream.row_starts, self._used, side="right") - 1
        self._row_of: Ints = rows
        self._claims = Claims()
        self._broken = np.zeros(len(source.stream.rows), np.bool_)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def held(self) -> int:
        """How many frames are kept by now, as far as this process knows."""
        return int(sum(np.count_nonzero(tier.held(np.arange(tier.count))) for tier in self.tiers))

    def read(self, frames: Ints, out: npt.NDArray[np.uint8]) -> None:
        """See `viae.load.access.Frames`."""
        if not len(self._used):
            self.source.read(frames, out)
            return
        none = frames < 0
        slots = np.where(none, -1, self._slot_of[np.maximum(frames, 0)])
        self._fill(slots)
        elsewhere = (slots < 0) & ~none
        if self._broken.any():
            elsewhere |= (slots >= 0) & self._broken[self._row_of[slots]]
        if len(self.tiers) == 1 and out.flags.c_contiguous and not elsewhere.any():
            # "clip" writes straight into out, and lets other threads run meanwhile
            np.take(self.tiers[0].frames, slots, axis=0, out=out, mode="clip")
        else:
            rest = np.flatnonzero(elsewhere)
            self.source.decode(frames[rest], [out[i] for i in rest.tolist()])
            kept = np.flatnonzero(~elsewhere & ~none)
            for i, slot in zip(kept.tolist(), slots[kept].tolist(), strict=True):
                out[i] = self._frame(slot)
        out[none] = 0

    def _frame(self, slot: int) -> npt.NDArray[np.uint8]:
        for tier in self.tiers:
            if slot < tier.count:
                frame: npt.NDArray[np.uint8] = tier.frames[slot]
                return frame
            slot -= tier.count
        raise IndexError(slot)

    def _fill(self, slots: Ints) -> None:
        """Have all of these slots filled, by this thread or others; those of -1 are none."""
        while len(rows := np.unique(self._row_of[self._missing(slots)])):
            with self._claims.some_of(rows.tolist()) as mine:
                if not mine:
                    continue
                try:
                    self._decode(mine)
                except WindowError:  # somewhere among them: what is asked of it may be before
                    for row in mine:
                        try:
                            self._decode([row])
                        except WindowError:
                            self._broken[row] = True

    def _missing(self, slots: Ints) -> Ints:
        """Those that are to be filled yet: int64 [M]."""
        slots = slots[slots >= 0]
        if len(self.tiers) == 1 and not self._broken.any():
            return slots[~self.tiers[0].held(slots)]
        slots = slots[~self._broken[self._row_of[slots]]]
        missing = [
            own[~tier.held(own - first)] for tier, first, own in self._by_tier(slots) if len(own)
        ]
        return np.concatenate([np.empty(0, np.int64), *missing])

    def _by_tier(self, slots: Ints) -> list[tuple[Slots, int, Ints]]:
        return [
            (tier, first, slots[(slots >= first) & (slots < first + tier.count)])
            for tier, first in zip(self.tiers, self._bounds.tolist(), strict=False)
        ]

    def _decode(self, rows: Sequence[int]) -> None:
        """Fill all slots of some rows that are still empty."""
        firsts = np.searchsorted(self._row_of, rows, side="left")
        lasts = np.searchsorted(self._row_of, rows, side="right")
        spans = [np.arange(a, b) for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True)]
        slots = self._missing(np.concatenate(spans))
        self.source.decode(self._used[slots], [self._frame(slot) for slot in slots.tolist()])
        for tier, first, own in self._by_tier(slots):
            tier.keep(own - first)
