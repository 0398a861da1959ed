"""The command about the order of recordings: order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import JsonOption, app
from viae.cli.render import err, out, print_json, print_table, progress_bar


@app.command()
def order(
    source: Annotated[Path, typer.Argument(help="An MCAP file, its messages in any order.")],
    path: Annotated[Path, typer.Argument(metavar="OUT", help="The new file.")],
    temp: Annotated[
        Path | None,
        typer.Option(
            help="Folder of temporary files, together as large as the source; else OUT's."
        ),
    ] = None,
    as_one: Annotated[
        bool, typer.Option("--as-one", help="One episode, even where its time starts again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write the messages of an MCAP file into a new one, in causal order.

    By log time; ties by role, topic, sequence, and place in the file. All else is kept: schemas,
    metadata, attachments. Takes less than 1 GB of memory, however large the file. A damaged file is
    read as far as [bold]viae repair[/] reads it. Exit code 1 if anything was lost.
    """
    from viae.verbs.order import order as verb

    with progress_bar() as tell:
        done = verb(source, path, temp=temp, as_one=as_one, tell=tell)
    if json:
        print_json(done.to_json())
    else:
        rows = [(topic, count, done.written[topic]) for topic, count in done.read.items()]
        print_table(("topic", "messages in", "messages out"), rows)
        for loss in done.losses:
            count = "" if loss.count is None else f" ({loss.count})"
            where = f" {loss.stream}" if loss.stream else ""
            err.print(f"{loss.kind} {loss.name}{where}{count}: {loss.detail}", markup=False)
        how = f"{done.runs} sorted runs merged" if done.runs > 1 else "nothing to merge"
        out.print(
            f"{sum(done.written.values())} of {sum(done.read.values())} messages, {done.metadata} "
            f"metadata records and {done.attachments} attachments into {path}: {done.late} came "
            f"after a later one; {how}", style="bold",
        )  # fmt: skip
    raise typer.Exit(0 if done.is_whole else 1)
