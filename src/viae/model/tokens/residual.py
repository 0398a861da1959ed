"""Wide vectors: a residual quantiser, level after level, over groups of elements.

Shapes: N samples, D elements of a flattened sample, L live ones, G groups, V levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError, MissingExtraError, TokenError
from viae.model.tokens.codec import Codec, Floats, Tokens
from viae.model.tokens.elements import Elements, Values, fit_elements, there
from viae.model.tokens.numbers import difference, number, plus_recorded, recorded
from viae.model.tokens.scaling import Scaling, centre_and_scale, fit_scaling, thinned
from viae.schema import StreamSpec

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

CODES, LEVELS, GROUP = 256, 4, 64
FITTED = 20_000
"""Samples, evenly chosen, that code books are fitted on."""
AT_ONCE = 8192
STRAYED = 2.0
"""An error so many times the largest one of the fit says that a sample is unlike it."""
EXTREME = np.float32(1e6)
"""Standardised numbers are held within this; only infinity is as far."""
ARRAYS = "residual.safetensors"


class ResidualCodec(Codec):
    """Code books of groups of elements; each level codes what the levels before it left over.

    Elements that need no token have none, as in `VectorCodec`. An element is coded by its
    difference from the sample before where that spreads less. What is not finite and occurred in
    the fit (a laser's infinite ranges) is coded along: a group's code says where it is.

    Args:
        elements: which have tokens, and how others follow.
        steps: bool [L], coded by difference.
        scales: float64 [L, 2], centre and spread of what is coded.
        groups: of indices into the live elements.
        books: per group and level float32 [codes, elements of the group and their odd ones].
        errors: float64 [L], the largest error of the fit, recorded units.
        scaling: of what `describe` shows.
    """

    kind = "residual"

    def __init__(
        self,
        elements: Elements,
        *,
        steps: npt.NDArray[np.bool_],
        scales: Doubles,
        groups: tuple[tuple[int, ...], ...],
        books: tuple[tuple[Singles, ...], ...],
        errors: Doubles,
        scaling: Scaling,
    ) -> None:
        self.elements, self.scaling = elements, scaling
        self.steps, self.scales, self.groups, self.books = steps, scales, groups, books
        self.errors = errors
        self.slots = tuple(len(book) for own in books for book in own)
        self.features = scaling.features

    @classmethod
    def fit(
        cls, values: Any, before: Any, spec: StreamSpec, *, first: bool, codes: int = CODES,
        levels: int = LEVELS, group: int = GROUP, seed: int = 0,
    ) -> ResidualCodec:  # fmt: skip
        """Fit on samples, by k-means on at most 20 000 of them.

        Args:
            values: [N, *shape].
            before: [N, *shape], the sample before each; rows of NaN where there is none.
            spec: of the stream.
            first: for samples that have none before them.
            codes: in each book, at most.
            levels: of books, at most: fewer where nothing is left over.
            group: elements that share books, at most; neighbours go together.
            seed: of k-means.

        Raises:
            TokenError: there are no samples, or of another shape.
            MissingExtraError: scikit-learn is not installed.
        """
        elements = fit_elements(values, before, spec, first=first)
        flat = elements.flat(values)
        known = None if first else elements.known(before, len(flat))
        has = there(before, len(flat))
        scaling = fit_scaling(elements, flat, known, has)
        live = elements.live
        kept = np.linspace(0, len(flat) - 1, min(len(flat), FITTED)).astype(np.int64)
        if known is not None and has.any():
            with_before = np.flatnonzero(has)
            kept = with_before[
                np.linspace(0, len(with_before) - 1, min(len(with_before), FITTED)).astype(int)
            ]
        own, old = flat[kept], None if known is None else known[kept]
        steps, scales = np.zeros(len(live), np.bool_), np.zeros((len(live), 2))
        for place, j in enumerate(live):
            x = number(thinned(own[:, j]))
            scales[place] = centre_and_scale(x)
            if old is None or not has.any() or j in elements.odd or not _finite(old[:, j]):
                continue
            moved = centre_and_scale(difference(own[:, j], old[:, j]))
            if moved[1] < scales[place, 1] or not np.ptp(x):
                steps[place], scales[place] = True, moved
        parts = np.array_split(np.arange(len(live)), max(-(-len(live) // group), 1))
        codec = cls(
            elements, steps=steps, scales=scales, books=(), errors=np.zeros(len(live)),
            groups=tuple(tuple(part.tolist()) for part in parts if len(part)), scaling=scaling,
        )  # fmt: skip
        z = codec._standard(own, old)
        books = tuple(_books(codec._group(z, part), codes, levels, seed) for part in codec.groups)
        codec = cls(
            elements, steps=steps, scales=scales, books=books, errors=codec.errors,
            groups=codec.groups, scaling=scaling,
        )  # fmt: skip
        back = codec._decoded(codec._encoded(own, old), old)
        codec.errors = _errors(own, back, live).max(axis=0, initial=0.0)
        return codec

    def encode(self, values: Any, before: Any) -> Tokens:
        """Tokens of samples: int32 [N, G V]; see `Codec.encode`."""
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        self.elements.refuse_strange(flat)
        return self._encoded(flat, known)

    def decode(self, tokens: Tokens, before: Any) -> Any:
        """Samples that tokens stand for: [N, *shape] in the stream's dtype.

        Raises:
            TokenError: a token that its slot does not have, or no sample before where one is
                needed.
        """
        given = np.asarray(tokens)
        if given.ndim != 2 or given.shape[1] != len(self.slots) or (
            ((given < 0) | (given >= np.array(self.slots, np.int64))).any()
        ):  # fmt: skip
            raise TokenError(
                f"stream '{self.elements.stream}': tokens of shape {list(given.shape)} with values "
                f"up to {given.max(initial=0)}; slots are {list(self.slots)}"
            )
        known = self.elements.known(before, len(given))
        return self.elements.shaped(self._decoded(given, known))

    @property
    def numbers(self) -> int:
        """See `Codec.numbers`."""
        return self.scaling.numbers

    def describe(self, values: Any, before: Any) -> Floats:
        """As `VectorCodec.describe`."""
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        return self.scaling.describe(self.elements, flat, known, there(before, len(flat)))

    def check(self, values: Any, before: Any) -> list[tuple[str, str]]:
        """As `VectorCodec.check`; an element is unlike the fit if its error is twice the largest.

        Raises:
            TokenError: a number that is not finite and never was.
        """
        flat = self.elements.flat(values)
        known = self.elements.known(before, len(flat))
        found = self.elements.check(flat, known)
        far = self._far(flat, known)
        for place in np.flatnonzero(far.any(axis=0)):
            row = int(np.argmax(far[:, place]))
            name, value = self.elements.names[self.elements.live[place]], flat[row]
            found.append(
                (
                    name,
                    f"is {value[self.elements.live[place]]} in row {row}, which its code misses by "
                    f"more than {STRAYED:g} times the most in the fit, {self.errors[place]:.3g} "
                    f"({far[:, place].sum()} of {len(flat)} samples)",
                )
            )
        return found

    def overflow(self, values: Any, before: Any) -> Doubles:
        """The share of samples that codes miss by more than twice the largest error: [D]."""
        flat = self.elements.flat(values)
        shares = np.zeros(len(self.elements.names))
        if len(flat):
            far = self._far(flat, self.elements.known(before, len(flat)))
            shares[list(self.elements.live)] = far.mean(axis=0)
        return shares

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; the books go to `save_arrays`."""
        return {
            "kind": self.kind, "elements": self.elements.to_json(),
            "scaling": self.scaling.to_json(), "steps": np.flatnonzero(self.steps).tolist(),
            "scales": self.scales.tolist(), "groups": [list(group) for group in self.groups],
            "errors": self.errors.tolist(), "levels": [len(own) for own in self.books],
        }  # fmt: skip

    def save_arrays(self, folder: Path) -> None:
        """Write the code books: ``residual.safetensors``."""
        from safetensors.numpy import save_file

        books = {
            f"{group}.{level}": book
            for group, own in enumerate(self.books)
            for level, book in enumerate(own)
        }
        save_file(books, folder / ARRAYS)

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> ResidualCodec:
        """The inverse of `to_json`.

        Raises:
            BundleError: the code books are not in the folder.
        """
        from safetensors.numpy import load_file

        if folder is None or not (folder / ARRAYS).is_file():
            raise BundleError(f"{folder}: the code books of a wide stream, {ARRAYS}, are missing")
        arrays = load_file(folder / ARRAYS)
        scales = np.array(card["scales"], np.float64).reshape(-1, 2)
        steps = np.zeros(len(scales), np.bool_)
        steps[card["steps"]] = True
        return cls(
            Elements.from_json(card["elements"]), steps=steps, scales=scales,
            groups=tuple(tuple(group) for group in card["groups"]),
            books=tuple(
                tuple(arrays[f"{group}.{level}"] for level in range(levels))
                for group, levels in enumerate(card["levels"])
            ),
            errors=np.array(card["errors"], np.float64),
            scaling=Scaling.from_json(card["scaling"]),
        )  # fmt: skip

    def _standard(self, flat: Values, known: Values | None) -> Singles:
        """What is coded of live elements, standardised: float32 [N, L]; NaN stays."""
        z = np.empty((len(flat), len(self.scales)), np.float32, order="F")
        for place, (j, (centre, scale)) in enumerate(
            zip(self.elements.live, self.scales.tolist(), strict=True)
        ):
            x = number(flat[:, j])
            if self.steps[place]:
                x = difference(flat[:, j], self.elements.needed(known, j)[:, j])
                if not np.isfinite(x).all():
                    raise TokenError(
                        f"stream '{self.elements.stream}': element '{self.elements.names[j]}' is "
                        f"not finite in the sample before row {int(np.argmin(np.isfinite(x)))}, "
                        "from which it is coded; use the codec of first samples where there is "
                        "none before"
                    )
            with np.errstate(over="ignore"):
                z[:, place] = np.clip((x - centre) / scale, -EXTREME, EXTREME)
        return z

    def _group(self, z: Singles, group: tuple[int, ...]) -> Singles:
        """A group's columns, and for each that can be odd one that is 1 where it is."""
        own = z[:, list(group)]
        flags = []
        for column, place in zip(own.T, group, strict=True):
            for odd in self.elements.odd.get(self.elements.live[place], ()):
                flag = np.isnan(column) if np.isnan(odd) else column == np.copysign(EXTREME, odd)
                flags.append(flag)
                column[flag] = 0
        return np.ascontiguousarray(np.column_stack([own, *flags]).astype(np.float32))

    def _encoded(self, flat: Values, known: Values | None) -> Tokens:
        tokens = np.empty((len(flat), len(self.slots)), np.int32)
        for start in range(0, len(flat), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            z = self._standard(flat[part], None if known is None else known[part])
            place = 0
            for group, books in zip(self.groups, self.books, strict=True):
                left = self._group(z, group)
                for book in books:
                    tokens[part, place] = code = _nearest(left, book)
                    left = left - book[code]
                    place += 1
        return tokens

    def _decoded(self, tokens: Tokens, known: Values | None) -> Values:
        flat = np.empty(
            (len(tokens), len(self.elements.names)), self.elements.dtype, order="F"
        )  # fmt: skip
        place = 0
        for group, books in zip(self.groups, self.books, strict=True):
            total = np.zeros((len(tokens), books[0].shape[1]), np.float64)
            for book in books:
                total += book[tokens[:, place]]
                place += 1
            flag = len(group)
            for column, at in enumerate(group):
                j = self.elements.live[at]
                centre, scale = self.scales[at]
                x = total[:, column] * scale + centre
                for odd in self.elements.odd.get(j, ()):
                    x = np.where(total[:, flag] > 0.5, odd, x)
                    flag += 1
                if self.steps[at]:
                    flat[:, j] = plus_recorded(self.elements.needed(known, j)[:, j], x)
                else:
                    flat[:, j] = recorded(x, self.elements.dtype)
        self.elements.fill(flat, known)
        return flat

    def _far(self, flat: Values, known: Values | None) -> npt.NDArray[np.bool_]:
        self.elements.refuse_strange(flat)
        back = self._decoded(self._encoded(flat, known), known)
        return _errors(flat, back, self.elements.live) > STRAYED * self.errors


def _finite(column: Values) -> bool:
    return column.dtype.kind != "f" or bool(np.isfinite(column).all())


def _errors(own: Values, back: Values, live: tuple[int, ...]) -> Doubles:
    """float64 [N, L]; infinite where only one of the two is finite, 0 where both are odd alike."""
    a, b = (_table(each, live) for each in (own, back))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    return np.where(np.isnan(error), np.inf, error)


def _table(flat: Values, live: tuple[int, ...]) -> Doubles:
    """The live elements as float64 [N, L]."""
    return flat[:, list(live)].astype(np.float64)


def _nearest(x: Singles, book: Singles) -> npt.NDArray[np.int64]:
    far = (book**2).sum(axis=1) - 2 * x @ book.T
    return np.asarray(np.argmin(far, axis=1))


def _books(x: Singles, codes: int, levels: int, seed: int) -> tuple[Singles, ...]:
    """Code books of one group, level after level, until nothing is left."""
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise MissingExtraError("scikit-learn", extra="trust") from error

    books: list[Singles] = []
    while len(books) < levels and (not books or np.abs(x).max() > 0):
        distinct = len(np.unique(x, axis=0))
        means = MiniBatchKMeans(
            n_clusters=min(codes, distinct), random_state=seed + len(books), n_init=1,
            batch_size=2048, max_iter=50,
        )  # fmt: skip
        book = means.fit(x).cluster_centers_.astype(np.float32)
        books.append(book)
        x = x - book[_nearest(x, book)]
    return tuple(books)
