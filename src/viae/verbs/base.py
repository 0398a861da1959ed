"""Train a base model: from the newest snapshots of some stores to a bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from viae.errors import UsageError
from viae.evaluate import initial_states_of
from viae.schema import JsonValue
from viae.store import Snapshot, Store
from viae.verbs.choose import EVERY, fitting
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.train import noted_snapshot
from viae.verbs.usual import fit_usual

if TYPE_CHECKING:
    from viae.model import BaseBundle
    from viae.train.base import BaseRecipe
    from viae.train.loop import Point

KIND = "train-base"


def train_base(
    stores: Mapping[Store, float] | Sequence[Store],
    out: Path,
    recipe: BaseRecipe,
    *,
    where: str = EVERY,
    pictures: Sequence[Path] = (),
    start: Path | None = None,
    log_to: Path | None = None,
    wandb: str = "",
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> BaseBundle:
    """Train a base model and write its bundle, and what was usual in its training beside it.

    Safe to kill and repeat, as `viae.verbs.train` is.

    Args:
        stores: what to learn from; with how often each is drawn, against its number of events.
        out: folder of the bundle.
        recipe: what to train.
        where: SQL condition on the table ``episodes`` of every store.
        pictures: folders of tokenizers of pictures.
        start: folder of a base bundle to go on from; None begins from nothing.
        log_to: folder for TensorBoard; None writes none.
        wandb: project of Weights & Biases; empty tells it nothing.
        tell: told of progress, with the loss and its parts as note.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: no episodes, or the recipe does not fit them; or the folder holds something
            else, or a bundle made with other options.
        QueryError: ``where`` is not SQL.
        TrainingError: the numbers went wrong again and again.
    """
    from viae.foresee import habits
    from viae.model import BaseBundle
    from viae.model.bundle import CARD
    from viae.model.tokens.tokenizer import PictureTokenizer
    from viae.train import logs
    from viae.train.base import Source
    from viae.train.base import train_base as trained

    weights = dict(stores) if isinstance(stores, Mapping) else dict.fromkeys(stores, 1.0)
    if not weights:
        raise UsageError("name a store to learn from")
    tokenizers = [PictureTokenizer.load(folder) for folder in pictures]
    begun = BaseBundle.load(start) if start else None
    asked: dict[str, JsonValue] = {
        "where": where, "recipe": recipe.to_json(),
        "stores": {store.uri: weight for store, weight in weights.items()},
        "pictures": {each.stream: each.tokenizer_id for each in tokenizers},
        "start": begun.bundle_id if begun else None,
    }  # fmt: skip
    first, work = next(iter(weights)), out.with_name(f"{out.name}.training")
    if (out / CARD).exists():
        found = BaseBundle.load(out)
        _check_same(found, out, first, asked)
        if not (out / habits.FILE).exists():  # killed before it was written
            _usual(out, found, list(weights), tell)
        shutil.rmtree(work, ignore_errors=True)
        return found
    if out.exists():
        raise UsageError(f"{out}: this exists and is no bundle. Name a new folder")
    sources = []
    for number, (store, weight) in enumerate(weights.items()):
        pinned = store.at(noted_snapshot(store, work / f"store-{number}", asked))
        episodes = tuple(fitting(pinned, where))
        sources.append(Source(store=pinned, episodes=episodes, weight=weight))
    hear = [logs.tensorboard(log_to, recipe.loop)] if log_to else []
    if wandb:
        hear.append(logs.wandb(wandb, out.name, asked, recipe.loop))

    def show(point: Point) -> None:
        for each in hear:
            each(point)
        note = told(point)
        tell(Progress(phase="train", done=point.step, total=recipe.loop.steps, note=note))

    tell(Progress(phase="train", done=0, total=recipe.loop.steps))
    states = [str(state) for each in sources for state in initial_states_of(each.episodes)]
    bundle = trained(
        sources, recipe, work=work, initial_states=states, progress=show,
        pictures={each.stream: each.codec for each in tokenizers}, start=begun,
    )  # fmt: skip
    first.add_run(
        run_id=f"{KIND}-{bundle.bundle_id}", kind=KIND, config=asked,
        metrics=dict(bundle.provenance.metrics), bundle=bundle.bundle_id,
        snapshot=sources[0].store.snapshot(), time_ns=now_ns(),
    )  # fmt: skip
    bundle.save(out)
    _usual(out, bundle, list(weights), tell)
    shutil.rmtree(work)
    return bundle


def _usual(out: Path, bundle: BaseBundle, stores: Sequence[Store], tell: Tell) -> None:
    """What is usual, from the snapshots that the bundle was trained on."""
    snapshots = bundle.provenance.training["snapshots"]
    ids = {each for part in bundle.provenance.episodes.values() for each in part}
    episodes = {}
    for store in stores:
        pinned = store.at(Snapshot(versions=snapshots[store.uri]))
        own = [episode for episode in pinned.episodes() if episode.episode_id in ids]
        if own:
            episodes[pinned] = own
    fit_usual(out, bundle, episodes, tell=tell)


def told(point: Point) -> str:
    """A point of the curve in words."""
    held_out = "" if point.held_out is None else f", held out {point.held_out:.3f}"
    parts = " ".join(f"{name} {bits:.2f}" for name, bits in point.parts.items())
    skipped = f"; left out batches {list(point.skipped)}" if point.skipped else ""
    return f"loss {point.train:.3f}{held_out}{'; bits ' if parts else ''}{parts}{skipped}"


def _check_same(
    bundle: BaseBundle, out: Path, store: Store, asked: Mapping[str, JsonValue]
) -> None:
    runs = {run["run_id"]: run["config"] for run in store.runs(KIND)}
    if runs.get(f"{KIND}-{bundle.bundle_id}") != asked:
        raise UsageError(
            f"{out}: the bundle here was trained with other options, or not from {store.uri}. Give "
            "another folder, or remove this one"
        )


__all__ = ["told", "train_base"]
