"""LeRobot datasets before version 2.0: a Hugging Face dataset, Arrow files beside videos.

::

    train/data-00000-of-00001.arrow     Arrow IPC streams; all episodes
    videos/KEY_episode_000000.mp4       what a column of (path, timestamp) points to

Nothing but the Arrow schema says what the columns are, so features come from their types. The
schema's own metadata (the ``huggingface`` description of features) is kept as ``lerobot.schema``.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from viae.errors import DamagedLogError
from viae.logs.format import Log, LogFormat, Statement
from viae.logs.lerobot.columns import BOOKKEEPING, Feature
from viae.logs.lerobot.episode import LeRobotEpisode
from viae.logs.lerobot.place import Clip, Layout, Place
from viae.logs.lerobot.rows import UNREADABLE, hash_rows
from viae.logs.remux import hash_video
from viae.schema import JsonValue, Loss, LossKind

NEEDED = ("episode_index", "frame_index", "timestamp")


class LeRobotArrowFormat(LogFormat):
    """LeRobot datasets before version 2.0."""

    name: ClassVar[str] = "lerobot-arrow"

    def recognises(self, path: Path) -> bool:
        """A folder with ``train/*.arrow``."""
        return any((path / "train").glob("*.arrow"))

    def open(self, path: Path) -> Log:
        """The episodes that the tables hold; losses say what of them cannot be read."""
        layout = ArrowFiles(path)
        return Log(
            path=path,
            format=self.name,
            episodes=tuple(LeRobotEpisode(layout, index) for index in layout.episodes),
            losses=list(layout.losses()),
        )


@dataclass(frozen=True, slots=True)
class ArrowPart:
    """Rows of a table that is mapped into memory, not read into it."""

    path: Path
    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return self.table.schema

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Those columns, at most so many rows at a time."""
        yield from self.table.select(list(columns)).to_batches(max_chunksize=rows)


class ArrowFiles(Layout):
    """A dataset of Arrow files.

    Args:
        root: the dataset's folder.

    Raises:
        DamagedLogError: no file of it can be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._losses: list[Loss] = []
        self._parts: dict[int, list[ArrowPart]] = {}
        schemas = []
        for path in sorted((root / "train").glob("*.arrow")):
            batches = list(self._batches(path))
            if not batches:
                continue
            table = pa.Table.from_batches(batches)
            if missing := [name for name in NEEDED if name not in table.schema.names]:
                detail = f"the table has no column {missing[0]}; no LeRobot dataset lacks it"
                self._lose(path, "table-unreadable", LossKind.SKIPPED, detail)
                continue
            schemas.append(table.schema)
            indices = table["episode_index"].fill_null(-1).to_numpy()
            edges = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
            for start, stop in itertools.pairwise(edges):
                if stop > start:
                    part = ArrowPart(path, table.slice(start, stop - start))
                    self._parts.setdefault(int(indices[start]), []).append(part)
        if not schemas:
            detail = self._losses[0].detail if self._losses else "there are no tables in it"
            raise DamagedLogError(
                root,
                found=f"none of its tables can be read ({detail})",
                expected="Arrow files in train/",
                todo="copy the dataset again",
            )
        self.episodes = sorted(self._parts)

    def _batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        """A file's batches, checked, up to the first that is damaged; memory is mapped."""
        try:
            if not path.stat().st_size:
                raise pa.ArrowInvalid("the file holds no bytes")
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
                for batch in reader:
                    batch.validate(full=True)
                    yield batch
            if not _ends(path):
                detail = "the stream has no end; what it held until there is kept"
                self._lose(path, "truncated", LossKind.LOST, detail)
        except UNREADABLE as error:
            why = str(error).partition("\n")[0]
            detail = f"the rest of the table cannot be read ({why:.200}); copy the file again"
            self._lose(path, "table-unreadable", LossKind.LOST, detail)

    def _lose(self, path: Path, name: str, kind: LossKind, detail: str) -> None:
        loss = Loss(kind=kind, name=name, path=str(path), count=None, detail=detail)
        self._losses.append(loss)

    def place(self, index: int) -> Place:
        """Where an episode is. Its pictures are where its columns of structs point to."""
        parts = tuple(self._parts[index])
        columns, clips = [], []
        for field in parts[0].schema:
            feature = Feature.from_arrow(field.name, field.type)
            if feature is None or field.name in BOOKKEEPING:
                continue
            if feature.dtype == "video":
                clips.append(self._clip(feature, parts))
            else:
                columns.append(feature)
        schema = parts[0].schema.metadata or {}
        said: JsonValue = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in schema.items()
        }
        return Place(
            index=index,
            parts=parts,
            clips=tuple(clips),
            columns=tuple(columns),
            source="the table",
            statements=lambda: iter([Statement(key="lerobot.schema", value=said)]),
        )

    def _clip(self, feature: Feature, parts: tuple[ArrowPart, ...]) -> Clip:
        """The video of an episode: the file that its first row names, from first to last row."""
        pointers = [part.table[feature.name].combine_chunks() for part in parts]
        first, last = pointers[0][0].as_py() or {}, pointers[-1][-1].as_py() or {}
        path, start_s, stop_s = first.get("path"), first.get("timestamp"), last.get("timestamp")
        if not path or start_s is None or stop_s is None:
            return Clip(feature=feature, path=None)
        rows = sum(map(len, parts))
        step_s = (stop_s - start_s) / (rows - 1) if rows > 1 and stop_s > start_s else 0.001
        return Clip(
            feature=feature,
            path=self.root / path,
            span=(start_s - step_s / 2, stop_s + step_s / 2),
        )

    def fingerprint(self, index: int) -> str:
        """Of the episode's rows and its pictures' packets."""
        place = self.place(index)
        digest = hashlib.blake2b(hash_rows(place.parts).encode(), digest_size=16)
        for clip in place.clips:
            here = clip.path is not None and clip.path.is_file()
            digest.update(hash_video(clip.path, clip.span).encode() if clip.path and here else b"-")
        return digest.hexdigest()

    def losses(self) -> Iterator[Loss]:
        """Tables that cannot be read."""
        yield from self._losses


def _ends(path: Path) -> bool:
    """Whether a stream is closed by its end-of-stream mark: a marker and a length of zero."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        return file.read() == b"\xff\xff\xff\xff\x00\x00\x00\x00"
