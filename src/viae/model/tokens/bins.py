"""A partition of the number line into points of their own and bins.

Shapes: N numbers, A atoms, B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_COUNT = 4
"""A number seen less often is no atom, however few samples there are."""
WIDEST_LEFT_OUT = 0.05
"""The share of samples in the widest cells that does not count for how fine a partition is."""
PIECES = 16
"""A bin's edges lie at the ends of so many pieces of equal shares per bin."""
WIDE = 2.0
"""A bin wider than so many median bins keeps what it held, ..."""
STRETCHES = 8
"""... as stretches of equal shares."""
CLEAR = 2.0
"""A bin's centre stays this many resolutions from the bin's ends and from atoms."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """Atoms, which are exact, and half-open bins between edges, from which the atoms are taken out.

    Every number has exactly one token. Tokens grow with the numbers that they stand for: first
    what lies *below* the first edge, then atoms and bins, then what lies from the last edge *up*;
    behind it comes what is not finite and was fitted (NaN, ±inf).

    Args:
        atoms: float64 [A], ascending.
        edges: float64 [B + 1], ascending; empty where only atoms exist.
        centres: float64 [B + 2], what each bin decodes to, then *below* and *up*; empty likewise.
        odd: what is not finite and has a token.
        fine: into how many equal parts a bin is divided by a second token; 1 where there is none.
        split: bool [B], which bins are divided; others are too narrow.
        held: of wide bins, by number: 7 numbers that part what it held in the fit into 8
            stretches of equal shares, ascending and between its edges. Of others, it is spread
            evenly.
        size: how many tokens there are.
        points: float64 [size], the number that each token stands for.
        low, high: float64 [size], the ends of each token's cell; equal for points.
        divided: bool [size], which tokens have a second one.
        token: int64 [size], the tokens of atoms, bins, *below*, *up* and what is odd, in turn.
    """

    atoms: Doubles
    edges: Doubles
    centres: Doubles
    odd: tuple[float, ...] = ()
    fine: int = 1
    split: npt.NDArray[np.bool_]
    held: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    size: int = field(init=False)
    points: Doubles = field(init=False)
    low: Doubles = field(init=False)
    high: Doubles = field(init=False)
    divided: npt.NDArray[np.bool_] = field(init=False)
    token: Ints = field(init=False)
    _stretches: Doubles = field(init=False)  # [size, STRETCHES + 1], the ends; NaN without

    def __post_init__(self) -> None:
        odd = np.array(self.odd, np.float64)
        low = high = np.empty(0, np.float64)
        if len(self.edges):
            low = np.concatenate([self.edges[:-1], [-np.inf, self.edges[-1]]])
            high = np.concatenate([self.edges[1:], [self.edges[0], np.inf]])
        rank = np.zeros(len(self.atoms) + len(low), np.int64)  # bins and atoms by number
        if len(low):
            rank[-2:] = -1, 1
        points = np.concatenate([self.atoms, self.centres])
        order = np.concatenate([np.lexsort((points, rank)), len(points) + np.arange(len(odd))])
        token = np.empty(len(order), np.int64)
        token[order] = np.arange(len(order))
        split = np.concatenate([np.zeros(len(self.atoms)), self.split, np.zeros(2)[: len(low)]])
        for name, of_each in (
            ("points", points), ("low", np.concatenate([self.atoms, low])),
            ("high", np.concatenate([self.atoms, high])),
        ):  # fmt: skip
            object.__setattr__(self, name, np.concatenate([of_each, odd])[order])
        object.__setattr__(self, "divided", np.concatenate([split, 0 * odd])[order] == 1)
        stretches = np.full((len(order), STRETCHES + 1), np.nan)
        for number, inner in self.held.items():
            ends = self.edges[number], *inner, self.edges[number + 1]
            stretches[token[len(self.atoms) + number]] = ends
        object.__setattr__(self, "_stretches", stretches)
        object.__setattr__(self, "token", token)
        object.__setattr__(self, "size", len(order))

    @property
    def outside(self) -> Ints:
        """The tokens of what lies outside the fitted range: [2], or [0] where nothing can."""
        first = len(self.atoms) + len(self.split)
        return self.token[first : first + 2] if len(self.edges) else self.token[:0]

    def atom(self, x: Doubles) -> Ints:
        """The token of the atom that each number equals, or -1. int64 [N]."""
        if not len(self.atoms):
            return np.full(len(x), -1, np.int64)
        at = np.minimum(np.searchsorted(self.atoms, x), len(self.atoms) - 1)
        return np.where(self.atoms[at] == x, self.token[at], -1)

    def bin(self, x: Doubles) -> Ints:
        """The token of the bin around each number, atoms or not. int64 [N]."""
        count, first = len(self.edges) - 1, len(self.atoms)
        if count < 0:  # no bins: the nearest atom, which is the only thing to say
            middles = (self.atoms[1:] + self.atoms[:-1]) / 2
            return np.asarray(self.token[np.searchsorted(middles, x)])
        at = np.searchsorted(self.edges, x, side="right") - 1
        at[at < 0] = count
        at[x >= self.edges[-1]] = count + 1
        return self.token[at + first]

    def strange(self, x: Doubles) -> Ints:
        """The token of each number that is not finite, -1 where it has none. int64 [N]."""
        found = np.full(len(x), -1, np.int64)
        for token, odd in zip(self.token[self.size - len(self.odd) :], self.odd, strict=True):
            same = np.isnan(x) if np.isnan(odd) else x == odd
            found[same] = token
        return found

    def part(self, token: Ints, x: Doubles) -> Ints:
        """Into which part of its cell each number falls; 0 where the cell is not divided."""
        low, high, cut = self.low, self.high, self.divided[token]
        width = np.where(cut, high[token], 1.0) - np.where(cut, low[token], 0.0)
        share = (x - np.where(cut, low[token], 0.0)) / width
        inside = np.clip(np.floor(np.where(cut, share, 0.0) * self.fine), 0, self.fine - 1)
        return np.asarray(inside, np.int64)

    def cell(self, token: Ints, part: Ints | None) -> tuple[Doubles, Doubles]:
        """The ends of cells: float64 [N] twice."""
        low, high = self.low[token], self.high[token]
        if part is None or self.fine == 1:
            return low, high
        cut = self.divided[token]
        width = (np.where(cut, high, 0.0) - np.where(cut, low, 0.0)) / self.fine
        return np.where(cut, low + part * width, low), np.where(cut, low + (part + 1) * width, high)

    def value(
        self, token: Ints, part: Ints | None, rng: np.random.Generator | None = None
    ) -> Doubles:
        """What tokens stand for: float64 [N].

        With a generator anywhere in the cell: in a wide bin as what it held lay there, else
        uniformly, as in the parts of a divided one.
        """
        found = self.points[token]
        divided = self.divided[token]
        low, high = self.cell(token, part)
        if part is not None and divided.any():
            found = np.where(divided, low / 2 + high / 2, found)
        if rng is not None:
            drawn = np.isfinite(low) & np.isfinite(high)
            low, high = np.where(drawn, low, 0.0), np.where(drawn, high, 0.0)
            wide = drawn & (low < high)
            place = rng.uniform(np.zeros(len(found)), np.ones(len(found)))
            if self.held:
                which = np.minimum((place * STRETCHES).astype(np.int64), STRETCHES - 1)
                ends = self._stretches[token[:, None], which[:, None] + np.arange(2)]
                kept = np.isfinite(ends[:, 0]) & ~divided
                low, high = (np.where(kept, e, o) for e, o in zip(ends.T, (low, high), strict=True))
                place = np.where(kept, place * STRETCHES - which, place)
            found = np.where(wide, low + place * (high - low), found)
        return found

    def fineness(self, x: Doubles, n: Ints) -> tuple[float, float, float]:
        """How finely numbers are told apart; less is finer.

        Args:
            x: float64 [U], finite.
            n: int64 [U], how often each occurs.

        Returns:
            The mean width of the cells that they fall in, once without the 5% in the widest and
            once of all; and the entropy of the tokens, bits.
        """
        token = self.atom(x)
        free = token < 0
        token[free] = self.bin(x[free])
        counts = np.bincount(token, n, minlength=self.size)
        width = np.zeros(self.size)
        inner = np.isfinite(self.low) & np.isfinite(self.high)
        np.subtract(self.high, self.low, out=width, where=inner)
        order = np.argsort(width, kind="stable")
        left = (1 - WIDEST_LEFT_OUT) * n.sum() - (counts[order].cumsum() - counts[order])
        kept = np.clip(left, 0, counts[order])
        trimmed = float((kept * width[order]).sum() / max(kept.sum(), 1.0))
        return trimmed, float((counts * width).sum() / max(n.sum(), 1)), entropy(counts)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "atoms": self.atoms.tolist(), "edges": self.edges.tolist(),
            "centres": self.centres.tolist(), "odd": [repr(odd) for odd in self.odd],
            "fine": self.fine, "split": np.flatnonzero(self.split).tolist(),
            "held": {str(number): list(inner) for number, inner in self.held.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Bins:
        """The inverse of `to_json`."""
        edges = np.array(card["edges"], np.float64)
        split = np.zeros(max(len(edges) - 1, 0), np.bool_)
        split[card["split"]] = True
        return cls(
            atoms=np.array(card["atoms"], np.float64), edges=edges,
            centres=np.array(card["centres"], np.float64),
            odd=tuple(float(odd) for odd in card["odd"]), fine=card["fine"], split=split,
            held={int(number): tuple(inner) for number, inner in card["held"].items()},
        )  # fmt: skip


def entropy(counts: npt.NDArray[Any]) -> float:
    """Of a distribution given by counts, bits."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log2(share)).sum()) + 0.0


