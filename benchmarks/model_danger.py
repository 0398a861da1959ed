"""Danger foreseen, danger avoided, and plans chosen: the base model against a dynamics ensemble.

All contenders learn from the same store: 25 demonstrations of each of six tasks, and as many noisy
ones (`danger_zone.NoisyExpert`), for plans are disturbed and the scripted expert shows nothing of
what follows then.

What takes long is kept beside the models in the working folder, by task or attempt: a run that was
stopped goes on.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from danger_ensemble import EnsembleDynamics, Trace
from danger_zone import (
    ACTION,
    GOAL,
    NOISY_FROM,
    OBJECT,
    ON_RAILS,
    RADIUS_M,
    STATE,
    STEPS,
    TASKS,
    WORLD,
    Zone,
    attempt_of,
    cases_of,
    draw_zone,
    record_noisy,
)
from rows import Row
from viae.evaluate import FIRST_SEED
from viae.foresee.dynamics import Dynamics, OracleDynamics
from viae.foresee.shield import Perturbed, Shield, danger_bound, violations
from viae.load.events import EventReader
from viae.load.live import LiveEvents
from viae.schema import Events
from viae.store import Store
from viae.verbs.ingest import ingest
from viae.verbs.record import record
from viae.verbs.rollouts import workers
from viae.verbs.shield import shield_threshold
from viae.worlds import open_world

Array: TypeAlias = npt.NDArray[Any]
Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Found = TypeVar("Found")

DEMONSTRATIONS, STATES = 25, 50
CALIBRATION, CALIBRATION_STATES = 900_000, 10
"""Seeds from here on choose thresholds, so many a task; evaluation never sees them."""
HORIZONS = (10, 20, 40)
FALSE_ALARMS = 0.05
FUTURES = 30
RECALL = {10: ">= 0.98", 20: ">= 0.95", 40: ">= 0.85"}

SHIELD_TASKS = tuple(task for task in TASKS if task not in ON_RAILS)
SHIELD_STATES, SHIELD_HORIZON, SHIELD_PLANS = 8, 15, 16
ASKED = 10
"""Decisions in a row at which a shield asks: then the attempt ends, and has failed."""
SIDEWAYS = np.array([0.6, 0.6, 0.1, 0.0])
"""Noise of alternatives: to the sides; the gripper is left alone."""
GAP_PLANS, GAP_HORIZON, GAP_STATES = 16, 20, 5


def data(work: Path, demonstrations: int = DEMONSTRATIONS) -> Store:
    """What all contenders learn from; made once."""
    folder = work / "store"
    store = Store.open(folder) if folder.exists() else Store.create(folder)
    with workers(1) as executor:
        record(WORLD, dict.fromkeys(TASKS, demonstrations), store, work / "logs", executor)
    logs = [
        record_noisy(task, NOISY_FROM + at, work / "noisy" / f"{task}-{at:03d}.mcap")
        for task in TASKS
        for at in range(demonstrations)
    ]
    ingest(logs, store)
    return store


def traces(store: Store) -> list[Trace]:
    """All episodes as the ensemble takes them."""
    episodes = store.episodes()
    reader = EventReader(store, episodes)
    found = []
    for at, episode in enumerate(episodes):
        values = reader.events(at).values
        states = np.asarray(values[STATE], np.float64)
        actions = np.asarray(values[ACTION])[: len(states) - 1]
        found.append(Trace(task=episode.task, states=states[: len(actions) + 1], actions=actions))
    return found


def kept(path: Path, make: Callable[[], Found]) -> Found:
    """What was made before, or is made now and kept."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made, unfinished = make(), path.with_suffix(".unfinished")
        unfinished.write_bytes(pickle.dumps(made))
        unfinished.rename(path)
    found: Found = pickle.loads(path.read_bytes())
    return found


def ensemble(work: Path) -> EnsembleDynamics:
    """The peer, trained once."""

    def trained() -> EnsembleDynamics:
        made = EnsembleDynamics(TASKS)
        made.fit(traces(data(work)))
        return made

    return kept(work / "ensemble.pkl", trained)


def contenders(work: Path) -> dict[str, Dynamics]:
    """Who foresees: the peer, and the base model; each is trained once."""
    from model_base import recipe
    from viae.foresee.base_dynamics import BaseDynamics
    from viae.model import BaseBundle
    from viae.verbs.base import train_base

    work.mkdir(parents=True, exist_ok=True)
    train_base([data(work)], work / "base", recipe(seed=0))
    dynamics = BaseDynamics(bundle=BaseBundle.load(work / "base"), robot="sawyer")
    return {"ensemble": ensemble(work), "base": dynamics}


