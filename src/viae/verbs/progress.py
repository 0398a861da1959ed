"""How a long verb tells how far it is: as data, for a terminal, a page or a test to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a long verb.

    Args:
        phase: what is being done, e.g. ``"ingest"``, ``"train"``.
        done: how much is done.
        total: of how much; None where nobody knows yet.
        note: the thing at hand: a file name, a loss.
    """

    phase: str
    done: int
    total: int | None
    note: str = ""


Tell: TypeAlias = Callable[[Progress], None]
"""Called between pieces of work. To cancel a verb, raise from it: what is committed stays."""


def quiet(moment: Progress) -> None:
    """Tells nobody."""
