"""Which episodes a verb is about: those that fit a SQL condition."""

from __future__ import annotations

from collections.abc import Sequence

from viae.errors import UsageError
from viae.schema import Episode
from viae.store import Store, query

EVERY = "true"


def all_of(*conditions: str) -> str:
    """The SQL condition that all of these hold; empty ones and ``true`` say nothing."""
    asked = [each for each in conditions if each.strip() not in ("", EVERY)]
    return asked[0] if len(asked) == 1 else " AND ".join(f"({each})" for each in asked) or EVERY


def fitting(store: Store, where: str) -> Sequence[Episode]:
    """The episodes that fit a SQL condition on the table ``episodes``, by id; there may be none.

    Raises:
        QueryError: ``where`` is not SQL.
    """
    ids = query(store, f"SELECT episode_id FROM episodes WHERE {where}")["episode_id"].to_pylist()
    found = set(ids)
    return [episode for episode in store.episodes() if episode.episode_id in found]


def chosen(store: Store, where: str) -> Sequence[Episode]:
    """As `fitting`, and there is at least one.

    Raises:
        UsageError: no episode fits.
        QueryError: ``where`` is not SQL.
    """
    found = fitting(store, where)
    if not found:
        raise UsageError(f"{store.uri}: no episode fits  {where} . List them with  viae ls")
    return found
