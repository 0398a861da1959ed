"""Numbers as a network is shown them: about unit scale, limited, with a flag for what is missing.

Shapes: N samples, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.model.tokens.elements import Elements, Values
from viae.model.tokens.numbers import difference, number

Doubles = npt.NDArray[np.float64]

LINEAR = 4.0
"""Up to here a standardised number is shown as it is; beyond, its logarithm grows."""
LIMIT = 10.0
NORMAL_1_TO_99 = 4.65
"""The 1st and 99th percentile of a normal distribution are so many standard deviations apart."""
LOOKED_AT = 200_000


def thinned(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """At most 200 000 of many, evenly chosen: enough for a median."""
    return x[:: -(-len(x) // LOOKED_AT) or 1]


def centre_and_scale(x: Doubles) -> tuple[float, float]:
    """Median and robust spread of finite numbers: from the 1st to the 99th percentile.

    Args:
        x: float64 [N].

    Returns:
        The spread is the standard deviation where the percentiles are equal, and 1 where that is 0.
    """
    x = x[np.isfinite(x)]
    if not len(x):
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, middle, high = np.quantile(x, (0.01, 0.5, 0.99)).tolist()
        scale = (high - low) / NORMAL_1_TO_99 or float(np.std(x))
    return (
        middle if np.isfinite(middle) else 0.0,
        scale if np.isfinite(scale) and scale > 0 else 1.0,
    )


def shown(x: Doubles, centre: float, scale: float) -> Doubles:
    """Standardised; beyond ±4 by its logarithm, never beyond ±10; 0 where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        z = np.where(np.isfinite(x), (x - centre) / scale, 0.0)
        far = np.abs(z) > LINEAR
        if far.any():
            z[far] = np.sign(z[far]) * (LINEAR + np.log(np.abs(z[far]) / LINEAR))
    return np.clip(z, -LIMIT, LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """Median and spread of elements.

    Args:
        values: float64 [V, 2], of the shown elements.
        steps: float64 [L, 2], of the differences of live ones; empty for first samples.
    """

    values: Doubles
    steps: Doubles

    @property
    def features(self) -> int:
        """F."""
        return 2 * len(self.values) + len(self.steps)

    @property
    def numbers(self) -> int:
        """How many of them are numbers, and no flags: the first ones."""
        return len(self.values) + len(self.steps)

    def describe(
        self, elements: Elements, flat: Values, known: Values | None, has: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Standardised values, then differences, then 1 where a value is missing: [N, F]."""
        out = np.zeros((len(flat), self.features), np.float32, order="F")
        count = len(self.values)
        flags = count + len(self.steps)
        for place, (j, scale) in enumerate(zip(elements.shown, self.values.tolist(), strict=True)):
            column = number(flat[:, j])
            out[:, place] = shown(column, *scale)
            out[:, flags + place] = ~np.isfinite(column)
        if known is not None and len(self.steps):
            for place, (j, scale) in enumerate(
                zip(elements.live, self.steps.tolist(), strict=True), start=count
            ):
                step = shown(difference(flat[:, j], known[:, j]), *scale)
                out[:, place] = np.where(has, step, 0.0)
        return np.ascontiguousarray(out)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"values": self.values.tolist(), "steps": self.steps.tolist()}

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Scaling:
        """The inverse of `to_json`."""
        return cls(
            values=np.array(card["values"], np.float64).reshape(-1, 2),
            steps=np.array(card["steps"], np.float64).reshape(-1, 2),
        )


def fit_scaling(
    elements: Elements, flat: Values, known: Values | None, has: npt.NDArray[np.bool_]
) -> Scaling:
    """Of samples [N, D], and those before them where there are any."""
    values = [centre_and_scale(number(thinned(flat[:, j]))) for j in elements.shown]
    steps = []
    if known is not None:
        some = thinned(np.flatnonzero(has))
        steps = [centre_and_scale(difference(flat[some, j], known[some, j])) for j in elements.live]
    return Scaling(
        values=np.array(values, np.float64).reshape(-1, 2),
        steps=np.array(steps, np.float64).reshape(-1, 2),
    )
