"""Mean, spread, range and exact quantiles of streams of numbers: add, merge, finish a pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError, UsageError
from viae.load.stats.keys import keys_of
from viae.load.stats.ranks import Ints, Ranks

Floats = npt.NDArray[np.float64]

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
BUFFERED = 1 << 22
"""Values gathered, of all elements together, before they are counted."""


def quantile_name(quantile: float) -> str:
    """``q01``, ``q50``, ``q99``, ``q99.9``."""
    whole, dot, rest = f"{100 * quantile:.10g}".partition(".")
    return f"q{whole:0>2}{dot}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """What statistics say, per element; NaN where an element has no finite value.

    Args:
        count: int64 [*shape], finite values.
        nan: int64 [*shape], values that are not a number, and are in no other figure.
        infinite: int64 [*shape], likewise infinite ones.
        mean: float64 [*shape].
        std: float64 [*shape], of the population (divided by n).
        min: float64 [*shape].
        max: float64 [*shape].
        quantiles: float64 [*shape] by quantile: those that ``np.quantile`` (``"linear"``) gives
            for all finite values at once.
    """

    count: Ints
    nan: Ints
    infinite: Ints
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    quantiles: Mapping[float, Floats]

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """Bool [*shape], elements with one value throughout: dividing by their std is no use."""
        return np.asarray(self.min == self.max)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every figure by name, in the order in which people read them."""
        quantiles = {quantile_name(q): value for q, value in self.quantiles.items()}
        return {
            "count": self.count, "nan": self.nan, "infinite": self.infinite, "mean": self.mean,
            "std": self.std, "min": self.min, **quantiles, "max": self.max,
            "constant": self.constant,
        }  # fmt: skip


