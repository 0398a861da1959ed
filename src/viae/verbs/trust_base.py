"""Trust of a base model's attempts: three kinds of sources, compared, combined and calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from viae.errors import UsageError
from viae.verbs.trust_apply import Applied, apply_cases
from viae.verbs.trust_file import Fixed, TrustFile
from viae.verbs.trust_report import RuleReport
from viae.verbs.trust_saved import UNKNOWN, SavedTrust
from viae.verbs.trust_table import alarms
from viae.verbs.trust_watch import Bools, Floats, Watched

if TYPE_CHECKING:
    from viae.trust import Source, Unfamiliar
    from viae.trust.scorer import Scorer

FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Of the horizon: when the running estimate is renewed."""
LEAST_KNOWN = 20
"""Labelled attempts from which familiarity can be told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedTrust:
    """Trust, and how good it is.

    Args:
        saved: what judges.
        sources: each alone, and combined, on the labelled attempts at one time, each attempt by
            fits on others.
        held: the calibrated probabilities on the attempts left aside; thresholds on them are those
            that were calibrated on them, so `rules` and not these say what alarms do.
        rules: what alarms do, each on attempts that its threshold was not calibrated on.
        refused: what could not be done, in sentences.
    """

    saved: SavedTrust
    sources: list[Source]
    held: Applied
    rules: list[RuleReport]
    refused: list[str]

    def said(self, watched: Watched, steps: int) -> tuple[Bools, Floats]:
        """Outcomes and calibrated probabilities of attempts still going on after some steps.

        Args:
            watched: N attempts.
            steps: one of the fixed numbers.
        """
        watched = self.saved.aligned(watched)
        k = watched.steps.index(steps)
        cases = watched.labelled(k)
        [fixed] = [f for f in self.saved.file.fixed if f.at == steps / watched.horizon]
        scores = self.saved.scores(watched)[watched.going[:, k], k]
        return cases.outcome, fixed.calibrator.apply(scores, cases.tasks).probability


def fixed_steps(horizon: int, fractions: Sequence[float] = FRACTIONS) -> list[int]:
    """Numbers of steps at shares of the horizon."""
    return sorted({max(2, int(horizon * fraction)) for fraction in fractions})


def fit_trust(
    labelled: Watched, aside: Watched, *, bundle_id: str, at: int, alpha: float, path: Path
) -> FittedTrust:
    """Fit scorers and calibrators on labelled attempts, alarm thresholds on others.

    A scorer's calibrator is fitted on what scorers say of attempts that they were not fitted on.
    Thresholds are calibrated on attempts that nothing was fitted on: split conformal prediction,
    so that their rate of false alarms is guaranteed.

    Args:
        labelled: attempts with outcomes.
        aside: others, from other initial states.
        bundle_id: of the model that watched.
        at: number of steps at which sources are compared; one of the watched.
        alpha: the share of successes that alarms may disturb.
        path: what messages name.

    Raises:
        UsageError: too few labelled attempts of either outcome.
    """
    from viae.trust import compare_sources, cross_combined, fit_calibrator
    from viae.trust.scorer import fit_scorer

    at_least_one = np.flatnonzero(labelled.going.any(0))
    labelled, aside = labelled.at(at_least_one), aside.at(at_least_one)
    scorers: list[Scorer] = []
    sources: list[Source] = []
    fixed: list[Fixed] = []
    for k, steps in enumerate(labelled.steps):
        cases = labelled.labelled(k)
        scorer, scores, fold = fit_scorer(cases)
        scorers.append(scorer)
        if scorer.combiner is None:
            continue
        crossed = cross_combined(scores, cases.outcome, scorer.names, fold)
        curve = fit_calibrator(crossed, cases.outcome, cases.tasks, cases.units)
        fixed.append(Fixed(at=steps / labelled.horizon, calibrator=curve))
        if steps == at:
            sources = compare_sources(scores, cases.outcome, scorer.names, fold, cases.units)
    if not fixed:
        raise UsageError(
            f"{path}: of {len(labelled)} labelled attempts {int(labelled.outcome.sum())} "
            "succeeded; at no fixed time were there enough of either outcome to learn trust from: "
            "evaluate more, or a policy that both succeeds and fails"
        )
    file = TrustFile(
        sources=("success",), score_means="success", timed=True, horizon=float(labelled.horizon),
        combiner=None, fixed=tuple(fixed), rules=(),
    )  # fmt: skip
    bare = SavedTrust(
        bundle_id=bundle_id, horizon=labelled.horizon, scorers=tuple(scorers),
        familiar=_familiar(labelled, aside), file=file,
    )  # fmt: skip
    refused: list[str] = []
    apart = aside.cases(bare.scores(aside), path)
    rules, reports = alarms(apart, aside.outcome, apart.scores[:, 0], alpha, refused)
    saved = replace(bare, file=replace(file, rules=tuple(rules)))
    return FittedTrust(
        saved=saved, sources=sources, held=held(saved, aside, path), rules=reports, refused=refused
    )


def held(saved: SavedTrust, watched: Watched, path: Path) -> Applied:
    """Trust held against the outcomes of attempts; nothing is fitted.

    Args:
        saved: the trust.
        watched: attempts that it was not fitted on.
        path: what messages name.
    """
    watched = saved.aligned(watched)
    return apply_cases(watched.cases(saved.scores(watched), path), saved.file)


def _familiar(labelled: Watched, aside: Watched) -> dict[int, Unfamiliar]:
    """Tests of familiarity by number of steps, where there are attempts enough to calibrate one."""
    from viae.trust import cases_needed, fit_unfamiliar

    found = {}
    for k, steps in enumerate(labelled.steps):
        known, others = (each.embedding[each.going[:, k], k] for each in (labelled, aside))
        if len(known) >= LEAST_KNOWN and len(others) >= cases_needed(UNKNOWN):
            found[steps] = fit_unfamiliar(known, others)
    return found
