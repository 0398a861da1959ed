"""Commands about time: clock."""

from __future__ import annotations

from getpass import getuser
from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.render import out, print_first, print_json, progress_bar
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.verbs.clock import Said

FIGURES = ("offset_error_ms", "drift_ppm", "drift_error_ppm")


@app.command()
def clock(
    episodes: Annotated[
        list[str] | None, typer.Argument(help="Episodes' ids, or their beginnings; default: all.")
    ] = None,
    store: StoreOption = "store",
    where: Annotated[str, typer.Option(help="SQL condition on episodes.")] = "",
    stream: Annotated[
        list[str] | None,
        typer.Option("--stream", help="A stream, or a pattern such as 'camera*'; repeat for more."),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Judge the stamps again, as ingest does.")
    ] = False,
    offset_ms: Annotated[
        float | None,
        typer.Option(help="The stream's clock is ahead of the log's by so much; negative: behind."),
    ] = None,
    drift_ppm: Annotated[
        float | None, typer.Option(help="And runs faster by so much; negative: slower.")
    ] = None,
    as_stamped: Annotated[
        bool, typer.Option("--as-stamped", help="Take the stamps as they are.")
    ] = False,
    by_arrival: Annotated[
        bool, typer.Option("--by-arrival", help="The stamps say nothing: take the arrivals.")
    ] = False,
    author: Annotated[str, typer.Option(help="Who says so; default: the user.")] = "",
    json: JsonOption = False,
) -> None:
    """Show the clocks of streams, or correct them.

    A correction is a fact that is appended: nothing is rewritten, every window cut after it
    changes accordingly, and a snapshot from before gives the windows of before.
    """
    from viae.store import Store
    from viae.verbs.clock import clock as verb

    say = _say(fit, offset_ms, drift_ppm, as_stamped, by_arrival)
    with progress_bar(enabled=say is not None) as tell:
        report = verb(
            Store.open(store), episodes=episodes or (), where=where, streams=stream or (),
            say=say, author=author or _author(say), tell=tell,
        )  # fmt: skip
    if json:
        print_json(report.to_json())
        return
    rows = []
    for line in report.lines:
        said = line.to_json()
        figures = (_finite(said.get(key)) for key in FIGURES)
        rows.append((line.episode_id, line.stream, line.said, *figures, said.get("pieces"),
                     line.author or None))  # fmt: skip
    columns = ("episode", "stream", "clock", "± ms", "drift ppm", "± ppm", "pieces", "said by")
    print_first(columns, rows)
    done = f"{report.appended} facts appended; " if say is not None else ""
    others = f"{report.others} other streams" if report.lines else f"{report.others} streams"
    out.print(f"{done}{others} are as stamped" if report.others else done.rstrip("; "))


def _finite(figure: float | None) -> float | None:
    return figure if figure is not None and isfinite(figure) else None


def _say(
    fit: bool,
    offset_ms: float | None,
    drift_ppm: float | None,
    as_stamped: bool,
    by_arrival: bool,
) -> Said | tuple[float, float] | None:
    if sum((fit, offset_ms is not None, as_stamped, by_arrival)) > 1:
        raise UsageError("give one of --fit, --offset-ms, --as-stamped and --by-arrival")
    if drift_ppm is not None and offset_ms is None:
        raise UsageError("--drift-ppm goes with --offset-ms, the offset when the episode begins")
    if offset_ms is not None:
        return (offset_ms, drift_ppm or 0.0)
    return "fit" if fit else "as-stamped" if as_stamped else "by-arrival" if by_arrival else None


def _author(say: Said | tuple[float, float] | None) -> str:
    if say is None or say == "fit":
        return "viae clock"
    try:
        return getuser()
    except (OSError, KeyError, ImportError):  # a container may know no user
        return ""
