"""Attempts as numbers: a fixed number of decisions, whatever became of them."""

import numpy as np
import pytest

from builders import reaching_store, samples, write
from viae.errors import UsageError
from viae.store import Store
from viae.train import CloneRecipe, LoopConfig, train_clone
from viae.trust import Familiarity, describe_attempts


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return reaching_store(tmp_path_factory.mktemp("store"), episodes=6)


@pytest.fixture(scope="module")
def bundle(store, tmp_path_factory):
    recipe = CloneRecipe(
        width=8, depth=1, chunk=3, batch_size=8, loop=LoopConfig(steps=2, check_every=2)
    )
    return train_clone(store, store.episodes(), recipe, work=tmp_path_factory.mktemp("w"))


def shortened(store, folder, lengths):
    """The same episodes in another store, each cut to a length."""
    other = Store.create(folder)
    for episode, length in zip(store.episodes(), lengths, strict=False):
        read = store.samples([episode.episode_id], ["observation.state", "action"])
        blocks = [
            samples(s.spec, s.values[:length], s.arrival_ns[:length].tolist())
            for s in read.values()
        ]
        write(other, episode.episode_id, blocks, task=episode.task)
    return other


def test_they_depend_on_the_first_steps_only(store, bundle, tmp_path):
    familiarity = Familiarity(bundle, store)
    whole = describe_attempts(bundle, store, store.episodes(), steps=6, familiarity=familiarity)
    cut = shortened(store, tmp_path, [12, 11, 10, 9, 8, 7])
    part = describe_attempts(bundle, cut, cut.episodes(), steps=6, familiarity=familiarity)
    assert whole.features.shape == part.features.shape
    assert len(whole.features) == len(store.episodes())
    assert whole.features.tobytes() == part.features.tobytes()
    assert np.isfinite(whole.features).all()
    assert whole.ended == 0


def test_those_that_ended_are_left_out_and_counted(store, bundle, tmp_path):
    cut = shortened(store, tmp_path, [12, 6, 7, 2])
    familiarity = Familiarity(bundle, store)
    found = describe_attempts(bundle, cut, cut.episodes(), steps=6, familiarity=familiarity)
    assert [episode.episode_id for episode in found.episodes] == ["e0", "e2"]
    assert found.ended == 2
    with pytest.raises(UsageError, match="none of 4 attempts went on for more than 50 steps"):
        describe_attempts(bundle, cut, cut.episodes(), steps=50, familiarity=familiarity)


def test_familiarity_needs_the_store_it_was_trained_from(bundle, tmp_path):
    other = reaching_store(tmp_path, episodes=0)
    for name in range(20):  # as many versions as the snapshot names
        write(other, f"x{name}")
    with pytest.raises(UsageError, match="does not hold the episodes that bundle"):
        Familiarity(bundle, other)


def test_a_policy_of_single_actions_can_be_judged(store, tmp_path):
    recipe = CloneRecipe(
        width=8, depth=1, chunk=1, batch_size=8, loop=LoopConfig(steps=2, check_every=2)
    )
    bundle = train_clone(store, store.episodes(), recipe, work=tmp_path)
    found = describe_attempts(
        bundle, store, store.episodes(), steps=6, familiarity=Familiarity(bundle, store)
    )
    assert np.isfinite(found.features).all()
