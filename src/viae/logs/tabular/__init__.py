"""Tables."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat


class TabularFormat(LogFormat):
    """Tables."""

    name: ClassVar[str] = "tabular"

    def recognises(self, path: Path) -> bool:
        """Nothing yet."""
        return False

    def open(self, path: Path) -> Log:
        """Not there yet."""
        raise NotImplementedError
