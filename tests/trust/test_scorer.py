"""Scorers: several sources as one score, none judged by what it was fitted on."""

import json

import numpy as np
import pytest

from viae.errors import UsageError
from viae.trust import auroc, cross_combined
from viae.trust.scorer import Labelled, Scorer, fit_scorer


def toy(n=120, seed=0, *, tells=1.0):
    """Task b succeeds more often; a feature and a source tell of the rest."""
    rng = np.random.default_rng(seed)
    tasks = rng.choice(["a", "b"], n)
    hidden = rng.normal(size=n)
    outcome = hidden + (tasks == "b") > 0.3
    features = rng.normal(size=(n, 6))
    features[:, 0] += 2 * tells * hidden
    given = (tells * hidden + rng.normal(size=n))[:, None]
    return Labelled(
        steps=7, sources=("surprise",), features=features, given=given, outcome=outcome,
        tasks=tasks, units=np.arange(n).astype(str),
    )  # fmt: skip


def test_sources_are_combined():
    (scorer, _, _), new = fit_scorer(toy()), toy(400, seed=1)
    assert scorer.names == ("probe", "surprise", "task")
    scores = scorer.scores(new.features, new.given, new.tasks)
    alone = [auroc(new.outcome, score) for score in scores.T]
    together = auroc(new.outcome, scorer.apply(new.features, new.given, new.tasks))
    assert together > max(alone) - 0.01 > 0.75


def test_it_comes_back():
    (scorer, _, _), new = fit_scorer(toy()), toy(20, seed=1)
    again = Scorer.from_json(json.loads(json.dumps(scorer.to_json())), scorer.probe)
    said = [each.apply(new.features, new.given, new.tasks) for each in (scorer, again)]
    np.testing.assert_array_equal(*said)


def test_nothing_is_judged_by_itself():
    """Labels that nothing tells stay untold, although every fit could learn them by heart."""
    cases = toy(200, tells=0.0)
    rng = np.random.default_rng(5)
    cases = Labelled(
        **{name: getattr(cases, name) for name in cases.__dataclass_fields__ if name != "outcome"},
        outcome=rng.random(200) < 0.5,
    )  # fmt: skip
    scorer, scores, fold = fit_scorer(cases)
    said = cross_combined(scores, cases.outcome, scorer.names, fold)
    assert abs(auroc(cases.outcome, said) - 0.5) < 0.13
    for score in scores.T:
        assert abs(auroc(cases.outcome, score) - 0.5) < 0.15


def test_too_few_of_either_outcome_are_judged_by_the_rate():
    cases = toy()
    few = cases.part(cases.outcome | (np.cumsum(~cases.outcome) <= 2))
    scorer, _, _ = fit_scorer(few)
    assert scorer.combiner is None
    said = scorer.apply(few.features, few.given, few.tasks)
    assert len(np.unique(said)) == 1
    assert said[0] == pytest.approx((few.outcome.sum() + 0.5) / (len(few.outcome) + 1))
    with pytest.raises(UsageError, match="went on for more than 7 steps"):
        fit_scorer(cases.part(np.zeros(len(cases.outcome), np.bool_)))


def test_a_task_without_labels_is_judged_by_what_needs_no_task():
    (scorer, _, _), new = fit_scorer(toy()), toy(20, seed=1)
    strange = np.full(20, "never seen")
    scores = scorer.scores(new.features, new.given, strange)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores[:, 0])) == len(np.unique(scores[:, 2])) == 1
    assert auroc(new.outcome, scorer.apply(new.features, new.given, strange)) > 0.6
