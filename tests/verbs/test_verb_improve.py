"""Improve: rounds that go on where they were, of one plan a store."""

import sys
from concurrent.futures import Executor
from dataclasses import replace

import pytest

from viae.errors import StoreError, UsageError
from viae.verbs.improve import ImprovePlan, improve


def test_each_round_is_shown_what_was_selected(improved):
    first, second = improved.rounds
    assert first.demonstrations == {"button-press": 2, "drawer-open": 2}
    assert sum(line.demonstrations for line in first.queue) == 3
    for line in first.queue:
        assert second.demonstrations[line.task] == 2 + line.demonstrations
        assert line.reason
    assert second.queue == []
    assert first.evaluation.outcomes.keys() == second.evaluation.outcomes.keys()


def test_again_it_does_nothing_and_says_the_same(improved_copy, inline: Executor):
    store = improved_copy.store
    before = store.snapshot().versions
    again = improve(improved_copy.plan, store, improved_copy.work, inline)
    assert again == improved_copy.rounds
    after = store.snapshot().versions
    assert {name for name in before if before[name] != after[name]} <= {"runs"}  # trust's


def test_cut_short_after_any_phase_it_ends_the_same(improved, tmp_path, inline: Executor):
    """A fresh run, stopped once at the beginning of every phase of every round."""
    from viae import Store

    class Killed(BaseException):
        pass

    store = Store.create(tmp_path / "store")
    seen: set[tuple[str, int]] = set()
    rounds = None
    while rounds is None:
        number = 0

        def tell(moment) -> None:
            nonlocal number
            number += moment.phase == "round"
            if moment.done == 0 and (moment.phase, number) not in seen:
                seen.add((moment.phase, number))
                raise Killed

        try:
            rounds = improve(improved.plan, store, tmp_path, inline, tell=tell)
        except Killed:
            assert len(seen) < 30
    assert {phase for phase, _ in seen} >= {"round", "record", "ingest", "train", "evaluate"}
    assert [r.demonstrations for r in rounds] == [r.demonstrations for r in improved.rounds]
    assert [r.queue for r in rounds] == [r.queue for r in improved.rounds]
    assert [r.evaluation.outcomes for r in rounds] == [
        r.evaluation.outcomes for r in improved.rounds
    ]


def test_another_plan_on_the_same_store_is_refused(improved_copy, inline: Executor):
    plan = replace(improved_copy.plan, budget=4, attempts=5)
    before = improved_copy.store.snapshot()
    with pytest.raises(StoreError) as caught:
        improve(plan, improved_copy.store, improved_copy.work, inline)
    assert str(caught.value) == (
        f"{improved_copy.store.uri}: this store belongs to another improvement, whose attempts, "
        "budget differ. Repeat that one's options to go on with it, or take a new --store"
    )
    assert improved_copy.store.snapshot() == before


def test_trust_that_cannot_be_learnt_does_not_spoil_the_rest(
    improved_copy, inline: Executor, monkeypatch
):
    """Where all attempts end alike there is nothing to learn it from."""

    def too_few(*args, **options):
        raise UsageError("too few")

    monkeypatch.setattr(sys.modules["viae.verbs.improve"], "trust", too_few)
    moments = []
    rounds = improve(
        improved_copy.plan, improved_copy.store, improved_copy.work, inline, tell=moments.append
    )
    assert rounds == improved_copy.rounds
    assert "too few" in [moment.note for moment in moments if moment.phase == "trust"]


@pytest.mark.parametrize("wrong", [{"tasks": ()}, {"demonstrations": 0}, {"attempts": 0}])
def test_a_plan_that_makes_no_sense(improved, wrong):
    fields = {name: getattr(improved.plan, name) for name in ImprovePlan.__dataclass_fields__}
    with pytest.raises(UsageError):
        ImprovePlan(**fields | wrong)