def fit_bins(
    values: Doubles,
    counts: Ints,
    *,
    bins: int,
    whole: bool,
    resolution: float = 0.0,
    dtype: npt.DTypeLike = np.float64,
    odd: tuple[float, ...] = (),
) -> Bins:
    """Atoms and bins of numbers.

    A number is an *atom* if it is as common as a bin would be, with at most half of the tokens; or
    all of them are, where they are few: whole numbers that fit, others that fill at most half the
    tokens and occur 4 times on average. Bins are as dense as the square root of the density of the
    rest (`_edges`); each decodes to the median of what it holds. What lies outside the fitted range
    has two tokens of its own.

    Args:
        values: float64 [U], finite, ascending, no two alike; U > 0.
        counts: int64 [U], how often each occurs.
        bins: most tokens, those two included; at least 8.
        whole: only whole numbers can occur.
        resolution: the least difference that survives decoding, or 0: bins are at least 8 of
            these wide, so that a decoded number falls in its bin.
        dtype: of the decoded numbers, where ``resolution`` is 0.
        odd: what is not finite and has tokens.
    """
    room = bins - 2 - len(odd)
    common = _atoms(values, counts, room, whole)
    atoms, rest, weight = values[common], values[~common], counts[~common]
    low, high, below, above = _range(values, whole, resolution, dtype)
    if len(rest):
        edges = _edges(rest, weight, max(room - len(atoms), 1), whole, resolution)
        edges = np.concatenate([[low], edges, [high]])
        centres = _centres(rest, weight, edges, atoms, resolution)
        held = _held(rest, weight, edges)
    else:
        held = {}
        edges = _gaps(atoms, room - len(atoms), whole)
        centres = edges[:-1] / 2 + edges[1:] / 2
        centres = np.floor(centres) if whole else centres
        centres = np.where(np.isin(centres, atoms), edges[:-1] + whole, centres)
    return Bins(
        atoms=atoms, edges=edges, centres=np.concatenate([centres, [below, above]]), odd=odd,
        split=np.zeros(len(edges) - 1, np.bool_), held=held,
    )  # fmt: skip


