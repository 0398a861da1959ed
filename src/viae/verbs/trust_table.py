"""Trust in any model's scores: calibrated, measured and given alarm thresholds, from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.measures import Bools, Floats
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.trust_cases import Cases, Columns, Ints, read_cases
from viae.verbs.trust_report import Judged, Measures, Moment, RuleReport, TableReport

if TYPE_CHECKING:
    from viae.trust import Calibrated, Calibrator, Estimate, Rule, Source
    from viae.verbs.trust_file import TrustFile

FRACTIONS = (0.1, 0.25, 0.5)
"""Of the horizon: when attempts are judged."""
FEW = 10
"""Cases below which a group is not measured."""
ALARM_FOLDS = 10


def trust_table(
    path: Path,
    columns: Columns,
    *,
    alpha: float = 0.05,
    method: str = "venn-abers",
    fractions: Sequence[float] = FRACTIONS,
    horizon: float | None = None,
    tell: Tell = quiet,
) -> tuple[TableReport, TrustFile]:
    """Calibrate the scores in a table, measure them, and set alarm thresholds.

    Nothing is measured on what it was fitted on: cases are divided into folds, units whole. The
    calibrator and thresholds that are given back are fitted on all.

    Args:
        path: the table; see `viae.verbs.trust_cases.read_cases`.
        columns: which column says what.
        alpha: the share of successes that alarms may disturb.
        method: of calibration, one of `viae.trust.curves.METHODS`.
        fractions: when attempts are judged, of a table with times. Fixed, since elapsed time alone
            tells failures, which run longer, from successes.
        horizon: of all attempts, where the table has no such column.
        tell: told of progress.

    Raises:
        UsageError: a table that makes no sense, or too few cases of either outcome.
    """
    from viae.trust import cases_needed, elapsed_alone, folds
    from viae.verbs.trust_file import Fixed, TrustFile

    cases_needed(alpha)
    cases = read_cases(path, columns, horizon=horizon)
    outcome = cases.outcome
    assert outcome is not None
    if outcome.all() or not outcome.any():
        raise UsageError(
            f"{path}: all {len(outcome)} outcomes are "
            f"{'successes' if outcome.any() else 'failures'}; a score is calibrated and measured "
            "on cases of both kinds"
        )
    if cases.timed and len(cases.sources) > 1:
        raise UsageError(
            f"{path}: several scores are combined only in a table without times; name one --score"
        )
    refused: list[str] = []
    fold = folds(outcome, cases.unit)
    combiner, score, sources = _combined(cases, outcome, fold)
    moments: list[Moment] = []
    fixed: list[Fixed] = []
    asked: Sequence[float | None] = sorted(set(fractions)) if cases.timed else [None]
    for number, at in enumerate(asked):
        tell(Progress(phase="calibration", done=number, total=len(asked)))
        try:
            moment, calibrator = _moment(cases, outcome, score, at, method=method)
        except UsageError as error:
            if len(asked) == 1:
                raise
            refused.append(str(error))
            continue
        moments.append(moment)
        fixed.append(Fixed(at=at, calibrator=calibrator))
    if not moments:
        raise UsageError(refused[0])
    tell(Progress(phase="alarms", done=0, total=1))
    rules, reports = alarms(cases, outcome, score, alpha, refused)
    tell(Progress(phase="alarms", done=1, total=1))
    report = TableReport(
        table=str(path), cases=len(outcome), units=len(np.unique(cases.unit)), timed=cases.timed,
        alpha=alpha, method=method,
        elapsed_alone=elapsed_alone(outcome, cases.last(), cases.unit) if cases.timed else None,
        sources=sources, moments=moments, rules=reports, refused=refused,
        notes=_notes(cases, moments),
    )  # fmt: skip
    saved = TrustFile(
        sources=cases.sources, score_means=cases.score_means, timed=cases.timed,
        horizon=cases.horizon, combiner=combiner, fixed=tuple(fixed), rules=tuple(rules),
    )  # fmt: skip
    return report, saved


def measures(
    outcome: Bools, probability: Floats, unit: npt.NDArray[Any], *, is_probability: bool = True
) -> Measures:
    """Ranking, skill and calibration of what was said of N cases."""
    from viae.trust import auroc, brier_skill, calibration_error, estimate_by_unit

    def of(measure: Any) -> Estimate:
        return estimate_by_unit(measure, outcome, probability, unit)

    return Measures(
        auroc=of(auroc),
        brier_skill=of(brier_skill) if is_probability else None,
        ece=of(calibration_error) if is_probability else None,
    )


def as_probability(score: Floats, sign: int) -> Floats | None:
    """A score that speaks for success, as it stands: a probability, or None if it is none."""
    probability = score if sign > 0 else 1 + score
    return probability if ((probability >= 0) & (probability <= 1)).all() else None


def _combined(cases: Cases, outcome: Bools, fold: Ints) -> tuple[Any, Floats, list[Source]]:
    """One score that speaks for success, for each row; of several, each case's by the others."""
    from viae.trust import compare_sources, cross_combined, fit_combiner

    if len(cases.sources) == 1:
        return None, cases.sign * cases.scores[:, 0], []
    scores = cases.sign * cases.scores
    return (
        fit_combiner(scores, outcome, cases.sources),
        cross_combined(scores, outcome, cases.sources, fold),
        compare_sources(scores, outcome, cases.sources, fold, cases.unit),
    )


