"""Commands about loading: load plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app
from viae.cli.render import out, print_json, print_table, progress_bar
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.load.plan import PathPlan, Plan
    from viae.verbs.load import LoadPlan

load_app = typer.Typer(help="How a model is fed.", no_args_is_help=True)
app.add_typer(load_app, name="load")

UNITS = {"": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("kmgt", 1)
    for end, base in (("", 1024), ("ib", 1024), ("b", 1000))
}
"""Of sizes, in small letters."""


@load_app.callback()
def load() -> None:
    """How a model is fed."""


@load_app.command()
def plan(
    spec: Annotated[Path, typer.Argument(help="What to load: YAML, JSON, or a bundle's folder.")],
    store: StoreOption = "store",
    where: Annotated[str, typer.Option(help="SQL condition on the table episodes.")] = "true",
    path: Annotated[
        str, typer.Option(help="Demand an access path: decode, cache or pool.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="Threads that make batches.", min=1)] = 2,
    memory: Annotated[
        str, typer.Option(help="For packets and decoded frames, such as 2GiB or 500MB.")
    ] = "1GiB",
    disk: Annotated[str, typer.Option(help="For a file of decoded frames; 0 makes none.")] = "0",
    folder: Annotated[
        Path | None, typer.Option(help="Where that file is kept; by default it is temporary.")
    ] = None,
    mixing: Annotated[
        float | None,
        typer.Option(
            help="Allow a shuffle pool whose batches lose at most this share of their effective "
            "size against independent draws."
        ),
    ] = None,
    measure: Annotated[
        str, typer.Option(help="Try the path chosen for so long, such as 10s; 0 does not.")
    ] = "5s",
    json: JsonOption = False,
) -> None:
    """Say how the windows of SPEC are loaded, how fast to expect it, and how fast it is.

    Three access paths give the same pixels: on demand; a cache of decoded frames; a decoded
    shuffle pool. The one marked is taken.
    """
    from viae.load.access import Access
    from viae.load.spec import read_spec
    from viae.store import Store
    from viae.verbs.load import plan as verb

    asked = read_spec(spec)
    access = Access(
        path=path,  # type: ignore[arg-type]
        memory_bytes=size(memory),
        disk_bytes=size(disk),
        folder=folder,
        mixing=mixing,
        mixing_batch=max(2, asked.batch_size),
    )
    with progress_bar() as tell:
        report = verb(
            Store.open(store), asked, access, where=where, threads=threads,
            measure_s=seconds(measure), tell=tell,
        )  # fmt: skip
    if json:
        print_json(report.to_json())
    else:
        _print(report)


def size(text: str) -> int:
    """Bytes in a size such as ``2GiB``, ``500MB`` or ``4096``.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", text.lower())
    unit = found[2] if found else None
    if found is None or (unit not in UNITS and unit != "b"):
        raise UsageError(f"{text!r} is no size; write such as 2GiB, 500MB or 4096")
    return int(float(found[1]) * UNITS.get(found[2], 1))


def seconds(text: str) -> float:
    """Seconds in a time such as ``10s`` or ``10``.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*s?\s*", text.lower())
    if found is None:
        raise UsageError(f"{text!r} is no time in seconds; write such as 10s")
    return float(found[1])


def _print(report: LoadPlan) -> None:
    plan = report.plan
    columns = ("", "path", "windows/s a thread", f"windows/s, {plan.threads} threads",
               "first epoch", "memory", "disk", "packets/frame", "mixing", "note")  # fmt: skip
    print_table(columns, [_row(plan, path) for path in plan.paths])
    out.print(f"{plan.chosen}: {plan.why}", style="bold", markup=False)
    if report.achieved_windows_s is not None and (now := plan.of(plan.chosen)) is not None:
        share = report.achieved_windows_s / now.windows_s
        out.print(
            f"achieved {report.achieved_windows_s:,.0f} windows/s in {report.measured_s:g} s, "
            f"{share:.0%} of {now.windows_s:,.0f} predicted"
        )
    shuffled = plan.shuffle
    if shuffled is not None:
        out.print(
            f"mixing: share of a batch of {shuffled.batch} lost against independent draws, at "
            f"worst, 95 % interval of {shuffled.batches} batches; a full shuffle: "
            f"{shuffled.distance:.3f} ({shuffled.low:.3f} to {shuffled.high:.3f})",
            style="dim",
        )
    for sentence in plan.advice:
        out.print(f"· {sentence}", markup=False)
    skipped = f", {report.skipped:,} left out" if report.skipped else ""
    out.print(
        f"{plan.windows:,} windows{skipped} of {report.episodes} episodes use {plan.frames:,} "
        f"frames, {in_units(plan.decoded_bytes)} decoded; {report.snapshot}",
        style="dim",
    )


def _row(plan: Plan, path: PathPlan) -> tuple[object, ...]:
    mixed = path.mixing
    said = f"{mixed.distance:.3f} ({mixed.low:.3f} to {mixed.high:.3f})" if mixed else None
    note = path.note if path.fits or path.path == plan.chosen else f"does not fit: {path.note}"
    return (
        "→" if path.path == plan.chosen else "", path.path, round(path.windows_s_thread),
        round(path.windows_s), round(path.first_windows_s), in_units(path.memory_bytes),
        in_units(path.disk_bytes), path.packets_per_frame, said, note.rstrip(": "),
    )  # fmt: skip


def in_units(count: int) -> str:
    """Bytes for people."""
    for power, unit in enumerate(("B", "KiB", "MiB", "GiB")):
        if count < 1024 ** (power + 1):
            return f"{count / 1024**power:.{min(power, 1)}f} {unit}"
    return f"{count / 1024**4:.2f} TiB"
