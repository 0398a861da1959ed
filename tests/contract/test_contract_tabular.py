"""Described tables keep the published contract."""

from pathlib import Path

from viae.logs.tabular import TabularFormat
from viae.testing import LogFormatContract
from viae.testing.tables import write_tables


class TestTabular(LogFormatContract):
    format = TabularFormat()

    def make_log(self, folder: Path) -> Path:
        return write_tables(folder / "set")