def _moment(
    cases: Cases, outcome: Bools, score: Floats, at: float | None, *, method: str
) -> tuple[Moment, Calibrator]:
    from viae.trust import cross_calibrated, fit_calibrator, folds, refuse_leak, reliability_bins

    where = str(cases.path) if at is None else f"{cases.path}, at {at:.0%} of the horizon"
    rows, ended, unsaid = (np.arange(len(score)), 0, 0) if at is None else cases.newest(at)
    who = cases.attempt[rows]
    said, right, group, unit = score[rows], outcome[who], cases.group[who], cases.unit[who]
    if not len(rows) or right.all() or not right.any():
        raise UsageError(
            f"{where}: of {len(outcome)} attempts {ended} had ended and {unsaid} had no score yet; "
            f"of the other {len(rows)} {int(right.sum())} succeeded, and both outcomes are needed. "
            "Choose another --fraction"
        )
    alone = None if at is None else refuse_leak(right, cases.elapsed[rows], unit, where)
    calibrator = fit_calibrator(said, right, group, unit, method=method)
    fold = folds(right, unit)
    if len(cases.sources) > 1:
        after = _nested(cases, outcome, fold, method)
    else:
        after = cross_calibrated(said, right, group, unit, fold, method=method)
    sign = cases.sign if len(cases.sources) == 1 else 1
    before = as_probability(said, sign)
    judged = [_judged("all", right, said, before, after, unit, None)]
    for name in np.unique(group).tolist() if len(np.unique(group)) > 1 else []:
        here = group == name
        judged.append(
            _judged(
                name,
                right[here],
                said[here],
                None if before is None else before[here],
                _part(after, here),
                unit[here],
                calibrator.weights[name],
            )
        )
    moment = Moment(
        at=at, ended=ended, unsaid=unsaid, elapsed_alone=alone, judged=judged,
        open_by=float((after.high - after.low).mean()),
        bins_given=None if before is None else reliability_bins(right, before),
        bins=reliability_bins(right, after.probability),
    )  # fmt: skip
    return moment, calibrator


def _nested(cases: Cases, outcome: Bools, fold: Ints, method: str) -> Calibrated:
    """Combined and calibrated by the other folds alone: neither step has seen the case."""
    from viae.trust import Calibrated, cross_combined, fit_calibrator, fit_combiner, folds

    scores = cases.sign * cases.scores
    parts = np.empty((3, len(outcome)))
    for number in np.unique(fold):
        fit, rest = fold != number, fold == number
        inner = folds(outcome[fit], cases.unit[fit])
        said = cross_combined(scores[fit], outcome[fit], cases.sources, inner)
        calibrator = fit_calibrator(
            said, outcome[fit], cases.group[fit], cases.unit[fit], method=method
        )
        combiner = fit_combiner(scores[fit], outcome[fit], cases.sources)
        after = calibrator.apply(combiner.apply(scores[rest]), cases.group[rest])
        parts[:, rest] = after.probability, after.low, after.high
    return Calibrated(probability=parts[0], low=parts[1], high=parts[2])


