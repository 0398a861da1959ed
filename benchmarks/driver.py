"""Runs what measures figures and prints their rows: shared by ``road.py`` and ``logs.py``.

A figure's entry in the table is a function of a working folder that yields rows, or where to find
one, ``"module:function"``. Several figures may name the same one: it runs once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import TypeAlias

from rows import Row

DATA = Path(os.environ.get("VIAE_DATA", Path(__file__).parents[2] / "shared" / "data"))

Measure: TypeAlias = Callable[[Path], Iterator[Row]]


def main(
    figures: Mapping[str, Measure | str],
    *,
    description: str | None,
    need_data: Set[str] = frozenset(),
    folders: Mapping[str, str] | None = None,
) -> None:
    """Measure and print.

    Args:
        figures: by name, what measures it.
        description: of the command.
        need_data: figures that need the real logs.
        folders: figures that work in the folder of another one.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", action="append", help="NAME[,NAME…]; repeatable")
    parser.add_argument("--work", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    only = [name for names in arguments.only or () for name in names.split(",")]
    if unknown := sorted({*only} - figures.keys()):
        parser.error(f"no figure {', '.join(unknown)}; choose from {', '.join(figures)}")
    done: set[Measure | str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        for name in only or figures:
            figure = figures[name]
            if figure in done:
                continue
            done.add(figure)
            if name in need_data and not DATA.is_dir():
                print(f"{name}: skipped, no real logs at {DATA}; set VIAE_DATA", file=sys.stderr)
                continue
            measure = _found(figure)
            if measure is None:
                print(f"{name}: skipped, there is no {figure}", file=sys.stderr)
                continue
            for row in measure(work / (folders or {}).get(name, name)):
                row.print(as_json=arguments.json)


def _found(figure: Measure | str) -> Measure | None:
    if not isinstance(figure, str):
        return figure
    module, _, function = figure.partition(":")
    try:
        found: Measure = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
    return found
