"""The times of all samples of some streams over many episodes, and where their values lie.

Samples of a stream are numbered through all episodes, episode after episode, in recorded order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from viae.errors import WindowError
from viae.load.clocks import on_log_clock, read_clocks
from viae.schema import Kind, StreamSpec, TimesNs
from viae.sequence import Timeline
from viae.store import Store, times_from_rows
from viae.video.decoder import Coding
from viae.video.pictures import RAW_FORMATS

Ints = npt.NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class StreamRows:
    """One stream over the episodes: the rows of the store that hold it, and its times.

    Args:
        spec: as the first episode has it.
        starts: int64 [E + 1], number of each episode's first sample.
        rows: int64 [R], rows of ``chunks`` or ``video``, in the order of the samples.
        row_starts: int64 [R + 1], number of each row's first sample.
        capture_ns: int64 [N], log clock: corrections applied.
        arrival_ns: int64 [N].
        codings: how groups of pictures are coded; video only.
        coding_of: int64 [R], index into ``codings``; video only.
    """

    spec: StreamSpec
    starts: Ints
    rows: Ints
    row_starts: Ints
    capture_ns: TimesNs
    arrival_ns: TimesNs
    codings: tuple[Coding, ...]
    coding_of: Ints

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def timeline(self, episode: int) -> Timeline:
        """The times of one episode's part."""
        part = slice(int(self.starts[episode]), int(self.starts[episode + 1]))
        return Timeline(
            role=self.spec.role,
            capture_ns=self.capture_ns[part],
            arrival_ns=self.arrival_ns[part],
        )

    def episode_of(self, sample: int) -> int:
        """Which episode a sample belongs to."""
        return int(np.searchsorted(self.starts, sample, side="right")) - 1


def read_timelines(
    store: Store,
    episode_ids: Sequence[str],
    streams: Sequence[str],
    *,
    scaled: Collection[str] = (),
) -> dict[str, StreamRows]:
    """The times of streams over episodes; values stay where they are.

    Args:
        store: at a snapshot.
        episode_ids: in this order.
        streams: names.
        scaled: picture streams that are scaled, so that their recorded sizes may differ.

    Raises:
        WindowError: an episode is named twice, none has a stream, or it is not alike in all: in
            kind, role, dtype, shape, unit, or how its pictures are laid out where they are raw.
    """
    number = {episode_id: i for i, episode_id in enumerate(episode_ids)}
    if len(number) < len(episode_ids):
        raise WindowError(
            "an episode is named twice; name each once, and give weights to draw some more often"
        )
    specs = _specs(store, episode_ids, streams, scaled)
    clocks = read_clocks(store, episode_ids)
    timelines: dict[str, StreamRows] = {}
    tables: tuple[Literal["chunks", "video"], ...] = ("chunks", "video")
    for table in tables:
        names = [n for n in streams if (specs[n].kind is Kind.VIDEO) is (table == "video")]
        if names:
            timelines |= _read(store, table, episode_ids, {name: specs[name] for name in names})
    for episode_id, name in clocks:
        if name in timelines:
            stream, i = timelines[name], number[episode_id]
            part = slice(int(stream.starts[i]), int(stream.starts[i + 1]))
            stream.capture_ns[part] = on_log_clock(
                clocks, episode_id, name, stream.capture_ns[part], stream.arrival_ns[part]
            )
    return timelines


def _read(
    store: Store,
    table: Literal["chunks", "video"],
    episode_ids: Sequence[str],
    specs: Mapping[str, StreamSpec],
) -> dict[str, StreamRows]:
    columns = ["capture_ns", "arrival_ns"]
    if table == "video":
        columns += ["pts", "codec", "extradata"]
    parts = list(store.scan(table, columns, episode_ids, specs))
    if not parts:
        return {name: _joined(spec, None, len(episode_ids)) for name, spec in specs.items()}
    rows = pa.concat_tables(parts)
    episode = pc.index_in(rows["episode_id"], value_set=pa.array(episode_ids, pa.string()))
    rows = rows.append_column("episode", episode.cast(pa.int64()))
    by = [(name, "ascending") for name in ("episode", "position")]
    found = {}
    for name, spec in specs.items():
        own = rows.filter(pc.equal(rows["stream"], name))
        own = own.take(pc.sort_indices(own, sort_keys=by))
        found[name] = _joined(spec, own, len(episode_ids))
    return found


