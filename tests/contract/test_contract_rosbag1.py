"""ROS 1 bags keep the published contract."""

from pathlib import Path

from viae.logs.rosbag.ros1 import Ros1BagFormat
from viae.testing import LogFormatContract
from viae.testing.bags import robot_messages, write_ros1_bag


class Ros1Contract(LogFormatContract):
    format = Ros1BagFormat()
    compression = "none"

    def make_log(self, folder: Path) -> Path:
        return write_ros1_bag(
            folder / "log.bag", robot_messages(30, ros=1), compression=self.compression,
            chunk_bytes=4000,
        )  # fmt: skip


class TestRos1Bag(Ros1Contract):
    pass


class TestRos1BagLz4(Ros1Contract):
    compression = "lz4"