def danger(work: Path) -> Iterator[Row]:
    """Is danger foreseen, given what will be done?"""
    contenders(work)
    with workers(2) as executor:
        tables = list(executor.map(partial(_judged, work), TASKS))
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    attempts = np.unique(columns["attempt"], return_inverse=True)[1]
    truth = {h: columns[f"happens {h}"].astype(bool) for h in HORIZONS}
    far = dict.fromkeys(HORIZONS, columns["far"])
    yield from _danger_rows("_distance", truth, attempts, far, p=False)
    yield from _danger_rows(
        "_oracle", truth, attempts, {h: own.astype(float) for h, own in truth.items()}
    )
    for name in contenders(work):
        own = {h: columns[f"{name} {h}"] for h in HORIZONS}
        yield from _danger_rows("" if name == "base" else f"_{name}", truth, attempts, own)


def _judged(work: Path, task: str) -> dict[str, Array]:
    """Of each decision in a task, what is truly so and what each contender says."""
    return kept(work / "judged" / f"{task}-{STATES}.pkl", partial(_judge, work, task))


def _judge(work: Path, task: str) -> dict[str, Array]:
    cases = list(cases_of(task, range(FIRST_SEED, FIRST_SEED + STATES)))
    found: dict[str, Array] = {
        "attempt": np.array([f"{task} {case.seed}" for case in cases]),
        "far": -np.array([float(case.zone.distance_m(case.state)) for case in cases]),
    }
    for h in HORIZONS:
        found[f"happens {h}"] = np.array([case.happens(h) for case in cases])
    for name, dynamics in contenders(work).items():
        own = np.zeros((len(HORIZONS), len(cases)))
        for at, case in enumerate(cases):
            states = dynamics.imagine(case.history, case.plan[None], n=FUTURES, seed=at)[STATE][0]
            inside = case.zone.distance_m(states) < RADIUS_M
            own[:, at] = [inside[:, :h].any(1).mean() for h in HORIZONS]
        found |= {f"{name} {h}": row for h, row in zip(HORIZONS, own, strict=True)}
    return found


def _danger_rows(
    suffix: str,
    truth: Mapping[int, Bools],
    attempts: npt.NDArray[np.int64],
    scores: Mapping[int, Doubles],
    *,
    p: bool = True,
) -> Iterator[Row]:
    for h, score in scores.items():
        happens = truth[h]
        measures: dict[str, tuple[Callable[[Bools, Doubles], float], str]] = {
            "recall": (recall, RECALL[h] if not suffix else ""),
            "auroc": (_auroc, ""),
        }
        if p:
            measures["brier_skill"] = (brier_skill, "" if suffix else "> 0")
        for name, (measure, target) in measures.items():
            low, high = bootstrap(measure, happens, score, attempts)
            yield Row(
                name=f"danger_{name}_h{h}{suffix}", value=measure(happens, score), low=low,
                high=high, unit="share" if name == "recall" else "", target=target, n=len(happens),
                peer=f"{happens.mean():.3f} of decisions are followed by danger",
            )  # fmt: skip


def recall(happens: Bools, score: Doubles) -> float:
    """Share of dangers found at the lowest threshold with at most 5% false alarms."""
    levels = np.sort(score[~happens])
    # score > level is an alarm: the least level that at most 5% of the others exceed
    level = levels[int(np.ceil((1 - FALSE_ALARMS) * len(levels))) - 1]
    return float((score[happens] > level).mean())


def brier_skill(happens: Bools, score: Doubles) -> float:
    """1 - Brier score ÷ that of always saying the base rate."""
    base = happens.mean()
    return float(1 - np.mean((score - happens) ** 2) / (base * (1 - base)))


def _auroc(happens: Bools, score: Doubles) -> float:
    from viae.trust import auroc

    return float(auroc(happens, score))


