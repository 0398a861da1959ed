"""Zarr replay buffers keep the published contract, as folders and as zips."""

from pathlib import Path

from viae.logs.zarr import ZarrFormat
from viae.testing import LogFormatContract
from viae.testing.arrays import write_replay_buffer


class TestFolder(LogFormatContract):
    format = ZarrFormat()

    def make_log(self, folder: Path) -> Path:
        return write_replay_buffer(
            folder / "buffer.zarr", lengths=(5, 3), timestamps=True, images=False
        )


class TestFolder3(LogFormatContract):
    format = ZarrFormat()

    def make_log(self, folder: Path) -> Path:
        return write_replay_buffer(
            folder / "buffer.zarr", lengths=(5, 3), zarr_format=3, images=False
        )


class TestZip(LogFormatContract):
    format = ZarrFormat()

    def make_log(self, folder: Path) -> Path:
        return write_replay_buffer(folder / "buffer.zarr.zip", timestamps=True)
