"""Record demonstrations: a world's operator on initial states that nobody has shown yet."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path

from viae.errors import WorldError
from viae.evaluate import FIRST_SEED, InitialState, initial_states_of
from viae.store import Store
from viae.verbs.ingest import ingest
from viae.verbs.progress import Tell, quiet
from viae.verbs.rollouts import OPERATOR, RolloutJob, run_rollouts
from viae.worlds import open_world

MAX_TRIES = 10


def record(
    world: str,
    counts: Mapping[str, int],
    store: Store,
    logs: Path,
    executor: Executor,
    *,
    horizon: int | None = None,
    first_seed: int = 0,
    realtime: bool = False,
    tell: Tell = quiet,
) -> dict[str, list[InitialState]]:
    """Record successful demonstrations until each task has as many as asked, and ingest them.

    Seeds are taken in order. What the operator fails stays in the store as a failed attempt
    and does not count. Safe to kill and repeat: it goes on where it stopped.

    Args:
        world: the world's name.
        counts: successful demonstrations that each task shall have in the store, old ones included.
        store: where they go.
        logs: folder of the recordings.
        executor: runs the rollouts.
        horizon: steps; by default the world's.
        first_seed: the lowest seed.
        realtime: whether to run at the robot's own speed.
        tell: told of progress.

    Returns:
        The initial states demonstrated, per task.

    Raises:
        WorldError: the operator fails a task too often.
    """
    steps = horizon or open_world(world).horizon
    for _ in range(MAX_TRIES):
        shown = {task: demonstrated(store, world, task) for task in counts}
        jobs = [
            RolloutJob(
                start=InitialState(world=world, task=task, seed=seed),
                bundle=OPERATOR,
                log=logs / f"{task}-{seed:06d}.mcap",
                horizon=steps,
                realtime=realtime,
            )
            for task, count in counts.items()
            for seed in _next_seeds(shown[task], count, first_seed)
        ]
        if not jobs:
            return {task: [state for state, ok in shown[task] if ok] for task in counts}
        run_rollouts(jobs, executor, phase="record", tell=tell)
        ingest([job.log for job in jobs], store, tell=tell)
    raise WorldError(
        f"the operator of world '{world}' did not reach {dict(counts)} successful demonstrations "
        f"in {MAX_TRIES} tries; raise the horizon of {steps} steps"
    )


def demonstrated(store: Store, world: str, task: str) -> list[tuple[InitialState, bool]]:
    """Initial states of a task that someone demonstrated, by seed, and whether it succeeded."""
    found = {}
    for episode in store.episodes():
        if episode.task == task and not episode.agent.startswith("bundle:"):
            for state in initial_states_of([episode]):
                if state.world == world:
                    found[state] = bool(episode.outcome)
    return sorted(found.items())


def _next_seeds(shown: list[tuple[InitialState, bool]], count: int, first_seed: int) -> range:
    """The seeds after those shown, as many as successes are missing."""
    missing = count - sum(ok for _, ok in shown)
    first = max((state.seed + 1 for state, _ in shown), default=first_seed)
    if first + missing > FIRST_SEED:
        raise WorldError(f"seeds from {FIRST_SEED} on are kept for evaluation")
    return range(first, first + max(missing, 0))
