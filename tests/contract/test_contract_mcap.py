"""MCAP keeps the published contract."""

from pathlib import Path

import numpy as np

from viae.logs.mcap import McapFormat
from viae.record import Recorder
from viae.schema import Kind, StreamSpec
from viae.testing import LogFormatContract


class TestMcap(LogFormatContract):
    format = McapFormat()

    def make_log(self, folder: Path) -> Path:
        path = folder / "log.mcap"
        streams = [
            StreamSpec(name="arm/q", shape=(3,), names=("a", "b", "c")),
            StreamSpec(name="lidar", dtype="float32", shape=(-1,)),
            StreamSpec(name="say", kind=Kind.TEXT, dtype=""),
            StreamSpec(name="eye", kind=Kind.IMAGE, dtype="uint8", shape=(4, 6, 3), encoding="png"),
        ]
        rng = np.random.default_rng(0)
        with Recorder(path, streams=streams, robot="toy", task="wave") as recorder:
            for t in range(300):
                recorder.write("arm/q", rng.standard_normal(3), capture_ns=t, arrival_ns=t + 1)
            for t in range(9):
                recorder.write("lidar", np.ones(t, np.float32), capture_ns=t, arrival_ns=t + 2)
                recorder.write("say", f"word {t}", capture_ns=t, arrival_ns=t + 3)
                pixels = rng.integers(0, 256, (4, 6, 3), np.uint8)
                recorder.write("eye", pixels, capture_ns=t, arrival_ns=t + 4)
            recorder.finish(True)
        return path
