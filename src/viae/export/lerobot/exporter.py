"""The order of work: plan; rows, table, movies and statistics by episode; metadata; read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from viae.export.exporter import MOVIES, Exporter, ExportOptions, Note, Written
from viae.export.lerobot.meta import EpisodeMeta, Tasks, write_meta
from viae.export.lerobot.plan import PATHS, TASK, Column, Form, Plan, make_plan
from viae.export.lerobot.readback import Meant, read_back
from viae.export.lerobot.stats import PictureStats
from viae.export.lerobot.table import DATA, TableFiles, data_schema, data_table
from viae.export.lerobot.videos import VideoFiles
from viae.export.movie import Clip, clip_of, encode_clip
from viae.export.pictures import CODED, as_png, row_frames
from viae.export.resample import Rows, evened, rows_of
from viae.export.source import EpisodeSource
from viae.logs.lerobot.whole import Stats, vector_stats
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Samples, VideoGroup

ENCODERS = {"av1": "libsvtav1", "h264": "h264", "hevc": "hevc"}


class LeRobotExporter(Exporter):
    """LeRobot v3.0; see the package."""

    name: ClassVar[str] = "lerobot"
    resamples: ClassVar[bool] = True

    def write(
        self, episodes: Sequence[EpisodeSource], folder: Path, options: ExportOptions, note: Note
    ) -> Written:
        """Write a dataset and read it back.

        Raises:
            UsageError: the episodes do not fit into one dataset, or no clock was named and they
                share none.
            ExportError: what was read back is not what was meant.
        """
        plan = make_plan(episodes, options)
        writer = _Writer(plan, folder)
        for index, source in enumerate(episodes):
            note(source.where, index)
            writer.add(index, source)
        writer.finish(episodes)
        note("reading back", len(episodes))
        checked = read_back(folder, writer.meant)
        names = {column.stream: column.key for column in plan.columns}
        return Written(rows=writer.frames, names=names, losses=writer.losses, checked=checked)


class _Writer:
    """A dataset being written."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.losses = list(plan.losses)
        self.frames = 0
        self.meant: list[Meant] = []
        limits = {"chunks_size": plan.chunks_size}
        self._schema = data_schema(plan.columns, plan.book)
        self._table = TableFiles(folder, DATA, limit_mb=plan.data_mb, **limits)
        self._videos = {
            column.key: VideoFiles(
                folder, column.key, fps=plan.fps, limit_mb=plan.video_mb, **limits
            )
            for column in plan.columns
            if column.form is Form.VIDEO
        }
        self._tasks = Tasks(plan.origin)
        self._meta = EpisodeMeta(folder, plan)
        self._stats: list[Mapping[str, Stats]] = []

    def add(self, index: int, source: EpisodeSource) -> None:
        """Write one episode."""
        plan = self.plan
        stamps = {name: own for name, own in source.stamps().items() if name in plan.streams}
        rows = rows_of(source, stamps, plan.options, fps=plan.fps)
        self.losses += [loss for loss in source.corrected() if loss.stream in plan.streams]
        self.losses += rows.losses
        if not plan.origin:
            self.losses += evened(source, rows, plan.fps)
        whole = all(rows.is_whole(name, len(own)) for name, own in stamps.items()
                    if source.specs[name].kind is not Kind.TEXT)  # fmt: skip
        said = source.fact("lerobot.stats") if plan.origin and whole else None
        stats: dict[str, Stats] = cast(dict[str, Stats], said) if isinstance(said, dict) else {}
        fresh = not stats
        meant = Meant(rows=len(rows), where=source.where)
        values = self._book(index, source, rows)
        for name, numbers in values.items():
            renumbered = name in ("episode_index", "index") and not (
                plan.origin and plan.origin.is_kept
            )
            if fresh or (renumbered and name in stats):
                stats = {**stats, name: vector_stats(numbers)}
        meant.times(values["timestamp"])
        places: dict[str, Any] = {}
        made: dict[str, Stats] = {}
        for column in plan.columns:
            look = PictureStats(len(rows)) if fresh else None
            if column.form is Form.VIDEO:
                clip = self._clip(column, source, rows, len(stamps[column.stream]), look)
                places |= self._videos[column.key].append(clip)
                meant.packets(column.key, clip.packets)
            else:
                index_of = rows.index[column.stream]
                found = _column_values(column, source, index_of, look, keep=bool(plan.origin))
                values[column.key] = found
                meant.values(column.key, found)
                if fresh and column.form is Form.VECTOR:
                    made[column.key] = vector_stats(found)
            if look and column.form in (Form.IMAGE, Form.VIDEO):
                made[column.key] = look.stats()
        stats = {**made, **stats}
        chunk, file = self._table.place_for(len(rows))
        self._table.append(data_table(self._schema, plan.columns, values, self._paths(source)))
        row = {
            "episode_index": index,
            "tasks": self._said_tasks(source, values["task_index"]),
            "length": len(rows),
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + len(rows),
            **places,
        }
        keys = [*[column.key for column in plan.columns], *plan.book]
        stats = {key: stats[key] for key in dict.fromkeys([*keys, *stats]) if key in stats}
        stats = {key: one for key, one in stats.items() if key in keys}
        self._meta.append(row | _others(source, row), stats)
        self._stats.append(stats)
        self.frames += len(rows)
        self.meant.append(meant)

    def finish(self, episodes: Sequence[EpisodeSource]) -> None:
        """Close all files, and write what belongs to the dataset as a whole."""
        self._table.close()
        self._meta.close()
        for video in self._videos.values():
            video.close()
        plan = self.plan
        if plan.origin and not plan.origin.is_kept:
            detail = (
                "episodes are numbered anew from 0, as LeRobot wants them; meta/viae_export.json "
                "says which is which"
            )
            self.losses.append(
                Loss(
                    kind=LossKind.REPAIRED, name="episodes-renumbered", path="",
                    count=len(episodes), detail=detail,
                )
            )  # fmt: skip
        self.losses = _summed(self.losses)
        write_meta(
            self.folder,
            plan,
            episodes,
            self._tasks,
            frames=self.frames,
            stats=self._stats,
            videos={key: video.info() for key, video in self._videos.items()},
            losses=self.losses,
        )

    def _book(self, index: int, source: EpisodeSource, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """The bookkeeping columns: kept where they were kept, else counted."""
        n, plan = len(rows), self.plan
        steps = np.arange(n, dtype=np.int64)
        seconds = rows.at_ns / NS_PER_S if plan.origin else steps / float(plan.fps)
        book: dict[str, npt.NDArray[Any]] = {
            "timestamp": seconds,
            "frame_index": steps,
            "episode_index": np.full(n, index, np.int64),
            "index": steps + self.frames,
            "task_index": self._task_index(source, rows),
        }
        kept = {"timestamp", "frame_index"} if plan.origin else set()
        if plan.origin and plan.origin.is_kept:
            kept |= {"episode_index", "index"}
        for name in kept & source.specs.keys():
            column = np.asarray(source.samples(name).values).reshape(-1)
            if len(column) == n:
                book[name] = column
        return {name: values.astype(plan.book[name]) for name, values in book.items()}

    def _task_index(self, source: EpisodeSource, rows: Rows) -> npt.NDArray[np.int64]:
        n = len(rows)
        if self.plan.origin and "task_index" in source.specs:
            column = np.asarray(source.samples("task_index").values).reshape(-1)
            if len(column) == n:
                return column.astype(np.int64)
        table = source.fact("lerobot.table") if self.plan.origin else None
        if isinstance(table, dict) and isinstance(table.get("task_index"), int):
            return np.full(n, table["task_index"], np.int64)
        if TASK in source.specs and source.specs[TASK].kind is Kind.TEXT:
            spoken = source.samples(TASK)
            place = np.searchsorted(spoken.arrival_ns, rows.at_ns, side="right") - 1
            texts = [str(spoken.values[i]) if i >= 0 else source.episode.task for i in place]
            return np.array([self._tasks.index(text) for text in texts], np.int64)
        return np.full(n, self._tasks.index(source.episode.task), np.int64)

    def _said_tasks(self, source: EpisodeSource, indices: npt.NDArray[Any]) -> list[str]:
        said = source.fact("lerobot.episode") if self.plan.origin else None
        if isinstance(said, dict) and isinstance(said.get("tasks"), list):
            return [str(task) for task in said["tasks"]]
        found = [self._tasks.named(int(i)) for i in dict.fromkeys(indices.tolist())]
        return [text for text in found if text is not None]

    def _paths(self, source: EpisodeSource) -> dict[str, dict[int, str]]:
        """Names of image files, where they are not LeRobot's own."""
        found = {}
        for column in self.plan.columns if self.plan.origin else ():
            name = column.stream + PATHS
            if column.form is Form.IMAGE and name in source.specs:
                said = source.samples(name)
                texts = map(str, said.values)
                found[column.key] = dict(zip(said.seq.tolist(), texts, strict=True))
        return found

    def _clip(
        self, column: Column, source: EpisodeSource, rows: Rows, count: int,
        look: PictureStats | None,
    ) -> Clip:  # fmt: skip
        """The pictures of an episode: moved where rows are exactly the video's, else coded anew."""
        spec = source.specs[column.stream]
        index = rows.index[column.stream]
        codec = self.plan.options.codec
        if spec.kind is Kind.IMAGE:
            frames = row_frames(source.samples(column.stream), index, look)
            return encode_clip(frames, codec=codec, fps=self.plan.fps)
        groups = source.groups(column.stream)
        if rows.is_whole(column.stream, count):
            clip = clip_of(groups)
            if look:
                for _ in row_frames(groups, index, look):
                    pass
            return clip
        own = ENCODERS.get(spec.encoding) if self.plan.origin else None
        codec = own or (codec if codec in MOVIES else MOVIES[0])
        return encode_clip(row_frames(groups, index, look), codec=codec, fps=self.plan.fps)


def _column_values(
    column: Column,
    source: EpisodeSource,
    index: npt.NDArray[np.int64],
    look: PictureStats | None,
    *,
    keep: bool,
) -> Any:
    """The values of a feature that is in the table, a row each; ``keep`` whatever is coded."""
    spec = source.specs[column.stream]
    if column.form is Form.VECTOR:
        values = np.asarray(source.samples(column.stream).values)[index]
        return values.reshape(len(index), *column.shape)
    if column.form is Form.TEXT:
        texts = source.samples(column.stream).values
        return [str(texts[i]) if i >= 0 else "" for i in index.tolist()]
    pictures: Samples | list[VideoGroup]
    pictures = source.groups(spec.name) if spec.kind is Kind.VIDEO else source.samples(spec.name)
    if isinstance(pictures, Samples) and (spec.encoding in CODED or keep):
        if look:
            for _ in row_frames(pictures, index, look):
                pass
        coded = cast(Sequence[bytes], pictures.values)
        return [bytes(coded[i]) for i in index.tolist()]
    return [as_png(frame) for frame in row_frames(pictures, index, look)]


def _others(source: EpisodeSource, known: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the episode's metadata that LeRobot does not know, as they were."""
    said = source.fact("lerobot.episode")
    if not isinstance(said, dict):
        return {}
    places = ("data/", "videos/", "meta/", "stats/")
    return {
        name: value
        for name, value in said.items()
        if name not in known and not name.startswith(places)
    }


def _summed(losses: Sequence[Loss]) -> list[Loss]:
    """Losses alike in all but the count, as one with the number of episodes."""
    alike: dict[tuple[str, str, str], list[Loss]] = {}
    for loss in losses:
        alike.setdefault((str(loss.kind), loss.name, loss.stream), []).append(loss)
    summed = []
    for group in alike.values():
        first = group[0]
        if len(group) == 1:
            summed.append(first)
            continue
        counts = Counter({"all": sum(loss.count or 0 for loss in group)})
        summed.append(
            Loss(
                kind=first.kind, name=first.name, path=first.path, stream=first.stream,
                count=counts["all"],
                detail=f"{first.detail} (the first of {len(group)} episodes)",
            )
        )  # fmt: skip
    return summed
