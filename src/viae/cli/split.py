"""Held-out episodes: split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.render import check_folder, out, print_json, print_table, progress_bar, write_json


@app.command()
def split(
    store: StoreOption = "store",
    fraction: Annotated[float, typer.Option(help="Share of each task to hold out.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the choice.", min=0)] = 0,
    session: Annotated[
        str, typer.Option(help="SQL over episodes: equal values are one session. See below.")
    ] = "",
    where: Annotated[str, typer.Option(help="SQL condition on the table episodes.")] = "true",
    append: Annotated[
        bool, typer.Option("--append", help="Add it to the store, as facts with the key 'split'.")
    ] = False,
    path: Annotated[Path | None, typer.Option("--out", help="Write the ids to this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Hold out episodes of each task, and with them their sessions and near-duplicates.

    Without --session, an episode's session is what its conditions or facts say (session,
    session_id, operator, operator_id); else its file, where a file is one recording (MCAP, ROS
    bags, ULog); else it is alone. After --append, SQL knows the sides:
    --where "fact(episode_id, 'split') = 'train'".
    """
    from viae.store import Store
    from viae.verbs.split import split as verb

    if path:
        check_folder(path)
    with progress_bar() as tell:
        report = verb(
            Store.open(store), fraction=fraction, seed=seed, session=session, where=where,
            append=append, tell=tell,
        )  # fmt: skip
    if path:
        write_json(path, report.to_json())
    if json:
        print_json(report.to_json())
        return
    print_table(
        ("task", "episodes", "held out", "share"),
        [(task, every, held, held / every) for task, (every, held) in report.tasks.items()],
    )
    count, several = report.sessions
    said = ", ".join(f"{rule} ({n})" for rule, n in report.rules.items())
    out.print(f"{count} sessions, {several} of several episodes; by rule: {said}", markup=False)
    if report.alone:
        out.print(
            f"{report.alone} episodes do not say in which session they were recorded and are taken "
            "to be alone: what leaks between them is not known. Say it with --session",
            markup=False, style="yellow",
        )  # fmt: skip
    copies = sum(map(len, report.near_duplicates))
    groups = len(report.near_duplicates)
    out.print(f"{copies} episodes are near-duplicates, in {groups} groups", markup=False)
    drawn, now = report.by_episode, report.leak
    out.print(
        f"drawn episode by episode, {drawn.sessions} pairs across the split would have been of one "
        f"known session and {drawn.near_duplicates} near-duplicates; here it is {now.sessions} "
        f"and {now.near_duplicates}",
        markup=False,
    )
    where_to = [f"in {path}"] * (path is not None) + ["in the store, as facts"] * append
    out.print(
        f"{len(report.train)} to train on, {len(report.held_out)} held out"
        f"{', noted ' if where_to else ''}{' and '.join(where_to)}",
        style="bold", markup=False,
    )  # fmt: skip
