"""Commands that ask a base model: foresee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, app, need
from viae.cli.render import err, out, print_json, print_table

if TYPE_CHECKING:
    from viae.verbs.foresee import ForeseeReport


@app.command()
def foresee(
    bundle: Annotated[Path, typer.Argument(help="Folder of a base model.")],
    store: Annotated[str, typer.Argument(help="The store: a folder, or s3://… .")],
    at: Annotated[str, typer.Option(help="The moment, EPISODE@12.3s, from the episode's start.")],
    actions: Annotated[
        str,
        typer.Option(
            help="recorded: as they were done; own: the model's; or a .npy or .json file."
        ),
    ] = "recorded",
    horizon: Annotated[int, typer.Option(help="Steps: actions, if the model has any.", min=1)] = 40,
    n: Annotated[int, typer.Option("-n", help="Futures.", min=1)] = 16,
    seed: int = 0,
    temperature: Annotated[
        float, typer.Option(help="1 samples from the model; less is bolder.", min=0)
    ] = 1.0,
    page: Annotated[
        Path | None, typer.Option("--out", help="Draw the futures beside what came: an HTML page.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Foresee what comes after a moment of a recorded episode, beside what came.

    Only what had arrived by the moment is shown to the model. What is wrong with it (a stream that
    it does not know, a frozen camera, a value outside of training) is named.
    """
    need("torch", "safetensors")
    if page:
        need("jinja2", "matplotlib")
    from viae.store import Store
    from viae.verbs.foresee import foresee as verb

    report = verb(
        bundle, Store.open(store), at, actions=actions, horizon=horizon, n=n, seed=seed,
        temperature=temperature,
    )  # fmt: skip
    if page:
        from viae.verbs.foresee_page import foresee_page

        foresee_page(report, page)
    if json:
        print_json(report.to_json())
        return
    _print(report)
    if page:
        out.print(f"{page} has the picture", markup=False, style="dim")


def _print(report: ForeseeReport) -> None:
    for blame in report.foreseen.blame:
        err.print(str(blame), markup=False, style="yellow", soft_wrap=True)
    rows = []
    for name, band in report.bands.items():
        rows.append(
            (name, len(band.at_s), float(band.at_s[-1]) if len(band.at_s) else None, band.covered)
        )
    print_table(("stream", "samples", "to, s", "in the 90% band"), rows)
    for name, answer in report.certain.items():
        err.print(
            f"{name}: certain: {answer} in training, so the model cannot say how else",
            markup=False, style="yellow", soft_wrap=True,
        )  # fmt: skip
    card = report.to_json()
    ended = ", ".join(f"{count} by {why}" for why, count in card["ended"].items())
    success = "" if report.success is None else f"; success at the moment {report.success:.2f}"
    if card["foreseen_success"] is not None:
        success += f", of the futures that ended {card['foreseen_success']:.2f}"
    out.print(f"{report.foreseen.n} futures ended: {ended}{success}", style="bold", markup=False)
