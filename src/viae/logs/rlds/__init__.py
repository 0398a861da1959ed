"""RLDS datasets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat


class RldsFormat(LogFormat):
    """RLDS datasets."""

    name: ClassVar[str] = "rlds"

    def recognises(self, path: Path) -> bool:
        """Nothing yet."""
        return False

    def open(self, path: Path) -> Log:
        """Not there yet."""
        raise NotImplementedError
