"""LeRobot datasets keep the published contract."""

from pathlib import Path

from viae.logs.lerobot import LeRobotFormat
from viae.testing import LogFormatContract, write_lerobot


class TestLeRobot(LogFormatContract):
    format = LeRobotFormat()

    def make_log(self, folder: Path) -> Path:
        return write_lerobot(folder / "dataset")
