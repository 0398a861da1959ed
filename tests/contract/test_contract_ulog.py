"""ULog keeps the published contract."""

from pathlib import Path

from viae.logs.ulog import UlogFormat
from viae.testing import LogFormatContract
from viae.testing.ulog import write_ulog


class TestUlog(LogFormatContract):
    format = UlogFormat()

    def make_log(self, folder: Path) -> Path:
        return write_ulog(folder / "log.ulg")