class Statistics:
    """Statistics of values that come in pieces.

    Exact quantiles take more than one pass over the values, each in bounded memory::

        statistics = Statistics((14,), "float32")
        while True:
            for values in pieces:
                statistics.add(values)
            if statistics.finish_pass():
                break
        summary = statistics.summary()

    A pass can be shared out: each `part` is filled elsewhere and merged back, in any order. Counts,
    range and quantiles do not depend on how the values were divided, to the bit; mean and standard
    deviation to about 1e-12 of themselves plus the spread.

    Args:
        shape: of one sample.
        dtype: of the values: bool, integer or float of up to 64 bits.
        quantiles: each in [0, 1].

    Raises:
        UsageError: a quantile lies outside [0, 1].
        SchemaError: the dtype is no number.
    """

    def __init__(
        self, shape: Sequence[int], dtype: npt.DTypeLike, quantiles: Sequence[float] = QUANTILES
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8:
            raise SchemaError(f"statistics are of numbers of at most 64 bits, not of {self.dtype}")
        self.quantiles = tuple(sorted(set(map(float, quantiles))))
        if not all(0 <= q <= 1 for q in self.quantiles):
            raise UsageError(f"quantiles lie between 0 and 1, not {self.quantiles}")
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.passes = 0
        """Passes finished."""
        zeros = np.zeros(self.size, np.int64)
        self._count, self._nan, self._infinite = zeros.copy(), zeros.copy(), zeros.copy()
        self._mean, self._m2 = np.zeros(self.size), np.zeros(self.size)
        self._min, self._max = np.full(self.size, np.inf), np.full(self.size, -np.inf)
        self._seen = zeros.copy()
        """Finite values in the pass under way."""
        self._ranks = Ranks(self.size, self.dtype, self.quantiles)
        self._reserve()

    def _reserve(self) -> None:
        rows = min(max(BUFFERED // max(self.size, 1), 1 << 8), 1 << 18)
        self._buffer = np.empty((self.size, rows), self.dtype)
        self._filled = 0

    @property
    def is_done(self) -> bool:
        """Whether everything is known."""
        return self._ranks.found is not None

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take values in.

        Args:
            values: [N, *shape], of the dtype.

        Raises:
            SchemaError: they have another shape or dtype.
            UsageError: everything is known already.
        """
        if values.shape[1:] != self.shape or values.dtype != self.dtype:
            raise SchemaError(
                f"values are {values.dtype}{list(values.shape)}, not "
                f"{self.dtype}{['N', *self.shape]}"
            )
        self._check_open()
        flat = values.reshape(len(values), self.size)
        while len(flat):
            rows = flat[: self._buffer.shape[1] - self._filled]
            self._buffer[:, self._filled : self._filled + len(rows)] = rows.T
            self._filled += len(rows)
            flat = flat[len(rows) :]
            if self._filled == self._buffer.shape[1]:
                self._flush()

    def merge(self, other: Statistics) -> None:
        """Take in what a part of the same pass has seen.

        Raises:
            UsageError: it is of another pass, or of other values.
        """
        same = (self.shape, self.passes) == (other.shape, other.passes)
        if not same or not self._ranks.is_same_pass(other._ranks):
            raise UsageError(
                "statistics can be merged if both are of one pass over the same kind of values: "
                "make the parts with part()"
            )
        self._check_open()
        self._flush()
        other._flush()
        self._ranks.merge(other._ranks)
        self._seen += other._seen
        if not self.passes:
            self._nan += other._nan
            self._infinite += other._infinite
            for element in range(self.size):
                self._combine(
                    element, int(other._count[element]), other._mean[element], other._m2[element]
                )
            self._min = np.minimum(self._min, other._min)
            self._max = np.maximum(self._max, other._max)

    def part(self) -> Statistics:
        """Empty statistics of the pass under way, to be filled elsewhere and merged."""
        new = Statistics(self.shape, self.dtype, self.quantiles)
        new.passes = self.passes
        new._ranks = self._ranks.part()
        return new

    def finish_pass(self) -> bool:
        """End a pass over all values.

        Returns:
            Whether everything is known; if not, all values must be added once more.

        Raises:
            UsageError: this pass saw other values than the first.
        """
        self._check_open()
        self._flush()
        if not np.array_equal(self._seen, self._count):
            raise UsageError(
                f"pass {self.passes + 1} saw {int(self._seen.sum())} values and the first "
                f"{int(self._count.sum())}: every pass must see the same ones"
            )
        self.passes += 1
        self._seen[:] = 0
        return self._ranks.advance(self._count)

    def summary(self) -> Summary:
        """What is known.

        Raises:
            UsageError: another pass is needed.
        """
        if not self.is_done:
            raise UsageError("the quantiles need another pass: call finish_pass until it is True")
        none = self._count == 0
        std = np.sqrt(self._m2 / np.maximum(self._count, 1))
        figures = [np.where(none, np.nan, f) for f in (self._mean, std, self._min, self._max)]
        mean, std, low, high = (figure.reshape(self.shape) for figure in figures)
        found = self._ranks.result()
        return Summary(
            count=self._count.reshape(self.shape), nan=self._nan.reshape(self.shape),
            infinite=self._infinite.reshape(self.shape), mean=mean, std=std, min=low, max=high,
            quantiles={q: found[i].reshape(self.shape) for i, q in enumerate(self.quantiles)},
        )  # fmt: skip

    # -- as JSON ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The state as JSON-ready values, to be merged or carried on elsewhere."""
        self._flush()
        arrays = {name: getattr(self, f"_{name}").tolist() for name in (*_INTS, *_FLOATS)}
        return {
            "shape": list(self.shape), "dtype": self.dtype.name, "passes": self.passes, **arrays,
            "ranks": self._ranks.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_json`."""
        new = cls(fields["shape"], fields["dtype"], fields["ranks"]["quantiles"])
        new.passes = fields["passes"]
        for name in _INTS:
            setattr(new, f"_{name}", np.array(fields[name], np.int64))
        for name in _FLOATS:
            setattr(new, f"_{name}", np.array(fields[name], np.float64))
        new._ranks = Ranks.from_json(new.size, new.dtype, fields["ranks"])
        return new

    # -- private ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.is_done:
            raise UsageError("these statistics are finished: nothing can be added to them")

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        if not filled:
            return
        for element in range(self.size):
            values = self._buffer[element, :filled]
            if self.dtype.kind == "f":
                finite = np.isfinite(values)
                if not finite.all():
                    if not self.passes:
                        nan = int(np.isnan(values).sum())
                        self._nan[element] += nan
                        self._infinite[element] += filled - int(finite.sum()) - nan
                    values = values[finite]
            self._seen[element] += len(values)
            if not len(values):
                continue
            if not self.passes:
                self._moments(element, values)
            self._ranks.add(element, keys_of(values))

    def _moments(self, element: int, values: npt.NDArray[Any]) -> None:
        self._min[element] = min(self._min[element], float(values.min()))
        self._max[element] = max(self._max[element], float(values.max()))
        with np.errstate(over="ignore", invalid="ignore"):  # sums near the end of the float range
            mean = float(values.mean(dtype=np.float64))
            away = values.astype(np.float64) - mean
            self._combine(element, len(values), mean, float(away @ away))

    def _combine(self, element: int, count: int, mean: float, m2: float) -> None:
        """Chan, Golub and LeVeque (1979): the moments of two parts together."""
        total = int(self._count[element]) + count
        if count:
            with np.errstate(over="ignore", invalid="ignore"):
                apart = mean - self._mean[element]
                share = count / total
                self._m2[element] += m2 + apart * apart * self._count[element] * share
                self._mean[element] += apart * share
        self._count[element] = total


_INTS = ("count", "nan", "infinite", "seen")
_FLOATS = ("mean", "m2", "min", "max")
