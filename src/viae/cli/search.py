"""Commands that find moments: embed, search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app, need
from viae.cli.render import out, print_json, print_table, progress_bar
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.verbs.search import SearchReport

WhereOption = Annotated[str, typer.Option(help="SQL condition on the table episodes.")]


@app.command()
def embed(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle that makes the vectors.")],
    store: StoreOption = "store",
    where: WhereOption = "true",
    half: Annotated[
        bool, typer.Option("--half", help="Keep the vectors as float16: half the size.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a vector of every window, so that [bold]viae search[/] finds like moments.

    What is embedded already is left alone, so that a killed run goes on where it stopped, and new
    episodes are added. Exit code 1 if episodes that fit were left out.
    """
    need("torch", "safetensors")
    from viae.store import Store
    from viae.verbs.embed import embed as verb

    with progress_bar() as tell:
        report = verb(
            Store.open(store), bundle, where=where, dtype="float16" if half else "float32",
            tell=tell,
        )  # fmt: skip
    if json:
        print_json(report.to_json())
    else:
        if report.left_out:
            print_table(("left out", "episodes"), list(report.left_out.items()))
        index = f", indexed in {report.index_s:.0f} s" if report.indexed else ""
        out.print(
            f"{report.windows:,} windows of {report.episodes} episodes embedded by "
            f"{report.embedder}, {report.known} episodes known already; {report.rows:,} vectors "
            f"of {report.dimension}{index}",
            style="bold", markup=False,
        )  # fmt: skip
    raise typer.Exit(1 if report.left_out else 0)


@app.command()
def search(
    store: StoreOption = "store",
    like: Annotated[
        str | None, typer.Option(help="A moment, EPISODE@12.3s: find windows like it.")
    ] = None,
    event: Annotated[
        str, typer.Option(help="Words: find tasks, facts, texts, events, outcomes about them.")
    ] = "",
    where: WhereOption = "true",
    k: Annotated[int, typer.Option("-k", help="At most so many hits.", min=1)] = 10,
    apart: Annotated[
        float,
        typer.Option(help="Seconds between hits of one episode; 0 keeps neighbours.", min=0),
    ] = 1.0,
    bundle: Annotated[
        Path | None, typer.Option(help="Embed first, with this bundle, what is not yet.")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="Whose vectors, where there are several: the beginning of its id.")
    ] = "",
    page: Annotated[
        Path | None, typer.Option("--out", help="Write the hits as an HTML page with pictures.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find the moments that are like one, or that words are about.

    With [bold]--like[/] and [bold]--event[/] both: windows like the moment, at such an event. The
    time of a moment counts from the start of its episode.
    """
    if bundle and embedder:
        raise UsageError("--bundle says whose vectors to use, and so does --embedder: give one")
    if bundle:
        need("torch", "safetensors")
    if page:
        need("jinja2", "matplotlib")
    from viae.store import Store
    from viae.verbs.search import search as verb

    opened = Store.open(store)
    with progress_bar() as tell:
        report = verb(
            opened, like=like, event=event, where=where, k=k, apart_s=apart,
            embedder=bundle or embedder, tell=tell,
        )  # fmt: skip
    if page:
        from viae.verbs.search_page import search_page

        search_page(opened, report, page)
    if json:
        print_json(report.to_json())
    else:
        _print(report)
        if page:
            out.print(f"{page} has the pictures", markup=False, style="dim")


def _print(report: SearchReport) -> None:
    if report.hits:
        print_table(
            ("moment", "task", "outcome", "agent", "distance", "score", "about"),
            [
                (
                    f"{hit.episode.episode_id}@{hit.at_s:.3f}s", hit.episode.task,
                    hit.episode.outcome, hit.episode.agent, hit.distance, hit.score,
                    f"{hit.source} {hit.name} {hit.text}".strip()[:120],
                )
                for hit in report.hits
            ],
        )  # fmt: skip
    found = f"{len(report.hits)} hits" if report.hits else "nothing was found"
    by = f", by {report.embedder}" if report.embedder else ""
    out.print(f"{found} in {report.search_s * 1e3:.0f} ms{by}", style="bold", markup=False)