def _judged(
    name: str,
    outcome: Bools,
    score: Floats,
    before: Floats | None,
    after: Calibrated,
    unit: npt.NDArray[Any],
    weight: float | None,
) -> Judged:
    from viae.trust import wilson

    few = len(outcome) < FEW
    given = None if few else measures(
        outcome, score if before is None else before, unit, is_probability=before is not None
    )  # fmt: skip
    return Judged(
        name=name,
        base_rate=wilson(int(outcome.sum()), len(outcome)),
        given=given,
        calibrated=None if few else measures(outcome, after.probability, unit),
        weight=weight,
    )


def _part(said: Calibrated, here: Bools) -> Calibrated:
    from viae.trust import Calibrated

    return Calibrated(probability=said.probability[here], low=said.low[here], high=said.high[here])


def alarms(
    cases: Cases, outcome: Bools, score: Floats, alpha: float, refused: list[str]
) -> tuple[list[Rule], list[RuleReport]]:
    """Thresholds fitted on all, and how such thresholds do on attempts left aside.

    Args:
        cases: R rows of N attempts.
        outcome: bool [N].
        score: float64 [R], speaks for success.
        alpha: the share of successes that alarms may disturb.
        refused: what could not be done is added, in sentences.
    """
    from viae.trust import RULES, fit_rule, folds, report_alarms

    fold = folds(outcome, cases.unit, count=ALARM_FOLDS)
    runs = cases.runs(score)
    clock = cases.runs(-cases.elapsed)
    kinds = [(kind, kind, runs) for kind in (RULES if cases.timed else ["constant"])]
    if cases.timed:
        kinds.append(("elapsed time alone", "constant", clock))
    rules, reports = [], []
    for label, kind, followed in kinds:
        at = np.full(len(outcome), np.inf)
        try:
            rule = fit_rule(kind, followed, outcome, cases.group, alpha=alpha)
            if followed is runs:
                rules.append(rule)
            for number in np.unique(fold):
                fit, rest = fold != number, fold == number
                aside = fit_rule(
                    kind, followed.part(fit), outcome[fit], cases.group[fit], alpha=alpha
                )
                at[rest] = aside.times(followed.part(rest), cases.group[rest])
        except UsageError as error:
            if followed is runs:
                measured = rules and rules[-1].kind == kind
                what = "measured on cases left aside" if measured else "set"
                refused.append(f"{kind} alarm thresholds were not {what}: {error}")
            continue
        reports.append(
            RuleReport(
                kind=label, own=sorted(rule.groups), measured=report_alarms(outcome, at, cases.unit)
            )
        )
    return rules, reports


def _notes(cases: Cases, moments: Sequence[Moment]) -> list[str]:
    notes = []
    first = moments[0].judged[0]
    if first.given and first.given.auroc.high < 0.5:
        notes.append(
            "the score ranks failures above successes; if it speaks for failure, say so with "
            "--score-means failure"
        )
    if first.given and first.given.ece is None:
        notes.append(
            "the scores are no probabilities (some lie outside 0 to 1): before calibration they "
            "have a ranking, but neither skill nor calibration"
        )
    little = [j for j in moments[0].judged if j.weight is not None and j.weight < 0.5]
    if little:
        shown = ", ".join(f"{j.name} ({j.base_rate.n} cases: {j.weight:.0%})" for j in little[:5])
        rest = f" and {len(little) - 5} more" if len(little) > 5 else ""
        notes.append(
            f"calibrated mostly like all others, for want of their own cases: {shown}{rest}"
        )
    if cases.timed and cases.horizon is not None:
        notes.append(f"the horizon is {cases.horizon:g} in the unit of the table's times")
    return notes
