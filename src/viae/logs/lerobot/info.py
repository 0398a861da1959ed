"""What a LeRobot dataset says about itself in ``meta/``, whatever its version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError, LogError
from viae.logs.format import Statement
from viae.logs.lerobot.columns import BOOKKEEPING, Feature
from viae.logs.lerobot.place import as_json
from viae.schema import JsonValue, Loss, LossKind

VERSIONS = ("v2.0", "v2.1", "v3.0")

KNOWN = frozenset({"info.json", "stats.json", "tasks.jsonl", "episodes.jsonl", "tasks.parquet",
                   "episodes_stats.jsonl", "episodes", "subtasks.parquet"})  # fmt: skip
"""What LeRobot itself keeps in ``meta/``."""

KEPT_BYTES = 100_000
"""JSON files of others in ``meta/`` are kept up to this size."""


class Info:
    """``info.json``, and the other files of the dataset as a whole.

    Args:
        root: the dataset's folder.

    Raises:
        DamagedLogError: ``info.json`` is not JSON, or lacks what every version has.
        LogError: another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "meta" / "info.json"
        try:
            self.json: dict[str, Any] = json.loads(self.path.read_bytes())
            version = str(self.json["codebase_version"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.damaged(error) from error
        if version not in VERSIONS:
            raise LogError(
                root,
                found=f"a LeRobot dataset of version {version}, which is not read",
                expected=f"version {', '.join(VERSIONS[:-1])} or {VERSIONS[-1]}",
                todo=f"convert the dataset to {VERSIONS[-1]} with LeRobot's own scripts",
            )
        self.version = version
        try:
            self.robot = str(self.json.get("robot_type") or "")
            rate_hz = self.json.get("fps")
            self.rate_hz = float(rate_hz) if isinstance(rate_hz, int | float) else None
            self.total_episodes = int(self.json["total_episodes"])
            self.total_frames = int(self.json["total_frames"])
            self.features = {
                name: Feature.from_json(name, feature)
                for name, feature in self.json["features"].items()
            }
            self.data_path = str(self.json["data_path"])
            self.video_path = str(self.json.get("video_path") or "")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise self.damaged(error) from error

    @property
    def columns(self) -> tuple[Feature, ...]:
        """Features in the table that become streams."""
        return tuple(
            feature
            for feature in self.features.values()
            if feature.dtype != "video" and feature.name not in BOOKKEEPING
        )

    @property
    def videos(self) -> tuple[Feature, ...]:
        """Features in files of their own."""
        return tuple(feature for feature in self.features.values() if feature.dtype == "video")

    @property
    def identity(self) -> list[Any]:
        """What is part of every episode's fingerprint."""
        features = [(f.name, f.dtype, f.shape, f.names) for f in self.features.values()]
        return [self.robot, features]

    @cached_property
    def _dataset(self) -> tuple[dict[str, JsonValue], list[Loss]]:
        """Files of the dataset as a whole, by name, and those that were not taken."""
        kept: dict[str, JsonValue] = {}
        losses: list[Loss] = []
        for path in sorted(self.path.parent.iterdir()):
            if path.name in KNOWN - {"stats.json"} or path.name.startswith("."):
                continue
            try:
                small = path.name == "stats.json" or path.stat().st_size <= KEPT_BYTES
                if path.suffix == ".json" and small:
                    kept[path.name] = as_json(json.loads(path.read_bytes()))
                elif path.suffix == ".jsonl" and small:
                    lines = path.read_bytes().splitlines()
                    kept[path.name] = [as_json(json.loads(line)) for line in lines]
                else:
                    detail = f"meta/{path.name} is not LeRobot's; it is not kept"
                    losses.append(self.loss(LossKind.SKIPPED, "meta-unknown", 1, detail, path))
            except (ValueError, OSError, RecursionError) as error:
                detail = f"meta/{path.name} cannot be read ({error}); copy it again"
                losses.append(self.loss(LossKind.LOST, "meta-unreadable", 1, detail, path))
        return kept, losses

    @property
    def dataset_losses(self) -> list[Loss]:
        """Files in ``meta/`` that were not taken."""
        return self._dataset[1]

    def statements(
        self, *, episode: JsonValue, stats: JsonValue, dataset: dict[str, JsonValue] | None
    ) -> Iterator[Statement]:
        """What an exporter needs to write the same dataset again; see the package's docstring.

        Args:
            episode: the metadata of the episode.
            stats: its statistics.
            dataset: what else belongs to the dataset as a whole; None to leave all that out.
        """
        yield Statement(key="lerobot.info", value=self.json)
        if episode is not None:
            yield Statement(key="lerobot.episode", value=episode)
        if stats is not None:
            yield Statement(key="lerobot.stats", value=stats)
        if dataset is not None:
            yield Statement(key="lerobot.dataset", value={**self._dataset[0], **dataset})

    def loss(
        self, kind: LossKind, name: str, count: int | None, detail: str, path: Path | None = None
    ) -> Loss:
        """A loss of the dataset as a whole."""
        return Loss(kind=kind, name=name, path=str(path or self.root), count=count, detail=detail)

    def frame_losses(self, frames: int) -> Iterator[Loss]:
        """Declared against present frames."""
        if frames != self.total_frames:
            fewer = frames < self.total_frames
            yield self.loss(
                LossKind.LOST if fewer else LossKind.REPAIRED,
                "frames-missing" if fewer else "frames-undeclared",
                abs(self.total_frames - frames),
                f"{self.total_frames} frames are declared, {frames} are here",
            )

    def damaged(self, error: Exception) -> DamagedLogError:
        """``info.json`` is not one."""
        return DamagedLogError(
            self.path,
            found=f"it does not describe a dataset ({type(error).__name__}: {error})",
            expected="the info.json of a LeRobot dataset",
            todo="copy the dataset's meta folder again",
        )
