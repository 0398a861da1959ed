"""foresee on the command line."""

import json

import numpy as np
import pytest

from builders import ACTION, STATE, samples, write
from viae import Store
from viae.train.base import BaseRecipe, Source, train_base
from viae.train.loop import LoopConfig


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A store, and a base model of it that knows at least who speaks when."""
    import torch

    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("foresee")
    store = Store.create(work / "store")
    times = range(10**8, 13 * 10**8, 10**8)
    for number in range(4):
        rng = np.random.default_rng(number)
        blocks = [
            samples(STATE, rng.normal(0, 1, (12, 2)), times),
            samples(ACTION, rng.normal(0, 1, (12, 2)), times),
        ]
        write(store, f"e{number}", blocks, task="reach", outcome=True, end_ns=12 * 10**8)
    recipe = BaseRecipe(
        length=12, batch_size=4, chunk=2, bins=16, width=16, depth=1, heads=2, depth_width=16,
        depth_layers=1, bf16=False,
        loop=LoopConfig(steps=60, check_every=60, warmup=5, lr=1e-2, ema=0.9),
    )  # fmt: skip
    source = Source(store=store, episodes=tuple(store.episodes()))
    train_base([source], recipe, work=work / "w").save(work / "bundle")
    return work / "bundle", store


def test_foresee(viae, asked, tmp_path):
    bundle, store = asked
    page = tmp_path / "deep" / "foreseen.html"
    words = ("foresee", bundle, store.uri, "--at", "e1@0.5s", "--horizon", 3, "-n", 4)
    said = viae(*words, "--json", "--out", page)
    assert said.code == 0, said.err
    card = json.loads(said.out)
    assert set(card) >= {"n", "seed", "temperature", "blame", "streams", "ended", "log_p"}
    assert (card["n"], card["by"], len(card["log_p"])) == (4, "action", 4)
    assert "<svg" in page.read_text()
    assert "in training, so the model cannot say how else" in page.read_text()
    again = viae(*words)
    assert again.code == 0
    assert "4 futures ended" in again.out
    assert "is not judged" in again.err
    plan = tmp_path / "plan.npy"
    np.save(plan, np.zeros((3, 2), np.float32))
    assert viae(*words, "--actions", plan, "--json").code == 0
    assert viae(*words, "--actions", "own", "--json").code == 0


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--at", "e1"), "is no moment"),
        (("--at", "e1@99s"), "outside of it"),
        (("--at", "e1@0.5s", "--horizon", "99"), "fewer than the horizon"),
        (("--at", "e1@0.5s", "--actions", "none.npy"), "no actions can be read"),
    ],
)
def test_refusals(viae, asked, more, text):
    bundle, store = asked
    said = viae("foresee", bundle, store.uri, *more)
    assert said.code != 0
    assert text in said.err
