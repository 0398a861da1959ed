"""How good is the cloned policy, and how well is its success foretold, on unseen initial states?"""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from viae.evaluate import initial_states_of
from viae.model import Bundle
from viae.store import Store
from viae.train import CloneRecipe, LoopConfig
from viae.trust import (
    Estimate,
    Familiarity,
    auroc,
    brier_skill,
    calibration_error,
    describe_attempts,
    estimate,
    fit_probe,
)
from viae.verbs.evaluate import Evaluation, evaluate
from viae.verbs.record import record
from viae.verbs.train import train

TASKS = ("push", "pick-place", "basketball", "peg-insert-side")
WORLD = "metaworld"
DEMONSTRATIONS, STATES = 25, 50
WEAK_DEMONSTRATIONS = 6
"""Trust is measured on a policy that both succeeds and fails: one trained on few demonstrations."""
LABELLED, LABELLED_PER_TASK, TESTED_PER_TASK = 200, 200, 150
TRUST_SEED = 2_000_000


def clone(seed: int, work: Path, executor: Executor) -> Evaluation:
    """Train one policy for the four tasks on demonstrations of its own; try it on unseen states."""
    store = _demonstrated(seed, work, executor)
    recipe = CloneRecipe(loop=LoopConfig(seed=seed))
    train(store, work / "strong", recipe)
    [result] = evaluate(
        [work / "strong"], store, work / "logs", executor, world=WORLD, tasks=TASKS, n=STATES
    )
    return result


def trust(seed: int, work: Path, executor: Executor) -> dict[str, dict[str, Estimate]]:
    """Roll a weak policy out; fit probes on labelled rollouts and measure them on 600 others.

    Returns:
        Measures by name, with 200 labelled rollouts in all and with 200 per task.
    """
    store = _demonstrated(seed, work, executor)
    few = f"(conditions->>'seed')::INT < {_first_seed(seed) + WEAK_DEMONSTRATIONS} AND outcome"
    where = f"NOT starts_with(agent, 'bundle:') AND {few}"
    train(store, work / "weak", CloneRecipe(loop=LoopConfig(seed=seed)), where=where)
    evaluate(
        [work / "weak"], store, work / "logs", executor, world=WORLD, tasks=TASKS,
        n=LABELLED_PER_TASK + TESTED_PER_TASK, first_seed=TRUST_SEED,
    )  # fmt: skip
    bundle = Bundle.load(work / "weak")
    rollouts = [e for e in store.episodes() if e.agent == f"bundle:{bundle.bundle_id}"]
    steps = int(rollouts[0].conditions["horizon"] * 0.1)
    familiarity = Familiarity(bundle, store)
    seen = describe_attempts(bundle, store, rollouts, steps=steps, familiarity=familiarity)
    starts = [initial_states_of([episode])[0] for episode in seen.episodes]
    number = np.array([start.seed - TRUST_SEED for start in starts])
    tasks = np.array([start.task for start in starts])
    groups = np.array([str(start) for start in starts])
    outcome = np.array([bool(episode.outcome) for episode in seen.episodes])
    tested = number >= LABELLED_PER_TASK
    results = {}
    for name, labelled in (
        ("200", number < LABELLED // len(TASKS)),
        ("200_per_task", number < LABELLED_PER_TASK),
    ):
        probe = fit_probe(
            seen.features[labelled], outcome[labelled], tasks[labelled], groups[labelled],
            steps=steps,
        )  # fmt: skip
        said = probe.probability(seen.features[tested], tasks[tested])
        results[name] = {
            measure.__name__: estimate(measure, outcome[tested], said)
            for measure in (auroc, brier_skill, calibration_error)
        }
    return results


def _first_seed(seed: int) -> int:
    return seed * 1000


def _demonstrated(seed: int, work: Path, executor: Executor) -> Store:
    store = Store.create(work / "store")
    record(
        WORLD, dict.fromkeys(TASKS, DEMONSTRATIONS), store, work / "demonstrations", executor,
        first_seed=_first_seed(seed),
    )  # fmt: skip
    return store
