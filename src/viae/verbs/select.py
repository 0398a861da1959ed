"""Select: what to record next, from the outcomes in a store."""

from __future__ import annotations

from viae.errors import UsageError
from viae.select import Outcomes, QueueLine, allocate
from viae.store import Store


def select(store: Store, *, world: str, budget: int) -> list[QueueLine]:
    """Spend a budget of demonstrations where they are expected to help most.

    Reads every evaluation of a bundle that was trained from this store, and how many
    demonstrations of each task that bundle had.

    Args:
        store: with evaluations in it.
        world: only evaluations in this world count.
        budget: demonstrations to record in all.

    Returns:
        The queue, the largest expected gain first.

    Raises:
        UsageError: there is no such evaluation.
    """
    shown = {run["bundle"]: run["metrics"]["demonstrations"] for run in store.runs("train")}
    outcomes = [
        Outcomes(
            task=task,
            demonstrations=shown[run["bundle"]].get(task, 0),
            successes=rate["successes"],
            n=rate["n"],
        )
        for run in store.runs("evaluate")
        if run["config"]["world"] == world and run["bundle"] in shown
        for task, rate in run["metrics"]["tasks"].items()
    ]
    if not outcomes:
        raise UsageError(
            f"{store.uri} holds no evaluation in world '{world}' of a bundle trained from it: run  "
            "viae train  and  viae evaluate  first"
        )
    return allocate(outcomes, budget=budget)
