"""When to alarm: a threshold for all attempts, and one for each group with successes enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.trust.alarms import alarm_times
from viae.trust.conformal import Runs, Threshold, band_threshold, cases_needed, constant_threshold
from viae.trust.measures import Bools, Floats

RULES: Mapping[str, Callable[[Runs, float], Threshold]] = {
    "constant": constant_threshold,
    "band": band_threshold,
}
"""Kinds of thresholds."""
SHARES = {"constant": 1, "band": 2}
"""Into how many parts each divides its successes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """Thresholds at one false-alarm rate.

    Args:
        kind: one of `RULES`.
        alpha: the rate, guaranteed over all groups together by ``pooled``, and inside each group
            that has its own.
        pooled: for groups without their own.
        groups: by name.
    """

    kind: str
    alpha: float
    pooled: Threshold
    groups: Mapping[str, Threshold]

    def times(self, runs: Runs, group: npt.NDArray[Any]) -> Floats:
        """When each attempt's alarm rises: float64 [N], shares of the horizon; inf if never.

        Args:
            runs: N attempts.
            group: [N], strings.
        """
        at = alarm_times(runs, self.pooled)
        for name, threshold in self.groups.items():
            here = group == name
            if here.any():
                at[here] = alarm_times(runs.part(here), threshold)
        return at

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind,
            "alpha": self.alpha,
            "pooled": self.pooled.to_json(),
            "groups": {name: threshold.to_json() for name, threshold in self.groups.items()},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Rule:
        """The inverse of `to_json`."""
        return cls(
            kind=plain["kind"],
            alpha=float(plain["alpha"]),
            pooled=Threshold.from_json(plain["pooled"]),
            groups={name: Threshold.from_json(t) for name, t in plain["groups"].items()},
        )


def fit_rule(
    kind: str, runs: Runs, outcome: Bools, group: npt.NDArray[Any], *, alpha: float
) -> Rule:
    """Calibrate thresholds on the attempts that succeeded.

    Args:
        kind: one of `RULES`.
        runs: N attempts that the score was not fitted on.
        outcome: bool [N].
        group: [N], strings.
        alpha: the share of successes that may be disturbed.

    Raises:
        UsageError: too few successes for ``alpha``; a group with too few only gets no own one.
    """
    make = RULES[kind]
    needed = SHARES[kind] * cases_needed(alpha)
    pooled = make(runs.part(outcome), alpha)
    own = {}
    for name in np.unique(group).tolist():
        here = outcome & (group == name)
        if here.sum() >= needed:
            own[name] = make(runs.part(here), alpha)
    return Rule(kind=kind, alpha=alpha, pooled=pooled, groups=own)
