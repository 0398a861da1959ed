"""Train: on what was chosen, at a snapshot, to a bundle that knows where it comes from."""

from pathlib import Path

import pytest
import torch

from viae import Bundle, CloneRecipe, LoopConfig
from viae.errors import QueryError, UsageError
from viae.verbs.train import train

RECIPE = CloneRecipe(loop=LoopConfig(steps=20, check_every=5))


class Killed(BaseException):
    pass


def test_where_chooses_what_is_learnt_from(improved_copy, tmp_path: Path):
    store = improved_copy.store
    where = "task = 'drawer-open' AND starts_with(agent, 'bundle:')"
    bundle = train(store, tmp_path / "b", RECIPE, where=where)
    assert bundle.tasks == ("drawer-open",)
    seen = {i for ids in bundle.provenance.episodes.values() for i in ids}
    assert seen == {
        e.episode_id
        for e in store.episodes()
        if e.task == "drawer-open" and e.agent.startswith("bundle:")
    }


def test_by_default_rollouts_and_failures_are_left_out(improved):
    episodes = {e.episode_id: e for e in improved.store.episodes()}
    for number in (0, 1):
        bundle = Bundle.load(improved.work / "bundles" / f"round-{number}")
        seen = [episodes[i] for ids in bundle.provenance.episodes.values() for i in ids]
        assert all(e.agent.startswith("scripted:") and e.outcome for e in seen)
        states = {tuple(e.conditions[k] for k in ("world", "seed")) for e in seen}
        assert len(bundle.provenance.initial_states) >= len(states)


def test_the_run_is_noted(improved):
    runs = {run["bundle"]: run for run in improved.store.runs("train")}
    for number, round_ in enumerate(improved.rounds):
        bundle = Bundle.load(improved.work / "bundles" / f"round-{number}")
        run = runs[bundle.bundle_id]
        assert run["metrics"]["demonstrations"] == round_.demonstrations
        assert run["config"]["recipe"] == improved.plan.recipe.to_json()


@pytest.mark.parametrize("moment", range(6))
def test_interrupted_at_any_point_it_ends_with_the_same_weights(
    improved_copy, tmp_path: Path, moment: int
):
    """Even if the store has grown since: the snapshot was noted at the start."""
    store = improved_copy.store
    expected = train(store, tmp_path / "there", RECIPE).model.state_dict()
    moments = 0

    def interrupt(_) -> None:
        nonlocal moments
        moments += 1
        if moments > moment:
            raise Killed

    try:
        train(store, tmp_path / "here", RECIPE, tell=interrupt)
    except Killed:
        assert not (tmp_path / "here").exists()
    store.add_run(run_id="other", kind="other", config={}, metrics={}, time_ns=0)
    resumed = train(store, tmp_path / "here", RECIPE)
    assert [path.name for path in tmp_path.glob("here*")] == ["here"]
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_killed_before_the_bundle_appears(improved_copy, tmp_path: Path, monkeypatch):
    """The run is noted first: there is never a bundle that the store knows nothing of."""
    store = improved_copy.store

    def killed(self: Bundle, folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "save", killed)
        with pytest.raises(Killed):
            train(store, tmp_path / "b", RECIPE)
    bundle = train(store, tmp_path / "b", RECIPE)
    [run] = [run for run in store.runs("train") if run["config"]["recipe"] == RECIPE.to_json()]
    assert run["bundle"] == bundle.bundle_id


def test_a_condition_that_is_no_sql(improved, tmp_path: Path):
    with pytest.raises(QueryError, match="nope"):
        train(improved.store, tmp_path / "b", RECIPE, where="nope(")


def test_a_condition_that_nothing_meets(improved, tmp_path: Path):
    with pytest.raises(UsageError, match="no episodes to learn from"):
        train(improved.store, tmp_path / "b", RECIPE, where="task = 'nope'")
