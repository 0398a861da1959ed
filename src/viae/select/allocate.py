"""How many demonstrations to record next, of which task: by expected gain in mean success.

The model is a learning curve per task, ``failure(d) = a · (d + 1)^-b`` after d demonstrations: each
task has its own difficulty ``a``, all share the exponent ``b``. Both are fitted to every outcome so
far (binomial likelihood) under weak priors, so that the first round already has an answer. The
priors are our assumption; that imitation follows power laws at all is known for the number of
environments and objects (Lin et al. 2024, arXiv:2410.18647), and assumed here for demonstrations.
Demonstrations are given one at a time to the task where the next one saves most failures; since the
curve is convex, this greedy choice is the best allocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError

PRIOR_EXPONENT, PRIOR_EXPONENT_SD = 0.6, 0.3
PRIOR_FIRST_FAILURE, PRIOR_FIRST_FAILURE_SD = -0.2, 0.7  # log failure after 0 demonstrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How a policy did on a task.

    Args:
        task: the task.
        demonstrations: it was trained on.
        successes: of n attempts.
        n: attempts.
    """

    task: str
    demonstrations: int
    successes: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """One line of the queue.

    Args:
        task: to demonstrate.
        demonstrations: how many to record.
        have: how many there are.
        failure_now: estimated failure rate.
        failure_then: expected failure rate with them.
        gain: expected gain in mean success over all tasks.
        reason: why, in words.
    """

    task: str
    demonstrations: int
    have: int
    failure_now: float
    failure_then: float
    gain: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def allocate(outcomes: Sequence[Outcomes], *, budget: int) -> list[QueueLine]:
    """Spend a budget of demonstrations.

    Args:
        outcomes: of every round so far, every task at least once.
        budget: demonstrations to record in all.

    Returns:
        A line per task, the largest gain first; lines of 0 demonstrations say why.

    Raises:
        UsageError: no outcomes, or a negative budget.
    """
    if not outcomes or budget < 0:
        raise UsageError(f"{len(outcomes)} outcomes and a budget of {budget} give no queue")
    tasks = sorted({o.task for o in outcomes})
    log_first, exponent = _fit_curves(outcomes, tasks)
    newest = {o.task: o for o in sorted(outcomes, key=lambda o: o.demonstrations)}
    have = {task: newest[task].demonstrations for task in tasks}
    given = dict.fromkeys(tasks, 0)

    def failure(task: str, extra: int) -> float:
        first = log_first[tasks.index(task)]
        return float(min(1.0, np.exp(first - exponent * np.log1p(have[task] + extra))))

    for _ in range(budget):
        saved = {t: failure(t, given[t]) - failure(t, given[t] + 1) for t in tasks}
        given[max(tasks, key=lambda task: (saved[task], task))] += 1
    lines = []
    for task in tasks:
        now, then = failure(task, 0), failure(task, given[task])
        gain = (now - then) / len(tasks)
        lines.append(
            QueueLine(
                task=task,
                demonstrations=given[task],
                have=have[task],
                failure_now=now,
                failure_then=then,
                gain=gain,
                reason=_reason(newest[task], given[task], now, then),
            )
        )
    return sorted(lines, key=lambda line: (-line.gain, line.task))


def _fit_curves(
    outcomes: Sequence[Outcomes], tasks: Sequence[str]
) -> tuple[npt.NDArray[np.float64], float]:
    """Most probable log failure at zero demonstrations per task, and the shared exponent."""
    from scipy.optimize import minimize

    which = np.array([tasks.index(o.task) for o in outcomes])
    log_d = np.log1p(np.array([o.demonstrations for o in outcomes], np.float64))
    failures = np.array([o.n - o.successes for o in outcomes], np.float64)
    successes = np.array([o.successes for o in outcomes], np.float64)

    def cost(x: npt.NDArray[np.float64]) -> float:
        q = np.clip(np.exp(x[:-1][which] - x[-1] * log_d), 1e-4, 1 - 1e-4)
        likelihood = failures @ np.log(q) + successes @ np.log1p(-q)
        prior = ((x[:-1] - PRIOR_FIRST_FAILURE) / PRIOR_FIRST_FAILURE_SD) ** 2
        exponent = ((x[-1] - PRIOR_EXPONENT) / PRIOR_EXPONENT_SD) ** 2
        return float(-likelihood + 0.5 * prior.sum() + 0.5 * exponent)

    start = np.append(np.full(len(tasks), PRIOR_FIRST_FAILURE), PRIOR_EXPONENT)
    bounds = [(-6.0, 3.0)] * len(tasks) + [(0.05, 2.0)]
    best = minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    return best.x[:-1], float(best.x[-1])


def _reason(seen: Outcomes, given: int, now: float, then: float) -> str:
    failed = f"failed {seen.n - seen.successes} of {seen.n} attempts with {seen.demonstrations}"
    if not given:
        return f"{failed} demonstrations; one more helps less here than elsewhere"
    return (
        f"{failed} demonstrations; {given} more are expected to cut its failures "
        f"from {now:.0%} to {then:.0%}"
    )
