"""A saved calibrator and thresholds on new scores; where outcomes are known, how well they do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from viae.errors import UsageError
from viae.trust.measures import Floats
from viae.verbs.trust_cases import EARLY, Cases, Columns, read_cases
from viae.verbs.trust_file import TrustFile
from viae.verbs.trust_report import Measures, RuleReport
from viae.verbs.trust_table import measures

if TYPE_CHECKING:
    import pyarrow as pa

    from viae.trust import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Saved probabilities held against outcomes at one elapsed time.

    Args:
        at: share of the horizon; None without times.
        base_rate: share of successes.
        measured: on the new cases; nothing was fitted on them.
        elapsed_alone: AUROC of the elapsed times of the rows used; None without times.
    """

    at: float | None
    base_rate: Estimate
    measured: Measures
    elapsed_alone: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "at": self.at,
            "base_rate": self.base_rate.to_json(),
            "measured": self.measured.to_json(),
            "elapsed_alone": self.elapsed_alone.to_json() if self.elapsed_alone else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """New cases, judged.

    Args:
        table: its path.
        rows: per row of the table ``row`` (from 1), ``attempt``, ``probability`` of success with
            ``low`` and ``high`` (None before the first fixed time), and ``alarm`` by each rule:
            whether one had risen by then.
        cases: attempts, or rows without times.
        alarmed: how many of them had an alarm, by rule.
        held: where outcomes are known, by elapsed time.
        rules: where outcomes are known, what the alarms did.
        notes: what a reader should know, in sentences.
    """

    table: str
    rows: list[dict[str, Any]]
    cases: int
    alarmed: dict[str, int]
    held: list[Held]
    rules: list[RuleReport]
    notes: list[str]

    def arrow(self) -> pa.Table:
        """The rows as a table; alarms are columns ``alarm_KIND``."""
        import pyarrow as pa

        flat = [
            {k: v for k, v in row.items() if k != "alarm"}
            | {f"alarm_{kind}": raised for kind, raised in row["alarm"].items()}
            for row in self.rows
        ]
        return pa.Table.from_pylist(flat)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("held", "rules"):
            plain[name] = [each.to_json() for each in plain[name]]
        return plain


def trust_apply(
    path: Path, saved: TrustFile, columns: Columns, *, horizon: float | None = None
) -> Applied:
    """Judge the scores in a table by a saved calibrator and thresholds.

    During an attempt the calibrator of the newest fixed time is used: a running estimate.

    Args:
        path: the table.
        saved: of `viae.verbs.trust_table.trust_table`.
        columns: which column says what; scores not named are as saved.
        horizon: of all attempts; None: as saved.

    Raises:
        UsageError: a table that makes no sense, or does not fit what was saved.
    """
    names = columns.scores or saved.sources
    if len(names) != len(saved.sources):
        raise UsageError(
            f"{path}: the thresholds were made from {len(saved.sources)} scores "
            f"({', '.join(saved.sources)}), not from {len(names)}"
        )
    if columns.score_means not in ("", saved.score_means):
        raise UsageError(
            f"the thresholds were made from a score that means {saved.score_means}, not "
            f"{columns.score_means}"
        )
    columns = replace(columns, scores=names, score_means=saved.score_means)
    cases = read_cases(
        path, columns, outcome_needed=bool(columns.outcome),
        horizon=saved.horizon if horizon is None else horizon, timed=saved.timed,
    )  # fmt: skip
    return apply_cases(cases, saved)


