"""The command ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.data import _print_losses
from viae.cli.render import out, print_json, print_table, progress_bar


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet.")
    ],
    to: Annotated[str, typer.Option("--to", help="lerobot, mcap, rrd or parquet.")],
    store: StoreOption = "store",
    episode: Annotated[
        list[str] | None, typer.Option(help="An episode's id, or its beginning; repeatable.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task; repeatable.")] = None,
    where: Annotated[
        str, typer.Option(help='SQL condition on the view episodes, e.g. "outcome".')
    ] = "",
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; repeatable.")] = None,
    clock: Annotated[
        str, typer.Option(help="LeRobot: the stream whose samples are the rows, or 'grid'.")
    ] = "",
    rate: Annotated[
        float | None, typer.Option(help="LeRobot: rows at even ticks, so many a second.")
    ] = None,
    late: Annotated[
        str,
        typer.Option(
            help="LeRobot: samples that arrive late count from their arrival (hold), never (drop), "
            "or from when they were due (keep; not causal)."
        ),
    ] = "hold",
    fps: Annotated[
        int | None, typer.Option(help="LeRobot: the rate to declare with --clock STREAM.")
    ] = None,
    codec: Annotated[
        str,
        typer.Option(help="LeRobot: libsvtav1, h264, hevc; or images, to keep pictures alone."),
    ] = "libsvtav1",
    json: JsonOption = False,
) -> None:
    """Write episodes in the format of others: LeRobot v3.0, MCAP, Rerun, plain Parquet.

    The folder appears when it is whole and was read back. LeRobot has one clock: where the streams
    share none, say which with --clock or --rate. Everything given up is listed.
    """
    from viae.store import Store
    from viae.verbs.export import export as verb

    with progress_bar() as tell:
        report = verb(
            Store.open(store), to, folder, episodes=episode or (), tasks=task or (), where=where,
            streams=stream or (), clock=clock, rate_hz=rate, late=late, fps=fps, codec=codec,
            tell=tell,
        )  # fmt: skip
    if json:
        print_json(report.to_json())
        return
    print_table(("stream", f"in {to}"), sorted(report.names.items()))
    _print_losses(report.losses)
    out.print(
        f"{len(report.episodes)} episodes, {report.rows:,} "
        f"{'rows' if to == 'lerobot' else 'samples'} in {folder}; {report.checked:,} values and "
        "packets read back and equal",
        style="bold",
    )
