"""Trust of a base model: is failure foretold early, calibrated, and are alarms as rare as promised?

The policy is the base model itself, acting as `viae.act.base_policy.BasePolicy` does by default, on
initial states that it was not trained on. Nothing is disturbed: its failures are its own. In
``model.py`` the model has learned from six demonstrations a task, as the policy of ``baseline.py``
has: one that hardly fails leaves nothing to foretell. Here, ``--bundle`` names any model, and
``--policy`` one that acts in its place.

Attempts are recorded once, in four parts from disjoint ranges of initial states:

- labelled, 200 in all: all that probe, combination and calibration are fitted on;
- alarms: thresholds are calibrated on the successes among them, nothing else;
- tested: what is measured;
- disturbed: tested, too, with noise on every action, as a worn actuator has: out of distribution.

The horizon is the world's, 300 steps; attempts are judged after fixed numbers of steps, among those
still going on. An attempt is judged by what the model saw until then, not by how long it took.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rows import Row
from viae.store import Store
from viae.trust import Estimate, auroc, estimate_by_unit, fit_rule, report_alarms, wilson
from viae.verbs.ingest import ingest
from viae.verbs.rollouts import workers
from viae.verbs.trust_base import FittedTrust, fit_trust, fixed_steps, held
from viae.verbs.trust_watch import Watched, watch
from viae.worlds import open_world

WORLD = "metaworld"
TASKS = ("push", "pick-place", "peg-insert-side", "basketball", "button-press", "drawer-open")
TRUST_SEED = 2_000_000
APART = 100_000
EARLY, LATER = 0.1, (0.05, 0.2)
"""Shares of the horizon at which attempts are judged."""
ALPHA = 0.05
COUNTS = {"labelled": 200, "alarms": 180, "tested": 600, "disturbed": 180}
NOISE = 0.3
"""Standard deviation of what is added to each action of a disturbed attempt; actions are in ±1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Attempts of one kind.

    Args:
        name: of the part.
        seed: of the first initial state.
        count: attempts over all tasks.
        noise: on actions.
    """

    name: str
    seed: int
    count: int
    noise: float = 0.0

    def attempts(self) -> list[tuple[str, int]]:
        """Task and seed of each: tasks in turns."""
        return [(TASKS[i % len(TASKS)], self.seed + i // len(TASKS)) for i in range(self.count)]


class Worn:
    """A policy whose actions do not arrive as meant.

    Args:
        policy: the policy.
        noise: standard deviation, in the action's unit.
        seed: of the noise.
    """

    def __init__(self, policy: Any, noise: float, seed: int) -> None:
        self.agent = policy.agent
        self.reset, self.add = policy.reset, policy.add
        self._policy, self._noise = policy, noise
        self._rng = np.random.default_rng(seed)

    def act(self, at_ns: int) -> dict[str, Any]:
        """The action, disturbed."""
        return {
            name: np.clip(value + self._rng.normal(0, self._noise, value.shape), -1, 1).astype(
                value.dtype
            )
            for name, value in self._policy.act(at_ns).items()
        }


def attempt(policy: Path, task: str, seed: int, noise: float, log: Path) -> None:
    """Run and record one attempt, in whatever process this is."""
    from viae.act import run

    acting = _policy(policy)
    run(
        _robot(task), Worn(acting, noise, seed) if noise else acting, log,
        conditions={"seed": seed}, notes={"world": WORLD}, horizon=open_world(WORLD).horizon,
    )  # fmt: skip


def recorded(policy: Path, part: Part, work: Path, processes: int) -> Store:
    """A store with the attempts of a part; those whose logs exist are not run again."""
    jobs = [
        (task, seed, work / part.name / "logs" / f"{task}-{seed}.mcap")
        for task, seed in part.attempts()
    ]
    with workers(processes) as executor:
        done = [
            executor.submit(attempt, policy, task, seed, part.noise, log)
            for task, seed, log in jobs
            if not log.exists()
        ]
        for each in as_completed(done):
            each.result()
    store = Store.create(work / part.name / "store")
    ingest([log for _, _, log in jobs], store)
    return store


@lru_cache
def _robot(task: str) -> Any:
    return open_world(WORLD).robot(task)


@lru_cache
def _policy(folder: Path) -> Any:
    from viae.act.base_policy import BasePolicy
    from viae.model import BaseBundle

    return BasePolicy(BaseBundle.load(folder))


def watched(bundle: Path, policy: Path, part: Part, work: Path, processes: int) -> Watched:
    """A part as the model sees it; kept beside its store."""
    import pickle

    from viae.foresee import Usual
    from viae.model import BaseBundle

    model = BaseBundle.load(bundle)
    kept = work / part.name / f"watched-{model.bundle_id}-{part.count}.pickle"
    if not kept.exists():
        store = recorded(policy, part, work, processes)
        wanted = set(part.attempts())
        episodes = [e for e in store.episodes() if (e.task, e.conditions["seed"]) in wanted]
        horizon = open_world(WORLD).horizon
        found = watch(
            model, store, episodes, steps=fixed_steps(horizon), horizon=horizon,
            usual=Usual.load(bundle),
        )  # fmt: skip
        kept.write_bytes(pickle.dumps(found))
    again: Watched = pickle.loads(kept.read_bytes())
    return again


def attempts(
    bundle: Path, policy: Path, work: Path, *, workers: int, counts: Mapping[str, int] = COUNTS
) -> dict[str, Watched]:
    """Attempts of all four parts, recorded and watched where they are not.

    Args:
        bundle: the base model that judges.
        policy: the base model that acts.
        work: folder to keep them in.
        workers: processes that run attempts.
        counts: attempts of each part, over all tasks.
    """
    noise = {"disturbed": NOISE}
    return {
        name: watched(
            bundle, policy,
            Part(
                name=name, seed=TRUST_SEED + number * APART, count=counts[name],
                noise=noise.get(name, 0.0),
            ),
            work, workers,
        )
        for number, name in enumerate(COUNTS)
    }  # fmt: skip


def early(watched: Watched) -> int:
    """After how many steps calibration and ranking are measured."""
    return fixed_steps(watched.horizon, [EARLY])[0]


def fit(parts: Mapping[str, Watched], bundle: Path) -> FittedTrust:
    """Trust of the labelled attempts, with the thresholds of those that are for alarms."""
    labelled, apart = parts["labelled"], parts["alarms"]
    return fit_trust(
        labelled, apart, bundle_id="benchmark", at=early(labelled), alpha=ALPHA, path=bundle
    )


def figures(parts: dict[str, Watched], bundle: Path) -> Iterator[Row]:
    """All rows."""
    tested, labelled = parts["tested"], parts["labelled"]
    for name, part in parts.items():
        rate = wilson(int(part.outcome.sum()), len(part))
        yield _row(f"trust_success_{name}", rate, unit="share", peer="of all attempts")
    steps = early(tested)
    fitted = fit(parts, bundle)
    yield from _at(fitted, tested, labelled, steps)
    for fraction in LATER:
        later = fixed_steps(tested.horizon, [fraction])[0]
        outcome, said = fitted.said(tested, later)
        units = tested.labelled(tested.steps.index(later)).units
        of = estimate_by_unit(auroc, outcome, said, units)
        yield _row(f"failure_auroc_at_{fraction:.0%}".rstrip("%"), of, peer="of the horizon")
    yield from _alarms(fitted, parts, bundle)


def _at(fitted: FittedTrust, tested: Watched, labelled: Watched, steps: int) -> Iterator[Row]:
    """Ranking and calibration after a number of steps."""
    k = tested.steps.index(steps)
    cases = tested.labelled(k)
    outcome, units = cases.outcome, cases.units
    [moment] = [m for m in held(fitted.saved, tested, Path("tested")).held
                if m.at == steps / tested.horizon]  # fmt: skip
    ended = f"{int((~tested.going[:, k]).sum())} had ended"
    measured = moment.measured
    assert measured.ece is not None and measured.brier_skill is not None
    yield _row("failure_auroc", measured.auroc, target=">= 0.95", peer=ended)
    yield _row("ece", measured.ece, target="<= 0.04", peer="10 bins of equal mass")
    yield _row("brier_skill", measured.brier_skill, target=">= 0.7", peer="the base rate")
    _, said = fitted.said(tested, steps)
    yield _within("failure_auroc_within_tasks", outcome, said, cases.tasks, units)
    [scorer] = [s for s in fitted.saved.scorers if s.steps == steps]
    scores = scorer.scores(cases.features, cases.given, cases.tasks)
    for name, score in zip(scorer.names, scores.T, strict=True):
        alone = estimate_by_unit(auroc, outcome, score, units)
        yield _row(f"failure_auroc_by_{name}", alone, peer="this source alone")
    # Without labels: sources on one scale, that of the labelled attempts, outcomes not looked at.
    scale = labelled.labelled(labelled.steps.index(steps)).given
    z = ((cases.given - scale.mean(0)) / np.maximum(scale.std(0), 1e-9)).mean(1)
    names = " + ".join(cases.sources)
    yield _row(
        "failure_auroc_unlabelled", estimate_by_unit(auroc, outcome, z, units),
        target=">= 0.85", peer=f"{names}, no labels",
    )  # fmt: skip
    yield _within("failure_auroc_unlabelled_within_tasks", outcome, z, cases.tasks, units)


def _alarms(fitted: FittedTrust, parts: dict[str, Watched], bundle: Path) -> Iterator[Row]:
    """False alarms where the guarantee holds, and where it does not; what alarms earn."""
    for sentence in fitted.refused:
        print(f"not done: {sentence}", file=sys.stderr)
    for suffix, name in (("", "tested"), ("_disturbed", "disturbed")):
        part = parts[name]
        for rule in held(fitted.saved, part, bundle).rules:
            kind = "" if rule.kind == "constant" else f"_{rule.kind}"
            done = rule.measured
            rate, n = done.false_alarms, max(done.false_alarms.n, 1)
            error = 2 * (ALPHA * (1 - ALPHA) / n) ** 0.5
            yield _row(
                f"false_alarm_5{kind}{suffix}", rate, unit="share",
                target="" if suffix or kind else f"<= {ALPHA + error:.4f}",
                peer=f"5% ± 2 s.e.: {max(ALPHA - error, 0):.3f} to {ALPHA + error:.3f}",
            )  # fmt: skip
            detected = f"{done.detected.value:.3f} of the failures detected"
            yield _row(
                f"twa{kind}{suffix}", done.twa, target="" if suffix or kind else ">= 0.75",
                peer=f"{detected}, the first alarm at {done.detected_at} of the horizon",
            )  # fmt: skip
    yield from _clock(fitted, parts, bundle)


def _clock(fitted: FittedTrust, parts: dict[str, Watched], bundle: Path) -> Iterator[Row]:
    """What elapsed time alone would earn under the same rule."""
    apart, tested = (fitted.saved.aligned(parts[name]) for name in ("alarms", "tested"))
    elapsed = {p.names[0]: np.tile(p.steps, (len(p), 1)) / p.horizon for p in (apart, tested)}
    runs = []
    for part in (apart, tested):
        cases = part.cases(-elapsed[part.names[0]], bundle)
        runs.append(cases.runs(cases.scores[:, 0]))
    rule = fit_rule("constant", runs[0], apart.outcome, apart.tasks, alpha=ALPHA)
    done = report_alarms(tested.outcome, rule.times(runs[1], tested.tasks), tested.units)
    yield _row("twa_clock", done.twa, peer="the clock alone, for comparison")


def _within(
    name: str,
    outcome: npt.NDArray[np.bool_],
    said: npt.NDArray[np.float64],
    tasks: npt.NDArray[Any],
    units: npt.NDArray[Any],
) -> Row:
    """AUROC among attempts at one task, weighted by pairs."""

    def pairs(right: npt.NDArray[np.bool_], cases: npt.NDArray[np.float64]) -> float:
        which = cases.astype(np.int64)
        better = total = 0.0
        for task in np.unique(tasks):
            own = tasks[which] == task
            count = float(right[own].sum() * (~right[own]).sum())
            if count:
                better += count * auroc(right[own], said[which[own]])
                total += count
        return better / total if total else float("nan")

    found = estimate_by_unit(pairs, outcome, np.arange(len(outcome), dtype=np.float64), units)
    return _row(name, found, peer="pairs of one task only")


def _row(name: str, found: Estimate, *, unit: str = "", target: str = "", peer: str = "") -> Row:
    return Row(
        name=name, value=found.value, low=found.low, high=found.high, n=found.n, unit=unit,
        target=target, peer=peer,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--bundle", type=Path, required=True, help="the base model that judges")
    parser.add_argument("--policy", type=Path, help="the base model that acts; default: --bundle")
    parser.add_argument("--work", type=Path, required=True, help="attempts are kept here")
    parser.add_argument("--workers", type=int, default=1, help="processes that run attempts")
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, help="attempts, over all tasks")
    given = parser.parse_args()
    counts = {name: getattr(given, name) for name in COUNTS}
    parts = attempts(
        given.bundle, given.policy or given.bundle, given.work, workers=given.workers, counts=counts
    )
    for row in figures(parts, given.bundle):
        row.print(as_json=given.json)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
