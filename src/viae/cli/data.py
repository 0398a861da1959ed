"""Commands about data: ingest, ls, show, query."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.render import out, print_first, print_json, print_table, progress_bar
from viae.errors import UsageError
from viae.schema import Fact, Loss, to_s

if TYPE_CHECKING:
    from viae.video.lines import Account
    from viae.video.recoding import Recoding

MOST_TEXT = 300


class VideoChoice(StrEnum):
    """What becomes of coded video."""

    KEEP = "keep"
    FAST = "fast"


class ImageChoice(StrEnum):
    """What becomes of images."""

    KEEP = "keep"
    VIDEO = "video"


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Logs, datasets, or folders of them.")],
    store: StoreOption = "store",
    mapping: Annotated[
        Path | None, typer.Option(help="What you know better than the rules: a YAML file.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Ingest nothing; print a draft of a mapping.")
    ] = False,
    video: Annotated[
        VideoChoice,
        typer.Option(help="Coded video: move it as it is, or code it anew for fast access."),
    ] = VideoChoice.KEEP,
    images: Annotated[
        ImageChoice, typer.Option(help="JPEG, PNG and raw images: as they are, or as video.")
    ] = ImageChoice.KEEP,
    group: Annotated[
        int | None,
        typer.Option(help="Pictures a group of what is coded anew: more is smaller and slower."),
    ] = None,
    crf: Annotated[
        float | None,
        typer.Option(help="Quality of what is coded anew, 0 (best) to 51 (smallest)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read logs into a store.

    MCAP, ROS bags, LeRobot, HDF5, Zarr, RLDS, ULog, tables and videos. Every episode enters whole
    or not at all; what is in the store already is left alone; what cannot be read is reported and
    does not stop the rest.

    [bold]--video fast[/] and [bold]--images video[/] code pictures as H.264 in short closed
    groups, which loses some detail. Depth and other 16-bit pictures, sensor mosaics and pictures
    with transparency stay as they are. A log coded otherwise gives other episodes: they stand
    beside those that are there already.

    Exit code 1 if anything was lost.
    """
    from viae.logs import find_logs
    from viae.logs.mapping import read_mapping
    from viae.store import Store
    from viae.verbs.explain import explain as draft
    from viae.verbs.ingest import ingest as verb

    found = [find_logs(path) for path in paths]  # raises before a store is made for nothing
    rules = read_mapping(mapping) if mapping else None
    recoding = _recoding(video, images, group, crf)
    if explain and recoding:
        raise UsageError("--explain ingests nothing, so nothing can be coded anew")
    if explain:
        with progress_bar() as tell:
            drafts = [draft(log, mapping=rules, tell=tell) for each in found for log in each.logs]
        out.print("\n".join(drafts), markup=False, end="")
        return
    with progress_bar() as tell:
        report = verb(paths, Store.create(store), mapping=rules, recoding=recoding, tell=tell)
    if json:
        print_json(report.to_json())
    else:
        streams = sorted(report.streams(), key=lambda s: (-s.samples, s.stream))
        print_first(
            ("topic", "stream", "kind", "episodes", "samples", "Hz"),
            [(s.topic, s.stream, s.kind, s.episodes, s.samples, s.rate_hz) for s in streams],
            what="streams",
        )
        _print_recoded(report.recoded())
        _print_losses(report.losses)
        if report.skipped:
            names = ", ".join(Path(path).name for path in report.skipped[:5])
            more = ", …" if len(report.skipped) > 5 else ""
            out.print(f"{len(report.skipped)} files are no logs: {names}{more}", markup=False)
        if not report.logs:
            out.print(f"no log is in {', '.join(map(str, paths))}", markup=False, style="yellow")
        if report.unused:
            out.print(f"{mapping}: nothing fits {', '.join(report.unused)}", style="yellow")
        out.print(
            f"{report.ingested} episodes ingested, {report.known} known already, into {store}",
            style="bold",
        )
    raise typer.Exit(0 if report.complete and not report.unused else 1)


@app.command()
def ls(
    store: StoreOption = "store",
    json: JsonOption = False,
) -> None:
    """List the episodes of a store."""
    from viae.store import Store

    episodes = Store.open(store).episodes()
    if json:
        print_json([_episode_json(episode) for episode in episodes])
        return
    print_table(
        ("episode", "task", "robot", "agent", "seconds", "outcome", "format", "log"),
        [
            (
                e.episode_id, e.task, e.robot, e.agent, to_s(e.end_ns - e.start_ns), e.outcome,
                e.log_format, f"{Path(e.log_uri).name} {e.log_range}".strip(),
            )
            for e in episodes
        ],
    )  # fmt: skip
    out.print(f"{len(episodes)} episodes", style="bold")


