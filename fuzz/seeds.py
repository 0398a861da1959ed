"""Small MCAP files to start a fuzzer from: ``python fuzz/seeds.py FOLDER``.

They are written here and now, by viae's recorder and by the ``mcap`` library, so that none of them
is anybody's data: every layout, compression and kind of record, each in as few bytes as it takes.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, IndexType, Writer
from mcap_ros2.writer import Writer as Ros2Writer

from viae.record import Recorder
from viae.schema import Kind, StreamSpec

ROS2 = """std_msgs/Header header
float64[3] fixed
float32[] ragged
string[] words
test_msgs/Inner[] inner
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: test_msgs/Inner
uint8 x
"""


def write_seeds(folder: Path) -> list[Path]:
    """Write all of them; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*_layouts(folder), *_episodes(folder), _ros2(folder), *_recorded(folder)]


def _layouts(folder: Path) -> list[Path]:
    paths = []
    layouts = itertools.product(CompressionType, (True, False), (IndexType.ALL, IndexType.NONE))
    for compression, use_chunking, index_types in layouts:
        if not use_chunking and compression is not CompressionType.NONE:
            continue
        words = (compression.name, "chunks" if use_chunking else "flat", index_types.name or "all")
        path = folder / f"{'-'.join(words).lower()}.mcap"
        paths.append(path)
        with path.open("wb") as file:
            writer = Writer(
                file, chunk_size=100, compression=compression, use_chunking=use_chunking,
                index_types=index_types, enable_data_crcs=not use_chunking,
            )  # fmt: skip
            writer.start("p", "l")
            schema = writer.register_schema("s", "jsonschema", b'{"type": "object"}')
            channel = writer.register_channel("t", "json", schema, {"k": "v"})
            other = writer.register_channel("u", "", 0)
            for i in range(5):
                writer.add_message(channel, i, b'{"x": %d}' % i, i, i)
            writer.add_metadata("m", {"k": "v"})
            writer.add_attachment(1, 2, "a", "text/plain", b"hi")
            writer.add_message(other, 9, b"\x01\x02", 9)
            writer.finish()
    return paths


def _episodes(folder: Path) -> list[Path]:
    """Time starts again, with and without an index."""
    paths = []
    for index_types in (IndexType.ALL, IndexType.NONE):
        path = folder / f"restarts-{(index_types.name or 'all').lower()}.mcap"
        paths.append(path)
        with path.open("wb") as file:
            writer = Writer(file, compression=CompressionType.NONE, index_types=index_types)
            writer.start()
            channel = writer.register_channel("t", "json", 0)
            for second in (0, 5, 9, 0, 6, 8):
                writer.add_message(channel, second * 10**9, b"1", 0)
            writer.finish()
    return paths


def _ros2(folder: Path) -> Path:
    path = folder / "ros2.mcap"
    with path.open("wb") as file:
        writer = Ros2Writer(file, compression=CompressionType.NONE)
        schema = writer.register_msgdef("test_msgs/msg/Made", ROS2)
        message = {
            "header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "f"},
            "fixed": [1.0, 2.0, 3.0], "ragged": [0.5], "words": ["a"], "inner": [{"x": 1}],
        }  # fmt: skip
        for i in range(3):
            writer.write_message("/made", schema, message, i, i, i)
        writer.finish()
    return path


def _recorded(folder: Path) -> list[Path]:
    paths = []
    for spec, value in (
        (StreamSpec(name="q", shape=(2,)), np.ones(2)),
        (StreamSpec(name="say", kind=Kind.TEXT, dtype=""), "hi"),
    ):
        path = folder / f"recorded-{spec.kind}.mcap"
        path.unlink(missing_ok=True)
        with Recorder(path, streams=[spec], robot="toy", task="wave") as recorder:
            for t in range(3):
                recorder.write(spec.name, value, capture_ns=t, arrival_ns=t)
            recorder.finish(True)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for seed in write_seeds(Path(sys.argv[1])):
        print(f"{seed.stat().st_size:6} {seed}")
