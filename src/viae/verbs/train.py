"""Train: from a store's newest snapshot, or a given one, to a bundle."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from viae.evaluate import initial_states_of
from viae.schema import Episode
from viae.store import Snapshot, Store, query
from viae.verbs.progress import Progress, Tell, quiet

if TYPE_CHECKING:
    from viae.model import Bundle
    from viae.train import CloneRecipe

DEMONSTRATIONS = "outcome IS NOT FALSE AND NOT starts_with(agent, 'bundle:')"
"""What a policy learns from unless told otherwise: what people and scripts did, failures apart."""


def train(
    store: Store,
    out: Path,
    recipe: CloneRecipe,
    *,
    where: str = DEMONSTRATIONS,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> Bundle:
    """Train a policy and write its bundle.

    Safe to kill and repeat: the snapshot is noted before the first update, and training goes on
    from the last checkpoint, ending with the same weights. A bundle that is there already is
    returned as it is.

    Args:
        store: what to learn from.
        out: folder of the bundle.
        recipe: what to train.
        where: SQL condition on the table ``episodes``.
        tell: told of progress, with the losses as note.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: no episodes, or the recipe does not fit them.
        QueryError: ``where`` is not SQL.
    """
    from viae.model import Bundle
    from viae.train import Point, train_clone

    if (out / "bundle.json").exists():
        return Bundle.load(out)
    work = out.with_name(f"{out.name}.training")
    pinned = store.at(_noted_snapshot(store, work))
    episodes = _chosen(pinned, where)

    def show(point: Point) -> None:
        held_out = "" if point.held_out is None else f", held out {point.held_out:.4f}"
        note = f"loss {point.train:.4f}{held_out}"
        tell(Progress(phase="train", done=point.step, total=recipe.loop.steps, note=note))

    tell(Progress(phase="train", done=0, total=recipe.loop.steps))
    states = [str(state) for state in initial_states_of(episodes)]
    bundle = train_clone(pinned, episodes, recipe, work=work, initial_states=states, progress=show)
    trained_tasks = [episode.task for episode in episodes]
    bundle.save(out)
    (work / "snapshot.json").unlink()
    work.rmdir()
    store.add_run(
        run_id=f"train-{bundle.bundle_id}", kind="train",
        config={"where": where, "recipe": recipe.to_json()},
        metrics={**bundle.provenance.metrics, "demonstrations": dict(Counter(trained_tasks))},
        bundle=bundle.bundle_id,
        snapshot=pinned.snapshot(), time_ns=now_ns(),
    )  # fmt: skip
    return bundle


def _noted_snapshot(store: Store, work: Path) -> Snapshot:
    """The snapshot that a killed run began with, or a new one, noted for the next."""
    note = work / "snapshot.json"
    if note.exists():
        return Snapshot.from_json(note.read_text())
    work.mkdir(parents=True, exist_ok=True)
    snapshot = store.snapshot()
    partial = note.with_name("snapshot.partial")
    partial.write_text(snapshot.to_json())
    partial.replace(note)
    return snapshot


def _chosen(store: Store, where: str) -> Sequence[Episode]:
    ids = query(store, f"SELECT episode_id FROM episodes WHERE {where}")["episode_id"].to_pylist()
    chosen = set(ids)
    return [episode for episode in store.episodes() if episode.episode_id in chosen]
