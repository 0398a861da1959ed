"""ROS 1 bags."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat


class Ros1BagFormat(LogFormat):
    """ROS 1 bags."""

    name: ClassVar[str] = "ros1bag"

    def recognises(self, path: Path) -> bool:
        """Nothing yet."""
        return False

    def open(self, path: Path) -> Log:
        """Not there yet."""
        raise NotImplementedError
