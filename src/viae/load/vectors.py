"""The values of vector streams, read in one sweep into one array a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from viae.errors import WindowError
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.store import Store


def read_vectors(
    store: Store, episode_ids: Sequence[str], streams: Mapping[str, StreamRows]
) -> dict[str, npt.NDArray[Any]]:
    """All samples of vector streams, episode after episode.

    Args:
        store: at the snapshot of the timelines.
        episode_ids: those of the timelines.
        streams: by name.

    Returns:
        By name [N, *shape], in the stream's own dtype.

    Raises:
        WindowError: a stream is text, bytes, or varies in length.
    """
    for name, stream in streams.items():
        if stream.spec.kind is not Kind.VECTOR or stream.spec.varies:
            raise WindowError(
                f"stream '{name}' is {stream.spec.kind}"
                f"{' of varying length' if stream.spec.varies else ''}: a window takes pictures "
                "and vectors of fixed shape"
            )
    if not streams:
        return {}
    values = {
        name: np.empty((len(stream), *stream.spec.shape), stream.spec.dtype)
        for name, stream in streams.items()
    }
    order = {name: np.argsort(stream.rows) for name, stream in streams.items()}
    for rows in store.scan("chunks", ["floats", "ints"], episode_ids, streams):
        for name in pc.unique(rows["stream"]).to_pylist():
            own = rows.filter(pc.equal(rows["stream"], name))
            stream = streams[name]
            at = order[name][np.searchsorted(stream.rows[order[name]], own["row"].to_numpy())]
            _place(own, stream, at, values[name])
    return values


def _place(
    rows: pa.Table, stream: StreamRows, at: npt.NDArray[np.int64], out: npt.NDArray[Any]
) -> None:
    column = rows["floats" if out.dtype.kind == "f" else "ints"].combine_chunks()
    flat = column.values.to_numpy(zero_copy_only=False)
    bounds = column.offsets.to_numpy()
    if out.dtype == np.uint64:
        flat = flat.view(np.uint64)
    for number, row in enumerate(at.tolist()):
        part = flat[bounds[number] : bounds[number + 1]]
        place = slice(int(stream.row_starts[row]), int(stream.row_starts[row + 1]))
        out[place] = part.reshape(-1, *out.shape[1:])