def only_atoms(values: tuple[float, ...]) -> Bins:
    """Of numbers of which no others exist."""
    none = np.empty(0, np.float64)
    return Bins(
        atoms=np.array(values, np.float64), edges=none, centres=none, split=np.empty(0, np.bool_)
    )


def _atoms(values: Doubles, counts: Ints, room: int, whole: bool) -> npt.NDArray[np.bool_]:
    total = int(counts.sum())
    if len(values) <= (room - 1 if whole else room // 2) and (
        whole or total >= LEAST_COUNT * len(values)
    ):
        return np.ones(len(values), np.bool_)
    common = counts >= max(total / room, LEAST_COUNT)
    if common.sum() > room // 2:
        kept = np.argsort(-counts, kind="stable")[: room // 2]
        common = np.zeros(len(values), np.bool_)
        common[kept] = True
    return common


def _range(
    values: Doubles, whole: bool, resolution: float, dtype: npt.DTypeLike
) -> tuple[float, float, float, float]:
    """The first and the last edge, and what stands for numbers below and from there up."""
    low, high = float(values[0]), float(values[-1])
    if whole:
        return low - 0.5, high + 0.5, low - 1, high + 1
    if resolution:
        return (low - 4 * resolution, high + 4 * resolution, low - 8 * resolution,
                high + 8 * resolution)  # fmt: skip
    own = np.array([low, high], dtype)
    most = float(np.finfo(own.dtype).max)
    with np.errstate(over="ignore"):
        ends = np.nextafter(own, np.array([-np.inf, np.inf], own.dtype)).astype(np.float64)
    below, above = np.clip(ends, -most, most).tolist()
    return low, max(above, float(np.nextafter(high, np.inf))), below, above


def _edges(rest: Doubles, weight: Ints, count: int, whole: bool, resolution: float) -> Doubles:
    """Between bins, the outer ends left out.

    Bins of equal shares are wide where few numbers are, so that a number drawn from one may lie
    far from all that was near. The mean error is least where bins are as dense as the square root
    of the density: then mass times width is the same for all. The density is that of pieces of
    equal shares. A piece counts at most as much as a bin, so that a far outlier takes few bins.
    """
    passed = np.cumsum(weight)
    pieces = PIECES * count
    ends = np.unique(np.searchsorted(passed, np.arange(1, pieces) / pieces * passed[-1]))
    ends = ends[ends < len(rest) - 1]
    if len(ends) >= count:
        middle = np.concatenate([rest[:1], rest[ends] / 2 + rest[ends + 1] / 2, rest[-1:]])
        share = np.diff(np.concatenate([[0], passed[ends], passed[-1:]]))
        total = np.cumsum(_limited(np.sqrt(share) * np.sqrt(np.diff(middle / 2)), count))
        at = np.searchsorted(total[:-1], np.arange(1, count) / count * total[-1])
        ends = ends[np.unique(np.minimum(at, len(ends) - 1))]
    left, right = rest[ends], rest[ends + 1]
    middle = left / 2 + right / 2
    if whole:
        return np.asarray(np.floor(middle) + 0.5)
    middle = np.where((middle > left) & (middle <= right), middle, right)
    if not resolution:
        return np.asarray(middle)
    kept: list[float] = []
    last, least = float(rest[0]) - 4 * resolution, 8 * resolution
    end = float(rest[-1]) + 4 * resolution
    for edge in middle.tolist():
        if edge - last >= least and end - edge >= least:
            kept.append(edge)
            last = edge
    return np.array(kept, np.float64)


def _limited(cost: Doubles, count: int) -> Doubles:
    """Each no more than 1 in ``count`` of what then is the sum: float64 [P], P > count."""
    falling = -np.sort(-cost)
    left = np.cumsum(falling[::-1])[::-1][:count] / np.arange(count, 0, -1)
    return np.asarray(np.minimum(cost, left[np.argmax(falling[:count] <= left)]))


def _held(rest: Doubles, weight: Ints, edges: Doubles) -> dict[int, tuple[float, ...]]:
    """What parts the contents of wide bins into equal shares; empty bins are left out."""
    width = np.diff(edges / 2)
    passed = np.concatenate([[0], np.cumsum(weight)])
    bounds = np.searchsorted(rest, edges)
    found = {}
    for number in np.flatnonzero(width > WIDE * np.median(width)).tolist():
        own = slice(bounds[number], bounds[number + 1])
        if own.stop > own.start:
            ends = edges[number : number + 2]
            middle = passed[own] + weight[own] / 2
            share = np.concatenate([passed[own][:1], middle, passed[own.stop : own.stop + 1]])
            at = np.concatenate([ends[:1], rest[own], ends[1:]])
            wanted = np.linspace(share[0], share[-1], STRETCHES + 1)[1:-1]
            inner = np.interp(wanted, share, at / 4) * 4  # no difference is too large for a float
            found[number] = tuple(np.clip(inner, *ends).tolist())
    return found


def _centres(
    rest: Doubles, weight: Ints, edges: Doubles, atoms: Doubles, resolution: float
) -> Doubles:
    """The lower median of what each bin holds."""
    passed = np.concatenate([[0], np.cumsum(weight)])
    bounds = np.searchsorted(rest, edges)
    first, last = bounds[:-1], bounds[1:]
    at = np.searchsorted(passed[1:], (passed[first] + passed[last]) / 2)
    held = last > first
    at = np.clip(at, 0, len(rest) - 1)
    centres: Doubles = np.where(held, rest[at], edges[:-1] / 2 + edges[1:] / 2)
    if not resolution:
        return centres
    clear = CLEAR * resolution
    centres = np.clip(centres, edges[:-1] + clear, edges[1:] - clear)
    for number in np.flatnonzero(~_away(centres, atoms, clear)):
        tried = np.linspace(edges[number] + clear, edges[number + 1] - clear, 16)
        tried = tried[np.argsort(np.abs(tried - centres[number]), kind="stable")]
        good = tried[_away(tried, atoms, clear)]
        centres[number] = good[0] if len(good) else centres[number]
    return centres


def _away(x: Doubles, atoms: Doubles, least: float) -> npt.NDArray[np.bool_]:
    """Which numbers are at least so far from every atom."""
    if not len(atoms):
        return np.ones(len(x), np.bool_)
    at = np.searchsorted(atoms, x)
    left = np.abs(x - atoms[np.maximum(at - 1, 0)])
    right = np.abs(atoms[np.minimum(at, len(atoms) - 1)] - x)
    return np.asarray(np.minimum(left, right) >= least)


def _gaps(atoms: Doubles, room: int, whole: bool) -> Doubles:
    """Edges at atoms, so that what lies between two has a bin; neighbours need none."""
    if len(atoms) < 2:
        return atoms
    gap = np.diff(atoms) > (1 if whole else 0)
    kept = np.concatenate([[True], gap[1:] | gap[:-1], [True]])
    edges: Doubles = atoms[kept]
    if len(edges) - 1 > max(room, 1):
        few = np.unique(np.linspace(0, len(edges) - 1, max(room, 1) + 1).astype(np.int64))
        edges = np.asarray(edges[few])
    return edges


def with_edges(bins: Bins, extra: Doubles) -> Bins:
    """The same partition with further edges; new bins decode to their geometric middle.

    Args:
        bins: of whole numbers.
        extra: float64, ascending.
    """
    edges = np.union1d(bins.edges, extra)
    low, high = edges[:-1], edges[1:]
    same_sign = (low > 0) | (high < 0)
    with np.errstate(invalid="ignore"):
        middle = np.where(same_sign, np.sign(low) * np.sqrt(np.abs(low * high)), (low + high) / 2)
    first, last = np.ceil(low), np.ceil(high) - 1
    centres = np.clip(np.rint(middle), first, last)
    inner = bins.centres[:-2]
    at = np.minimum(np.searchsorted(edges, inner, side="right"), len(centres)) - 1
    centres[at] = np.clip(inner, first[at], last[at])
    for place in np.flatnonzero(np.isin(centres, bins.atoms)):
        near = centres[place] + np.arange(-len(bins.atoms), len(bins.atoms) + 1)
        free = near[(near >= first[place]) & (near <= last[place]) & ~np.isin(near, bins.atoms)]
        if len(free):
            centres[place] = free[np.argmin(np.abs(free - centres[place]))]
    ends = np.array([np.ceil(edges[0]) - 1, np.floor(edges[-1]) + 1])
    return Bins(
        atoms=bins.atoms, edges=edges, centres=np.concatenate([centres, ends]), odd=bins.odd,
        split=np.zeros(len(edges) - 1, np.bool_),
    )  # fmt: skip
