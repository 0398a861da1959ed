"""HDF5 demonstrations keep the published contract, in each layout."""

from pathlib import Path

from viae.logs.hdf5 import Hdf5Format
from viae.testing import LogFormatContract
from viae.testing.arrays import write_aloha, write_robomimic


class TestRobomimic(LogFormatContract):
    format = Hdf5Format()

    def make_log(self, folder: Path) -> Path:
        return write_robomimic(folder / "demo.hdf5", options={"compression": "gzip"})


class TestAloha(LogFormatContract):
    format = Hdf5Format()

    def make_log(self, folder: Path) -> Path:
        return write_aloha(folder / "episode_0.hdf5", compress=True)
