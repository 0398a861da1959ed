"""What a world is: tasks that come as robots, with operators that can do them.

A world does not import `viae.act`: its robots and policies fit the protocols there by shape.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Protocol

from viae.errors import WorldError


class World(Protocol):
    """A family of tasks. Named in the entry-point group ``viae.worlds``."""

    name: str
    """The entry point's name."""
    tasks: tuple[str, ...]
    """Every task there is."""
    horizon: int
    """Steps after which an attempt counts as failed, unless the user says otherwise."""

    def robot(self, task: str) -> Any:
        """The task as a `viae.act.Robot`.

        Raises:
            WorldError: there is no such task.
        """
        ...

    def operator(self, task: str) -> Any:
        """Who can demonstrate the task, as a `viae.act.Policy`.

        Raises:
            WorldError: nobody can.
        """
        ...


def open_world(name: str) -> World:
    """The world of an installed entry point.

    Raises:
        WorldError: there is none of that name.
        MissingExtraError: it needs a package that is not installed.
    """
    found = {point.name: point for point in entry_points(group="viae.worlds")}
    if name not in found:
        raise WorldError(f"there is no world '{name}'; installed are {sorted(found)}")
    world: World = found[name].load()()
    return world
