"""Evaluate: on states that nobody was trained on, the same for all, kept as facts."""

from concurrent.futures import Executor

import pytest

from viae import Bundle, Fact, LoopConfig
from viae.errors import BundleError, UsageError
from viae.verbs.evaluate import Evaluation, evaluate


@pytest.fixture
def again(improved_copy, inline: Executor):
    """Evaluate some of the rounds' bundles."""

    def call(*rounds: int, **options) -> list[Evaluation]:
        return evaluate(
            [improved_copy.work / "bundles" / f"round-{number}" for number in rounds],
            improved_copy.store, improved_copy.work / "logs" / "rollouts", inline,
            **{"world": "metaworld", "n": 2, "horizon": 100} | options,
        )  # fmt: skip

    return call


def test_bundles_are_tried_on_the_same_states(again):
    first, second = again(0, 1, n=4)
    assert first.outcomes.keys() == second.outcomes.keys()
    assert len(first.outcomes) == 8
    assert second.against(first).n == 8


def test_no_state_was_trained_on(again, improved_copy):
    """Even if the seeds asked for begin where the demonstrations did."""
    trained_on = set()
    for number in (0, 1):
        bundle = Bundle.load(improved_copy.work / "bundles" / f"round-{number}")
        trained_on |= set(bundle.provenance.initial_states)
    assert '["metaworld", "drawer-open", 0]' in trained_on
    for result in again(0, 1, first_seed=0):
        assert {str(state) for state in result.outcomes}.isdisjoint(trained_on)


def test_outcomes_are_facts(again, improved_copy):
    [result] = again(0, first_seed=2_000_000)
    members = {fact.episode_id for fact in improved_copy.store.facts(key=result.run_id)}
    said = {
        fact.episode_id: (fact.value, fact.author)
        for fact in improved_copy.store.facts(key="outcome")
    }
    episodes = [e for e in improved_copy.store.episodes() if e.episode_id in members]
    assert len(episodes) == 4
    for episode in episodes:
        assert episode.agent == f"bundle:{result.bundle_id}"
        assert said[episode.episode_id] == (episode.outcome, "viae evaluate")
    [run] = [run for run in improved_copy.store.runs("evaluate") if run["run_id"] == result.run_id]
    assert run["metrics"] == result.to_json()


def test_again_adds_nothing(again, improved_copy):
    first = again(0, 1)
    before = improved_copy.store.snapshot()
    assert again(0, 1) == first
    assert improved_copy.store.snapshot() == before


def test_a_rate_has_n_and_an_interval(again):
    [result] = again(0)
    for rate in (result.overall, *result.by_task().values()):
        assert rate.low <= rate.mean <= rate.high
        assert rate.high > rate.low
        assert f"n={rate.n}" in str(rate)


def test_nothing_to_evaluate(again):
    with pytest.raises(UsageError):
        again()
    with pytest.raises(UsageError):
        again(0, n=0)


def test_a_task_that_the_bundle_does_not_know(again, improved_copy):
    with pytest.raises(BundleError, match="push"):
        again(0, tasks=["push"])
    assert "push" not in {episode.task for episode in improved_copy.store.episodes()}


def test_an_outcome_that_nobody_knows_is_no_failure(again, improved_copy):
    store = improved_copy.store
    rollout = next(e for e in store.episodes() if e.agent.startswith("bundle:"))
    store.add_facts(
        [
            Fact(episode_id=e.episode_id, key="outcome", value=None, author="me", time_ns=2**62)
            for e in store.episodes()
            if e.agent == rollout.agent
        ]
    )
    with pytest.raises(UsageError, match="says nothing of its outcome: add a fact 'outcome'"):
        again(0, 1, n=4)


def test_a_base_model_is_tried_as_policies_are(improved_copy, inline, tmp_path):
    from viae.train.base import BaseRecipe
    from viae.verbs.base import train_base

    recipe = BaseRecipe(
        chunk=2, bins=16, length=8, batch_size=2, moments=4, width=16, depth=1, heads=2,
        depth_width=16, depth_layers=1, bf16=False, held_out_share=0.0,
        loop=LoopConfig(steps=2, check_every=2, warmup=1),
    )  # fmt: skip
    store, base = improved_copy.store, tmp_path / "base"
    train_base([store], base, recipe)
    clone = improved_copy.work / "bundles" / "round-0"
    rest = {"world": "metaworld", "n": 1, "horizon": 5}
    with pytest.raises(UsageError, match="has no list of tasks; name some with --task"):
        evaluate([base], store, tmp_path, inline, **rest)
    tasks = Bundle.load(clone).tasks[:1]
    ours, other = evaluate([base, clone], store, tmp_path, inline, tasks=tasks, **rest)
    assert ours.outcomes.keys() == other.outcomes.keys()
    assert len(ours.outcomes) == 1
