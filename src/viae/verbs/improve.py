"""Improve: the whole loop, round after round, everything through the store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viae.errors import StoreError, UsageError
from viae.evaluate import FIRST_SEED
from viae.select import QueueLine
from viae.store import Store
from viae.verbs.evaluate import Evaluation, evaluate
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.record import record
from viae.verbs.select import select
from viae.verbs.train import train
from viae.verbs.trust import trust

if TYPE_CHECKING:
    from viae.train import CloneRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovePlan:
    """What to improve, and how far.

    Args:
        world: where.
        tasks: of the world.
        recipe: what to train each round.
        demonstrations: of each task in the first round.
        rounds: further rounds, whose demonstrations are selected.
        budget: demonstrations selected per further round.
        attempts: rollouts per task and round; the same initial states in every round.
        horizon: steps per attempt; None takes the world's.
        first_seed: lowest seed of the evaluation's initial states.
    """

    world: str
    tasks: tuple[str, ...]
    recipe: CloneRecipe
    demonstrations: int = 3
    rounds: int = 2
    budget: int = 24
    attempts: int = 20
    horizon: int | None = None
    first_seed: int = FIRST_SEED

    def __post_init__(self) -> None:
        if not self.tasks or self.demonstrations < 1 or self.attempts < 1 or self.rounds < 0:
            raise UsageError(
                "improving needs tasks, and at least one demonstration and attempt of each"
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def run_id(self) -> str:
        """A digest: the same plan is the same run, to be gone on with."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return f"improve-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


@dataclass(slots=True, kw_only=True)
class Round:
    """One round.

    Args:
        number: 0 is the first.
        demonstrations: successful ones per task that its bundle was trained on.
        evaluation: how the bundle did.
        queue: what was selected for the next round; empty after the last.
    """

    number: int
    demonstrations: Mapping[str, int]
    evaluation: Evaluation
    queue: list[QueueLine] = field(default_factory=list)


def improve(
    plan: ImprovePlan,
    store: Store,
    work: Path,
    executor: Executor,
    *,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> list[Round]:
    """Record, ingest, train, evaluate, select; and again with what was selected.

    Safe to kill at any moment and to repeat: what is done is found in the store, what was half done
    is done again, and the result is the same. Trust needs attempts of both outcomes: where there
    are too few, its part of the report stays empty, and says so.

    Args:
        plan: what to do.
        store: everything goes through it.
        work: folder for recordings and bundles.
        executor: runs the rollouts.
        tell: told of progress.
        now_ns: the clock, for facts and runs.

    Raises:
        StoreError: the store belongs to another plan.
        WorldError: a task does not exist, or its operator fails too often.
    """
    _claim(plan, store, now_ns)
    counts = dict.fromkeys(plan.tasks, plan.demonstrations)
    rounds: list[Round] = []
    for number in range(plan.rounds + 1):
        tell(Progress(phase="round", done=number, total=plan.rounds + 1, note=f"{counts}"))
        record(
            plan.world, counts, store, work / "logs" / "demonstrations", executor,
            horizon=plan.horizon, tell=tell,
        )  # fmt: skip
        bundle = work / "bundles" / f"round-{number}"
        train(store, bundle, plan.recipe, tell=tell, now_ns=now_ns)
        [evaluation] = evaluate(
            [bundle], store, work / "logs" / "rollouts", executor, world=plan.world,
            tasks=plan.tasks, n=plan.attempts, first_seed=plan.first_seed, horizon=plan.horizon,
            tell=tell, now_ns=now_ns,
        )  # fmt: skip
        this = Round(number=number, demonstrations=dict(counts), evaluation=evaluation)
        if number < plan.rounds:
            this.queue = _queue(plan, number, store)
            for line in this.queue:
                counts[line.task] += line.demonstrations
        rounds.append(this)
        _note_round(plan, this, store, now_ns)
    try:
        trust(work / "bundles" / f"round-{plan.rounds}", store, tell=tell, now_ns=now_ns)
    except UsageError as error:  # too few attempts, or all ended alike: the loop is done even so
        tell(Progress(phase="trust", done=0, total=None, note=str(error)))
    tell(Progress(phase="round", done=plan.rounds + 1, total=plan.rounds + 1))
    return rounds


def _claim(plan: ImprovePlan, store: Store, now_ns: Callable[[], int]) -> None:
    """Note the plan, unless it is noted; a store serves one plan, whose seeds it counts."""
    plans = {run["run_id"]: run for run in store.runs("improve")}
    others = plans.keys() - {plan.run_id}
    if others:
        old = plans[min(others)]["config"]
        new = plan.to_json()
        differ = sorted(key for key in new if new[key] != old.get(key))
        raise StoreError(
            f"{store.uri}: this store belongs to another improvement, whose {', '.join(differ)} "
            "differ. Repeat that one's options to go on with it, or take a new --store"
        )
    if plan.run_id not in plans:
        store.add_run(
            run_id=plan.run_id, kind="improve", config=plan.to_json(), metrics={},
            time_ns=now_ns(),
        )  # fmt: skip


def _queue(plan: ImprovePlan, number: int, store: Store) -> list[QueueLine]:
    """The queue noted for a round; selected now if none is. Later outcomes must not change it."""
    for run in store.runs("round"):
        if run["run_id"] == _round_id(plan, number):
            return [QueueLine(**line) for line in run["metrics"]["queue"]]
    return select(store, world=plan.world, budget=plan.budget)


def _round_id(plan: ImprovePlan, number: int) -> str:
    return f"{plan.run_id}/round-{number}"


def _note_round(plan: ImprovePlan, this: Round, store: Store, now_ns: Callable[[], int]) -> None:
    run_id = _round_id(plan, this.number)
    if any(run["run_id"] == run_id for run in store.runs("round")):
        return
    store.add_run(
        run_id=run_id, kind="round", bundle=this.evaluation.bundle_id,
        config={"improve": plan.run_id, "number": this.number},
        metrics={
            "demonstrations": dict(this.demonstrations),
            "evaluation": this.evaluation.run_id,
            "queue": [line.to_json() for line in this.queue],
        },
        time_ns=now_ns(),
    )  # fmt: skip
