"""Which groups of a tree of arrays are episodes, and which arrays of an episode are its streams."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from viae.logs.arrays.column import Column
from viae.logs.arrays.names import in_order, role_of
from viae.schema import Role

NUMBERED = re.compile(r"[0-9]$")

Look = Callable[[str], tuple[Collection[str], bool]]
"""Names of the groups in a group, and whether arrays are in it, too."""


def episode_groups(look: Look, *, depth: int = 8) -> list[str]:
    """The groups that are episodes, by path; the root is the empty one.

    1. ``data`` at the root, with groups in it and no arrays: each of those (robomimic, robosuite).
    2. Else a group without arrays of its own, all of whose groups have names that end in a number
       (``traj_0``, ``episode_12``): each of those.
    3. Else, where a group holds one group and nothing else, the same is asked of that.
    4. Else the root, with all that is below it, is one episode.
    """
    groups, arrays = look("")
    if "data" in groups:
        inner, arrays_in_data = look("data")
        if inner and not arrays_in_data:
            return [f"data/{name}" for name in sorted(inner, key=in_order)]
    at = ""
    for _ in range(depth):
        if arrays or not groups:
            break
        if all(NUMBERED.search(name) for name in groups):
            return [_join(at, name) for name in sorted(groups, key=in_order)]
        if len(groups) > 1:
            break
        at = _join(at, next(iter(groups)))
        groups, arrays = look(at)
    return [""]


def rows_of_episode(columns: Sequence[Column]) -> int | None:
    """How many rows the episode has; None where its arrays do not agree.

    As many as its actions. Without actions: the most frequent first dimension, the larger one of
    two as frequent; at least half of the arrays must have it.
    """
    actions = [c.rows for c in columns if role_of(c.path) is Role.ACTION]
    lengths = Counter(actions or [column.rows for column in columns])
    if not lengths:
        return None
    rows, count = max(lengths.items(), key=lambda item: (item[1], item[0]))
    return rows if actions or 2 * count >= len(columns) else None


def is_stream(column: Column, rows: int) -> bool:
    """Whether it has a row for each of the episode's, or one more: what was seen at the end."""
    return column.rows in (rows, rows + 1) or column.cut_short


def _join(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name
