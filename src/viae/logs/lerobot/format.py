"""The LeRobot v2.1 format: one dataset folder, one episode per Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq

from viae.logs.format import Log, LogFormat
from viae.logs.lerobot.episode import UNREADABLE, LeRobotEpisode
from viae.logs.lerobot.info import Info
from viae.schema import Loss, LossKind


class LeRobotFormat(LogFormat):
    """LeRobot datasets; version 2.1 is read, others are refused by name."""

    name: ClassVar[str] = "lerobot"

    def recognises(self, path: Path) -> bool:
        """A folder with ``meta/info.json`` that names its codebase version."""
        info = path / "meta" / "info.json"
        return info.is_file() and b'"codebase_version"' in info.read_bytes()

    def open(self, path: Path) -> Log:
        """The episodes whose tables are here; losses say which declared ones are not."""
        info = Info(path)
        declared = sorted({*range(info.total_episodes), *info.declared})
        present = [index for index in declared if info.table(index).is_file()]
        return Log(
            path=path,
            format=self.name,
            episodes=tuple(LeRobotEpisode(info, index) for index in present),
            losses=list(_losses(info, declared, present)),
        )


def _losses(info: Info, declared: list[int], present: list[int]) -> Iterator[Loss]:
    if missing := sorted(set(declared) - set(present)):
        yield Loss(
            kind=LossKind.LOST,
            name="episodes-missing",
            path=str(info.root),
            count=len(missing),
            detail=f"{len(present)} of {len(declared)} declared episodes are here; "
            f"missing {_ranges(missing)}",
        )
    frames = sum(_rows(info.table(index)) for index in present)
    if frames != info.total_frames:
        fewer = frames < info.total_frames
        yield Loss(
            kind=LossKind.LOST if fewer else LossKind.REPAIRED,
            name="frames-missing" if fewer else "frames-undeclared",
            path=str(info.root),
            count=abs(info.total_frames - frames),
            detail=f"{info.total_frames} frames are declared, {frames} are here",
        )
    expected = {info.table(index) for index in present}
    if extra := sorted(set(info.root.glob("data/**/*.parquet")) - expected):
        yield Loss(
            kind=LossKind.SKIPPED,
            name="table-undeclared",
            path=str(info.root),
            count=len(extra),
            detail=f"no declared episode has these tables, the first {extra[0].name}; not read",
        )


def _rows(table: Path) -> int:
    """Rows by the file's footer; 0 where there is none to read, which the episode then says."""
    try:
        return int(pq.read_metadata(table).num_rows)
    except UNREADABLE:
        return 0


def _ranges(numbers: Iterable[int]) -> str:
    """``[0, 1, 2, 5]`` as ``"0-2, 5"``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
