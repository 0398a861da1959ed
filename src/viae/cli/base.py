"""viae train base: the base model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import JsonOption, need
from viae.cli.render import out, print_json, print_table, progress_bar
from viae.cli.train import train_app
from viae.errors import UsageError


@train_app.command()
def base(
    folder: Annotated[Path, typer.Option("--out", help="Folder to write the bundle to.")],
    stores: Annotated[
        list[str],
        typer.Option("--store", help="A store; repeat for a mixture.", envvar="VIAE_STORE"),
    ],
    weights: Annotated[
        list[float] | None,
        typer.Option("--weight", help="How often a store is drawn; one per --store.", min=0),
    ] = None,
    where: Annotated[
        str, typer.Option(help="SQL condition on episodes: what to learn from.")
    ] = "true",
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="A YAML file with the words of BaseRecipe.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates, at most; overrules the recipe.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrules the recipe.")] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option("--pictures", help="A tokenizer, from viae train tokenizer."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="A base bundle to go on from: few demonstrations do then.")
    ] = None,
    log_to: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's files.")] = None,
    wandb: Annotated[str, typer.Option(help="Project of Weights & Biases.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of the network.", min=1)] = 1,
    json: JsonOption = False,
) -> None:
    """Train a base model: one model of everything in the log.

    Run it again after a kill: it goes on from the last checkpoint to the same weights.
    """
    need("torch", "safetensors", "transformers")
    if log_to:
        need("tensorboard")
    if wandb:
        need("wandb")
    import torch

    from viae.foresee import Usual
    from viae.store import Store
    from viae.train.base import BaseRecipe
    from viae.verbs.base import train_base

    if weights and len(weights) != len(stores):
        raise UsageError(f"{len(weights)} --weight for {len(stores)} --store: give one each")
    torch.set_num_threads(threads)
    recipe = BaseRecipe.read(recipe_file) if recipe_file else BaseRecipe()
    steps, seed = steps or recipe.loop.steps, recipe.loop.seed if seed is None else seed
    every = min(recipe.loop.check_every, steps)
    recipe = replace(recipe, loop=replace(recipe.loop, steps=steps, seed=seed, check_every=every))
    mixture = dict(zip(map(Store.open, stores), weights or [1.0] * len(stores), strict=True))
    with progress_bar() as tell:
        trained = train_base(
            mixture, folder, recipe, where=where, pictures=pictures or (), start=start,
            log_to=log_to, wandb=wandb, tell=tell,
        )  # fmt: skip
    metrics, vocabulary = trained.provenance.metrics, trained.vocabulary
    usual = Usual.load(folder)
    assert usual is not None
    summary = {
        "bundle": trained.bundle_id,
        "path": str(folder),
        "episodes": {name: len(ids) for name, ids in trained.provenance.episodes.items()},
        "streams": [spec.name for spec in vocabulary.streams],
        "questions": [question.name for question in vocabulary.questions],
        **{name: metrics[name] for name in ("left", "certain", "parameters", "skipped")},
        "usual": {"of": usual.of, "episodes": usual.episodes},
        "curve": metrics["curve"],
        "bits": metrics["bits"],
    }
    if json:
        print_json(summary)
        return
    print_table(("update", "training loss", "held-out loss"), metrics["curve"])
    last = metrics["bits"][-1]
    if last:
        print_table(("held out", "bits per token"), [[name, bits] for name, bits in last.items()])
    for name, value in summary.items():
        if name not in ("curve", "bits"):
            out.print(f"{name:>15}  {value}", markup=False)
