"""What is reported about a table of scores; every number with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viae.schema import JsonValue

if TYPE_CHECKING:
    from viae.trust import AlarmReport, Estimate, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How good probabilities are; skill and calibration are None of scores that are none.

    Args:
        auroc: ranking.
        brier_skill: improvement over the base rate.
        ece: calibration error, ten bins of equal mass.
    """

    auroc: Estimate
    brier_skill: Estimate | None
    ece: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "auroc": self.auroc.to_json(),
            "brier_skill": self.brier_skill.to_json() if self.brier_skill else None,
            "ece": self.ece.to_json() if self.ece else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Some cases, before and after calibration.

    Args:
        name: the group, or ``all``.
        base_rate: share of successes.
        given: the scores as they came; None of a group of too few cases.
        calibrated: the same cases, each by a calibrator that was fitted on others.
        weight: of the group's own curve; None for all.
    """

    name: str
    base_rate: Estimate
    given: Measures | None
    calibrated: Measures | None
    weight: float | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "name": self.name,
            "base_rate": self.base_rate.to_json(),
            "given": self.given.to_json() if self.given else None,
            "calibrated": self.calibrated.to_json() if self.calibrated else None,
            "weight": self.weight,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Cases at one elapsed time, or all cases of a table without times.

    Args:
        at: share of the horizon; None without times.
        ended: attempts that had ended by then, and are left out.
        unsaid: attempts that had no score yet, and are left out.
        elapsed_alone: AUROC of the elapsed times of the rows used; None without times.
        judged: all, then each group.
        open_by: mean width of what Venn-Abers leaves open.
        bins_given: of the reliability diagram before; None where scores are no probabilities.
        bins: after.
    """

    at: float | None
    ended: int
    unsaid: int
    elapsed_alone: Estimate | None
    judged: list[Judged]
    open_by: float
    bins_given: list[dict[str, JsonValue]] | None
    bins: list[dict[str, JsonValue]]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["judged"] = [judged.to_json() for judged in self.judged]
        plain["elapsed_alone"] = self.elapsed_alone.to_json() if self.elapsed_alone else None
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """One way to alarm.

    Args:
        kind: ``constant`` or ``band``, or ``elapsed time alone``, the clock as a score.
        own: groups with a threshold of their own.
        measured: on attempts that the thresholds were not calibrated on.
    """

    kind: str
    own: list[str]
    measured: AlarmReport

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"kind": self.kind, "own": self.own, "measured": self.measured.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """What a table of scores is worth.

    Args:
        table: its path.
        cases: attempts, or rows without times.
        units: of them, those that do not depend on each other.
        timed: whether attempts were followed over time.
        alpha: the false-alarm rate of the thresholds.
        method: of calibration.
        elapsed_alone: AUROC of the attempts' lengths; None without times.
        sources: each score alone, and combined, where there are several.
        moments: one per elapsed time.
        rules: ways to alarm; empty where there were too few successes.
        refused: what was asked and could not be done, in sentences.
        notes: what a reader should know, in sentences.
    """

    table: str
    cases: int
    units: int
    timed: bool
    alpha: float
    method: str
    elapsed_alone: Estimate | None
    sources: list[Source]
    moments: list[Moment]
    rules: list[RuleReport]
    refused: list[str]
    notes: list[str]

    def sentence(self) -> str:
        """What was done, in a sentence."""
        what = "attempts" if self.timed else "cases"
        units = "" if self.units == self.cases else f" in {self.units} units kept together"
        return (
            f"{self.table}: {self.cases} {what}{units}; {self.method} calibration and alarm "
            f"thresholds at {self.alpha:.1%} false alarms, each measured on cases that it was not "
            "fitted on"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["elapsed_alone"] = self.elapsed_alone.to_json() if self.elapsed_alone else None
        for name in ("sources", "moments", "rules"):
            plain[name] = [each.to_json() for each in plain[name]]
        return plain
