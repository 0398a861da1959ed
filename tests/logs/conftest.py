"""Small MCAP files of every encoding, and what reading one gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import CompressionType, Writer
from mcap_ros2.writer import Writer as Ros2Writer


@dataclass
class McapMaker:
    """Writes files with the `mcap` package, which is independent of viae's recorder."""

    folder: Path

    def raw(
        self,
        messages: list[tuple[str, bytes]],
        *,
        encoding: str = "json",
        schema: tuple[str, str, bytes] | None = None,
        stamps: Callable[[int], tuple[int, int]] = lambda i: (i, i),
        name: str = "made.mcap",
        **options: Any,
    ) -> Path:
        """Messages (topic, bytes); stamps gives (log_time, publish_time) of message i."""
        path = self.folder / name
        with path.open("wb") as file:
            writer = Writer(file, **options)
            writer.start()
            schema_id = writer.register_schema(*schema) if schema else 0
            channels = {
                topic: writer.register_channel(topic, encoding, schema_id)
                for topic in dict.fromkeys(topic for topic, _ in messages)
            }
            for i, (topic, data) in enumerate(messages):
                log_time, publish_time = stamps(i)
                writer.add_message(channels[topic], log_time, data, publish_time)
            writer.finish()
        return path

    def ros2(self, definition: str, messages: list[Any], type_: str = "test_msgs/msg/Made") -> Path:
        """Messages of one ROS 2 type on /made, at log times 1000, 1001, …"""
        path = self.folder / "ros2.mcap"
        with Ros2Writer(str(path)) as writer:
            schema = writer.register_msgdef(type_, definition)
            for i, message in enumerate(messages):
                writer.write_message("/made", schema, message, 1000 + i, 1000 + i, i)
        return path


@pytest.fixture
def make(tmp_path: Path) -> McapMaker:
    return McapMaker(tmp_path)


@pytest.fixture(params=[CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def compression(request: pytest.FixtureRequest) -> CompressionType:
    return request.param  # type: ignore[no-any-return]
