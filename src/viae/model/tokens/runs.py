"""Pictures as what has changed: a patch whose code did not change is not sent again.

The tokens of a picture walk over its patches in raster order. A token is the code of the patch at
hand, or a run: so many patches are as they were; or the end: all the rest are. Every sequence of
tokens means a picture, so a model can say no wrong one.

The encoder keeps what the decoder has (a *closed loop*): the codes sent so far. A patch is sent
again only if that brings the picture the decoder has nearer to the true one by more than a
threshold; so noise costs nothing, and what drifts slowly is sent when it has gone far enough. What
finds no room waits, the least gain first to wait, and competes again at the next picture.

Shapes: N pictures, P patches, S slots, K codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.model.tokens.codec import SILENT, Codec, Coded, Floats, Tokens
from viae.model.tokens.grid import UNKNOWN, Codes, GridCodec, Look, Painter, Pixels
from viae.model.tokens.picture import PictureConfig

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A picture in the closed loop.

    Args:
        tokens: int32 [S].
        state: int32 [P], what the decoder has after it.
        shown: uint8 [3, H, W], the same as a picture.
        sent: bool [P].
    """

    tokens: Tokens
    state: Codes
    shown: Pixels
    sent: Mask


class PictureCodec(Codec):
    """Pictures given what the decoder has of the one before.

    ``before`` is codes, int32 [N, P], `UNKNOWN` where nothing was ever sent: what `after` gives.
    The first picture of an episode is best coded by `first`; without it, this codec sends what fits
    into its slots, and the rest with the pictures that follow.

    Args:
        painter: the network.
        threshold: a patch is sent if its mean squared error falls by more than this, in squares of
            levels of 0 to 255, for each token it costs.
        room: slots; tokens that a picture has at most.
    """

    kind = "picture-runs"

    def __init__(self, painter: Painter, *, threshold: float, room: int) -> None:
        self.painter = painter
        self.threshold = threshold
        config = painter.config
        self.alphabet = Alphabet(config.codes, config.patches)
        self.slots = (self.alphabet.values,) * room
        self.features = len(config.levels) * config.patches

    @property
    def first(self) -> GridCodec:
        """The codec of an episode's first picture, which sends every patch."""
        return GridCodec(self.painter)

    def code(self, values: Any, before: Any = None) -> Coded:
        """Pictures one after another; ``before`` int32 [1, P] is of the first, None for nothing."""
        values = self.painter.check(values)
        state = self._unknown if before is None else self._known(before, 1)[0]
        tokens = np.full((len(values), len(self.slots)), SILENT, np.int32)
        states = np.tile(state, (len(values) + 1, 1))
        for number, step in enumerate(self.steps(values, map(self.painter.look, values), state)):
            tokens[number], states[number + 1] = step.tokens, step.state
        return Coded(
            tokens=tokens, features=self.painter.features(states[1:]),
            before=states[:-1], after=states[-1:],
        )  # fmt: skip

    def steps(self, pictures: Pixels, looks: Iterable[Look], state: Codes) -> Iterator[Step]:
        """The closed loop.

        Args:
            pictures: uint8 [N, 3, H, W], one after another.
            looks: `Painter.look` of each.
            state: int32 [P], what the decoder has before the first.
        """
        shown = self.painter.paint(state)
        for picture, look in zip(pictures, looks, strict=True):
            gain = self.painter.errors(picture, shown) - look.errors
            gain[look.codes == state] = -np.inf
            sent = fitting(worth_sending(gain, self.threshold), gain, len(self.slots))
            tokens = self.alphabet.spell(sent, look.codes, len(self.slots))
            if sent.any():
                state = np.where(sent, look.codes, state)
                shown = self.painter.paint(state)
            yield Step(tokens=tokens, state=state, shown=shown, sent=sent)

    def encode(self, values: Any, before: Any) -> Tokens:
        """int32 [N, S]; each picture given its own ``before``."""
        values = self.painter.check(values)
        pairs = zip(values, self._known(before, len(values)), strict=True)
        found = [self.code(one[None], state[None]).tokens for one, state in pairs]
        return np.concatenate([np.empty((0, len(self.slots)), np.int32), *found])

    def decode(self, tokens: Tokens, before: Any) -> Pixels:
        """uint8 [N, 3, H, W]."""
        return self.first.decode(self.after(tokens, before), None)

    def describe(self, values: Any, before: Any) -> Floats:
        """float32 [N, F]: the latents of every patch, as the decoder has them after the tokens."""
        return self.painter.features(self.after(self.encode(values, before), before))

    def after(self, tokens: Tokens, before: Any) -> Codes:
        """What the decoder has after tokens: int32 [N, P]."""
        states = self._known(before, len(tokens))
        found = [self.alphabet.read(row, s) for row, s in zip(tokens, states, strict=True)]
        return np.stack(found) if found else states

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; the weights go to `save_arrays`."""
        return {
            "kind": self.kind, "config": self.painter.config.to_json(),
            "threshold": self.threshold, "room": len(self.slots),
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> PictureCodec:
        """The inverse of `to_json`."""
        assert folder is not None
        painter = Painter.load(PictureConfig.from_json(card["config"]), folder)
        return cls(painter, threshold=card["threshold"], room=card["room"])

    def save_arrays(self, folder: Path) -> None:
        """Write the weights."""
        self.painter.save(folder)

    @property
    def _unknown(self) -> Codes:
        return np.full(self.painter.config.patches, UNKNOWN, np.int32)

    def _known(self, before: Any, n: int) -> Codes:
        before = np.asarray(before)
        if before.shape != (n, self.painter.config.patches) or before.dtype != np.int32:
            raise TokenError(
                f"what the decoder has is {before.dtype} {list(before.shape)}; a picture is coded "
                f"given codes, int32 [{n}, {self.painter.config.patches}], as `after` gives them"
            )
        known: Codes = before
        return known


class Alphabet:
    """Tokens of a walk over P patches of K codes.

    0 … K - 1: the code of the patch at hand. K … K + P - 2: a run of 1 … P - 1 patches that are as
    they were. K + P - 1: the end.
    """

    def __init__(self, codes: int, patches: int) -> None:
        self.codes, self.patches = codes, patches
        self.end = codes + patches - 1
        self.values = codes + patches

    def spell(self, sent: Mask, codes: Codes, room: int) -> Tokens:
        """Tokens int32 [room] of what is sent, `SILENT` after the last; the end only if room is."""
        places = np.flatnonzero(sent)
        runs = np.diff(places, prepend=-1) - 1
        pairs = np.stack([self.codes + runs - 1, codes[places]], 1)
        said = pairs.reshape(-1)[np.stack([runs > 0, runs >= 0], 1).reshape(-1)]
        if not len(places) or places[-1] < self.patches - 1:
            said = np.append(said, self.end)
        out = np.full(room, SILENT, np.int32)
        out[: len(said)] = said[:room]
        return out

    def read(self, tokens: Tokens, state: Codes) -> Codes:
        """What a decoder has after tokens [S], given the codes that it had; any tokens will do."""
        after, place = state.copy(), 0
        for token in tokens.tolist():
            if token == SILENT or token >= self.end or place >= self.patches:
                break
            if token < self.codes:
                after[place] = token
                place += 1
            else:
                place += token - self.codes + 1
        return after


def tokens_of(sent: Mask) -> int:
    """Tokens that it takes to send patches: a code each, a run before each group; no end."""
    groups = sent & ~np.append(False, sent[:-1])
    return int(sent.sum() + groups[1:].sum())


def worth_sending(gain: npt.NDArray[np.float64], threshold: float) -> Mask:
    """Patches whose gain exceeds what they cost: the best choice of all, by dynamic programming.

    The first patch of a group costs two tokens, a run and a code, and those after it one; a patch
    that cannot be sent has a gain of minus infinity.

    Args:
        gain: float64 [P], in raster order.
        threshold: the price of a token.
    """
    unsent, sending = 0.0, -np.inf  # the best total so far, by whether the last patch is sent
    came: list[tuple[bool, bool]] = []  # was the patch before sent, on the best way to each?
    for place, won in enumerate((gain - threshold).tolist()):
        opening = unsent - (threshold if place else 0.0)
        came.append((sending > unsent, sending >= opening))
        unsent, sending = max(unsent, sending), max(sending, opening) + won
    sent = np.zeros(len(gain), np.bool_)
    now = sending > unsent
    for place in reversed(range(len(gain))):
        sent[place] = now
        now = came[place][now]
    return sent


def fitting(sent: Mask, gain: npt.NDArray[np.float64], room: int) -> Mask:
    """As many of the patches as find room, those that gain least left out first."""
    sent = sent.copy()
    ranked = np.flatnonzero(sent)[np.argsort(gain[sent], kind="stable")]
    for place in ranked:
        if tokens_of(sent) <= room:
            break
        sent[place] = False
    return sent
