"""Export: episodes of a store in the format of others, whole or not at all, and what it gave up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viae.errors import UsageError
from viae.export import EpisodeSource, ExportOptions, Late, episode_sources, exporter
from viae.export.folder import new_folder
from viae.schema import Episode, Loss
from viae.store import Store, query
from viae.verbs.progress import Progress, Tell, quiet


@dataclass(slots=True, kw_only=True)
class ExportReport:
    """What was exported.

    Args:
        to: the target format.
        out: the folder.
        episodes: ids, in the order in which they were written.
        rows: rows, samples or messages, whatever the target counts.
        names: per stream, its name in the target.
        losses: everything given up or changed.
        checked: how many values and packets were read back and found equal.
        files: paths below ``out``.
    """

    to: str
    out: str
    episodes: list[str] = field(default_factory=list)
    rows: int = 0
    names: dict[str, str] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    checked: int = 0
    files: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "to": self.to, "out": self.out, "episodes": self.episodes, "rows": self.rows,
            "names": self.names, "losses": [loss.to_json() for loss in self.losses],
            "checked": self.checked, "files": self.files,
        }  # fmt: skip


def export(
    store: Store,
    to: str,
    out: str | Path,
    *,
    episodes: Collection[str] = (),
    tasks: Collection[str] = (),
    where: str = "",
    streams: Collection[str] = (),
    clock: str = "",
    rate_hz: float | None = None,
    late: Late | str = Late.HOLD,
    fps: int | None = None,
    codec: str = "libsvtav1",
    chunks_size: int | None = None,
    data_mb: float | None = None,
    video_mb: float | None = None,
    tell: Tell = quiet,
) -> ExportReport:
    """Write episodes in another format, and read them back.

    Args:
        store: where they are; the newest state, read at one snapshot.
        to: ``"lerobot"``, ``"mcap"``, ``"rrd"`` or ``"parquet"``.
        out: a folder that does not exist yet.
        episodes: ids or their beginnings; all where empty.
        tasks: only episodes of these tasks.
        where: only episodes for which this SQL condition on the view ``episodes`` holds, e.g.
            ``"outcome AND robot = 'arm'"``.
        streams: only these streams; all where empty.
        clock: the stream whose samples are the rows, or ``"grid"`` (LeRobot).
        rate_hz: ticks a second of the grid (LeRobot).
        late: what becomes of samples that arrive late; see `viae.export.Late` (LeRobot).
        fps: the rate to declare where a stream is the clock (LeRobot).
        codec: how pictures are coded that must be coded anew, or ``"images"`` (LeRobot).
        chunks_size: files per folder (LeRobot).
        data_mb: bound of a table's file (LeRobot).
        video_mb: bound of a movie's file (LeRobot).
        tell: told of progress; ``done`` counts episodes.

    Raises:
        UsageError: the request makes no sense, or ``out`` exists; nothing was written.
        NoSuchEpisodeError: an id that no episode has.
        ExportError: what was read back is not what was meant; nothing was left.
    """
    target = exporter(to)
    options = ExportOptions(
        clock=clock, rate_hz=rate_hz, late=_late(late), fps=fps, codec=codec,
        chunks_size=chunks_size, data_mb=data_mb, video_mb=video_mb,
    )  # fmt: skip
    if not target.resamples and options != ExportOptions():
        raise UsageError(
            f"{to} holds every stream at its own rate: clock, rate, late samples, codec and sizes "
            "of files are for  --to lerobot"
        )
    out = Path(out)
    pinned = store.at(store.snapshot())
    chosen = _choose(pinned, episodes, tasks, where)
    sources = episode_sources(pinned, chosen, streams=streams)
    report = ExportReport(to=to, out=str(out), episodes=[source.id for source in sources])
    with new_folder(out) as folder:

        def note(text: str, done: int) -> None:
            tell(Progress(phase="export", done=done, total=len(sources), note=text))

        written = target.write(sources, folder, options, note)
        report.files = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
    report.rows, report.names = written.rows, written.names
    report.losses, report.checked = _unseen(written.losses, sources), written.checked
    tell(Progress(phase="export", done=len(sources), total=len(sources)))
    return report


def _late(late: Late | str) -> Late:
    try:
        return Late(late)
    except ValueError as error:
        raise UsageError(f"late is {', '.join(Late)}, not '{late}'") from error


def _choose(
    store: Store, ids: Collection[str], tasks: Collection[str], where: str
) -> Sequence[Episode]:
    chosen = [store.episode(prefix) for prefix in ids] if ids else store.episodes()
    if tasks:
        if unknown := sorted(set(tasks) - {episode.task for episode in store.episodes()}):
            raise UsageError(f"{store.uri}: no episode has the task {unknown[0]!r}")
        chosen = [episode for episode in chosen if episode.task in tasks]
    if where:
        rows = query(store, f"SELECT episode_id FROM episodes WHERE {where}")
        kept = set(rows["episode_id"].to_pylist())
        chosen = [episode for episode in chosen if episode.episode_id in kept]
    if not chosen:
        raise UsageError(f"{store.uri}: no episode is left to export. List them with  viae ls")
    return list({episode.episode_id: episode for episode in chosen}.values())


def _unseen(losses: Sequence[Loss], sources: Sequence[EpisodeSource]) -> list[Loss]:
    """Losses, each with a path for people: where none was said, the first log's."""
    where = sources[0].episode.log_uri
    return [
        loss
        if loss.path
        else Loss(
            kind=loss.kind, name=loss.name, path=where, detail=loss.detail, stream=loss.stream,
            count=loss.count, at_ns=loss.at_ns,
        )
        for loss in losses
    ]  # fmt: skip
