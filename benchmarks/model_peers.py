"""Persistence, as a likelihood of the very tokens that the base model says.

A sample is foretold as the last one plus noise. Every element of a vector is by itself; its
probability is a mixture, whose weights and scales are fitted on training samples:

* *noise*: mass of a Gaussian, of a Laplace or of all differences seen in training, around the last
  value, in the cell of the token (bins), or in what lies nearest to it (atoms, that is numbers
  common enough to have a token of their own);
* *stay*: the token that the last value itself would have;
* *usual*: how often each token was in training, whatever came before (Krichevsky-Trofimov).

The last two are no persistence: without them a peer has no mass for what a density cannot say, such
as a number that is exactly the same as before. They make it better, never worse. Each component
sums to one over the tokens, so the mixture is a likelihood as exact as the model's.

Text, and what else has no cells, is *stay* and *usual* for each slot.

Shapes: N samples, K tokens of a slot, C components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.model.tokens import Codec
from viae.model.tokens.numbers import number
from viae.model.tokens.vector import Coding, VectorCodec

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Noise: TypeAlias = Literal["gaussian", "laplace", "differences"]

NOISES: tuple[Noise, ...] = ("gaussian", "laplace", "differences")
SCALES = np.geomspace(1e-3, 4, 20)
"""Tried, times the standard deviation of the differences in training."""
LOOKED_AT = 5_000
"""Training samples, evenly chosen, that fit weights and scales; histograms are of all."""
LEAST_WEIGHT = 1e-4
ROUNDS = 15
"""Of expectation maximisation, for the weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """What one slot says, sample after sample.

    Args:
        token: int64 [N].
        stay: int64 [N], the token that the last sample would have; -1 where none.
        last: float64 [N], the last value in the numbers that are binned (0 of differences).
        x: float64 [N], the value itself in these.
    """

    token: Ints
    stay: Ints
    last: Doubles | None = None
    x: Doubles | None = None

    @classmethod
    def joined(cls, parts: Sequence[Column]) -> Column:
        """Of several episodes."""
        last = [part.last for part in parts if part.last is not None]
        x = [part.x for part in parts if part.x is not None]
        return cls(
            token=np.concatenate([part.token for part in parts]),
            stay=np.concatenate([part.stay for part in parts]),
            last=np.concatenate(last) if last else None,
            x=np.concatenate(x) if x else None,
        )


def columns(codec: Codec, values: Any, before: Any) -> list[Column]:
    """What each slot of a codec says of samples that have one before them.

    Args:
        codec: of samples after the first.
        values: [N, *shape], or N texts.
        before: the sample before each.
    """
    if not isinstance(codec, VectorCodec):
        tokens = codec.encode(values, before).astype(np.int64)
        same = np.concatenate([np.full((1, tokens.shape[1]), -1), tokens[:-1]])[: len(tokens)]
        return [Column(token=t, stay=s) for t, s in zip(tokens.T, same.T, strict=True)]
    flat, old = codec.elements.flat(values), codec.elements.known(before, len(values))
    tokens, stays = codec.binned(values, before), codec.binned(before, before)
    found = []
    for slot, (j, coding) in enumerate(codec.codings.items()):
        assert coding.bins.fine == 1
        assert old is not None
        last = np.zeros(len(flat)) if coding.difference else number(old[:, j], coding.base)
        now = number(flat[:, j], coding.base)
        x = now - number(old[:, j], coding.base) if coding.difference else now
        found.append(Column(token=tokens[:, slot], stay=stays[:, slot], last=last, x=x))
    return found


class Persistence:
    """Fitted on training samples of one stream; `bits` are of other samples.

    Args:
        codec: of samples after the first.
        train: of it, from `columns`.
        noise: around the last value.
    """

    def __init__(self, codec: Codec, train: Sequence[Column], noise: Noise) -> None:
        codings = list(codec.codings.values()) if isinstance(codec, VectorCodec) else []
        self._slots = [
            _Slot(size, column, codings[at] if codings else None, noise)
            for at, (size, column) in enumerate(zip(codec.slots, train, strict=True))
        ]

    def bits(self, test: Sequence[Column]) -> Doubles:
        """Of each sample: float64 [N]."""
        if not self._slots:
            return np.zeros(0)
        each = [slot.bits(column) for slot, column in zip(self._slots, test, strict=True)]
        return np.asarray(np.sum(each, axis=0))


