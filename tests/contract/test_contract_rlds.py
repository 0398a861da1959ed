"""RLDS datasets keep the published contract."""

from pathlib import Path

from viae.logs.rlds import RldsFormat
from viae.testing import LogFormatContract
from viae.testing.rlds import write_rlds


class TestRlds(LogFormatContract):
    format = RldsFormat()

    def make_log(self, folder: Path) -> Path:
        return write_rlds(folder / "1.0.0")
