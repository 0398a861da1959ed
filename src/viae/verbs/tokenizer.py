"""Train a tokenizer of pictures: from a store's newest snapshot, or a given one, to a folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from viae.errors import UsageError
from viae.schema import JsonValue
from viae.store import Store
from viae.verbs.choose import chosen
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.train import noted_snapshot

if TYPE_CHECKING:
    from viae.model.tokens.tokenizer import PictureTokenizer
    from viae.train.tokenizer import TokenizerRecipe


def train_tokenizer(
    store: Store,
    out: Path,
    recipe: TokenizerRecipe,
    *,
    where: str = "true",
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> PictureTokenizer:
    """Train a tokenizer and write it.

    Safe to kill and repeat, as `viae.verbs.train` is.

    Args:
        store: what to learn from.
        out: folder of the tokenizer.
        recipe: what to train.
        where: SQL condition on the table ``episodes``.
        tell: told of progress, with the losses as note.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: no episodes, or the recipe does not fit them; or the folder holds something
            else, or a tokenizer made with other options.
        QueryError: ``where`` is not SQL.
    """
    from viae.model.tokens.tokenizer import CARD, PictureTokenizer
    from viae.train.loop import Point
    from viae.train.tokenizer import train_tokenizer as trained

    asked: dict[str, JsonValue] = {"where": where, "recipe": recipe.to_json()}
    work = out.with_name(f"{out.name}.training")
    if (out / CARD).exists():
        found = PictureTokenizer.load(out)
        runs = {run["run_id"]: run["config"] for run in store.runs("tokenizer")}
        if runs.get(f"tokenizer-{found.tokenizer_id}") != asked:
            raise UsageError(
                f"{out}: the tokenizer here was trained with other options, or not from "
                f"{store.uri}. Give another folder, or remove this one"
            )
        shutil.rmtree(work, ignore_errors=True)
        return found
    if out.exists():
        raise UsageError(f"{out}: this exists and is no tokenizer. Name a new folder")
    pinned = store.at(noted_snapshot(store, work, asked))

    def show(point: Point) -> None:
        held_out = "" if point.held_out is None else f", held out {point.held_out:.5f}"
        note = f"loss {point.train:.5f}{held_out}"
        tell(Progress(phase="train", done=point.step, total=recipe.loop.steps, note=note))

    tell(Progress(phase="train", done=0, total=recipe.loop.steps))
    tokenizer = trained(pinned, chosen(pinned, where), recipe, work=work, progress=show)
    store.add_run(
        run_id=f"tokenizer-{tokenizer.tokenizer_id}", kind="tokenizer", config=asked,
        metrics=dict(tokenizer.provenance.metrics), bundle="",
        snapshot=pinned.snapshot(), time_ns=now_ns(),
    )  # fmt: skip
    tokenizer.save(out)
    shutil.rmtree(work)
    return tokenizer
