"""What samples say: numbers that freeze, are missing, or hit a stop.

Most constants are meant: intrinsics, covariances, goals, padding, a gripper that stays open. So a
constant is said to be frozen only against its own kind: an element of a vector most of whose
elements never rest, or one that never rested before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viae.doctor.finding import Finding, Rule, Severity, rule
from viae.doctor.times import seconds
from viae.doctor.trace import EpisodeTrace, StreamTrace, ValueSummary
from viae.schema import JsonValue, Role

NOT_FINITE = rule(
    "not-finite", Severity.ERROR, "values are NaN or infinite",
    consequence="one of them in a batch makes the loss, and then every weight, NaN",
    fix="Mask the samples, or give the element a value and a flag that says whether it is known.",
)  # fmt: skip
NEVER_MEASURED = rule(
    "never-measured", Severity.NOTE, "elements are NaN in every sample",
    consequence="there is nothing to learn in them, and one of them in a batch makes the loss NaN",
    fix="Leave these streams and elements out of the window.",
)  # fmt: skip
FROZEN_DIMENSION = rule(
    "frozen-dimension", Severity.WARNING, "an element never changes, though its neighbours do",
    consequence="normalised by a spread of zero it explodes; the policy learns nothing from it",
    fix="Leave the element out, or repair the sensor; at least guard the normalisation.",
)  # fmt: skip
FROZEN_STRETCH = rule(
    "frozen-stretch", Severity.WARNING, "values freeze for a while",
    consequence="the policy learns to see a standstill where the robot moved",
    fix="Mask the stretch; look for a driver that repeats its last message when the device hangs.",
)  # fmt: skip
SATURATED = rule(
    "saturated", Severity.WARNING, "a sensor hits its limits",
    consequence="what went beyond the limit is cut off, and the policy takes the limit for it",
    fix="Widen the sensor's range, or mask the samples at the limit.",
)  # fmt: skip

LEAST = 100
"""Samples below which standing still is no sign."""
RESTLESS = 0.9
"""Share of samples that differ from the one before, from which on an element never rests."""
MOST = 0.7
"""Share of the elements that have to be restless for a constant one to stand out."""
STRETCH = 50
LEAP = 2.0
"""Size, in typical steps, from which on a step is one that was missed."""
VISITS = 5


def check(trace: EpisodeTrace) -> Iterator[Finding]:
    """Findings about the values of an episode's numeric streams."""
    never: dict[str, int] = {}
    for name, stream in trace.streams.items():
        if stream.values is not None and len(stream):
            yield from _Values(trace, name, stream, stream.values).findings()
            if count := int((stream.values.not_finite == len(stream)).sum()):
                never[name] = count
    if never:
        shown = ", ".join(f"'{name}'" for name in list(never)[:4])
        more = f" and {len(never) - 4} more" if len(never) > 4 else ""
        yield Finding(
            rule=NEVER_MEASURED, path=trace.path, episode=trace.episode,
            stream=next(iter(never)) if len(never) == 1 else "",
            evidence=f"{sum(never.values())} elements of {shown}{more} are NaN in every sample",
            values={"streams": list(never)}, count=sum(never.values()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Values:
    trace: EpisodeTrace
    name: str
    stream: StreamTrace
    values: ValueSummary

    def findings(self) -> Iterator[Finding]:
        if (bad := self._not_finite()) is not None:
            yield bad
        if len(self.stream) < LEAST:
            return
        for one in (self._frozen, self._stretch, self._saturated):
            if (finding := one()) is not None:
                yield finding

    def _not_finite(self) -> Finding | None:
        n = len(self.stream)
        bad = np.where(self.values.not_finite < n, self.values.not_finite, 0)
        if not bad.any():
            return None
        first = None
        if self.stream.head is not None:
            rows = np.flatnonzero(~np.isfinite(self.stream.head[:, bad > 0]).all(axis=1))
            first = int(self.stream.arrival_ns[rows[0]]) if len(rows) else None
        return self._found(
            NOT_FINITE,
            f"{self._label(bad > 0)}: {int(bad.max())} of {n} samples are NaN or infinite",
            {"share": float(bad.max()) / n, "elements": np.flatnonzero(bad).tolist()},
            at=first, count=int(bad.sum()),
        )  # fmt: skip

    def _frozen(self) -> Finding | None:
        n, values = len(self.stream), self.values
        still = (values.changes == 0) & (values.not_finite == 0)
        # Zero and one are what padding, flags and unused axes are set to.
        still &= ~np.isin(values.low, [0.0, 1.0, -1.0])
        restless = values.changes >= RESTLESS * (n - 1)
        if not still.any() or restless.mean() < MOST:
            return None
        return self._found(
            FROZEN_DIMENSION,
            f"{self._label(still)} stays at {_numbers(values.low[still])} for all {n} samples, "
            f"while {int(restless.sum())} of {len(still)} elements change all the time",
            {"elements": np.flatnonzero(still).tolist()}, count=int(still.sum()),
        )  # fmt: skip

    def _stretch(self) -> Finding | None:
        n, values = len(self.stream), self.values
        if values.run_end is None:
            return None
        run = values.longest_run
        elsewhere = np.maximum(n - run, 1)
        stuck = (run >= max(STRETCH, n // 50)) & (elsewhere >= STRETCH)
        # It never rests elsewhere. (The run's own samples change once, on its way out.)
        stuck &= values.changes - 1 >= RESTLESS * (elsewhere - 2)
        # What rests until it is touched, or once it has been put down, rests at an end.
        stuck &= (values.run_end < n) & (values.run_end > run)
        for element in np.flatnonzero(stuck).tolist():
            stuck[element] = self._leaps(element, int(values.run_end[element]))
        if not stuck.any():
            return None
        worst = int(np.argmax(np.where(stuck, run, 0)))
        end = int(values.run_end[worst])
        start = end - int(run[worst])
        lasted = int(self.stream.arrival_ns[end - 1] - self.stream.arrival_ns[start])
        return self._found(
            FROZEN_STRETCH,
            f"{self._label(stuck)} repeats one value {int(run[worst])} times, for "
            f"{seconds(lasted)}, and changes all the time otherwise",
            {"elements": np.flatnonzero(stuck).tolist(), "longest_s": lasted / 1e9},
            at=int(self.stream.arrival_ns[start]), count=int(run[worst]),
        )  # fmt: skip

    def _leaps(self, element: int, at: int) -> bool:
        """Whether an element goes on elsewhere than it stopped, because the robot moved on.

        What really stands still starts from where it stood. Beyond the head there is only the
        vector's motion to tell.
        """
        head = self.stream.head
        if head is not None and at < len(head):
            steps = np.abs(np.diff(head[:, element]))
            steps = steps[np.isfinite(steps)]
            moving = steps[steps > 0]
            leap = abs(float(head[at, element] - head[at - 1, element]))
            return bool(len(moving) and leap >= LEAP * np.median(moving))
        motion = self.stream.motion
        if at >= len(motion):
            return False
        return bool(motion[at] >= LEAP * np.median(motion[np.isfinite(motion) & (motion > 0)]))

    def _saturated(self) -> Finding | None:
        """Flat tops, again and again, of a signal that is otherwise restless.

        Commands are meant to stop at their limits, so actions are left alone; and so is what rests
        at both ends most of the time, as a gripper does.
        """
        head = self.stream.head
        if head is None or self.stream.spec.role is Role.ACTION:
            return None
        n, values = len(self.stream), self.values
        if np.dtype(self.stream.spec.dtype).kind == "b":
            return None
        at_ends = (values.at_low + values.at_high) / n
        likely = (at_ends >= 0.02) & (at_ends <= 0.5) & (values.high > values.low)
        hits: list[int] = []
        for element in np.flatnonzero(likely).tolist():
            column = head[:, element]
            for limit in (values.low[element], values.high[element]):
                flat = column == limit
                visits = int((flat[1:] & ~flat[:-1]).sum() + flat[:1].sum())
                if visits < VISITS or flat.sum() < 3 * visits:
                    continue
                free = column[~((column == values.low[element]) | (column == values.high[element]))]
                if len(free) > STRETCH and len(np.unique(free)) >= 0.5 * len(free):
                    hits.append(element)
                    break
        if not hits:
            return None
        mask = np.zeros(len(at_ends), bool)
        mask[hits] = True
        worst = int(np.argmax(np.where(mask, at_ends, 0)))
        return self._found(
            SATURATED,
            f"{self._label(mask)}: {at_ends[worst]:.0%} of the samples lie exactly at "
            f"{_numbers(np.array([values.low[worst], values.high[worst]]))}",
            {"elements": hits, "share": float(at_ends[worst])},
            count=int((values.at_low + values.at_high)[mask].max()),
        )  # fmt: skip

    def _label(self, mask: npt.NDArray[np.bool_]) -> str:
        """The elements by name, else by number."""
        which = np.flatnonzero(mask).tolist()
        names = self.stream.spec.names
        shown = [f"'{names[i]}'" if names else str(i) for i in which[:4]]
        more = f" and {len(which) - 4} more" if len(which) > 4 else ""
        return f"element{'s' if len(which) > 1 else ''} {', '.join(shown)}{more}"

    def _found(
        self,
        which: Rule,
        evidence: str,
        values: dict[str, JsonValue],
        *,
        at: int | None = None,
        count: int | None = None,
    ) -> Finding:
        return Finding(
            rule=which, path=self.trace.path, episode=self.trace.episode, stream=self.name,
            evidence=evidence, values=values, at_ns=at, count=count,
        )  # fmt: skip


def _numbers(values: npt.NDArray[np.float64]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in np.unique(values)[:4])
    return shown + (", …" if len(np.unique(values)) > 4 else "")
