"""Plain Parquet: every stream at its own rate, readable by anything that reads Parquet.

::

    episodes.parquet   streams.parquet   facts.parquet
    samples/STREAM/EPISODE.parquet   capture_ns, arrival_ns, seq, stamp_ns, value
    samples/STREAM/EPISODE.mp4       video: its packets, moved; row i of the table is picture i

``capture_ns`` is on the log's clock; ``stamp_ns`` is the capture as it was recorded, which differs
where a fact ``clock.STREAM`` corrects it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from viae.errors import ExportError
from viae.export.digest import Digest
from viae.export.exporter import Exporter, ExportOptions, Note, Written
from viae.export.movie import MovieFile, clip_of
from viae.export.naming import distinct_names, plain_name
from viae.export.source import EpisodeSource, Stamps, join_stamps
from viae.schema import NS_PER_S, Kind, Loss, LossKind, StreamSpec, TimesNs

ROWS_AT_ONCE = 4096
MOVIE_HZ = Fraction(30)
"""Pictures of a movie are spaced evenly, at the stream's rate; this where it has none."""


class ParquetExporter(Exporter):
    """Tables of values. Memory: one stream of one episode, pictures coded."""

    name: ClassVar[str] = "parquet"

    def write(
        self, episodes: Sequence[EpisodeSource], folder: Path, options: ExportOptions, note: Note
    ) -> Written:
        """Write all tables and read them back.

        Raises:
            ExportError: what was read back is not what was meant.
        """
        streams = sorted({name for source in episodes for name in source.specs})
        names, losses = distinct_names(streams, plain_name)
        written = Written(names=names, losses=losses)
        rows: list[dict[str, Any]] = []
        for index, source in enumerate(episodes):
            note(source.where, index)
            written.losses += source.corrected()
            for name, spec in source.specs.items():
                path = Path("samples") / names[name] / f"{source.id}.parquet"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                count = _write_stream(source, spec, folder / path, written.losses)
                written.rows += count
                written.checked += count
                rows.append(_stream_row(source, spec, path, count))
        pq.write_table(pa.Table.from_pylist(rows), folder / "streams.parquet")
        pq.write_table(_episodes(episodes), folder / "episodes.parquet")
        pq.write_table(_facts(episodes), folder / "facts.parquet")
        return written


def _write_stream(source: EpisodeSource, spec: StreamSpec, path: Path, losses: list[Loss]) -> int:
    """A stream of an episode; how many samples."""
    if spec.kind is Kind.VIDEO:
        return _write_video(source, spec, path, losses)
    samples = source.samples(spec.name)
    kind = _value_type(spec)
    meant, found = Digest(), Digest()
    with pq.ParquetWriter(path, _schema(kind, spec)) as writer:
        for start in range(0, len(samples), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            values: Any = samples.values[part]
            meant.numbers(samples.seq[part])
            _add(meant, values, spec)
            recorded = Stamps(
                capture_ns=samples.capture_ns[part],
                arrival_ns=samples.arrival_ns[part],
                seq=samples.seq[part],
            )
            stamps = source.on_log_clock(spec.name, recorded)
            rows = _table(stamps, recorded.capture_ns, _array(values, kind, spec), spec)
            writer.write_table(rows)
    for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
        found.numbers(batch["seq"].to_numpy())
        _add(found, _values(batch["value"], spec), spec)
    if meant.said != found.said:
        raise ExportError(
            f"{source.where}, stream '{spec.name}': it reads back otherwise than it was meant. "
            "Please report this"
        )
    return len(samples)


def _write_video(source: EpisodeSource, spec: StreamSpec, path: Path, losses: list[Loss]) -> int:
    groups = source.groups(spec.name)
    stamps, clip = join_stamps(groups), clip_of(groups)
    gaps = np.diff(np.sort(stamps.arrival_ns))
    gaps = gaps[gaps > 0]
    rate = Fraction(round(NS_PER_S / float(np.median(gaps)), 3)) if len(gaps) else MOVIE_HZ
    fps = max(rate.limit_denominator(1001), Fraction(1, 100))
    movie = path.with_suffix(".mp4")
    file = MovieFile(movie, fps, clip)
    file.append(clip)
    file.close()
    with av.open(str(movie)) as container:
        found = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    if found != list(clip.packets):
        raise ExportError(f"{source.where}, stream '{spec.name}': the movie reads back otherwise")
    numbers = pa.array(np.arange(len(stamps), dtype=np.int64))
    placed = source.on_log_clock(spec.name, stamps)
    pq.write_table(_table(placed, stamps.capture_ns, numbers, spec), path)
    steps = np.rint(np.arange(len(stamps)) * (NS_PER_S / float(fps)))
    off_ns = np.abs(stamps.arrival_ns - stamps.arrival_ns[0] - steps)
    if off_ns.max(initial=0) > 1_000_000:
        detail = (
            f"the movie has a constant {float(fps):g} frames a second; true times, up to "
            f"{off_ns.max() / 1e9:.3f} s away, are in the table beside it"
        )
        losses.append(
            Loss(
                kind=LossKind.REPAIRED, name="times-evened", path=source.where, stream=spec.name,
                count=int((off_ns > 1e6).sum()), detail=detail,
            )
        )  # fmt: skip
    return len(stamps)


def _schema(kind: pa.DataType, spec: StreamSpec) -> pa.Schema:
    times = [(name, pa.int64()) for name in ("capture_ns", "arrival_ns", "seq", "stamp_ns")]
    said = {"viae.stream": json.dumps(spec.to_json())}
    return pa.schema([*times, ("value", kind)], metadata=said)


def _table(stamps: Stamps, stamp_ns: TimesNs, values: pa.Array, spec: StreamSpec) -> pa.Table:
    times = (stamps.capture_ns, stamps.arrival_ns, stamps.seq, stamp_ns)
    columns = [pa.array(c) for c in times]
    return pa.Table.from_arrays([*columns, values], schema=_schema(values.type, spec))


def _value_type(spec: StreamSpec) -> pa.DataType:
    """Scalars as they are; vectors as lists, flattened; the shape is in ``streams.parquet``."""
    if spec.kind is Kind.TEXT:
        return pa.string()
    if spec.kind is not Kind.VECTOR:
        return pa.binary()
    value = pa.from_numpy_dtype(np.dtype(spec.dtype))
    if spec.shape == ():
        return value
    return pa.list_(value)


def _array(values: Any, kind: pa.DataType, spec: StreamSpec) -> pa.Array:
    if spec.kind is not Kind.VECTOR:
        return pa.array(list(values), kind)
    if spec.shape == ():
        return pa.array(np.asarray(values), kind)
    rows = [np.asarray(value).reshape(-1) for value in values] if spec.varies else None
    flat = np.concatenate(rows) if rows else np.ascontiguousarray(values).reshape(-1)
    ends = (
        np.cumsum([len(row) for row in rows]) if rows else spec.size * (np.arange(len(values)) + 1)
    )
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(flat).cast(kind.value_type))


