"""Select: what to record next, from the outcomes in a store."""

from __future__ import annotations

from viae.errors import UsageError
from viae.select import Outcomes, QueueLine, allocate
from viae.store import Store


def select(store: Store, *, world: str, budget: int) -> list[QueueLine]:
    """Spend a budget of demonstrations where they are expected to help most.

    Reads every rollout of a bundle that was trained from this store, its outcome as the newest fact
    has it, and how many demonstrations of each task that bundle had.

    Args:
        store: with rollouts in it.
        world: only rollouts in this world count.
        budget: demonstrations to record in all.

    Returns:
        The queue, the largest expected gain first.

    Raises:
        UsageError: there is no such rollout.
    """
    shown = {
        f"bundle:{run['bundle']}": run["metrics"]["demonstrations"] for run in store.runs("train")
    }
    attempts: dict[tuple[str, str], list[bool]] = {}
    for episode in store.episodes():
        here = episode.conditions.get("world") == world
        if here and episode.agent in shown and episode.outcome is not None:
            attempts.setdefault((episode.agent, episode.task), []).append(episode.outcome)
    if not attempts:
        raise UsageError(
            f"{store.uri} holds no rollout in world '{world}' of a bundle trained from it: run  "
            "viae train  and  viae evaluate  first"
        )
    outcomes = [
        Outcomes(
            task=task,
            demonstrations=shown[agent].get(task, 0),
            successes=sum(came),
            n=len(came),
        )
        for (agent, task), came in sorted(attempts.items())
    ]
    return allocate(outcomes, budget=budget)
