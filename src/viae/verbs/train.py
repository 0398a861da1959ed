"""Train: from a store's newest snapshot, or a given one, to a bundle."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viae.errors import UsageError
from viae.evaluate import initial_states_of
from viae.schema import JsonValue
from viae.store import Snapshot, Store
from viae.verbs.choose import fitting
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
    from the last checkpoint, ending with the same weights. A bundle that these options made from
    this store already is returned as it is.

    Args:
        store: what to learn from.
        out: folder of the bundle.
        recipe: what to train.
        where: SQL condition on the table ``episodes``.
        tell: told of progress, with the losses as note.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: no episodes, or the recipe does not fit them; or the folder holds a bundle made
            with other options, or from another store.
        QueryError: ``where`` is not SQL.
    """
    from viae.model import Bundle
    from viae.train import Point, train_clone

    asked: dict[str, JsonValue] = {"where": where, "recipe": recipe.to_json()}
    work = out.with_name(f"{out.name}.training")
    if (out / "bundle.json").exists():
        bundle = Bundle.load(out)
        _check_same(bundle, out, store, asked)
        shutil.rmtree(work, ignore_errors=True)
        return bundle
    if out.exists():
        raise UsageError(f"{out}: this exists and is no bundle. Name a new folder")
    pinned = store.at(noted_snapshot(store, work, asked))
    episodes = fitting(pinned, where)

    def show(point: Point) -> None:
        held_out = "" if point.held_out is None else f", held out {point.held_out:.4f}"
        note = f"loss {point.train:.4f}{held_out}"
        tell(Progress(phase="train", done=point.step, total=recipe.loop.steps, note=note))

    tell(Progress(phase="train", done=0, total=recipe.loop.steps))
    states = [str(state) for state in initial_states_of(episodes)]
    bundle = train_clone(pinned, episodes, recipe, work=work, initial_states=states, progress=show)
    trained_tasks = [episode.task for episode in episodes]
    store.add_run(  # before the bundle appears: a bundle whose run nobody noted is no use
        run_id=f"train-{bundle.bundle_id}", kind="train",
        config=asked,
        metrics={**bundle.provenance.metrics, "demonstrations": dict(Counter(trained_tasks))},
        bundle=bundle.bundle_id,
        snapshot=pinned.snapshot(), time_ns=now_ns(),
    )  # fmt: skip
    bundle.save(out)
    shutil.rmtree(work)
    return bundle


def _check_same(bundle: Bundle, out: Path, store: Store, asked: Mapping[str, Any]) -> None:
    """Refuse to pass an old bundle off as what is asked for now."""
    runs = {run["run_id"]: run["config"] for run in store.runs("train")}
    config = runs.get(f"train-{bundle.bundle_id}")
    todo = "Give another folder, or remove this one"
    if config is None:
        raise UsageError(f"{out}: the bundle here was not trained from {store.uri}. {todo}")
    differ = sorted(name for name in asked if asked[name] != config[name])
    if differ:
        raise UsageError(
            f"{out}: the bundle here was trained with another {' and '.join(differ)}. {todo}"
        )


def noted_snapshot(store: Store, work: Path, asked: Mapping[str, Any]) -> Snapshot:
    """The snapshot that a killed run of the same options began with, or a new one, noted."""
    note = work / "begun.json"
    if note.exists():
        begun = json.loads(note.read_text())
        if begun["asked"] == asked:
            return Snapshot(versions=begun["snapshot"])
    work.mkdir(parents=True, exist_ok=True)
    snapshot = store.snapshot()
    partial = note.with_name("begun.partial")
    partial.write_text(json.dumps({"asked": asked, "snapshot": dict(snapshot.versions)}))
    partial.replace(note)
    return snapshot
