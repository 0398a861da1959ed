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

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.naming import is_command
from viae.doctor.onestream import OneStream
from viae.doctor.times import seconds
from viae.doctor.trace import EpisodeTrace, ValueSummary

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
MOVING = 0.3
"""The same for what moves as encoders of few steps do, which rest at turns and between ticks."""
MOST = 0.6
"""Share of the elements that have to move for a constant one to stand out."""
STRETCH = 50
LEAP = 2.0
"""Size, in typical steps, from which on a step is one that was missed."""
STOP = 0.02
"""Size, in typical steps, of the last step before a run, up to which it came to rest."""
LEAP_TOGETHER = 5.0
"""The same where it is the leap, and that all leap at once, that tells a hang from a rest."""
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
class _Values(OneStream):
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
        return self.found(
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
        moving = values.changes >= MOVING * (n - 1)
        if not still.any() or moving.mean() < MOST:
            return None
        return self.found(
            FROZEN_DIMENSION,
            f"{self._label(still)}: {_numbers(values.low[still])} in all {n} samples, "
            f"while {int(moving.sum())} of {len(still)} elements keep changing",
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
        share = (values.changes - 1) / np.maximum(elsewhere - 2, 1)
        # What rests until it is touched, or once it has been put down, rests at an end.
        stuck &= (values.run_end < n) & (values.run_end > run)
        restless = stuck & (share >= RESTLESS)
        together = self._together(stuck & (share >= MOVING), values.run_end)
        stuck = np.zeros_like(stuck)
        for element in np.flatnonzero(restless | together).tolist():
            least = LEAP if restless[element] else LEAP_TOGETHER
            stuck[element] = self._leaps(element, int(values.run_end[element]), least)
        if not stuck.any():
            return None
        worst = int(np.argmax(np.where(stuck, run, 0)))
        end = int(values.run_end[worst])
        start = end - int(run[worst])
        lasted = int(self.stream.arrival_ns[end - 1] - self.stream.arrival_ns[start])
        return self.found(
            FROZEN_STRETCH,
            f"{self._label(stuck)}: one value {int(run[worst])} times, for {seconds(lasted)}, of "
            "what keeps changing otherwise",
            {"elements": np.flatnonzero(stuck).tolist(), "longest_s": lasted / 1e9},
            at=int(self.stream.arrival_ns[start]), count=int(run[worst]),
        )  # fmt: skip

    def _together(
        self, stuck: npt.NDArray[np.bool_], run_end: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Of elements that rest now and then, those that began to move with most of the others."""
        ends, counts = np.unique(run_end[stuck], return_counts=True)
        moving = self.values.changes >= MOVING / 2 * (len(self.stream) - 1)
        if not len(ends) or counts.max() < max(2, MOST * moving.sum()):
            return np.zeros_like(stuck)
        return np.asarray(stuck & (run_end == ends[np.argmax(counts)]))

    def _leaps(self, element: int, at: int, least: float) -> bool:
        """Whether an element goes on elsewhere than it stopped, because the robot moved on.

        What really stands still starts from where it stood, and came to rest before, unless it is
        hit. Beyond the head there is only the vector's motion to tell.
        """
        head = self.stream.head
        if head is not None and at < len(head):
            steps = np.abs(np.diff(head[:, element]))
            steps = steps[np.isfinite(steps)]
            moving = steps[steps > 0]
            start = at - int(self.values.longest_run[element])
            leap = abs(float(head[at, element] - head[at - 1, element]))
            stop = abs(float(head[start, element] - head[start - 1, element]))
            if not len(moving) or stop < STOP * np.median(moving):
                return False  # it came to rest
            return bool(leap >= least * np.median(moving))
        motion = self.stream.motion
        if at >= len(motion):
            return False
        return bool(motion[at] >= least * np.median(motion[np.isfinite(motion) & (motion > 0)]))

    def _saturated(self) -> Finding | None:
        """Flat tops, again and again, of a signal that is otherwise restless.

        Commands are meant to stop at their limits, so actions are left alone; and so is what rests
        at both ends most of the time, as a gripper does, or at zero, where nothing is to measure.
        """
        head = self.stream.head
        if head is None or is_command(self.stream.spec):
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
                if limit == 0:
                    continue
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
        return self.found(
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


def _numbers(values: npt.NDArray[np.float64]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in np.unique(values)[:4])
    return shown + (", …" if len(np.unique(values)) > 4 else "")
