"""Times: the gap to the event before, and how old a sample is when it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.model.tokens.bins import Bins, fit_bins, with_edges
from viae.model.tokens.codec import Codec, Floats, Tokens
from viae.model.tokens.scaling import centre_and_scale, shown
from viae.schema import NS_PER_S

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

BINS = 128
SHORTEST_NS, LONGEST_S = 1e3, 1e6
PER_DECADE = 4
UNIT_NS = 1e3
"""`describe` is linear below this and logarithmic above."""


class TimeCodec(Codec):
    """Nanoseconds in one token: common ones exactly, others in bins.

    Bins are `fit_bins` of what is not common, and none is wider than a quarter of a decade.
    The same continues outside the fitted range from 1 us to 1e6 s, of either sign, so that a gap
    longer than any in the fit keeps its magnitude; `check` names it.

    Args:
        bins: of nanoseconds.
        seen: the least and the most of the fit, ns.
        scale: median and spread of the logarithm, for `describe`.
    """

    kind = "time"

    def __init__(self, bins: Bins, seen: tuple[int, int], scale: tuple[float, float]) -> None:
        self.bins, self.seen, self.scale = bins, seen, scale
        self.slots = (bins.size,)
        self.features = 2

    @classmethod
    def fit(cls, values: Any, *, bins: int = BINS) -> TimeCodec:
        """Fit on times.

        Args:
            values: int64 [N], ns.
            bins: most tokens for what was fitted; 100 more go to the fixed bins.

        Raises:
            TokenError: there are none, or they are no int64.
        """
        ns = _ns(values)
        if not len(ns):
            raise TokenError("there are no times to fit a codec on")
        seen = np.unique(ns.astype(np.float64), return_counts=True)
        exponents = np.arange(np.log10(SHORTEST_NS), np.log10(LONGEST_S * NS_PER_S) + 1e-9,
                              1 / PER_DECADE)  # fmt: skip
        ladder = np.floor(10.0**exponents) + 0.5
        found = with_edges(
            fit_bins(*seen, bins=bins, whole=True), np.concatenate([-ladder[::-1], ladder])
        )
        return cls(found, (int(ns.min()), int(ns.max())), centre_and_scale(_log(ns)))

    def encode(self, values: Any, before: Any = None) -> Tokens:
        """Tokens of times: int32 [N, 1].

        Raises:
            TokenError: they are no int64 [N].
        """
        x = _ns(values).astype(np.float64)
        atom = self.bins.atom(x)
        return np.where(atom >= 0, atom, self.bins.bin(x)).astype(np.int32)[:, None]

    def decode(
        self, tokens: Tokens, before: Any = None, rng: np.random.Generator | None = None
    ) -> Ints:
        """Times that tokens stand for: int64 [N], ns; anywhere in the bin with a generator.

        Raises:
            TokenError: a token that does not exist.
        """
        given = np.asarray(tokens)
        if (
            given.ndim != 2
            or given.shape[1] != 1
            or ((given < 0) | (given >= self.bins.size)).any()
        ):
            raise TokenError(
                f"times have one token below {self.bins.size}, not {given.ravel()[:4].tolist()}"
            )
        token = given[:, 0].astype(np.int64)
        return np.rint(self.bins.value(token, None, rng)).astype(np.int64)

    def describe(self, values: Any, before: Any = None) -> Floats:
        """Standardised logarithm, and the logarithm itself over 10: float32 [N, 2]."""
        log = _log(_ns(values))
        return np.stack([shown(log, *self.scale), log / 10], axis=1).astype(np.float32)

    def check(self, values: Any, before: Any = None) -> list[tuple[str, str]]:
        """Times outside the fitted range, in words."""
        ns = _ns(values)
        outside = (ns < self.seen[0]) | (ns > self.seen[1])
        if not outside.any():
            return []
        row = int(np.argmax(outside))
        low, high = (each / NS_PER_S for each in self.seen)
        return [
            (
                "time",
                f"is {ns[row] / NS_PER_S:.6g} s in row {row}, outside the {low:.6g} to "
                f"{high:.6g} s of the fit ({outside.sum()} of {len(ns)})",
            )
        ]

    def cell(self, values: Any, before: Any = None) -> tuple[Doubles, Doubles]:
        """The ends of the cells that times fall in, ns: float64 [N, 1] twice."""
        low, high = self.bins.cell(self.encode(values)[:, 0].astype(np.int64), None)
        return low[:, None], high[:, None]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind, "bins": self.bins.to_json(), "seen": list(self.seen),
            "scale": list(self.scale),
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> TimeCodec:
        """The inverse of `to_json`."""
        (least, most), (centre, scale) = card["seen"], card["scale"]
        return cls(Bins.from_json(card["bins"]), (least, most), (centre, scale))


def _ns(values: Any) -> Ints:
    given = np.asarray(values)
    if given.dtype != np.int64 or given.ndim != 1:
        raise TokenError(f"times are int64 [N], ns, not {given.dtype} {list(given.shape)}")
    return given


def _log(ns: Ints) -> Doubles:
    x = ns.astype(np.float64) / UNIT_NS
    return np.asarray(np.sign(x) * np.log10(1 + np.abs(x)))
