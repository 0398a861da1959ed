"""ROS 2 bags keep the published contract, whatever they are stored in."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from viae.errors import LogError
from viae.logs import open_log
from viae.logs.rosbag.ros2 import Ros2BagFormat
from viae.schema import Kind, Loss, Samples
from viae.testing import LogFormatContract
from viae.testing.bags import robot_messages, write_database, write_ros2_bag


class Ros2Contract(LogFormatContract):
    format = Ros2BagFormat()
    options: ClassVar[dict[str, Any]] = {}

    def make_log(self, folder: Path) -> Path:
        return write_ros2_bag(folder / "bag", robot_messages(16, ros=2), **self.options)

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
    def test_cut_short(self, log_path: Path, tmp_path: Path, share: float) -> None:
        """As the published suite has it, but by times instead of seq.

        The end of a database is not the end of its streams, nor is the end of the first of two
        files: what is cut off there is missing in the middle, and nobody can say how many messages
        of which topic that were. So the position of those behind it is that among what was read.
        """
        whole, no_losses = captured(log_path)
        assert not no_losses
        files = [log_path] if log_path.is_file() else sorted(log_path.iterdir())
        for number, file in enumerate(files):
            copy = tmp_path / f"cut {number}" / log_path.name
            if log_path.is_file():
                copy.parent.mkdir()
                shutil.copy(log_path, copy)
            else:
                shutil.copytree(log_path, copy)
            victim = copy if log_path.is_file() else copy / file.name
            data = victim.read_bytes()
            victim.write_bytes(data[: int(len(data) * share)])
            try:
                kept, losses = captured(copy)
            except LogError as error:
                assert str(tmp_path) in str(error)
                continue
            assert losses or kept == whole
            assert kept.items() <= whole.items()


def captured(path: Path) -> tuple[dict[tuple[str, int], int], list[Loss]]:
    """Capture by stream and arrival, bytes of undecodable messages left out; and the losses."""
    log = open_log(path)
    losses = list(log.losses)
    found = {}
    for episode in log.episodes:
        for item in episode.read():
            if isinstance(item, Loss):
                losses.append(item)
            if isinstance(item, Samples) and item.spec.kind is not Kind.BYTES:
                for arrival, capture in zip(
                    item.arrival_ns.tolist(), item.capture_ns.tolist(), strict=True
                ):
                    found[item.spec.name, arrival] = capture
    return found, losses


class TestSplitDatabases(Ros2Contract):
    options: ClassVar[dict[str, Any]] = {"parts": 2}


class TestSplitMcap(Ros2Contract):
    options: ClassVar[dict[str, Any]] = {"parts": 2, "storage": "mcap"}


class TestLoneDatabase(Ros2Contract):
    def make_log(self, folder: Path) -> Path:
        return write_database(folder / "log.db3", robot_messages(30, ros=2))
