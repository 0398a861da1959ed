"""Tiny base models of a point, trained here, and a store with two of its episodes."""

import numpy as np
import pytest
import torch
from foresee_system import STEP_NS, STEPS, columns, made

from builders import write
from viae.model import BaseBundle, BaseConfig, BaseModel, Provenance
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import Samples
from viae.store import Store
from viae.train.base import BaseRecipe, Draws, Objective, losses
from viae.train.loop import LoopConfig, fit
from viae.train.usual import begin_usual


def trained(episodes, recipe: BaseRecipe, folder) -> BaseBundle:
    torch.set_num_threads(1)
    vocabulary = Vocabulary.fit(episodes, chunk=recipe.chunk, bins=recipe.bins)
    mixed = vocabulary.mixed
    torch.manual_seed(0)
    model = BaseModel(
        BaseConfig(
            features=vocabulary.features, stream_of=vocabulary.stream_of, slots=vocabulary.slots,
            width=recipe.width, depth=recipe.depth, heads=recipe.heads, longest=recipe.length + 1,
            depth_width=recipe.depth_width, depth_layers=recipe.depth_layers,
            mixed=tuple((group, 8 if group < len(vocabulary.types) else 1) for group in mixed),
        )
    )  # fmt: skip
    encoded = [vocabulary.encode(events) for events in episodes]
    begin_usual(model, vocabulary, encoded)
    draws = Draws(encoded, ["t"] * len(episodes), vocabulary, recipe)
    loss = losses(draws, Objective(vocabulary, recipe), recipe)
    fit(model, loss, None, recipe.loop, checkpoint=folder / "checkpoint", identity="test")
    provenance = Provenance(
        store="", snapshot={}, episodes={}, initial_states=(), training={}, metrics={}
    )
    return BaseBundle(
        model=model.eval(), vocabulary=vocabulary, length=recipe.length, provenance=provenance
    )


@pytest.fixture(scope="session")
def episodes():
    return [made(seed) for seed in range(300)]


@pytest.fixture(scope="session")
def bundle(episodes, tmp_path_factory) -> BaseBundle:
    """Trained for some seconds: enough to be near the truth."""
    recipe = BaseRecipe(
        chunk=2, bins=24, length=24, batch_size=8, hide_actions=0.0, width=48, depth=2, heads=4,
        depth_width=48, depth_layers=1, dropout=0.0, bf16=False, balance=0.0, acting=1.0,
        share={"": 1.0, "next/action": 0.03, "outcome": 0.1},
        loop=LoopConfig(steps=1200, lr=5e-3, warmup=50, check_every=1200, ema=0.98),
    )  # fmt: skip
    return trained(episodes, recipe, tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="session")
def raw_bundle(episodes, tmp_path_factory) -> BaseBundle:
    """Hardly trained: for what must hold whatever the weights; its windows are short."""
    recipe = BaseRecipe(
        chunk=2, bins=24, length=11, batch_size=4, width=16, depth=2, heads=2, depth_width=16,
        depth_layers=2, bf16=False, loop=LoopConfig(steps=2, check_every=2, lr=1e-2),
    )  # fmt: skip
    return trained(episodes[:20], recipe, tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="session")
def point_store(tmp_path_factory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("point") / "store")
    for seed in (1000, 1001):
        blocks = [
            Samples(
                spec=c.spec, capture_ns=c.capture_ns, arrival_ns=c.arrival_ns,
                seq=np.arange(len(c.arrival_ns)), values=c.values,
            )
            for c in columns(seed)
        ]  # fmt: skip
        good = bool(columns(seed)[2].values[0, 0] > 0)
        write(store, f"e{seed}", blocks, outcome=good, robot="point", start_ns=0,
              end_ns=STEP_NS * (STEPS + 1))  # fmt: skip
    return store