def _specs(
    store: Store, episode_ids: Sequence[str], streams: Sequence[str], scaled: Collection[str]
) -> dict[str, StreamSpec]:
    """Per stream its spec in the first episode; all must agree on what a sample is."""
    wanted = set(streams)
    order = {episode_id: i for i, episode_id in enumerate(episode_ids)}
    specs: dict[str, tuple[StreamSpec, str]] = {}
    units: dict[str, tuple[str, str]] = {}
    for row in sorted(store.streams(episode_ids), key=lambda row: order[row["episode_id"]]):
        name, spec = row["stream"], row["spec"]
        if name not in wanted:
            continue
        first, where = specs.setdefault(name, (spec, row["episode_id"]))
        for own, known in zip(_nature(spec), _nature(first), strict=True):
            if own != known:
                raise WindowError(
                    f"stream '{name}' is {own} in episode {row['episode_id']} and {known} in "
                    f"{where}; choose episodes that agree, or say what it is in a mapping and "
                    "ingest again"
                )
        check_unit(units, spec, row["episode_id"])
        if name not in scaled and spec.shape != first.shape:
            raise WindowError(
                f"stream '{name}' has shape {spec.shape} in episode {row['episode_id']} and "
                f"{first.shape} in others; choose episodes of one robot, or a picture size"
            )
    for name in streams:
        if name not in specs:
            raise WindowError(
                f"none of {len(episode_ids)} episodes has the stream '{name}'; list the streams of "
                "one with  viae show EPISODE"
            )
    return {name: spec for name, (spec, _) in specs.items()}


def check_unit(units: dict[str, tuple[str, str]], spec: StreamSpec, episode_id: str) -> None:
    """Refuse a stream whose unit is another than in an episode before; an unknown one says nothing.

    Args:
        units: per stream its unit, and in which episode; added to.
        spec: of the stream in this episode.
        episode_id: this episode.

    Raises:
        WindowError: the units differ.
    """
    unit, where = units.setdefault(spec.name, (spec.unit, episode_id)) if spec.unit else ("", "")
    if unit != spec.unit:
        raise WindowError(
            f"stream '{spec.name}' is in {spec.unit} in episode {episode_id} and in {unit} in "
            f"{where}; choose episodes that agree, or say its unit in a mapping and ingest again"
        )


def _nature(spec: StreamSpec) -> tuple[str, ...]:
    """What a stream is, in words; each must be the same in all episodes."""
    raw = spec.kind is Kind.IMAGE and spec.encoding in RAW_FORMATS
    form = f"raw {spec.encoding} of {list(spec.shape)}" if raw else "not raw"
    return f"{spec.kind} of {spec.dtype or 'no dtype'}", f"of role {spec.role}", form


def _joined(spec: StreamSpec, rows: pa.Table | None, episodes: int) -> StreamRows:
    """Rows of one stream, sorted by episode and position."""
    none = np.empty(0, np.int64)
    if rows is None:
        zeros = np.zeros(episodes + 1, np.int64)
        return StreamRows(
            spec=spec, starts=zeros, rows=none, row_starts=zeros[:1], capture_ns=none,
            arrival_ns=none, codings=(), coding_of=none,
        )  # fmt: skip
    counts = pc.list_value_length(rows["arrival_ns"]).to_numpy().astype(np.int64)
    row_starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    episode = rows["episode"].to_numpy()
    per_episode = np.bincount(episode, weights=counts, minlength=episodes).astype(np.int64)
    codings, coding_of = _codings(rows, row_starts) if "pts" in rows.column_names else ((), none)
    return StreamRows(
        spec=spec,
        starts=np.concatenate([[0], np.cumsum(per_episode)]).astype(np.int64),
        rows=rows["row"].to_numpy().astype(np.int64),
        row_starts=row_starts,
        capture_ns=times_from_rows(rows["capture_ns"]),
        arrival_ns=times_from_rows(rows["arrival_ns"]),
        codings=codings,
        coding_of=coding_of,
    )


def _codings(rows: pa.Table, row_starts: Ints) -> tuple[tuple[Coding, ...], Ints]:
    """How groups are coded: the kinds that occur, and which one each row has."""
    pts = times_from_rows(rows["pts"])
    back = np.concatenate([[False], np.diff(pts) <= 0])
    back[row_starts[:-1]] = False  # a group's first packet follows nothing
    in_order = np.add.reduceat(back, row_starts[:-1]) == 0 if len(pts) else np.empty(0, np.bool_)
    kinds: dict[Coding, int] = {}
    codec, extradata = (rows[name].to_pylist() for name in ("codec", "extradata"))
    coding_of = [
        kinds.setdefault(Coding(c, e or b"", o), len(kinds))
        for c, e, o in zip(codec, extradata, in_order.tolist(), strict=True)
    ]
    return tuple(kinds), np.array(coding_of, np.int64)
