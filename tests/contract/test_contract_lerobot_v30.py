"""LeRobot datasets of version 3.0, whose episodes share files, keep the published contract."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from viae.logs.lerobot import LeRobotFormat
from viae.testing import LogFormatContract, write_lerobot
from viae.testing.making import CAMERA


class TestLeRobotV30(LogFormatContract):
    format = LeRobotFormat()

    def make_log(self, folder: Path) -> Path:
        return write_lerobot(folder / "dataset", version="v3.0")


class TestLeRobotV30WithoutVideo(LogFormatContract):
    format = LeRobotFormat()

    def make_log(self, folder: Path) -> Path:
        root = write_lerobot(folder / "dataset", version="v3.0", frames=2)
        (root / f"videos/{CAMERA}/chunk-000/file-000.mp4").unlink()
        info = json.loads((root / "meta/info.json").read_text())
        del info["features"][CAMERA]
        (root / "meta/info.json").write_text(json.dumps(info | {"video_path": None}))
        path = root / "meta/episodes/chunk-000/file-000.parquet"
        table = pq.read_table(path)
        kept = [name for name in table.column_names if not name.startswith("videos/")]
        pq.write_table(table.select(kept), path)
        return root
