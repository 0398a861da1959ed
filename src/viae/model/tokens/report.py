"""What a stream costs in tokens, and what its samples lose by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.model.tokens.bins import entropy
from viae.model.tokens.codec import SILENT, Codec, Tokens
from viae.model.tokens.numbers import number
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.vector import VectorCodec
from viae.schema import StreamSpec

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementReport:
    """One element of a stream, over all samples.

    Args:
        name: of the element.
        coding: ``value``, ``difference``, ``codes``; or ``constant``, ``held``, ``repeats NAME``
            for those without a token.
        bits: per later sample, by the frequency of its own tokens; 0 without one; None where it
            shares its tokens with others.
        exact: the share of samples that come back exactly.
        mean_error: in the element's unit, as are the next two.
        p99_error: 99 of 100 samples err by no more.
        max_error: the largest.
        outside: the share of samples outside the fitted range.
    """

    name: str
    coding: str
    bits: float | None
    exact: float
    mean_error: float
    p99_error: float
    max_error: float
    outside: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """One stream.

    Args:
        spec: of the stream.
        codec: kind of the codec of later samples.
        samples: how many.
        duration_s: robot time in which they came.
        tokens: in all samples together, first ones included; without type, gap and age.
        bits: in all samples together, by the frequency of each slot's tokens.
        slots: of a later sample.
        exact: the share of samples that come back exactly, all their elements.
        elements: of a vector.
    """

    spec: StreamSpec
    codec: str
    samples: int
    duration_s: float
    tokens: int
    bits: float
    slots: int
    exact: float
    elements: tuple[ElementReport, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        """Per second of robot time."""
        return self.tokens / self.duration_s if self.duration_s > 0 else float("nan")

    @property
    def tokens_per_sample(self) -> float:
        """The mean."""
        return self.tokens / max(self.samples, 1)

    @property
    def bits_per_sample(self) -> float:
        """The mean."""
        return self.bits / max(self.samples, 1)

    def count(self, *codings: str) -> int:
        """How many elements are coded in one of these ways."""
        return sum(e.coding.split(" ")[0] in codings for e in self.elements)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "stream": self.spec.name, "kind": str(self.spec.kind), "unit": self.spec.unit,
            "codec": self.codec, "samples": self.samples, "duration_s": self.duration_s,
            "slots": self.slots, "tokens": self.tokens, "tokens_per_s": self.tokens_per_s,
            "tokens_per_sample": self.tokens_per_sample, "bits_per_sample": self.bits_per_sample,
            "exact": self.exact,
            "elements": [
                {
                    "element": e.name, "coding": e.coding, "bits": e.bits, "exact": e.exact,
                    "mean_error": e.mean_error, "p99_error": e.p99_error, "max_error": e.max_error,
                    "outside": e.outside,
                }
                for e in self.elements
            ],
        }  # fmt: skip


def before_each(values: Any, starts: npt.NDArray[np.int64]) -> tuple[Any, Flags]:
    """The sample before each, and which have none.

    Args:
        values: [N, *shape], or N strings; episode after episode.
        starts: int64 [E + 1], where each episode begins.

    Returns:
        Of first samples the sample before is the sample itself.
    """
    count = int(starts[-1])
    first = np.zeros(count, np.bool_)
    first[starts[:-1][starts[:-1] < starts[1:]]] = True
    at = np.arange(count) - ~first
    before = values[at] if isinstance(values, np.ndarray) else [values[i] for i in at.tolist()]
    return before, first


def coded(
    codecs: tuple[Codec, Codec], values: Any, before: Any, first: Flags
) -> tuple[Tokens, Tokens, Any]:
    """Tokens of the first samples, of the later ones, and all samples decoded again.

    Args:
        codecs: of first and of later samples.
        values: [N, *shape], or N strings.
        before: the sample before each.
        first: bool [N], which have none.
    """
    text = not isinstance(values, np.ndarray)
    which = [np.flatnonzero(first), np.flatnonzero(~first)]
    tokens = []
    back = [""] * len(values) if text else np.empty_like(values)
    for codec, rows, has in zip(codecs, which, (False, True), strict=True):
        own = [values[i] for i in rows] if text else values[rows]
        old = ([before[i] for i in rows] if text else before[rows]) if has else None
        tokens.append(codec.encode(own, old))
        said = codec.decode(tokens[-1], old)
        if text:
            for i, line in zip(rows.tolist(), said, strict=True):
                back[i] = line
        else:
            back[rows] = said
    return tokens[0], tokens[1], back


def measure(
    codecs: tuple[Codec, Codec], values: Any, before: Any, first: Flags, spec: StreamSpec,
    duration_s: float,
) -> tuple[StreamReport, Any]:  # fmt: skip
    """Code samples and decode them again.

    Args:
        codecs: of first and of later samples.
        values: [N, *shape], or N strings.
        before: the sample before each.
        first: bool [N], which have none.
        spec: of the stream.
        duration_s: robot time in which they came.

    Returns:
        The report, and all samples decoded.
    """
    firsts, later, back = coded(codecs, values, before, first)
    bits = [_bits(firsts), _bits(later)]
    elements: tuple[ElementReport, ...] = ()
    if isinstance(values, np.ndarray):
        elements = _elements(codecs[1], spec, values, before, first, back, bits[1])
        flat, other = values.reshape(len(values), -1), back.reshape(len(values), -1)
        exact = float(_same(flat, other).all(axis=1).mean()) if len(flat) else 1.0
    else:
        exact = float(np.mean([a == b for a, b in zip(values, back, strict=True)] or [1.0]))
    report = StreamReport(
        spec=spec, codec=codecs[1].kind, samples=len(values), duration_s=duration_s,
        tokens=int((firsts != SILENT).sum() + (later != SILENT).sum()),
        bits=len(firsts) * sum(bits[0]) + len(later) * sum(bits[1]),
        slots=len(codecs[1].slots), exact=exact, elements=elements,
    )  # fmt: skip
    return report, back


def _bits(tokens: Tokens) -> list[float]:
    """Entropy of each slot's tokens; that a slot is silent counts where it is not known before.

    A slot is silent exactly where the slot before ended the sample, so it is counted over the
    samples that come to it.
    """
    found = []
    for column in tokens.T:
        sent = column[column != SILENT]
        found.append(entropy(np.bincount(sent)) * len(sent) / len(column) if len(sent) else 0.0)
    return found


def _elements(
    codec: Codec, spec: StreamSpec, values: npt.NDArray[Any], before: Any, first: Flags, back: Any,
    bits: Sequence[float],
) -> tuple[ElementReport, ...]:  # fmt: skip
    if not isinstance(codec, VectorCodec | ResidualCodec):
        return ()
    elements = codec.elements
    per_element = _bits_by_element(codec, bits)
    outside = codec.overflow(values[~first], before[~first])
    flat, other = values.reshape(len(values), -1), back.reshape(len(values), -1)
    found = []
    for j, name in enumerate(elements.names):
        same = _same(flat[:, j], other[:, j])
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0.0, np.abs(number(flat[:, j]) - number(other[:, j])))
        error = np.where(np.isnan(error), np.inf, error)
        found.append(
            ElementReport(
                name=name, coding=_coding(codec, j), bits=per_element.get(j, None),
                exact=float(same.mean()), mean_error=float(error.mean()),
                p99_error=float(np.quantile(error, 0.99, method="higher")),
                max_error=float(error.max()), outside=float(outside[j]),
            )
        )  # fmt: skip
    return tuple(found)


def _coding(codec: VectorCodec | ResidualCodec, j: int) -> str:
    elements = codec.elements
    if j in elements.constant:
        return "constant"
    if j in elements.repeat:
        when, k = elements.repeat[j]
        if when == "before" and k == j:
            return "held"
        return f"repeats {elements.names[k]}" + (", one before" if when == "before" else "")
    if isinstance(codec, ResidualCodec):
        return "codes"
    return "difference" if codec.codings[j].difference else "value"


def _bits_by_element(codec: VectorCodec | ResidualCodec, bits: Sequence[float]) -> dict[int, float]:
    found = dict.fromkeys((*codec.elements.constant, *codec.elements.repeat), 0.0)
    if isinstance(codec, ResidualCodec):
        return found
    place = 0
    for j, coding in codec.codings.items():
        width = 2 if coding.bins.fine > 1 else 1
        found[j] = sum(bits[place : place + width])
        place += width
    return found


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Flags:
    equal = a == b
    if a.dtype.kind == "f":
        equal |= np.isnan(a) & np.isnan(b)
    return np.asarray(equal)
