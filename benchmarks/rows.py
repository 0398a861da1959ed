"""One result, one line: name, value, unit, target, ok, n, low, high, peer."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure of a benchmark.

    Args:
        name: stable.
        value: what was measured.
        unit: of the value.
        target: as text, e.g. ``">= 0.85"``; empty where there is none.
        n: how many cases the value rests on.
        low: lower end of its 95% interval; None where it is exact.
        high: upper end.
        peer: what it is measured against.
    """

    name: str
    value: float
    unit: str = ""
    target: str = ""
    n: int = 1
    low: float | None = None
    high: float | None = None
    peer: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        value = float(self.value)  # a NumPy number would make a bool that JSON does not know
        if sign == ">":
            return value > float(bound)
        return value >= float(bound) if sign == ">=" else value <= float(bound)

    def print(self, *, as_json: bool) -> None:
        """One line on standard output."""
        fields = asdict(self) | {"ok": self.ok}
        if as_json:
            finite = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in fields.items()
            }
            print(json.dumps(finite), flush=True)
            return
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None else ""
        verdict = {True: "met", False: "MISSED", None: ""}[self.ok]
        print(
            f"{self.name:24} {self.value:.3f}{interval} {self.unit:10} n={self.n:<6} "
            f"{self.target:8} {verdict:7} {self.peer}",
            flush=True,
        )