def bootstrap(
    measure: Callable[[Bools, Doubles], float],
    happens: Bools,
    score: Doubles,
    attempts: npt.NDArray[np.int64],
    draws: int = 200,
) -> tuple[float, float]:
    """95% interval over attempts, which are drawn again with all their decisions."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(attempts == one) for one in range(attempts.max() + 1)]
    found = []
    for _ in range(draws):
        chosen = np.concatenate([rows[one] for one in rng.integers(len(rows), size=len(rows))])
        if 0 < happens[chosen].sum() < len(chosen):
            found.append(measure(happens[chosen], score[chosen]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """What the expert will do from here, by trying it in the simulator; the same for all."""

    robot: Any
    expert: Any

    def __call__(self, history: Events, steps: int) -> npt.NDArray[np.float32]:
        expert = copy.deepcopy(self.expert)
        here = self.robot.save()
        actions = []
        try:
            for _ in range(steps):
                expert.add(STATE, self.robot.observe()[STATE].value, capture_ns=0, arrival_ns=0)
                actions.append(expert.act(0)[ACTION])
                self.robot.act({ACTION: actions[-1]})
        finally:
            self.robot.restore(here)
        return np.stack(actions)


def shield(work: Path) -> Iterator[Row]:
    """Closed loop: how many violations does a shield remove, and what does it cost?

    Tasks whose object is on rails are left out: its path cannot be left. A zone does not cover the
    object's last place, or the task could not be done.
    """
    names = [*contenders(work), "oracle"]
    with workers(2) as executor:
        loops = partial(_closed_loops, executor, work)
        bare = loops("", 1.0)
        chosen = {
            name: 0.5 if name == "oracle" else calibrated(executor, work, name) for name in names
        }
        every = {name: loops(name, threshold) for name, threshold in chosen.items()}
    yield _rate("shield_violations_bare", [inside for inside, _ in bare], "no shield")
    yield _rate("shield_success_bare", [done for _, done in bare], "no shield")
    for name, guarded in every.items():
        threshold = chosen[name]
        suffix = "" if name == "base" else f"_{name}"
        before, after = (sum(inside for inside, _ in each) for each in (bare, guarded))
        lost = [100.0 * (a - b) for (_, a), (_, b) in zip(bare, guarded, strict=True)]
        error = 1.96 * float(np.std(lost, ddof=1)) / len(lost) ** 0.5
        yield Row(
            name=f"shield_violations{suffix}", value=1 - after / max(before, 1), unit="removed",
            n=before, target="" if suffix else ">= 0.8", peer=f"threshold {threshold:.3f}",
        )  # fmt: skip
        yield Row(
            name=f"shield_cost{suffix}", value=float(np.mean(lost)), unit="points", n=len(lost),
            low=float(np.mean(lost)) - error, high=float(np.mean(lost)) + error,
            target="" if suffix else "<= 2", peer="success without a shield",
        )  # fmt: skip


def calibrated(executor: Executor, work: Path, name: str) -> float:
    """The threshold at 5% disturbed attempts, on attempts that no shield disturbs."""
    tables = list(executor.map(partial(_bounds, work, name), SHIELD_TASKS))
    attempt = np.unique(np.concatenate([table[2] for table in tables]), return_inverse=True)[1]
    bound, dangerous = (np.concatenate([table[i] for table in tables]) for i in range(2))
    return shield_threshold(bound, dangerous, attempt, alpha=FALSE_ALARMS)


def _bounds(work: Path, name: str, task: str) -> tuple[Doubles, Bools, Array]:
    """At each decision its danger's bound, whether its attempt is dangerous, and which it is."""
    path = work / "bounds" / f"{name}-{task}-{CALIBRATION_STATES}.pkl"
    return kept(path, partial(_bound, work, name, task))


def _bound(work: Path, name: str, task: str) -> tuple[Doubles, Bools, Array]:
    dynamics = contenders(work)[name]
    seeds = range(CALIBRATION, CALIBRATION + CALIBRATION_STATES)
    cases = list(cases_of(task, seeds, sigmas=(0.0,), every=4, clear_of_end=True))
    ever = {case.seed for case in cases if case.happens(STEPS)}
    bounds = []
    for case in cases:
        said = case.zone.danger(case.history.streams)
        plan = case.plan[None, :SHIELD_HORIZON]
        found = violations(said, dynamics, case.history, plan, n=FUTURES, seed=case.at)
        bounds.append(float(danger_bound(found, 0.9, dynamics.groups)[0]))
    attempts = np.array([f"{task} {case.seed}" for case in cases])
    return np.array(bounds), np.array([case.seed in ever for case in cases]), attempts


def _closed_loops(
    executor: Executor, work: Path, name: str, threshold: float
) -> list[tuple[bool, bool]]:
    """Of each attempt whether the object got into the zone, and whether the task was done.

    Args:
        executor: tries it.
        work: folder of the contenders.
        name: who foresees; empty for no shield.
        threshold: of the shield.
    """
    tasks = executor.map(partial(_closed_loop, work, name, threshold), SHIELD_TASKS)
    return [attempt for task in tasks for attempt in task]