@app.command()
def show(
    episode: Annotated[str, typer.Argument(help="An episode's id, or the beginning of it.")],
    store: StoreOption = "store",
    json: JsonOption = False,
) -> None:
    """Show an episode: its streams, and all that is said about it."""
    from viae.store import Store

    opened = Store.open(store)
    found = opened.episode(episode)
    streams = opened.streams([found.episode_id])
    facts = [f for f in opened.facts() if f.episode_id == found.episode_id]
    if json:
        print_json(
            {
                "episode": _episode_json(found),
                "streams": [
                    {**row["spec"].to_json(), "samples": row["samples"], "rate_hz": row["rate_hz"]}
                    for row in streams
                ],
                "facts": [{"key": f.key, "value": f.value, "author": f.author} for f in facts],
            }
        )
        return
    for name, value in _episode_json(found).items():
        out.print(f"{name:>11}  {value}", markup=False)
    print_table(
        ("stream", "kind", "role", "dtype", "shape", "unit", "encoding", "samples", "Hz"),
        [
            (
                row["stream"], str(row["spec"].kind), str(row["spec"].role), row["spec"].dtype,
                list(row["spec"].shape), row["spec"].unit, row["spec"].encoding, row["samples"],
                row["rate_hz"],
            )
            for row in streams
        ],
    )  # fmt: skip
    if facts:
        rows = [(f.key, _said(f), f.author) for f in facts]
        print_table(("fact", "value", "author"), rows)


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="DuckDB SQL over episodes, streams, samples, chunks, video, facts, runs."
        ),
    ],
    store: StoreOption = "store",
    json: JsonOption = False,
) -> None:
    """Ask a store in SQL.

    The view [bold]samples[/] has one row per sample: episode_id, stream, seq, capture_ns,
    arrival_ns, value (a list of doubles).
    """
    from viae.store import Store
    from viae.store import query as run

    table = run(Store.open(store), sql)
    if json:
        print_json(table.to_pylist())
        return
    columns = [column.to_pylist() for column in table.columns]
    print_table(table.column_names, zip(*columns, strict=True))


def _recoding(
    video: VideoChoice, images: ImageChoice, group: int | None, crf: float | None
) -> Recoding:
    from viae.video.encode import FastVideo
    from viae.video.recoding import Recoding

    said: dict[str, Any] = {"group": group, "crf": crf}
    given = {name: value for name, value in said.items() if value is not None}
    recoding = Recoding(video=str(video), images=str(images), coding=FastVideo(**given))
    if given and not recoding:
        raise UsageError(
            f"--{next(iter(given))} is about pictures that are coded anew; add  --video fast  or"
            "  --images video"
        )
    return recoding


def _print_recoded(accounts: list[Account]) -> None:
    rows = [
        (
            a.spec.name, f"{a.spec.kind} {a.spec.encoding}",
            f"kept: {a.kept}" if a.kept else f"{a.pictures:,} pictures in {a.groups:,} groups",
            None if a.kept else a.bytes_before / 1e6, None if a.kept else a.bytes_after / 1e6,
        )
        for a in accounts
    ]  # fmt: skip
    print_first(("stream", "was", "coded anew", "MB before", "MB after"), rows, what="streams")


def _print_losses(losses: list[Loss]) -> None:
    alike: dict[tuple[str, str, str], list[Loss]] = {}
    for loss in losses:
        alike.setdefault((str(loss.kind), loss.name, loss.detail), []).append(loss)
    rows = []
    for (kind, name, detail), group in alike.items():
        counts = [loss.count for loss in group if loss.count is not None]
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        where = " ".join(filter(None, (Path(group[0].path).name, group[0].stream))) + more
        rows.append((kind, name, sum(counts) if counts else None, where, detail))
    print_first(("", "what", "count", "where", "detail"), rows, what="losses")


def _said(fact: Fact) -> str:
    from viae.load.clocks import CLOCK_KEY
    from viae.verbs.clock import told_json

    return told_json(fact.value) if fact.key.startswith(CLOCK_KEY) else _short(fact.value)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}… (--json has all)"


def _episode_json(episode: Any) -> dict[str, Any]:
    return {name: getattr(episode, name) for name in episode.__dataclass_fields__}
