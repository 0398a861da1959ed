"""Vectors: a token or two per element that moves.

Shapes: N samples, D elements of a flattened sample, L live ones, S slots, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.model.tokens.bins import Bins, fit_bins, only_atoms
from viae.model.tokens.codec import Codec, Floats, Tokens
from viae.model.tokens.elements import Elements, Values, fit_elements, there
from viae.model.tokens.numbers import (
    difference,
    number,
    plus_recorded,
    recorded,
)
from viae.model.tokens.scaling import Scaling, fit_scaling
from viae.schema import StreamSpec

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 256
LEAST_BINS = 16
COARSE = 1000
"""A cell wider than this part of an element's spread is coarse."""
CLEARLY = 0.95
"""Tokens are counted from those of the sample before if that saves a twentieth of the bits."""
WIDEST_GAP = 10.0
"""In spreads; no score counts more."""
NARROW = 8.0
"""Parts of a cell are at least so many times what the dtype can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coding:
    """How one live element is coded.

    Args:
        bins: of its numbers.
        difference: the numbers are differences from the sample before.
        base: subtracted from values of 64-bit integers, which then fit a float64.
        counted: tokens are counted from the one of the sample before: half of them is the same
            token again, and behind the last comes the first.
    """

    bins: Bins
    difference: bool
    base: int = 0
    counted: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "bins": self.bins.to_json(), "difference": self.difference, "base": self.base,
            "counted": self.counted,
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Coding:
        """The inverse of `to_json`."""
        return cls(
            bins=Bins.from_json(card["bins"]), difference=card["difference"], base=card["base"],
            counted=card.get("counted", False),
        )  # fmt: skip

    def counted_from(self, token: Ints, last: Ints) -> Ints:
        """Tokens counted from those of the samples before."""
        return (token - last + self.bins.size // 2) % self.bins.size

    def counted_to(self, token: Ints, last: Ints) -> Ints:
        """The inverse of `counted_from`."""
        return (token + last - self.bins.size // 2) % self.bins.size


class VectorCodec(Codec):
    """Bins and atoms per element, of the value or of its difference from the one before.

    What an element can be without saying has no slot: one that never moved, holds through each
    episode, or repeats another one (`Elements`). `encode` does not look at those; `check` does.

    Args:
        elements: which have tokens, and how others follow.
        codings: of the live elements.
        scaling: of what `describe` shows.
    """

    kind = "vector"
    ordered = True

    def __init__(self, elements: Elements, codings: tuple[Coding, ...], scaling: Scaling) -> None:
        self.elements = elements
        self.codings = dict(zip(elements.live, codings, strict=True))
        self.scaling = scaling
        self.slots = tuple(
            size
            for coding in codings
            for size in (coding.bins.size, coding.bins.fine)[: 1 + (coding.bins.fine > 1)]
        )
        self.features = scaling.features

    @classmethod
    def fit(
        cls, values: Any, before: Any, spec: StreamSpec, *, bins: int = BINS, first: bool,
        fine: int = 0,
    ) -> VectorCodec:  # fmt: skip
        """Fit on samples.

        The tokens of a value may be *counted* from the token of the sample before, if that makes
        them fewer bits: then an element that stays near is foreseen without a look at where it was.

        Value or difference: the one whose cells are narrower where most samples fall (the mean
        width, the 5% of samples in the widest cells left out); if equal, in the mean of all; if
        that is equal too, the one of less entropy. NaN and infinities that occur are tokens of an
        element, which then is coded by value.

        Args:
            values: [N, *shape]. Few first samples say little: give a codec of first samples all
                samples of the stream instead, if their elements are to be as fine.
            before: [N, *shape], the sample before each; rows of NaN where there is none; None
                where ``first``.
            spec: of the stream.
            bins: tokens per slot, at most; at least 16.
            first: for samples that have none before them.
            fine: a second token divides the cells of an element into so many equal parts, if its
                cells (the mean width, as above) are wider than a thousandth of the element's
                spread (its 1st to its 99th percentile). 0: none does.

        Raises:
            TokenError: there are no samples, or of another shape, or too few bins.
        """
        if bins < LEAST_BINS:
            raise TokenError(f"stream '{spec.name}': {bins} bins; at least {LEAST_BINS} are needed")
        elements = fit_elements(values, before, spec, first=first)
        flat = elements.flat(values)
        known = None if first else elements.known(before, len(flat))
        has = there(before, len(flat))
        codings = []
        for j in elements.live:
            column = np.ascontiguousarray(flat[:, j])
            old = None if known is None else np.ascontiguousarray(known[:, j])
            odd = elements.odd.get(j, ())
            with np.errstate(over="ignore", invalid="ignore"):
                codings.append(_fit_coding(column, old, has, odd, bins, fine))
        return cls(elements, tuple(codings), fit_scaling(elements, flat, known, has))

    def encode(self, values: Any, before: Any) -> Tokens:
        """Tokens of samples: int32 [N, S]; see `Codec.encode`."""
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        self.elements.refuse_strange(flat)
        tokens = np.empty((len(flat), len(self.slots)), np.int32, order="F")
        place = 0
        for j, coding in self.codings.items():
            token, x = self._locate(j, coding, flat, known)
            tokens[:, place] = token
            if coding.counted:
                tokens[:, place] = coding.counted_from(token, self._last(j, coding, known))
            place += 1
            if coding.bins.fine > 1:
                tokens[:, place] = coding.bins.part(token, x)
                place += 1
        return np.ascontiguousarray(tokens)

    def binned(self, values: Any, before: Any) -> Ints:
        """The bin or atom of each live element, by number, none counted: int64 [N, L]."""
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        each = [self._locate(j, coding, flat, known)[0] for j, coding in self.codings.items()]
        return np.stack(each, axis=1) if each else np.empty((len(flat), 0), np.int64)

    def decode(self, tokens: Tokens, before: Any, rng: np.random.Generator | None = None) -> Any:
        """Samples that tokens stand for.

        Args:
            tokens: int32 [N, S].
            before: [N, *shape], or None where no element needs it.
            rng: with a generator a number is drawn from all of its bin, from a wide one as what it
                held in the fit lay there; without, it is the median of that. Atoms are exact
                either way.

        Returns:
            [N, *shape] in the stream's dtype.

        Raises:
            TokenError: a token that its slot does not have, or no sample before where one is
                needed.
        """
        known = self.elements.known(before, len(tokens))
        flat = np.empty((len(tokens), len(self.elements.names)), self.elements.dtype, order="F")
        for j, coding, token, part in self._read(tokens, known):
            x = coding.bins.value(token, part, rng)
            if coding.difference:
                flat[:, j] = plus_recorded(self.elements.needed(known, j)[:, j], x)
            else:
                flat[:, j] = recorded(x, self.elements.dtype, coding.base)
        self.elements.fill(flat, known)
        return self.elements.shaped(flat)

    @property
    def numbers(self) -> int:
        """See `Codec.numbers`."""
        return self.scaling.numbers

    def describe(self, values: Any, before: Any) -> Floats:
        """Standardised values, then differences, then 1 where a value is missing: [N, F].

        Of live elements and those that hold through an episode (which have no difference). Up to
        4 spreads linear, then logarithmic, at most 10. What is not finite is 0.
        """
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        return self.scaling.describe(self.elements, flat, known, there(before, len(flat)))

    def check(self, values: Any, before: Any) -> list[tuple[str, str]]:
        """What samples have that the fit had not: (element, what), lowest elements first.

        A constant that moved, a repetition that is none, a number that is not finite, and numbers
        outside the fitted range. Nothing is raised: a query refuses, or widens what it says.
        """
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        found = self.elements.check(flat, known)
        for j, coding in self.codings.items():
            name, column = self.elements.names[j], flat[:, j]
            x = number(column)
            strange = ~np.isfinite(x) & (coding.bins.strange(x) < 0)
            if strange.any():
                row = int(np.argmax(strange))
                found.append((name, f"is {column[row]} in row {row}, which it never was"))
                continue
            token, x = self._locate(j, coding, flat, known)
            outside = np.isin(token, coding.bins.outside)
            if outside.any():
                row = int(np.argmax(outside))
                low, high = (end + coding.base for end in coding.bins.edges[[0, -1]].tolist())
                said = f"is {column[row]}"
                if coding.difference:
                    said = f"changes by {x[row]:.6g}"
                said += f" in row {row}, outside the {low:.6g} to {high:.6g} of the fit"
                found.append((name, f"{said} ({outside.sum()} of {len(flat)} samples)"))
        order = {name: j for j, name in enumerate(self.elements.names)}
        return sorted(found, key=lambda each: order[each[0]])

    def overflow(self, values: Any, before: Any) -> Doubles:
        """The share of samples outside the fitted range, per element: float64 [D]."""
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        shares = np.zeros(len(self.elements.names))
        for j, coding in self.codings.items():
            token, _ = self._locate(j, coding, flat, known)
            shares[j] = np.isin(token, coding.bins.outside).mean() if len(flat) else 0.0
        return shares

    def cell(self, values: Any, before: Any) -> tuple[Doubles, Doubles]:
        """The ends of the cells that samples fall in, recorded units: float64 [N, D] twice.

        A cell is half-open, [low, high). The ends are equal for atoms and for elements without a
        token; an outer cell ends at infinity. Cells of an element cover the line once.
        """
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        self.elements.refuse_strange(flat)
        low, high = (np.empty(flat.shape, np.float64) for _ in range(2))
        for j, coding in self.codings.items():
            token, x = self._locate(j, coding, flat, known)
            part = coding.bins.part(token, x) if coding.bins.fine > 1 else None
            ends = coding.bins.cell(token, part)
            moved = number(self.elements.needed(known, j)[:, j]) if coding.difference else 0.0
            low[:, j], high[:, j] = (end + coding.base + moved for end in ends)
        still = flat.copy()
        self.elements.fill(still, known)
        for j in (*self.elements.constant, *self.elements.repeat):
            low[:, j] = high[:, j] = number(still[:, j])
        return low, high

    def log_width(self, tokens: Tokens, before: Any = None) -> Doubles:
        """Logarithm of the volume of cells: float64 [N].

        Over the elements whose token is a bin; atoms add nothing. Recorded units; infinite where
        an element lies outside the fitted range. The negative log-density of a sample is the
        negative log-probability of its tokens plus this.

        Raises:
            TokenError: tokens are counted from the sample before, and there is none.
        """
        total = np.zeros(len(tokens))
        known = self.elements.known(before, len(tokens))
        for _, coding, token, part in self._read(tokens, known):
            low, high = coding.bins.cell(token, part)
            wide = high > low
            with np.errstate(over="ignore"):
                total += np.log(np.subtract(high, low, out=np.ones(len(token)), where=wide))
        return total

    def gaps(self) -> tuple[Floats, ...]:
        """See `Codec.gaps`; a slot that divides a cell weighs nothing."""
        if any(coding.counted for coding in self.codings.values()):
            return ()
        scales = dict(zip(self.elements.shown, self.scaling.values[:, 1].tolist(), strict=True))
        found: list[Floats] = []
        for j, coding in self.codings.items():
            points = coding.bins.points[: coding.bins.size - len(coding.bins.odd)]
            gaps = np.zeros(coding.bins.size, np.float32)
            gaps[: len(points) - 1] = np.minimum(np.diff(points) / scales[j], WIDEST_GAP)
            found.append(gaps)
            if coding.bins.fine > 1:
                found.append(np.zeros(coding.bins.fine, np.float32))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind, "elements": self.elements.to_json(),
            "codings": [coding.to_json() for coding in self.codings.values()],
            "scaling": self.scaling.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> VectorCodec:
        """The inverse of `to_json`."""
        return cls(
            Elements.from_json(card["elements"]),
            tuple(Coding.from_json(coding) for coding in card["codings"]),
            Scaling.from_json(card["scaling"]),
        )

    def _locate(
        self, j: int, coding: Coding, flat: Values, known: Values | None
    ) -> tuple[Ints, Doubles]:
        """The token of an element in every row, and the number that was looked up."""
        bins, column = coding.bins, flat[:, j]
        if not coding.difference:
            return _token(coding, column), number(column, coding.base)
        old = self.elements.needed(known, j)[:, j]
        if old.dtype.kind == "f":
            self._refuse_unknown(j, np.isfinite(old), old)
        x = difference(column, old)
        token = bins.bin(x)
        if column.dtype.kind != "f":
            atom = bins.atom(x)
            return np.where(atom >= 0, atom, token), x
        if len(bins.atoms):  # exact is what comes back exactly
            up = np.minimum(np.searchsorted(bins.atoms, x), len(bins.atoms) - 1)
            for at in (up, np.maximum(up - 1, 0)):
                exact = plus_recorded(old, bins.atoms[at]) == column
                token = np.where(exact, bins.token[at], token)
        return token, x

    def _last(self, j: int, coding: Coding, known: Values | None) -> Ints:
        """The token of an element in the samples before."""
        old = self.elements.needed(known, j)[:, j]
        x = number(old, coding.base)
        self._refuse_unknown(j, np.isfinite(x) | (coding.bins.strange(x) >= 0), old)
        return _token(coding, old)

    def _refuse_unknown(self, j: int, good: npt.NDArray[np.bool_], old: Values) -> None:
        if not good.all():
            row = int(np.argmin(good))
            raise TokenError(
                f"stream '{self.elements.stream}': element '{self.elements.names[j]}' is "
                f"{old[row]} in the sample before row {row}, from which it is coded; use the "
                "codec of first samples where there is none before"
            )

    def _read(
        self, tokens: Tokens, known: Values | None
    ) -> list[tuple[int, Coding, Ints, Ints | None]]:
        """Per live element its tokens, and the second ones where there are any.

        Raises:
            TokenError: a token that its slot does not have.
        """
        given = np.asarray(tokens)
        if given.ndim != 2 or given.shape[1] != len(self.slots):
            raise TokenError(
                f"stream '{self.elements.stream}': tokens of shape {list(given.shape)}; its codec "
                f"has {len(self.slots)} slots"
            )
        bad = (given < 0) | (given >= np.array(self.slots, np.int64))
        if bad.any():
            row, slot = (int(place) for place in np.argwhere(bad)[0])
            raise TokenError(
                f"stream '{self.elements.stream}': token {given[row, slot]} in row {row}, slot "
                f"{slot}, which has {self.slots[slot]} values"
            )
        found, place = [], 0
        for j, coding in self.codings.items():
            token = given[:, place].astype(np.int64)
            if coding.counted:
                token = coding.counted_to(token, self._last(j, coding, known))
            part = given[:, place + 1].astype(np.int64) if coding.bins.fine > 1 else None
            found.append((j, coding, token, part))
            place += 1 if part is None else 2
        return found


def _fit_coding(
    column: Values, old: Values | None, has: npt.NDArray[np.bool_], odd: tuple[float, ...],
    bins: int, fine: int,
) -> Coding:  # fmt: skip
    """How an element that moves is coded; numbers may span more than a float64 can say."""
    best = _fit_numbers(column, old, has, odd, bins, fine)
    if best.difference or old is None or not has.any():
        return best
    token, last = (_token(best, each[has]) for each in (column, old))
    moved = replace(best, counted=True)
    costs = [
        _code_length(np.bincount(tokens, minlength=best.bins.size))
        for tokens in (token, moved.counted_from(token, last))
    ]
    return moved if costs[1] < CLEARLY * costs[0] else best


def _token(coding: Coding, column: Values) -> Ints:
    """Tokens of values."""
    x = number(column, coding.base)
    token = np.maximum(coding.bins.atom(x), coding.bins.strange(x))
    return np.where(token >= 0, token, coding.bins.bin(x))


def _code_length(counts: Ints) -> float:
    """Nats of tokens that are learnt while they are said (Krichevsky and Trofimov, 1981)."""
    from scipy.special import gammaln

    half = 0.5 * len(counts)
    whole = float(gammaln(counts + 0.5).sum() - gammaln(counts.sum() + half))
    return len(counts) * float(gammaln(0.5)) - float(gammaln(half)) - whole


def _fit_numbers(
    column: Values, old: Values | None, has: npt.NDArray[np.bool_], odd: tuple[float, ...],
    bins: int, fine: int,
) -> Coding:  # fmt: skip
    """Bins of the values, or of the differences where they resolve finer."""
    dtype = column.dtype
    if dtype.kind == "b":
        return Coding(bins=only_atoms((0.0, 1.0)), difference=False)
    whole = dtype.kind in "iu"
    base = int(column.min()) if whole and dtype.itemsize == 8 else 0
    x = number(column, base)
    x = x[np.isfinite(x)] if np.isfinite(x).any() else np.zeros(1)
    seen = np.unique(x, return_counts=True)
    best = Coding(
        bins=fit_bins(*seen, bins=bins, whole=whole, dtype=dtype, odd=odd),
        difference=False, base=base,
    )  # fmt: skip
    fineness = best.bins.fineness(*seen)
    resolution = 0.0 if whole else 2 * float(np.spacing(np.abs(x).max().astype(dtype)))
    if old is not None and has.any() and not odd and np.isfinite(old[has]).all():
        step = difference(column[has], old[has])
        steps = np.unique(step[np.isfinite(step)], return_counts=True)
        partition = fit_bins(*steps, bins=bins, whole=whole, resolution=resolution)
        found = partition.fineness(*steps)
        if found < fineness:
            best, fineness = Coding(bins=partition, difference=True), found
    spread = _spread(*seen)
    if fine > 1 and fineness[0] > spread / COARSE:
        least = 2.0 if whole else NARROW * resolution
        edges = best.bins.edges
        split = np.diff(edges) / fine >= least
        best = replace(best, bins=replace(best.bins, fine=fine, split=split))
    return best


def _spread(values: Doubles, counts: Ints) -> float:
    """From the 1st to the 99th percentile."""
    passed = np.cumsum(counts)
    low, high = np.searchsorted(passed, passed[-1] * np.array([0.01, 0.99]))
    return float(values[high] - values[low])
