"""Commands that train: a policy where nothing else is named, and what else there is to train."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from viae.cli.app import JsonOption, app, need
from viae.cli.render import out, print_json, print_table, progress_bar
from viae.errors import UsageError


class _PolicyByDefault(TyperGroup):
    """``viae train FOLDER`` is ``viae train clone FOLDER``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["clone", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


train_app = typer.Typer(
    cls=_PolicyByDefault,
    help="Train a policy, a base model, or a tokenizer of pictures.",
)
app.add_typer(train_app, name="train")


@train_app.callback()
def train() -> None:
    """Train a policy, a base model, or a tokenizer of pictures.

    viae train FOLDER trains a policy by behaviour cloning: it is short for viae train clone FOLDER.
    """


@train_app.command()
def tokenizer(
    store: Annotated[str, typer.Argument(help="The store: a folder, or s3://… .")],
    folder: Annotated[Path, typer.Option("--out", help="Folder to write the tokenizer to.")],
    stream: Annotated[
        str, typer.Option(help="The stream of pictures; may be left out where there is one.")
    ] = "",
    where: Annotated[
        str, typer.Option(help="SQL condition on episodes: what to learn from.")
    ] = "true",
    size: Annotated[
        str, typer.Option(help="Height x width that pictures are scaled to, such as 96x128.")
    ] = "",
    patch: Annotated[int, typer.Option(help="Pixels a side of a patch: 4, 8, 16 or 32.")] = 8,
    steps: Annotated[int, typer.Option(help="Updates, at most.", min=1)] = 3000,
    batch: Annotated[int, typer.Option(help="Pictures per update.", min=1)] = 32,
    loss_db: Annotated[
        float, typer.Option(help="PSNR given up for sending few patches, dB.", min=0.01)
    ] = 0.1,
    room: Annotated[
        int, typer.Option(help="Tokens of a picture, at most; 0: what nearly all need.", min=0)
    ] = 0,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Train in bfloat16: faster where the processor has it.")
    ] = False,
    held_out: Annotated[
        float, typer.Option(help="Share of episodes for early stopping.", min=0, max=0.9)
    ] = 0.1,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="Threads of the network.", min=1)] = 1,
    json: JsonOption = False,
) -> None:
    """Train a tokenizer of pictures on a store's own video.

    Run it again after a kill: it goes on from the last checkpoint to the same weights.
    """
    need("torch", "safetensors")
    import torch

    from viae.store import Store
    from viae.train.loop import LoopConfig
    from viae.train.tokenizer import TokenizerRecipe
    from viae.verbs.tokenizer import train_tokenizer

    torch.set_num_threads(threads)
    recipe = TokenizerRecipe(
        stream=stream, size=_size(size), patch=patch, batch_size=batch, loss_db=loss_db, room=room,
        bf16=bf16, held_out_share=held_out,
        loop=LoopConfig(
            steps=steps, lr=2e-3, ema=0.995, check_every=min(100, steps), seed=seed
        ),
    )  # fmt: skip
    with progress_bar() as tell:
        trained = train_tokenizer(Store.open(store), folder, recipe, where=where, tell=tell)
    metrics, config = trained.provenance.metrics, trained.codec.painter.config
    summary: dict[str, Any] = {
        "tokenizer": trained.tokenizer_id,
        "path": str(folder),
        "stream": trained.stream,
        "size": list(config.size),
        "patches": config.patches,
        "codes": config.codes,
        "threshold": trained.codec.threshold,
        "room": len(trained.codec.slots),
        "tried": metrics["tried"],
        "episodes": {name: len(ids) for name, ids in trained.provenance.episodes.items()},
        "pictures": metrics["pictures"],
        "parameters": metrics["parameters"],
        "curve": metrics["curve"],
    }
    if json:
        print_json(summary)
        return
    print_table(("update", "training loss", "held-out loss"), metrics["curve"])
    tried = metrics["tried"]
    for name, value in summary.items():
        if name not in ("curve", "tried"):
            out.print(f"{name:>15}  {value}", markup=False)
    out.print(
        f"every patch: {config.patches} tokens a picture, {tried['dense_psnr']:.2f} dB. "
        f"What changed: {tried['tokens']:.1f} tokens, {tried['psnr']:.2f} dB "
        f"({tried['pictures']} pictures, {tried['of']}).",
        markup=False,
    )


def _size(text: str) -> tuple[int, int] | None:
    """A size such as ``96x128``; None where nothing is said.

    Raises:
        UsageError: it is none.
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise UsageError(f"--size {text}: say height x width, such as 96x128")
    return int(found[1]), int(found[2])
