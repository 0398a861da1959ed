"""What the commands print: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from viae.errors import UsageError
from viae.verbs.progress import Progress as Moment
from viae.verbs.progress import Tell

MOST_LINES = 40
"""Printed of what may be long."""

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output, for programs; NaN and infinity become null."""
    sys.stdout.write(_json(value))


def write_json(path: Path, value: Any) -> None:
    """The same document in a file; raises as `write_text`."""
    write_text(path, _json(value))


def check_folder(path: Path) -> None:
    """Refuse at once a file that could not be written after minutes of work.

    Raises:
        UsageError: its folder does not exist, or it is a folder itself.
    """
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"{path}: this cannot be written: {why}")


def write_text(path: Path, text: str) -> None:
    """A file, in UTF-8.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: this cannot be written: {error}") from error


def _json(value: Any) -> str:
    plain = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=1) + "\n"


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = ""
) -> None:
    """A table; numbers are right-aligned, None is an em dash."""
    rows = [tuple(row) for row in rows]
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        numeric = all(isinstance(cell, int | float | None) for cell in cells) and bool(cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    Console(highlight=False, width=None if out.is_terminal else 160).print(table)


def print_first(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    what: str = "lines",
    most: int = MOST_LINES,
) -> None:
    """The first rows as a table, and how many there are more; nothing where there are none."""
    if rows:
        print_table(columns, rows[:most])
    print_left_out(len(rows) - most, what)


def print_left_out(count: int, what: str) -> None:
    """Say that so many are not shown; nothing where that is none."""
    if count > 0:
        out.print(f"… and {count} more {what}: --json prints all", style="dim")


def _cell(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("[", "\\[")


@contextmanager
def progress_bar(enabled: bool = True) -> Iterator[Tell]:
    """A bar on standard error that a verb's `Tell` moves; nothing where nobody looks."""
    if not enabled or not err.is_terminal:
        last: dict[str, str] = {}

        def log(moment: Moment) -> None:
            # Where no one watches a bar, one line per phase is enough.
            if enabled and moment.phase not in last:
                last[moment.phase] = moment.note
                err.print(f"{moment.phase} …", style="dim")

        yield log
        return
    columns = (
        TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("{task.fields[note]}", style="dim"),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(moment: Moment) -> None:
            if moment.phase not in tasks:
                tasks[moment.phase] = bar.add_task(moment.phase, total=moment.total, note="")
            bar.update(
                tasks[moment.phase], completed=moment.done, total=moment.total, note=moment.note
            )

        yield show
