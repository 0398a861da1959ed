"""The LeRobot format from version 2.0 on: a folder with ``meta/info.json``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.logs.format import Log, LogFormat
from viae.logs.lerobot.episode import LeRobotEpisode
from viae.logs.lerobot.info import Info
from viae.logs.lerobot.place import Layout
from viae.logs.lerobot.v21 import EpisodeFiles
from viae.logs.lerobot.v30 import SharedFiles


class LeRobotFormat(LogFormat):
    """LeRobot datasets of versions 2.0, 2.1 and 3.0; others are refused by name."""

    name: ClassVar[str] = "lerobot"

    def recognises(self, path: Path) -> bool:
        """A folder with ``meta/info.json`` that names its codebase version."""
        info = path / "meta" / "info.json"
        return info.is_file() and b'"codebase_version"' in info.read_bytes()

    def open(self, path: Path) -> Log:
        """The episodes whose rows are here; losses say which declared ones are not."""
        info = Info(path)
        layout: Layout = SharedFiles(info) if info.version == "v3.0" else EpisodeFiles(info)
        return Log(
            path=path,
            format=self.name,
            episodes=tuple(LeRobotEpisode(layout, index) for index in layout.episodes),
            losses=list(layout.losses()),
        )
