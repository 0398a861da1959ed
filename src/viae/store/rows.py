"""Blocks of samples to Arrow rows and back, exactly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.schema import Kind, Samples, StreamSpec, TimesNs, VideoGroup
from viae.schema.tables import CHUNKS, VIDEO


def chunk_row(samples: Samples, *, episode_id: str, write_id: str, position: int) -> pa.Table:
    """One row of the table ``chunks``."""
    spec = samples.spec
    columns: dict[str, Any] = {
        "episode_id": episode_id,
        "write_id": write_id,
        "stream": spec.name,
        "position": position,
        "capture_ns": samples.capture_ns,
        "arrival_ns": samples.arrival_ns,
        "seq": samples.seq,
    }
    if spec.kind is Kind.TEXT:
        columns["texts"] = samples.values
    elif spec.kind in (Kind.BYTES, Kind.IMAGE):
        columns["blobs"] = samples.values
    else:
        if spec.varies:
            flat = np.concatenate([np.empty(0, spec.dtype), *samples.values])
            columns["lengths"] = np.array([len(value) for value in samples.values], np.int32)
        else:
            flat = np.asarray(samples.values).reshape(-1)
        if flat.dtype.kind == "f":
            columns["floats"] = flat.astype(np.float64)
        else:
            columns["ints"] = (
                flat.view(np.int64) if flat.dtype == np.uint64 else flat.astype(np.int64)
            )
    return _one_row(CHUNKS, columns)


def video_row(group: VideoGroup, *, episode_id: str, write_id: str, position: int) -> pa.Table:
    """One row of the table ``video``."""
    columns: dict[str, Any] = {
        "episode_id": episode_id,
        "write_id": write_id,
        "stream": group.spec.name,
        "position": position,
        "codec": group.spec.encoding,
        "extradata": group.extradata,
        "packets": group.packets,
        "pts": group.pts,
        "time_base_num": group.time_base[0],
        "time_base_den": group.time_base[1],
        "capture_ns": group.capture_ns,
        "arrival_ns": group.arrival_ns,
        "seq": group.seq,
    }
    return _one_row(VIDEO, columns)


def samples_from_rows(spec: StreamSpec, rows: pa.Table) -> Samples:
    """The samples in rows of ``chunks``, which belong to one stream and are sorted by position."""
    values: Any
    seq = times_from_rows(rows["seq"])
    if spec.kind is Kind.TEXT:
        values = list(itertools.chain.from_iterable(rows["texts"].to_pylist()))
    elif spec.kind in (Kind.BYTES, Kind.IMAGE):
        values = list(itertools.chain.from_iterable(rows["blobs"].to_pylist()))
    else:
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            flat = _flatten(rows["floats"], np.float64).astype(dtype)
        else:
            ints = _flatten(rows["ints"], np.int64)
            flat = ints.view(np.uint64) if dtype == np.uint64 else ints.astype(dtype)
        if spec.varies:
            ends = np.cumsum(_flatten(rows["lengths"], np.int32))
            values = np.split(flat, ends[:-1]) if len(ends) else []
        else:
            values = flat.reshape(len(seq), *spec.shape)
    return Samples(
        spec=spec,
        capture_ns=times_from_rows(rows["capture_ns"]),
        arrival_ns=times_from_rows(rows["arrival_ns"]),
        seq=seq,
        values=values,
    )


def groups_from_rows(spec: StreamSpec, rows: pa.Table) -> list[VideoGroup]:
    """The groups of pictures in rows of ``video``, which belong to one stream, by position."""
    return [
        VideoGroup(
            spec=spec,
            extradata=row["extradata"],
            packets=tuple(row["packets"]),
            pts=np.array(row["pts"], np.int64),
            time_base=(row["time_base_num"], row["time_base_den"]),
            capture_ns=np.array(row["capture_ns"], np.int64),
            arrival_ns=np.array(row["arrival_ns"], np.int64),
            seq=np.array(row["seq"], np.int64),
        )
        for row in rows.to_pylist()
    ]


def times_from_rows(column: pa.ChunkedArray) -> TimesNs:
    """All int64 values of a list column, one after another."""
    return _flatten(column, np.int64)


def _flatten(column: pa.ChunkedArray, dtype: Any) -> npt.NDArray[Any]:
    arrays = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)


def _one_row(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    arrays = []
    for field in schema:
        value = columns.get(field.name)
        if value is None:
            arrays.append(pa.nulls(1, field.type))
        elif pa.types.is_list(field.type):
            arrays.append(_list_of_one(value, field.type))
        else:
            arrays.append(pa.array([value], field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _list_of_one(values: Sequence[Any] | npt.NDArray[Any], kind: pa.ListType) -> pa.Array:
    """A list array of one list, without boxing the numbers."""
    items = pa.array(values, kind.value_type)
    return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)
