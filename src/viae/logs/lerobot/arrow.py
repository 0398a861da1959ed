"""LeRobot datasets before version 2.0."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat


class LeRobotArrowFormat(LogFormat):
    """LeRobot datasets before version 2.0."""

    name: ClassVar[str] = "lerobot-arrow"

    def recognises(self, path: Path) -> bool:
        """Nothing yet."""
        return False

    def open(self, path: Path) -> Log:
        """Not there yet."""
        raise NotImplementedError