def apply_cases(cases: Cases, saved: TrustFile) -> Applied:
    """The same with cases that have been read, of the same sources."""
    score = cases.sign * cases.scores[:, 0]
    if saved.combiner:
        score = saved.combiner.apply(cases.sign * cases.scores)
    said = _running(cases, saved, score)
    runs = cases.runs(score)
    times = {rule.kind: rule.times(runs, cases.group) for rule in saved.rules}
    raised = {kind: cases.elapsed >= at[cases.attempt] for kind, at in times.items()}
    order = np.argsort(cases.row)
    rows = [
        {
            "row": int(cases.row[r]) + 1,
            "attempt": str(cases.name[cases.attempt[r]]),
            "probability": _or_none(said[0, r]),
            "low": _or_none(said[1, r]),
            "high": _or_none(said[2, r]),
            "alarm": {kind: bool(up[r]) for kind, up in raised.items()},
        }
        for r in order.tolist()
    ]
    return Applied(
        table=str(cases.path),
        rows=rows,
        cases=len(cases.name),
        alarmed={kind: int(np.isfinite(at).sum()) for kind, at in times.items()},
        held=_held(cases, saved, said[0]),
        rules=_measured(cases, saved, times),
        notes=_notes(cases, saved),
    )


def _running(cases: Cases, saved: TrustFile, score: Floats) -> Floats:
    """Probability, low and high of each row: float64 [3, R]; NaN before the first fixed time."""
    said = np.full((3, len(score)), np.nan)
    group = cases.group[cases.attempt]
    for fixed in saved.fixed:  # in order of time: the newest stays
        since = cases.elapsed >= (-np.inf if fixed.at is None else fixed.at - EARLY)
        after = fixed.calibrator.apply(score[since], group[since])
        said[:, since] = after.probability, after.low, after.high
    return said


def _held(cases: Cases, saved: TrustFile, probability: Floats) -> list[Held]:
    from viae.trust import refuse_leak, wilson

    held: list[Held] = []
    if cases.outcome is None:
        return held
    for fixed in saved.fixed:
        if fixed.at is None:
            rows = np.arange(len(probability))
        else:
            rows = cases.newest(fixed.at)[0]
            rows = rows[np.isfinite(probability[rows])]
        if not len(rows):
            continue
        right = cases.outcome[cases.attempt[rows]]
        unit = cases.unit[cases.attempt[rows]]
        alone = None
        if fixed.at is not None:
            where = f"{cases.path}, at {fixed.at:.0%} of the horizon"
            alone = refuse_leak(right, cases.elapsed[rows], unit, where)
        held.append(
            Held(
                at=fixed.at,
                base_rate=wilson(int(right.sum()), len(right)),
                measured=measures(right, probability[rows], unit),
                elapsed_alone=alone,
            )
        )
    return held


def _measured(cases: Cases, saved: TrustFile, times: dict[str, Floats]) -> list[RuleReport]:
    from viae.trust import report_alarms

    if cases.outcome is None:
        return []
    return [
        RuleReport(
            kind=rule.kind, own=sorted(rule.groups),
            measured=report_alarms(cases.outcome, times[rule.kind], cases.unit),
        )
        for rule in saved.rules
    ]  # fmt: skip


def _notes(cases: Cases, saved: TrustFile) -> list[str]:
    known = set(saved.fixed[0].calibrator.weights)
    new = sorted(set(cases.group.tolist()) - known)
    if not new or known == {"all"}:
        return []
    return [
        f"{len(new)} groups were not in the table that this was fitted on, and are judged like all "
        f"others together, without a guarantee: {', '.join(new[:5])}{' …' if new[5:] else ''}"
    ]


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_rows(applied: Applied, out: Path) -> None:
    """Write the judged rows as Parquet, CSV or JSON lines, by the name's end.

    Raises:
        UsageError: another kind of file, or it cannot be written.
    """
    import json

    import pyarrow.csv
    import pyarrow.parquet

    table = applied.arrow()
    kind = out.suffix.lower()
    try:
        if kind == ".parquet":
            pyarrow.parquet.write_table(table, out)
        elif kind == ".csv":
            pyarrow.csv.write_csv(table, out)
        elif kind in (".jsonl", ".ndjson"):
            out.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        else:
            raise UsageError(f"{out}: judged rows are written as .parquet, .csv or .jsonl")
    except OSError as error:
        raise UsageError(f"{out}: this cannot be written: {error}") from error
