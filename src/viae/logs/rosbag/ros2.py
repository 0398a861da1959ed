"""ROS 2 bags: a folder with its ``metadata.yaml``, or a lone ``.db3``; one episode.

A recording in several files is one recording: its streams go on from file to file.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.errors import DamagedLogError, LogError
from viae.logs.format import Log, LogFormat
from viae.logs.rosbag.metadata import KEY, NAME
from viae.logs.rosbag.parts import find_parts, has_messages, storage_of
from viae.logs.rosbag.recording import Ros2BagEpisode
from viae.schema import Loss, LossKind

LONE = (".db3", ".db3.zstd", ".db3.zst", ".mcap.zstd", ".mcap.zst")
"""Files that are a bag by themselves; a lone ``.mcap`` is the MCAP format's."""
HEAD_BYTES = 4096


class Ros2BagFormat(LogFormat):
    """Bags of ROS 2, stored as SQLite or MCAP, in one file or split, compressed or not."""

    name: ClassVar[str] = "ros2bag"

    def recognises(self, path: Path) -> bool:
        """A file by its name; a folder by its ``metadata.yaml``, if that or what is in it fits."""
        if path.is_file():
            return path.name.lower().endswith(LONE)
        metadata = path / NAME
        if not metadata.is_file():
            return False
        with metadata.open("rb") as file:
            if KEY.encode() in file.read(HEAD_BYTES):
                return True
        return any(storage_of(each.name) for each in path.iterdir())

    def open(self, path: Path) -> Log:
        """One episode; none in a bag without messages.

        Files that are missing, empty or damaged are losses of the episode, as long as any file has
        a message.
        """
        bag = find_parts(path)
        errors: list[LogError] = []
        for part in bag.parts:
            try:
                if has_messages(part):
                    return Log(path=path, format=self.name, episodes=[Ros2BagEpisode(path, bag)])
            except LogError as error:
                errors.append(error)
        if len(errors) == 1 and path.is_file():
            raise errors[0]
        if errors or bag.missing or not bag.parts:
            why = str(errors[0]) if errors else f"of its files there are {len(bag.parts)}"
            raise DamagedLogError(
                path,
                found=f"no message can be read: {why}"
                + (f"; missing: {', '.join(bag.missing)}" if bag.missing else ""),
                expected="at least one file with a message",
                todo="copy the bag again if the original still exists",
            )
        empty = Loss(
            kind=LossKind.SKIPPED,
            name="no-messages",
            path=str(path),
            count=0,
            detail="the bag is whole and holds no messages; there is no episode in it",
        )
        return Log(path=path, format=self.name, episodes=[], losses=[empty])
