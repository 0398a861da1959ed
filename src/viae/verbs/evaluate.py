"""Evaluate: bundles on initial states none of them was trained on, the same for each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viae.errors import UsageError
from viae.evaluate import (
    FIRST_SEED,
    InitialState,
    PairedDifference,
    Rate,
    initial_states_of,
    paired_difference,
    plan,
    success_rate,
)
from viae.schema import Fact
from viae.store import Store
from viae.verbs.ingest import ingest
from viae.verbs.progress import Tell, quiet
from viae.verbs.rollouts import RolloutJob, run_rollouts
from viae.worlds import open_world


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How one bundle did.

    Args:
        run_id: of the row in ``runs``.
        bundle_id: the bundle.
        outcomes: per initial state.
    """

    run_id: str
    bundle_id: str
    outcomes: Mapping[InitialState, bool]

    @property
    def overall(self) -> Rate:
        """Success over all attempts; every task has as many."""
        return success_rate(list(self.outcomes.values()))

    def by_task(self) -> dict[str, Rate]:
        """Success per task."""
        tasks = sorted({state.task for state in self.outcomes})
        return {
            task: success_rate([ok for s, ok in self.outcomes.items() if s.task == task])
            for task in tasks
        }

    def against(self, other: Evaluation) -> PairedDifference:
        """This bundle's success minus another's, on the initial states that both were tried on."""
        shared = sorted(self.outcomes.keys() & other.outcomes.keys())
        return paired_difference(
            [self.outcomes[s] for s in shared], [other.outcomes[s] for s in shared]
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "run_id": self.run_id,
            "bundle": self.bundle_id,
            "overall": self.overall.to_json(),
            "tasks": {task: rate.to_json() for task, rate in self.by_task().items()},
        }


def evaluate(
    bundles: Sequence[Path],
    store: Store,
    logs: Path,
    executor: Executor,
    *,
    world: str,
    tasks: Sequence[str] = (),
    n: int,
    first_seed: int = FIRST_SEED,
    horizon: int | None = None,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> list[Evaluation]:
    """Roll bundles out, ingest the rollouts, and store their outcomes as facts.

    Args:
        bundles: their folders.
        store: where rollouts, facts and the run go.
        logs: folder of the recordings, one subfolder per bundle.
        executor: runs the rollouts.
        world: the world's name.
        tasks: by default those that the first bundle knows; a base model's must be named.
        n: initial states per task, the same for every bundle.
        first_seed: the lowest seed of an initial state.
        horizon: steps; by default the world's.
        tell: told of progress.
        now_ns: the clock, for facts and runs.

    Returns:
        One evaluation per bundle, in their order.

    Raises:
        UsageError: no bundles, no attempts, or no tasks.
        BundleError: a bundle cannot be loaded, or does not know a task.
    """
    from viae.model.base_bundle import load_bundle

    if not bundles or n < 1:
        raise UsageError("an evaluation needs at least one bundle and one attempt per task")
    loaded = [load_bundle(folder) for folder in bundles]
    known = list(tasks) or list(getattr(loaded[0], "tasks", ()))
    if not known:
        raise UsageError(f"{bundles[0]}: a base model has no list of tasks; name some with --task")
    trained_on = {state for bundle in loaded for state in bundle.provenance.initial_states}
    states = plan(world, known, n=n, trained_on=trained_on, first_seed=first_seed)
    steps = horizon or open_world(world).horizon
    results = []
    for folder, bundle in zip(bundles, loaded, strict=True):
        jobs = [
            RolloutJob(
                start=state, bundle=str(folder), horizon=steps,
                log=logs / bundle.bundle_id / f"{steps}-steps" / _file_name(state),
            )
            for state in states
        ]  # fmt: skip
        run_rollouts(jobs, executor, phase="evaluate", tell=tell)
        ingest([job.log for job in jobs], store, tell=tell)
        outcomes = _stored_outcomes(store, bundle.bundle_id, states, steps)
        config = {"world": world, "horizon": steps, "states": [str(state) for state in states]}
        digest = hashlib.blake2b(f"{bundle.bundle_id}{config}".encode(), digest_size=6)
        evaluation = Evaluation(
            run_id=f"evaluate-{digest.hexdigest()}",
            bundle_id=bundle.bundle_id,
            outcomes={state: ok for state, (_, ok) in outcomes.items()},
        )
        _store_result(evaluation, outcomes, config, store, now_ns())
        results.append(evaluation)
    return results


def _file_name(state: InitialState) -> str:
    return f"{state.task}-{state.seed:06d}.mcap"


def _stored_outcomes(
    store: Store, bundle_id: str, states: Sequence[InitialState], horizon: int
) -> dict[InitialState, tuple[str, bool]]:
    """Episode id and outcome per initial state, as the store has them."""
    wanted = set(states)
    found: dict[InitialState, tuple[str, bool]] = {}
    for episode in store.episodes():
        of_bundle = episode.agent == f"bundle:{bundle_id}"
        if of_bundle and episode.conditions.get("horizon") == horizon:
            for state in initial_states_of([episode]):
                if state in wanted and episode.outcome is None:
                    raise UsageError(
                        f"episode {episode.episode_id}, from {state}, says nothing of its outcome: "
                        "add a fact 'outcome' of true or false, and run the evaluation again"
                    )
                if state in wanted and episode.outcome is not None:
                    found[state] = (episode.episode_id, episode.outcome)
    missing = wanted - found.keys()
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(wanted)} rollouts of bundle {bundle_id} did not reach the "
            f"store, the first from {min(missing)}; run the evaluation again"
        )
    return {state: found[state] for state in states}


def _store_result(
    evaluation: Evaluation,
    outcomes: Mapping[InitialState, tuple[str, bool]],
    config: Mapping[str, Any],
    store: Store,
    time_ns: int,
) -> None:
    """Outcomes as facts, and the run; once, however often the evaluation is repeated."""
    if any(run["run_id"] == evaluation.run_id for run in store.runs("evaluate")):
        return
    facts = [
        Fact(episode_id=episode_id, key=key, value=value, author="viae evaluate", time_ns=time_ns)
        for episode_id, ok in outcomes.values()
        for key, value in (("outcome", ok), (evaluation.run_id, True))
    ]
    store.add_facts(facts)
    store.add_run(
        run_id=evaluation.run_id, kind="evaluate", config=config, metrics=evaluation.to_json(),
        bundle=evaluation.bundle_id, time_ns=time_ns,
    )  # fmt: skip
