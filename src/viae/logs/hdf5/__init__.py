"""HDF5 demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat


class Hdf5Format(LogFormat):
    """HDF5 demonstrations."""

    name: ClassVar[str] = "hdf5"

    def recognises(self, path: Path) -> bool:
        """Nothing yet."""
        return False

    def open(self, path: Path) -> Log:
        """Not there yet."""
        raise NotImplementedError
