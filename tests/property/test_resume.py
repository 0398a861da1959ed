"""Training that was interrupted ends as if it had not been: bit for bit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from builders import reaching_store
from viae.train import CloneRecipe, LoopConfig, fit, train_clone

LOOP = LoopConfig(steps=12, check_every=3, warmup=4, patience=0, seed=3)
RECIPE = CloneRecipe(width=8, depth=1, chunk=3, batch_size=8, held_out_share=0.25, loop=LOOP)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return reaching_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def bundle(store, tmp_path_factory):
    return train(store, tmp_path_factory.mktemp("work"))


def train(store, work, recipe=RECIPE, at=None):
    """Train; killed at the checkpoint after ``at`` updates."""

    def progress(point):
        if point.step == at:
            raise KilledError

    return train_clone(store, store.episodes(), recipe, work=work, progress=progress)


def weights(bundle):
    return {k: v.numpy().tobytes() for k, v in bundle.model.state_dict().items()}


@pytest.mark.parametrize("at", [3, 6, 9, 12])
def test_interrupted_at_a_checkpoint(store, bundle, tmp_path, at):
    with pytest.raises(KilledError):
        train(store, tmp_path, at=at)
    torch.manual_seed(99)  # a new process has other random numbers
    resumed = train(store, tmp_path)
    assert weights(resumed) == weights(bundle)
    assert resumed.bundle_id == bundle.bundle_id
    assert resumed.provenance.metrics == bundle.provenance.metrics
    assert list(tmp_path.iterdir()) == []


def test_interrupted_at_every_checkpoint_in_turn(store, bundle, tmp_path):
    for at in (3, 6, 9, 12):
        with pytest.raises(KilledError):
            train(store, tmp_path, at=at)
    assert weights(train(store, tmp_path)) == weights(bundle)


def test_the_same_arguments_give_the_same_weights(store, bundle, tmp_path):
    assert train(store, tmp_path).bundle_id == bundle.bundle_id


def test_a_checkpoint_of_something_else_is_ignored(store, bundle, tmp_path):
    other = replace(RECIPE, loop=replace(LOOP, seed=4))
    with pytest.raises(KilledError):
        train(store, tmp_path, other, at=6)
    assert weights(train(store, tmp_path)) == weights(bundle)


class Number(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([5.0]))


@pytest.mark.parametrize("at", range(2, 16, 2))
def test_early_stopping_is_resumed_too(tmp_path, at):
    """The held-out loss falls until x passes 3 and rises from there."""
    config = LoopConfig(steps=40, check_every=2, warmup=1, lr=0.3, ema=0.1, patience=3)

    def descend(checkpoint, at=None):
        def progress(point):
            if point.step == at:
                raise KilledError

        model = Number()
        curve = fit(
            model, lambda m, step: (m.x**2).sum(), lambda m: abs(m.x.item() - 3), config,
            checkpoint=checkpoint, identity="i", progress=progress,
        )  # fmt: skip
        return model.x.item(), curve

    whole, curve = descend(tmp_path / "whole")
    assert at <= curve[-1].step < config.steps
    with pytest.raises(KilledError):
        descend(tmp_path / "cut", at)
    assert descend(tmp_path / "cut") == (whole, curve)


def test_another_seed_gives_other_weights(store, bundle, tmp_path):
    other = train(store, tmp_path, replace(RECIPE, loop=replace(LOOP, seed=4)))
    assert weights(other) != weights(bundle)
