"""One score for attempts at one elapsed time: a probe, what needs no labels, and the task.

Shapes: N attempts, P features, S sources that need no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.combine import Combiner, fit_combiner
from viae.trust.folds import Ints, folds
from viae.trust.measures import Bools, Floats

if TYPE_CHECKING:
    from viae.trust.probe import Probe

PROBE, TASK = "probe", "task"
LEAST = 4
"""Initial states with the rarer outcome below which attempts are judged by how many succeed."""
PRIOR = 4.0
"""Attempts that the success rate of all tasks together counts for in that of each."""

Names = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """The probability that attempts succeed which are still going on after some steps.

    Sources are combined by logistic regression: the probe, those that need no labels, and the
    success rate of the task. Raw: to be calibrated.

    Args:
        steps: after how many.
        sources: the S names of those that need no labels.
        rates: log odds of success by task, shrunk towards that of all; ``""`` is all.
        probe: None where too few attempts had the rarer outcome.
        combiner: likewise; then the rate of all tasks together is all there is to say.
    """

    steps: int
    sources: tuple[str, ...]
    rates: Mapping[str, float]
    probe: Probe | None
    combiner: Combiner | None

    @property
    def names(self) -> tuple[str, ...]:
        """All S + 2 sources, in the order of `scores`."""
        return (PROBE, *self.sources, TASK)

    def scores(self, features: Floats, given: Floats, tasks: Names) -> Floats:
        """What each source says: float64 [N, S + 2]; higher speaks for success.

        A task that the probe was not fitted on is judged by what needs no task.

        Args:
            features: float64 [N, P].
            given: float64 [N, S].
            tasks: [N], strings.
        """
        rate = np.array([self.rates.get(str(task), self.rates[""]) for task in tasks])
        probe = np.full(len(tasks), self.rates[""])
        if self.probe is not None:
            known = np.isin(tasks, self.probe.tasks)
            if known.any():
                p = self.probe.probability(features[known], tasks[known])
                probe[known] = _odds(p)
        return np.column_stack([probe, given, rate])

    def apply(self, features: Floats, given: Floats, tasks: Names) -> Floats:
        """Probability of success, raw: float64 [N]; arguments as of `scores`."""
        if self.combiner is None:
            return np.full(len(tasks), 1 / (1 + np.exp(-self.rates[""])))
        return self.combiner.apply(self.scores(features, given, tasks))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; the probe apart."""
        return {
            "steps": self.steps, "sources": list(self.sources), "rates": dict(self.rates),
            "probe": self.probe is not None,
            "combiner": self.combiner.to_json() if self.combiner else None,
        }  # fmt: skip

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], probe: Probe | None) -> Scorer:
        """The inverse of `to_json`."""
        return cls(
            steps=int(plain["steps"]), sources=tuple(plain["sources"]), rates=dict(plain["rates"]),
            probe=probe,
            combiner=Combiner.from_json(plain["combiner"]) if plain["combiner"] else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Attempts whose outcome is known, still going on after some steps.

    Args:
        steps: after how many.
        sources: S names.
        features: float64 [N, P].
        given: float64 [N, S].
        outcome: bool [N].
        tasks: [N], strings.
        units: [N], equal for attempts that depend on each other: from one initial state.
    """

    steps: int
    sources: tuple[str, ...]
    features: Floats
    given: Floats
    outcome: Bools
    tasks: Names
    units: Names

    def part(self, chosen: Bools) -> Labelled:
        """Some of them."""
        return Labelled(
            steps=self.steps, sources=self.sources, features=self.features[chosen],
            given=self.given[chosen], outcome=self.outcome[chosen], tasks=self.tasks[chosen],
            units=self.units[chosen],
        )  # fmt: skip

    @property
    def rarer(self) -> int:
        """Initial states with the rarer outcome."""
        right, wrong = (np.unique(self.units[self.outcome == value]) for value in (True, False))
        return min(len(right), len(wrong))


def fit_scorer(cases: Labelled) -> tuple[Scorer, Floats, Ints]:
    """Fit; the combination on what probes say of attempts that they were not fitted on.

    Args:
        cases: N attempts.

    Returns:
        The scorer; what each source says of each attempt by a fit on other folds, float64
        [N, S + 2]; and the folds, int64 [N]. Where there were too few of either outcome there is
        one fold, and only rates are said.

    Raises:
        UsageError: no attempts.
    """
    from viae.trust.probe import fit_probe

    if not len(cases.outcome):
        raise UsageError(f"no attempt went on for more than {cases.steps} steps")
    rates = _rates(cases)
    bare = Scorer(
        steps=cases.steps, sources=cases.sources, rates=rates, probe=None, combiner=None
    )  # fmt: skip
    if cases.rarer < LEAST:
        scores = bare.scores(cases.features, cases.given, cases.tasks)
        return bare, scores, np.zeros(len(cases.outcome), np.int64)
    fold = folds(cases.outcome, cases.units)
    scores = _cross_sources(cases, fold)
    probe = fit_probe(cases.features, cases.outcome, cases.tasks, cases.units, steps=cases.steps)
    combiner = fit_combiner(scores, cases.outcome, bare.names)
    return replace(bare, probe=probe, combiner=combiner), scores, fold


def _cross_sources(cases: Labelled, fold: Ints) -> Floats:
    """What each source says, by a probe and rates that were fitted on other folds: [N, S + 2].

    Args:
        cases: N attempts.
        fold: int64 [N], of `viae.trust.folds.folds`.
    """
    from viae.trust.probe import fit_probe

    out = np.empty((len(cases.outcome), len(cases.sources) + 2))
    for number in np.unique(fold):
        fit, rest = cases.part(fold != number), cases.part(fold == number)
        probe = None
        if fit.rarer >= 2:
            probe = fit_probe(fit.features, fit.outcome, fit.tasks, fit.units, steps=fit.steps)
        part = Scorer(
            steps=fit.steps, sources=fit.sources, rates=_rates(fit), probe=probe, combiner=None
        )
        out[fold == number] = part.scores(rest.features, rest.given, rest.tasks)
    return out


def _rates(cases: Labelled) -> dict[str, float]:
    every = (cases.outcome.sum() + 0.5) / (len(cases.outcome) + 1)
    found = {"": float(_odds(every))}
    for task in np.unique(cases.tasks).tolist():
        own = cases.outcome[cases.tasks == task]
        found[task] = float(_odds((own.sum() + PRIOR * every) / (len(own) + PRIOR)))
    return found


def _odds(p: Any) -> Any:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p) - np.log1p(-p)