class _Slot:
    def __init__(self, size: int, train: Column, coding: Coding | None, noise: Noise) -> None:
        self.size, self.coding, self.noise = size, coding, noise
        said = train.token >= 0
        self.usual = np.bincount(train.token[said], minlength=size).astype(np.float64)
        self.steps = np.empty(0)
        self.scale, spread = 1.0, 0.0
        if coding is not None and train.x is not None and train.last is not None:
            steps = train.x - train.last
            self.steps = np.sort(steps[np.isfinite(steps)])
            spread = float(np.sqrt(np.mean(self.steps**2))) if len(self.steps) else 0.0
        scales = spread * SCALES if spread > 0 and noise != "differences" else np.ones(1)
        best = -np.inf
        some = _thinned(train)
        said = some.token >= 0
        for scale in scales.tolist():
            self.scale = scale
            parts_NC = self._parts(some, own=True)[said]
            weights, fit = _weights(parts_NC)
            if fit > best:
                best, self.weights, kept = fit, weights, scale
        self.scale = kept

    def bits(self, test: Column) -> Doubles:
        p_N = self._parts(test, own=False) @ self.weights
        return np.where(test.token >= 0, -np.log2(np.maximum(p_N, 1e-300)), 0.0)

    def _parts(self, column: Column, *, own: bool) -> Doubles:
        """Probability of each token by each component: float64 [N, C].

        With ``own`` the samples are those of the fit, and each is left out of what foretells it.
        """
        token = np.maximum(column.token, 0)
        left = 1.0 if own else 0.0
        usual = (self.usual[token] - left + 0.5) / (self.usual.sum() - left + 0.5 * self.size)
        parts = [usual, np.where(column.stay < 0, usual, column.stay == column.token)]
        if self.coding is not None and column.last is not None:
            bins = self.coding.bins
            known = np.isfinite(column.last)
            last = np.where(known, column.last, 0.0)
            nearest = np.full((2, bins.size), np.nan)
            if len(bins.atoms):
                middle = (bins.atoms[1:] + bins.atoms[:-1]) / 2
                nearest[0, bins.atom(bins.atoms)] = np.concatenate([[-np.inf], middle])
                nearest[1, bins.atom(bins.atoms)] = np.concatenate([middle, [np.inf]])
            wide = np.where(bins.low < bins.high, [bins.low, bins.high], np.nan)
            for low, high in (nearest, wide):
                there = np.asarray(~np.isnan(low))
                if there.any():
                    mass = self._mass(low[token] - last, high[token] - last, left)
                    mass = np.where(there[token], np.nan_to_num(mass), 0.0)
                    parts.append(np.where(known, mass, usual))
        return np.stack(parts, axis=1)

    def _mass(self, low: Doubles, high: Doubles, left: float) -> Doubles:
        """How much noise lies between: float64 [N]."""
        if self.noise == "differences":
            count = np.searchsorted(self.steps, high) - np.searchsorted(self.steps, low)
            share = np.maximum(count - left, 0.0) / max(len(self.steps) - left, 1.0)
            return np.asarray(share)
        from scipy.stats import laplace, norm

        shape = norm if self.noise == "gaussian" else laplace
        a, b = low / self.scale, high / self.scale
        flip = a > 0  # the upper tail has digits to the end, the lower one has not
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        mass: Doubles = shape.cdf(b) - shape.cdf(a)
        return mass


def _thinned(column: Column) -> Column:
    rows = slice(None, None, -(-len(column.token) // LOOKED_AT) or 1)
    return Column(
        token=column.token[rows], stay=column.stay[rows],
        last=None if column.last is None else column.last[rows],
        x=None if column.x is None else column.x[rows],
    )  # fmt: skip


def _weights(parts_NC: Doubles) -> tuple[Doubles, float]:
    """Of components, by expectation maximisation, and the mean log-likelihood then."""
    weights = np.full(parts_NC.shape[1], 1 / parts_NC.shape[1])
    if not len(parts_NC):
        return weights, 0.0
    for _ in range(ROUNDS):
        share_NC = parts_NC * weights
        share_NC /= np.maximum(share_NC.sum(1, keepdims=True), 1e-300)
        weights = np.maximum(share_NC.mean(0), LEAST_WEIGHT)
        weights /= weights.sum()
    return weights, float(np.log(np.maximum(parts_NC @ weights, 1e-300)).mean())


def best_persistence(codec: Codec, train: Sequence[Column], test: Sequence[Column]) -> Doubles:
    """Bits of each test sample, by the noise that is best on them: float64 [N]."""
    tried = [Persistence(codec, train, noise).bits(test) for noise in NOISES]
    if not isinstance(codec, VectorCodec):
        tried = tried[:1]
    return min(tried, key=lambda bits: float(bits.sum()))
