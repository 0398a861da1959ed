"""Does one base model act as well as a specialist, and does it learn a new task from less?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from model_base import OWN, SEEDS, TASKS, WORLD, base, demonstrated, recipe
from rows import Row
from viae.evaluate import InitialState, mean, success_rate
from viae.store import Store
from viae.train import CloneRecipe, LoopConfig
from viae.verbs.base import train_base
from viae.verbs.evaluate import Evaluation, evaluate
from viae.verbs.record import record
from viae.verbs.rollouts import workers
from viae.verbs.train import train

STATES = 50
RESAMPLES = 10_000
NEW_TASKS = ("push-back", "pick-place-wall", "shelf-place")
"""One for each seed; of none of them the base models have seen anything."""
FEW = (5, 10)
MANY = (5, 10, 20)
FEW_STEPS, FEW_WINDOWS = 700, 4


def act_vs_clone(work: Path) -> Iterator[Row]:
    """Success of the base model less that of the cloned policy, on the same unseen states.

    Both learned from the same demonstrations. The interval is over states and training seeds: seeds
    are drawn with return, then the states of each task.
    """
    torch.set_num_threads(1)
    pairs: list[dict[str, np.ndarray]] = []
    with workers(2) as executor:
        bundles = dict(zip(SEEDS, executor.map(partial(base, work), SEEDS), strict=True))
    for seed, bundle in bundles.items():
        folder = work / f"seed-{seed}"
        with workers(2) as executor:
            store = demonstrated(work, seed, executor)
            clone = folder / "clone"
            train(store, clone, CloneRecipe(loop=LoopConfig(seed=seed)), where=OWN)
            ours, peer = evaluate(
                [bundle, clone], store, folder / "logs", executor, world=WORLD, tasks=TASKS,
                n=STATES,
            )  # fmt: skip
        pairs.append(_paired(ours, peer))
    for task in TASKS:
        for name, column in (("act", 0), ("clone", 1)):
            rate = success_rate([bool(ok) for pair in pairs for ok in pair[task][:, column]])
            yield Row(
                name=f"{name}_success_{task}", value=rate.mean, unit="share", n=rate.n,
                low=rate.low, high=rate.high,
            )  # fmt: skip
    for name, column in (("act", 0), ("clone", 1)):
        of_seeds = [float(np.mean([p[t][:, column].mean() for t in TASKS])) for p in pairs]
        over = mean(of_seeds)
        yield Row(
            name=f"{name}_success", value=over.value, unit="share", n=len(SEEDS) * STATES * 6,
            low=over.low, high=over.high,
        )  # fmt: skip
    value, low, high = _difference(pairs)
    count = len(SEEDS) * STATES * len(TASKS)
    yield Row(
        name="act_vs_clone", value=value, unit="points", target="> 0", n=count, low=low, high=high,
        peer="behaviour cloning on the same demonstrations",
    )  # fmt: skip
    yield Row(
        name="act_vs_clone_low", value=low, unit="points", target=">= -2", n=count,
        peer="behaviour cloning on the same demonstrations",
    )  # fmt: skip


def few_shot(work: Path) -> Iterator[Row]:
    """Demonstrations of a new task from base weights ÷ from scratch, for equal success.

    Success from scratch is taken to rise in straight lines between the numbers that were tried;
    where it never reaches that from base weights, the most demonstrations tried stand for it, which
    makes the ratio too large.
    """
    torch.set_num_threads(1)
    ratios: list[float] = []
    for seed, task in zip(SEEDS, NEW_TASKS, strict=True):
        folder = work / f"seed-{seed}"
        start = base(work, seed)
        with workers(2) as executor:
            store = Store.create(folder / "few-store")
            record(
                WORLD, {task: max(MANY)}, store, folder / "few-demonstrations", executor,
                first_seed=500_000 + 1000 * seed,
            )  # fmt: skip
            tried = [("base", count) for count in FEW] + [("scratch", count) for count in MANY]
            trained = executor.map(partial(_few, folder, seed, start), *zip(*tried, strict=True))
            bundles = dict(zip(tried, trained, strict=True))
            found = evaluate(
                list(bundles.values()), store, folder / "few-logs", executor, world=WORLD,
                tasks=[task], n=STATES,
            )  # fmt: skip
        success = {key: each.overall for key, each in zip(bundles, found, strict=True)}
        for (name, count), rate in success.items():
            yield Row(
                name=f"few_shot_{task}_{name}_{count}", value=rate.mean, unit="share", n=rate.n,
                low=rate.low, high=rate.high,
            )  # fmt: skip
        curve = [success["scratch", count].mean for count in MANY]
        ratios += [count / _needed(success["base", count].mean, MANY, curve) for count in FEW]
    over = mean(ratios)
    yield Row(
        name="few_shot", value=over.value, unit="ratio", target="<= 0.5", n=len(ratios),
        low=over.low, high=over.high, peer="the same network from scratch",
    )  # fmt: skip


def _few(folder: Path, seed: int, start: Path, name: str, count: int) -> Path:
    """A model of the first few demonstrations of a new task."""
    out = folder / f"few-{name}-{count}"
    where = f"{OWN} AND (conditions->>'seed')::INT < {500_000 + 1000 * seed + count}"
    store = Store.open(folder / "few-store")
    begun = start if name == "base" else None
    train_base([store], out, recipe(seed, FEW_STEPS, FEW_WINDOWS), where=where, start=begun)
    return out


def _paired(ours: Evaluation, peer: Evaluation) -> dict[str, np.ndarray]:
    """Outcomes by task, bool [states, 2]: ours, then the peer's."""
    states: Sequence[InitialState] = sorted(ours.outcomes)
    return {
        task: np.array(
            [(ours.outcomes[s], peer.outcomes[s]) for s in states if s.task == task], bool
        )
        for task in TASKS
    }


def _difference(pairs: Sequence[dict[str, np.ndarray]]) -> tuple[float, float, float]:
    """Mean difference in points, and its 95% interval by a bootstrap over seeds and states."""
    rng = np.random.default_rng(0)
    by_seed = np.array(
        [[pair[t][:, 0].astype(float) - pair[t][:, 1] for t in TASKS] for pair in pairs]
    )  # [seeds, tasks, states]
    seeds, tasks, states = by_seed.shape
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        some = by_seed[rng.integers(seeds, size=seeds)]
        at = rng.integers(states, size=(seeds, tasks, states))
        drawn[i] = np.take_along_axis(some, at, 2).mean()
    low, high = np.quantile(drawn, (0.025, 0.975)) * 100
    return float(by_seed.mean() * 100), float(low), float(high)


def _needed(success: float, counts: Sequence[int], curve: Sequence[float]) -> float:
    """How many demonstrations a rising curve needs for a success; at most the last count."""
    rising = np.maximum.accumulate(curve)
    if success <= rising[0]:
        return float(counts[0])
    if success >= rising[-1]:
        return float(counts[-1])
    return float(np.interp(success, rising, counts))
