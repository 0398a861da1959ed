"""Video files keep the published contract."""

from pathlib import Path

from viae.logs.videofile import VideoFormat
from viae.testing import LogFormatContract
from viae.testing.making import write_video


class TestMp4(LogFormatContract):
    format = VideoFormat()

    def make_log(self, folder: Path) -> Path:
        write_video(folder / "made.mp4", frames=12)
        return folder / "made.mp4"


class TestMkv(LogFormatContract):
    format = VideoFormat()

    def make_log(self, folder: Path) -> Path:
        write_video(folder / "made.mkv", frames=12)
        return folder / "made.mkv"


class TestAvi(LogFormatContract):
    format = VideoFormat()

    def make_log(self, folder: Path) -> Path:
        write_video(folder / "made.avi", frames=12)
        return folder / "made.avi"
