"""The elements of a stream's samples: which are said, and which follow from what is known.

Shapes: N samples, D elements of a flattened sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.schema import StreamSpec

Values = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
When = Literal["before", "now"]

LEAST_DISTINCT = 16
"""Elements with fewer different values may be equal by chance: they do not repeat each other."""
LOOKED_AT = 1024
"""Samples by which candidates for a repetition are found; all are compared then."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elements:
    """What a stream's elements are, and how those without a token follow.

    Args:
        stream: its name.
        dtype: of the recorded values.
        shape: of a sample.
        names: [D].
        constant: the elements that never moved, and their value.
        repeat: the elements that equal another one: of the sample before, or of this sample. The
            other one is never itself such an element of this sample.
        odd: per element what was seen that is not finite (NaN, ±inf); left out where nothing was.
    """

    stream: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    constant: dict[int, Any] = field(default_factory=dict)
    repeat: dict[int, tuple[When, int]] = field(default_factory=dict)
    odd: dict[int, tuple[float, ...]] = field(default_factory=dict)

    @property
    def live(self) -> tuple[int, ...]:
        """The elements that have tokens."""
        return tuple(
            j for j in range(len(self.names)) if j not in self.constant and j not in self.repeat
        )

    @property
    def shown(self) -> tuple[int, ...]:
        """Live ones, and those that hold through an episode: what a network is to see."""
        held = [j for j, source in self.repeat.items() if source == ("before", j)]
        return tuple(sorted([*self.live, *held]))

    def flat(self, values: Any, what: str = "a sample") -> Values:
        """As [N, D] in the recorded dtype.

        Raises:
            TokenError: of another shape.
        """
        given = np.asarray(values)
        if given.shape[1:] != self.shape or given.ndim != len(self.shape) + 1:
            raise TokenError(
                f"stream '{self.stream}': {what} has shape {list(given.shape[1:])}, and its codec "
                f"was fitted on {list(self.shape)}"
            )
        if given.dtype.kind == "f" and self.dtype.kind != "f" and not np.isfinite(given).all():
            row = int(np.argwhere(~np.isfinite(given))[0][0])
            raise TokenError(
                f"stream '{self.stream}': {what} in row {row} is not finite, and the stream is of "
                f"{self.dtype}"
            )
        flat = given.astype(self.dtype, copy=False).reshape(len(given), len(self.names))
        return np.asfortranarray(flat)  # all work is by element

    def known(self, before: Any, rows: int) -> Values | None:
        """The sample before each as [N, D], or None where there is none at all.

        Raises:
            TokenError: of another shape, or not as many.
        """
        if before is None:
            return None
        given = np.asarray(before)
        if given.dtype.kind == "f" and self.dtype.kind != "f":
            given = np.nan_to_num(given, nan=0.0)
        flat = self.flat(given, "the sample before")
        if len(flat) != rows:
            raise TokenError(
                f"stream '{self.stream}': {rows} samples, and {len(flat)} samples before them"
            )
        return flat

    def shaped(self, flat: Values) -> Values:
        """[N, D] as [N, *shape]."""
        return np.ascontiguousarray(flat).reshape(len(flat), *self.shape)

    def refuse_strange(self, values: Values, what: str = "") -> None:
        """Refuse what is not finite where the fit had no such number.

        Raises:
            TokenError: with element and row of the first.
        """
        if self.dtype.kind != "f" or np.isfinite(values).all():
            return
        strange = ~np.isfinite(values)
        for j, odd in self.odd.items():
            column = values[:, j]
            strange[:, j] &= ~np.isin(column, [o for o in odd if not np.isnan(o)])
            if any(np.isnan(o) for o in odd):
                strange[:, j] &= ~np.isnan(column)
        if strange.any():
            row, j = (int(place) for place in np.argwhere(strange)[0])
            raise TokenError(
                f"stream '{self.stream}': element '{self.names[j]}' is {values[row, j]} in row "
                f"{row}{what}, which it never was where its codec was fitted; leave the sample "
                "out, or fit on data that has such samples"
            )

    def fill(self, flat: Values, before: Values | None) -> None:
        """Set the elements without tokens, in place, once the others are set.

        Raises:
            TokenError: one follows from the sample before, and there is none.
        """
        for j, constant in self.constant.items():
            flat[:, j] = constant
        for j, (when, k) in self.repeat.items():
            if when == "before":
                flat[:, j] = self.needed(before, j)[:, k]
        for j, (when, k) in self.repeat.items():
            if when == "now":
                flat[:, j] = flat[:, k]

    def needed(self, before: Values | None, j: int) -> Values:
        """The samples before.

        Raises:
            TokenError: there are none.
        """
        if before is None:
            raise TokenError(
                f"stream '{self.stream}': element '{self.names[j]}' is coded from the sample "
                "before, and there is none; use the codec of first samples"
            )
        return before

    def check(self, values: Values, before: Values | None) -> list[tuple[str, str]]:
        """What does not follow the rules that were found, per element in words."""
        found = []
        for j, constant in self.constant.items():
            broken = ~_same(values[:, j], np.asarray(constant, self.dtype))
            if broken.any():
                found.append((j, _where(values[:, j], broken, f"was always {constant}")))
        for j, (when, k) in self.repeat.items():
            if when == "before" and before is None:
                continue
            other = (before if when == "before" and before is not None else values)[:, k]
            broken = ~_same(values[:, j], other)
            if broken.any():
                rule = f"always equalled '{self.names[k]}'" if k != j else "held within an episode"
                rule += " of the sample before" if when == "before" and k != j else ""
                found.append((j, _where(values[:, j], broken, rule)))
        return [(self.names[j], what) for j, what in sorted(found)]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "stream": self.stream, "dtype": self.dtype.name, "shape": list(self.shape),
            "names": list(self.names),
            "constant": {str(j): _word(value) for j, value in self.constant.items()},
            "repeat": {str(j): list(source) for j, source in self.repeat.items()},
            "odd": {str(j): [repr(o) for o in odd] for j, odd in self.odd.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Elements:
        """The inverse of `to_json`."""
        dtype = np.dtype(card["dtype"])
        read = float if dtype.kind == "f" else int
        return cls(
            stream=card["stream"], dtype=dtype, shape=tuple(card["shape"]),
            names=tuple(card["names"]),
            constant={int(j): read(word) for j, word in card["constant"].items()},
            repeat={int(j): (when, k) for j, (when, k) in card["repeat"].items()},
            odd={int(j): tuple(float(o) for o in odd) for j, odd in card["odd"].items()},
        )  # fmt: skip


def fit_elements(values: Any, before: Any, spec: StreamSpec, *, first: bool) -> Elements:
    """Find the elements that never move, and those that repeat another one, in all samples.

    An element that equals itself in the sample before holds through each episode. Else the lowest
    element of the sample before is taken, else the lowest live one of this sample; elements with
    fewer than 16 different values repeat no other one, which chance could explain.

    Args:
        values: [N, *shape].
        before: [N, *shape]; rows of NaN where there is no sample before.
        spec: of the stream.
        first: the samples have none before them.

    Raises:
        TokenError: no samples, or of another shape than the spec says.
    """
    names = spec.names or tuple(
        ",".join(map(str, at)) or spec.name for at in np.ndindex(*spec.shape)
    )
    elements = Elements(
        stream=spec.name, dtype=np.dtype(spec.dtype), shape=tuple(spec.shape), names=tuple(names)
    )
    flat = elements.flat(values)
    if not len(flat):
        raise TokenError(f"stream '{spec.name}': there are no samples to fit a codec on")
    columns = [np.ascontiguousarray(column) for column in flat.T]
    known = None if first else elements.known(before, len(flat))
    has = there(before, len(flat))
    for j, column in enumerate(columns):
        odd = column[~np.isfinite(column)] if elements.dtype.kind == "f" else column[:0]
        if len(odd):
            elements.odd[j] = tuple(sorted({float(o) for o in np.unique(odd)}, key=repr))
        if _same(column, column[0]).all():
            elements.constant[j] = column[0].item()
    if known is not None and has.any():
        _find_before(elements, columns, known, has)
    _find_now(elements, columns)
    return elements


def there(before: Any, rows: int) -> npt.NDArray[np.bool_]:
    """Which rows have a sample before: bool [N]; a row of NaN only is none."""
    if before is None or not rows:
        return np.zeros(rows, np.bool_)
    given = np.asarray(before)
    if given.dtype.kind != "f":
        return np.ones(rows, np.bool_)
    return np.asarray(~np.isnan(given.reshape(rows, -1)).all(axis=1))


def _find_before(
    elements: Elements, columns: list[Values], known: Values, has: npt.NDArray[np.bool_]
) -> None:
    whole = bool(has.all())
    old = [
        np.ascontiguousarray(known[:, k] if whole else known[has, k]) for k in range(len(columns))
    ]
    by_key: dict[bytes, list[int]] = {}
    for k, column in enumerate(old):
        by_key.setdefault(_key(column), []).append(k)
    for j, column in enumerate(columns):
        if j in elements.constant:
            continue
        own = column if whole else column[has]
        found = [k for k in by_key.get(_key(own), []) if _same(own, old[k]).all()]
        if j in found:
            elements.repeat[j] = ("before", j)
        elif found and _varied(own):
            elements.repeat[j] = ("before", found[0])


def _find_now(elements: Elements, columns: list[Values]) -> None:
    seen: dict[bytes, list[int]] = {}
    for j in elements.live:
        same = seen.setdefault(_key(columns[j]), [])
        found = [k for k in same if _same(columns[j], columns[k]).all()]
        if found and _varied(columns[j]):
            elements.repeat[j] = ("now", found[0])
        else:
            same.append(j)


def _key(column: Values) -> bytes:
    """Equal columns have equal keys."""
    some = column[:: max(len(column) // LOOKED_AT, 1)]
    if some.dtype.kind == "f":
        some = np.where(np.isnan(some), some.dtype.type(np.nan), some + some.dtype.type(0))
    return some.tobytes()


def _varied(column: Values) -> bool:
    some = column[:LOOKED_AT]
    return (
        len(np.unique(some)) >= LEAST_DISTINCT or len(np.unique(column)) >= LEAST_DISTINCT
    )  # the first is cheap and mostly enough


def _same(a: Values, b: Any) -> npt.NDArray[np.bool_]:
    equal = a == b
    if a.dtype.kind == "f":
        equal |= np.isnan(a) & np.isnan(b)
    return np.asarray(equal)


def _where(column: Values, broken: npt.NDArray[np.bool_], rule: str) -> str:
    row = int(np.argmax(broken))
    share = f"{broken.sum()} of {len(broken)} samples"
    return f"{rule} and is {column[row]} in row {row} ({share})"


def _word(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else int(value)
