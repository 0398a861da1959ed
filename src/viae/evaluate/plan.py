"""Which initial states an evaluation uses: never trained on, and the same for every policy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from viae.schema import Episode

FIRST_SEED = 1_000_000
"""Evaluations draw seeds from here on, demonstrations from 0 on; `plan` checks that they differ."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class InitialState:
    """One initial state of one task.

    Args:
        world: the world's name.
        task: the task.
        seed: what the world draws it from.
    """

    world: str
    task: str
    seed: int

    def __str__(self) -> str:
        return json.dumps([self.world, self.task, self.seed])


def initial_states_of(episodes: Iterable[Episode]) -> list[InitialState]:
    """The initial states of episodes recorded in worlds, sorted; episodes of robots have none."""
    states = set()
    for episode in episodes:
        world, seed = episode.conditions.get("world"), episode.conditions.get("seed")
        if isinstance(world, str) and isinstance(seed, int):
            states.add(InitialState(world=world, task=episode.task, seed=seed))
    return sorted(states)


def plan(
    world: str,
    tasks: Sequence[str],
    *,
    n: int,
    trained_on: Collection[str],
    first_seed: int = FIRST_SEED,
) -> list[InitialState]:
    """Initial states to evaluate on.

    Args:
        world: the world.
        tasks: its tasks.
        n: states per task.
        trained_on: states, as strings, that any policy to be compared was trained on.
        first_seed: the lowest seed.

    Returns:
        ``n`` states per task, none of them trained on.
    """
    states = []
    for task in tasks:
        seed = first_seed
        chosen: list[InitialState] = []
        while len(chosen) < n:
            state = InitialState(world=world, task=task, seed=seed)
            if str(state) not in trained_on:
                chosen.append(state)
            seed += 1
        states += chosen
    return states
