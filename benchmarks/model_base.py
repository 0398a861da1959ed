"""The base models that the figures of ``model.py`` are about, and what they are trained on.

Each seed has its own 25 demonstrations of each of six tasks. A model is trained once, on one core,
for at most 20 minutes, and kept in the working folder.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from viae.store import Store
from viae.train.base import BaseRecipe
from viae.verbs.base import train_base
from viae.verbs.record import record
from viae.verbs.rollouts import workers

WORLD = "metaworld"
TASKS = ("push", "pick-place", "peg-insert-side", "basketball", "button-press", "drawer-open")
DEMONSTRATIONS = 25
SEEDS = (0, 1, 2)
STEPS = 6000
FEW, FEW_STEPS, FEW_WINDOWS = 6, 2000, 4
"""Demonstrations of each task that make a weak model; its updates, and windows of each."""
OWN = "NOT starts_with(agent, 'bundle:')"


def recipe(seed: int, steps: int = STEPS, windows: int = 8) -> BaseRecipe:
    """The recipe of all figures: viae's own, with nothing held out."""
    own = BaseRecipe(held_out_share=0.0, batch_size=windows)
    loop = replace(own.loop, steps=steps, check_every=min(1000, steps), seed=seed, patience=0)
    return replace(own, loop=loop)


def demonstrated(work: Path, seed: int, executor: Executor) -> Store:
    """Demonstrations of the six tasks by scripted experts; what is there is kept."""
    store = Store.create(work / f"seed-{seed}" / "store")
    record(
        WORLD, dict.fromkeys(TASKS, DEMONSTRATIONS), store,
        work / f"seed-{seed}" / "demonstrations", executor, first_seed=1000 * seed,
    )  # fmt: skip
    return store


def base(work: Path, seed: int) -> Path:
    """The bundle of a seed, trained where there is none.

    Args:
        work: folder that the figures share.
        seed: of demonstrations and training.
    """
    out = work / f"seed-{seed}" / "base"
    with workers(1) as executor:
        store = demonstrated(work, seed, executor)
    train_base([store], out, recipe(seed), where=OWN)
    return out


def weak(work: Path, seed: int) -> Path:
    """As `base`, of few demonstrations: one that fails often enough for trust to be measured.

    As many as the weak policy of ``baseline.py`` has.
    """
    out = work / f"seed-{seed}" / "weak"
    with workers(1) as executor:
        store = demonstrated(work, seed, executor)
    where = f"{OWN} AND (conditions->>'seed')::INT < {1000 * seed + FEW}"
    train_base([store], out, recipe(seed, FEW_STEPS, FEW_WINDOWS), where=where)
    return out


if __name__ == "__main__":
    import sys

    import torch

    torch.set_num_threads(1)
    base(Path(sys.argv[1]), int(sys.argv[2]))
