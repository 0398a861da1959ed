"""Stacking: sources that know different things are better together; nobody judges himself."""

import numpy as np
import pytest

from viae.errors import UsageError
from viae.trust import Combiner, compare_sources, cross_combined, fit_combiner, folds

NAMES = ("token", "probe", "spread")


def sources(n=400, seed=0):
    """Two sources that each see half of what matters, and one that sees nothing."""
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, n))
    outcome = rng.random(n) < 1 / (1 + np.exp(-2 * (a + b)))
    return np.stack([a, 100 * b, noise], 1), outcome


def test_together_they_beat_each_alone():
    scores, outcome = sources()
    units = np.arange(400)
    rows = {
        s.name: s for s in compare_sources(scores, outcome, NAMES, folds(outcome, units), units)
    }
    assert list(rows) == [*NAMES, "combined"]
    best = max(rows[name].auroc.value for name in NAMES)
    assert rows["combined"].auroc.value > best + 0.05
    assert rows["combined"].brier_skill.value > rows["token"].brier_skill.value
    assert abs(rows["spread"].auroc.value - 0.5) < 0.1


def test_no_case_is_combined_by_itself():
    scores, outcome = sources(100)
    fold = folds(outcome, np.arange(100))
    said = cross_combined(scores, outcome, NAMES, fold)
    here = fold == 0
    after = cross_combined(scores, np.where(here, ~outcome, outcome), NAMES, fold)
    np.testing.assert_array_equal(after[here], said[here])
    assert (after[~here] != said[~here]).any()


def test_written_and_read_it_says_the_same():
    scores, outcome = sources(100)
    combiner = fit_combiner(scores, outcome, NAMES)
    again = Combiner.from_json(combiner.to_json())
    np.testing.assert_array_equal(again.apply(scores), combiner.apply(scores))


def test_what_cannot_be_combined_is_refused():
    scores, outcome = sources(20)
    with pytest.raises(UsageError, match="do not fit"):
        fit_combiner(scores, outcome, NAMES[:2])
    with pytest.raises(UsageError, match="outcomes are alike"):
        fit_combiner(scores, np.zeros(20, bool), NAMES)
    scores[3, 1] = np.nan
    with pytest.raises(UsageError, match="source 'probe' holds a score that is no number"):
        fit_combiner(scores, outcome, NAMES)