def _values(column: pa.Array, spec: StreamSpec) -> Any:
    if spec.kind is not Kind.VECTOR:
        return column.to_pylist()
    if spec.shape == ():
        return column.to_numpy(zero_copy_only=False)
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(spec.dtype, copy=False)
    if spec.varies:
        lengths = np.diff(column.offsets.to_numpy())
        return np.split(flat, np.cumsum(lengths)[:-1])
    return flat.reshape(len(column), *spec.shape)


def _add(digest: Digest, values: Any, spec: StreamSpec) -> None:
    if spec.kind is Kind.VECTOR and not spec.varies:
        array: npt.NDArray[Any] = np.asarray(values)
        digest.numbers(array)
    else:
        digest.items(values)


def _stream_row(source: EpisodeSource, spec: StreamSpec, path: Path, count: int) -> dict[str, Any]:
    said = spec.to_json()
    return {
        "episode_id": source.id, "stream": spec.name, "kind": str(spec.kind),
        "role": str(spec.role), "dtype": spec.dtype, "shape": list(spec.shape),
        "unit": spec.unit, "names": list(spec.names), "clock": spec.clock, "topic": spec.topic,
        "encoding": spec.encoding, "samples": count, "path": path.as_posix(),
        "movie": path.with_suffix(".mp4").as_posix() if spec.kind is Kind.VIDEO else None,
        "spec": json.dumps(said),
    }  # fmt: skip


def _episodes(episodes: Sequence[EpisodeSource]) -> pa.Table:
    fields = (
        "episode_id", "log_uri", "log_hash", "log_range", "log_format", "robot", "task", "agent",
        "start_ns", "end_ns", "outcome",
    )  # fmt: skip
    rows = [
        {name: getattr(source.episode, name) for name in fields}
        | {"conditions": json.dumps(dict(source.episode.conditions))}
        for source in episodes
    ]
    text = [
        name for name in (*fields, "conditions") if name not in ("start_ns", "end_ns", "outcome")
    ]
    kinds = {**dict.fromkeys(text, pa.string()), "start_ns": pa.int64(), "end_ns": pa.int64()}
    kinds["outcome"] = pa.bool_()
    schema = pa.schema([(name, kinds[name]) for name in (*fields, "conditions")])
    return pa.Table.from_pylist(rows, schema=schema)


def _facts(episodes: Sequence[EpisodeSource]) -> pa.Table:
    schema = pa.schema(
        [
            ("episode_id", pa.string()), ("key", pa.string()), ("value", pa.string()),
            ("author", pa.string()), ("time_ns", pa.int64()), ("start_ns", pa.int64()),
            ("end_ns", pa.int64()), ("other_episode_id", pa.string()),
        ]
    )  # fmt: skip
    rows = [
        {field.name: getattr(fact, field.name) for field in schema}
        | {"value": json.dumps(fact.value)}
        for source in episodes
        for fact in source.facts
    ]
    return pa.Table.from_pylist(rows, schema=schema)
