"""Simulators as robots."""

from viae.worlds.world import World, open_world

__all__ = ["World", "open_world"]
