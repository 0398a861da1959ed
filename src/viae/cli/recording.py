"""Commands about recordings: record, repair."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import (
    JsonOption,
    LogsOption,
    StoreOption,
    WorkersOption,
    WorldOption,
    app,
    logs_folder,
)
from viae.cli.render import err, out, print_json, print_table, progress_bar
from viae.errors import UsageError


@app.command()
def record(
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="A task, repeat for more; with --lines, the instruction."),
    ] = None,
    demonstrations: Annotated[
        int, typer.Option("-n", "--demonstrations", help="Of each task, old ones included.")
    ] = 3,
    store: StoreOption = "store",
    world: WorldOption = "metaworld",
    logs: LogsOption = None,
    horizon: Annotated[
        int | None,
        typer.Option(help="Steps after which an attempt has failed; default: the world's."),
    ] = None,
    realtime: Annotated[bool, typer.Option(help="Run at the robot's own speed.")] = False,
    workers: WorkersOption = 2,
    lines: Annotated[
        Path | None,
        typer.Option("--lines", help="Record JSON lines from standard input into this new log."),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option("--stream", help="With --lines: NAME[:KIND[:SHAPE[:UNIT]]]; repeatable."),
    ] = None,
    overflow: Annotated[
        str, typer.Option(help="With --lines: what a full queue does, block or drop.")
    ] = "block",
    flush_s: Annotated[
        float, typer.Option("--flush-s", help="With --lines: seconds a sample is at risk.", min=0.0)
    ] = 0.5,
    fsync: Annotated[
        bool, typer.Option("--fsync", help="With --lines: flush to the disk itself.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Record demonstrations by a world's operator and ingest them; or record lines.

    With [bold]--lines OUT.mcap[/], each line of standard input is a sample, {"stream": "q",
    "value": 0.5, "capture_ns": 5, "arrival_ns": 7}, where both times may be left out and "base64"
    can stand for "value"; an event, {"event": "grasp-lost"}; or the description of a stream,
    {"spec": {…}}. The end of the input, or Ctrl-C, closes the log. Exit code 1 if samples were
    dropped.
    """
    if lines:
        _record_lines(
            lines, stream or [], " ".join(task or []), overflow, flush_s, fsync=fsync, json=json
        )
        return
    if not task:
        raise UsageError("say what to record: --task NAME, or --lines OUT.mcap")
    from viae.store import Store
    from viae.verbs.record import record as verb
    from viae.verbs.rollouts import workers as pool

    folder = logs_folder(store, logs) / "demonstrations"
    with pool(workers) as executor, progress_bar() as tell:
        shown = verb(
            world, dict.fromkeys(task, demonstrations), Store.create(store), folder, executor,
            horizon=horizon, realtime=realtime, tell=tell,
        )  # fmt: skip
    if json:
        print_json({name: [state.seed for state in states] for name, states in shown.items()})
    else:
        rows = [(name, len(s), s[0].seed, s[-1].seed) for name, s in sorted(shown.items())]
        print_table(("task", "demonstrations", "first seed", "last seed"), rows)


@app.command()
def repair(
    source: Annotated[Path, typer.Argument(help="An MCAP file, damaged or never finished.")],
    path: Annotated[Path, typer.Argument(metavar="OUT", help="The new file.")],
    json: JsonOption = False,
) -> None:
    """Rewrite a damaged MCAP file into a new one, whole and with an index.

    All that can be read is kept as it is: messages, times, sequence numbers, schemas, metadata,
    attachments. The damaged file is left alone. Exit code 1 if anything was lost.
    """
    from viae.verbs.repair import repair as verb

    done = verb(source, path)
    if json:
        print_json(done.to_json())
    else:
        print_table(("topic", "messages"), sorted(done.messages.items()))
        for loss in done.losses:
            count = "" if loss.count is None else f" ({loss.count})"
            where = f" {loss.stream}" if loss.stream else ""
            err.print(f"{loss.kind} {loss.name}{where}{count}: {loss.detail}", markup=False)
        out.print(
            f"{sum(done.messages.values())} messages, {done.metadata} metadata records and "
            f"{done.attachments} attachments into {path}", style="bold",
        )  # fmt: skip
    raise typer.Exit(0 if done.is_whole else 1)


def _record_lines(
    path: Path,
    streams: list[str],
    task: str,
    overflow: str,
    flush_s: float,
    *,
    fsync: bool,
    json: bool,
) -> None:
    from viae.verbs.record_lines import parse_stream, record_lines

    done = record_lines(
        sys.stdin, path, streams=[parse_stream(text) for text in streams], task=task,
        overflow=overflow, flush_s=flush_s, fsync=fsync,
    )  # fmt: skip
    if json:
        print_json(done.to_json())
    else:
        names = sorted({*done.samples, *done.dropped})
        rows = [(name, done.samples.get(name, 0), done.dropped.get(name, 0)) for name in names]
        print_table(("stream", "samples", "dropped"), rows)
        how = "interrupted, and whole" if done.interrupted else "whole"
        out.print(f"{sum(done.samples.values())} samples in {path}: {how}", style="bold")
    raise typer.Exit(1 if done.dropped else 0)