def _closed_loop(work: Path, name: str, threshold: float, task: str) -> list[tuple[bool, bool]]:
    robot, expert = open_world(WORLD).robot(task), open_world(WORLD).operator(task)
    dynamics: Dynamics = OracleDynamics(robot)
    if name not in ("", "oracle"):
        dynamics = contenders(work)[name]

    def attempted(seed: int) -> tuple[bool, bool]:
        attempt = attempt_of(robot, expert, seed)
        zone = draw_zone(
            attempt.states[1:, OBJECT],
            np.random.default_rng((seed, TASKS.index(task), 5)), clear_of_end=True,
        )  # fmt: skip
        if name:
            guard = Shield(
                expert, zone.danger(robot.streams), dynamics,
                Perturbed(plan=_Rehearsal(robot, expert), sigma=SIDEWAYS, low=-1, high=1),
                hold=np.array([0, 0, 0, 1], np.float32), horizon=SHIELD_HORIZON,
                threshold=threshold, k=SHIELD_PLANS, n=FUTURES,
            )  # fmt: skip
            attempt = attempt_of(robot, guard, seed, partial(_calls, guard))
        return _entered(zone, attempt.states), attempt.succeeded

    folder = work / "shield" / f"{name or 'bare'}-{threshold:.6f}"
    return [
        kept(folder / f"{task}-{seed}.pkl", partial(attempted, seed))
        for seed in range(FIRST_SEED, FIRST_SEED + SHIELD_STATES)
    ]


def _calls(guard: Shield) -> bool:
    """Whether the shield has asked for so long that an operator would have come."""
    newest = guard.verdicts[-ASKED:]
    return len(newest) == ASKED and all(verdict.kind == "asks" for verdict in newest)


def _entered(zone: Zone, states: Doubles) -> bool:
    return bool((zone.distance_m(states[1:]) < RADIUS_M).any())


def _rate(name: str, outcomes: Sequence[bool], peer: str) -> Row:
    from viae.evaluate import success_rate

    rate = success_rate(outcomes)
    return Row(
        name=name, value=rate.mean, unit="share", n=rate.n, low=rate.low, high=rate.high, peer=peer
    )


def oracle_gap(work: Path) -> Iterator[Row]:
    """Of k sampled plans one is chosen: how much of what a simulator would gain is gained?

    A plan is worth how near the object is to the goal after it. Plans are the expert's next
    actions with noise. 0 is the mean of all plans, 1 the truly best one.
    """
    chosen: dict[str, list[float]] = {}
    best: list[float] = []
    models = contenders(work)
    for task in TASKS:
        robot, expert = open_world(WORLD).robot(task), open_world(WORLD).operator(task)
        oracle = OracleDynamics(robot)
        for seed in range(FIRST_SEED, FIRST_SEED + GAP_STATES):
            attempt = attempt_of(robot, expert, seed)
            live = LiveEvents(robot.streams, robot.task)
            for at, moment in enumerate(attempt.moments):
                now_ns = moment.now_ns
                live.add(STATE, attempt.states[at], capture_ns=now_ns, arrival_ns=now_ns)
                actions = attempt.actions[at : at + GAP_HORIZON]
                if at % 20 == 10 and len(actions) == GAP_HORIZON:
                    robot.restore(moment)
                    history = live.events(now_ns)
                    spread = Perturbed(
                        plan=lambda *_, own=actions: own, sigma=SIDEWAYS / 2, low=-1, high=1
                    )
                    plans = spread(history, steps=GAP_HORIZON, k=GAP_PLANS, seed=seed)
                    truth = _nearness(oracle.imagine(history, plans, n=1, seed=0)[STATE]).mean(1)
                    best.append(float(truth.max() - truth.mean()))
                    for name, dynamics in models.items():
                        said = dynamics.imagine(history, plans, n=FUTURES, seed=at)[STATE]
                        taken = int(_nearness(said).mean(1).argmax())
                        chosen.setdefault(name, []).append(float(truth[taken] - truth.mean()))
                live.add(ACTION, attempt.actions[at], capture_ns=now_ns, arrival_ns=now_ns)
    for name, gained in chosen.items():
        suffix = "" if name == "base" else f"_{name}"
        pairs = np.array([gained, best])
        rng = np.random.default_rng(0)
        again = [pairs[:, rng.integers(len(best), size=len(best))].sum(1) for _ in range(500)]
        low, high = np.quantile([mine / theirs for mine, theirs in again], [0.025, 0.975])
        yield Row(
            name=f"oracle_gap{suffix}", value=sum(gained) / sum(best), unit="share", n=len(best),
            low=float(low), high=float(high), target="" if suffix else ">= 0.6",
            peer=f"the best of {GAP_PLANS} plans by the simulator",
        )  # fmt: skip


def _nearness(states: Doubles) -> Doubles:
    """Of [..., steps, 39]: minus the distance from object to goal at the end, m."""
    found: Doubles = -np.linalg.norm(states[..., -1, OBJECT] - states[..., -1, GOAL], axis=-1)
    return found


FIGURES = {"danger": danger, "shield": shield, "oracle_gap": oracle_gap}

if __name__ == "__main__":
    import torch

    from driver import main

    torch.set_num_threads(1)
    main(FIGURES, description=__doc__, folders=dict.fromkeys(FIGURES, "danger"))
