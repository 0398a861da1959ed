"""JSON and JSON lines: what is at a path in them, and rows of records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError
from viae.logs.tabular.columns import Column, Frame, Report, column_of_values
from viae.schema import Loss, LossKind

MISSING = object()
"""Nothing is at a path, not even null."""
FRAME_ROWS = 4096


def load_json(path: Path) -> Any:
    """What a JSON file holds; the whole of it is in memory.

    Raises:
        DamagedLogError: it is no JSON.
    """
    return parse_json(path, path.read_bytes(), "it")


def parse_json(path: Path, text: bytes, what: str) -> Any:
    """What some bytes of a file hold.

    Raises:
        DamagedLogError: they are no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedLogError(
            path,
            found=f"{what} is no JSON ({error!s:.100})",
            todo="copy the file again, or correct it there",
        ) from error


def lines_of(path: Path) -> list[tuple[int, int]]:
    """Where the lines of a file that are not blank begin and end, in bytes."""
    lines, at = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                lines.append((at, at + len(line)))
            at += len(line)
    return lines


def load_lines(path: Path, report: Report) -> list[Any]:
    """What the lines of a file hold; lines that are no JSON are told of and left out.

    Raises:
        DamagedLogError: no line is JSON.
    """
    rows: list[Any] = []
    bad: list[int] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError):
                bad.append(number)
    if bad and not rows:
        raise DamagedLogError(path, found="no line of it is JSON", todo="copy the file again")
    if bad:
        report(
            Loss(
                kind=LossKind.LOST,
                name="line-unreadable",
                path=str(path),
                count=len(bad),
                detail=f"they are no JSON; the first is line {bad[0]}",
            )
        )
    return rows


def at_path(value: Any, path: str) -> Any:
    """What is at a path like ``info.scores.0``, or `MISSING`; a name may itself have dots."""
    if not path:
        return value
    if isinstance(value, Mapping):
        if path in value:
            return value[path]
        for end in range(len(path) - 1, 0, -1):
            if path[end] == "." and path[:end] in value:
                return at_path(value[path[:end]], path[end + 1 :])
        return MISSING
    if isinstance(value, list):
        first, _, rest = path.partition(".")
        inside = first.isdigit() and int(first) < len(value)
        return at_path(value[int(first)], rest) if inside else MISSING
    return MISSING


class RecordTable:
    """Rows that are JSON objects, or single values, which are then in the column ``value``."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = [row if isinstance(row, Mapping) else {"value": row} for row in rows]
        self.names = tuple(dict.fromkeys(str(name) for row in self.rows for name in row))

    def frames(self) -> Iterator[Frame]:
        """All rows at once: only so is the type of a column known, and they are held anyway."""
        if self.rows:
            yield Frame(0, len(self.rows), self._column)

    def _column(self, name: str) -> Column:
        values = [at_path(row, name) for row in self.rows]
        return column_of_values([None if value is MISSING else value for value in values])
