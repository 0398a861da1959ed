"""Statistics of streams: stats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.render import (
    check_folder,
    err,
    out,
    print_first,
    print_json,
    progress_bar,
    write_json,
)
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.verbs.stats import StatsReport

MOST_LINES = 100
MOST_THUMB = 512


class StatsFormat(StrEnum):
    """What is written to ``--out``."""

    VIAE = "viae"
    LEROBOT = "lerobot"


@app.command()
def stats(
    spec: Annotated[
        Path | None, typer.Argument(help="What to load: its streams, its episodes. Default: all.")
    ] = None,
    store: StoreOption = "store",
    where: Annotated[str, typer.Option(help="SQL condition on the table episodes.")] = "true",
    quantile: Annotated[
        list[float] | None,
        typer.Option(
            help="Between 0 and 1; repeatable. Default: 0.01, 0.1, 0.5, 0.9, 0.99.", min=0, max=1
        ),
    ] = None,
    thumb: Annotated[
        int, typer.Option(help="Pixels a side of thumbnails.", min=1, max=MOST_THUMB)
    ] = 32,
    every: Annotated[
        int | None,
        typer.Option(help="Look at every k-th picture. Default: about 2000 a stream.", min=1),
    ] = None,
    path: Annotated[Path | None, typer.Option("--out", help="Write the figures here.")] = None,
    form: Annotated[
        StatsFormat | None,
        typer.Option(
            "--format", help="Of --out: viae's (the default), or LeRobot's meta/stats.json."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Mean, spread, range and exact quantiles of every element of every stream.

    Of numbers every sample counts; of pictures some thumbnails, per channel. What is not a number
    is counted apart. Exit code 1 if a stream could not be summed up.
    """
    from viae.load.spec import read_spec
    from viae.load.stats import QUANTILES
    from viae.store import Store
    from viae.verbs.stats import stats as verb

    if form and not path:
        raise UsageError("--format is about the file that --out writes; add  --out FILE")
    if path:
        check_folder(path)
    asked = read_spec(spec) if spec else None
    with progress_bar() as tell:
        report = verb(
            Store.open(store), asked, where=where, quantiles=tuple(quantile or QUANTILES),
            thumb=thumb, every=every, tell=tell,
        )  # fmt: skip
    if path:
        content = report.to_lerobot() if form is StatsFormat.LEROBOT else report.to_json()
        write_json(path, content)
    if json:
        print_json(report.to_json())
    else:
        _print(report)
    raise typer.Exit(1 if report.failed else 0)


def _print(report: StatsReport) -> None:
    rows: list[tuple[Any, ...]] = []
    figures: tuple[str, ...] = ()
    for name, found in report.streams.items():
        columns = found.summary.columns()
        figures = tuple(key for key in columns if key not in ("nan", "infinite", "constant"))
        for number, element in enumerate(found.elements()):
            row = {key: column.flat[number].item() for key, column in columns.items()}
            notes = [f"{row[key]:,} {key}" for key in ("nan", "infinite") if row[key]]
            notes += ["constant"] if row["constant"] else []
            rows.append((name, element, *(row[key] for key in figures), ", ".join(notes)))
    print_first(("stream", "element", *figures, "note"), rows, most=MOST_LINES)
    for name, found in report.streams.items():
        if found.how != "all samples":
            said = f"{name}: {found.looked_at:,} of {found.samples:,} samples: {found.how}"
            out.print(said, markup=False, style="dim")
    if report.without:
        said = ", ".join(f"{name} ({kind})" for name, kind in report.without.items())
        out.print(f"no numbers: {said}", markup=False, style="dim")
    for name, why in report.failed.items():
        err.print(f"{name}: {why}", markup=False, style="yellow")
    out.print(f"{report.episodes} episodes, {report.snapshot}", style="bold")
