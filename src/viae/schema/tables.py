"""The store's tables as Arrow schemas, and the one number that says who can read them.

`COMPATIBILITY` grows when an older viae could no longer read what this one writes. It is kept in
the metadata of the table ``episodes``, so it travels with the data on any object store.

Every row that belongs to an episode carries the ``write_id`` of the attempt that wrote it. A row is
visible when the episode's own row names the same ``write_id``: what a killed ingest left behind is
invisible, and stays so when the same episode is ingested again.
"""

from __future__ import annotations

import pyarrow as pa

COMPATIBILITY = 1
COMPATIBILITY_KEY = b"viae.compatibility"

_TIMES = pa.list_(pa.int64())

EPISODES = pa.schema(
    [
        ("episode_id", pa.string()),
        ("write_id", pa.string()),
        ("log_uri", pa.string()),
        ("log_hash", pa.string()),
        ("log_range", pa.string()),
        ("log_format", pa.string()),
        ("robot", pa.string()),
        ("task", pa.string()),
        ("agent", pa.string()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("outcome", pa.bool_()),
        ("conditions", pa.string()),  # JSON
        ("ingested_ns", pa.int64()),
    ],
    metadata={COMPATIBILITY_KEY: str(COMPATIBILITY).encode()},
)

STREAMS = pa.schema(
    [
        ("episode_id", pa.string()),
        ("write_id", pa.string()),
        ("stream", pa.string()),
        ("topic", pa.string()),
        ("kind", pa.string()),
        ("role", pa.string()),
        ("spec", pa.string()),  # JSON
        ("samples", pa.int64()),
        ("first_arrival_ns", pa.int64()),
        ("last_arrival_ns", pa.int64()),
        ("rate_hz", pa.float64()),
    ]
)

CHUNKS = pa.schema(
    [
        ("episode_id", pa.string()),
        ("write_id", pa.string()),
        ("stream", pa.string()),
        ("position", pa.int64()),  # of the chunk in its stream
        ("capture_ns", _TIMES),
        ("arrival_ns", _TIMES),
        ("seq", _TIMES),
        ("floats", pa.list_(pa.float64())),  # flattened values of floating dtypes
        ("ints", pa.list_(pa.int64())),  # of integers and booleans; uint64 by its bits
        ("texts", pa.list_(pa.string())),
        ("blobs", pa.list_(pa.binary())),  # bytes, coded images
        ("lengths", pa.list_(pa.int32())),  # elements per sample, where they vary
    ]
)

VIDEO = pa.schema(
    [
        ("episode_id", pa.string()),
        ("write_id", pa.string()),
        ("stream", pa.string()),
        ("position", pa.int64()),  # of the group in its stream
        ("codec", pa.string()),
        ("extradata", pa.binary()),
        ("packets", pa.list_(pa.binary())),
        ("pts", _TIMES),
        ("time_base_num", pa.int64()),
        ("time_base_den", pa.int64()),
        ("capture_ns", _TIMES),
        ("arrival_ns", _TIMES),
        ("seq", _TIMES),
    ]
)

FACTS = pa.schema(
    [
        ("fact_id", pa.string()),
        ("episode_id", pa.string()),
        ("write_id", pa.string()),  # null unless written by the ingest of the episode itself
        ("key", pa.string()),
        ("value", pa.string()),  # JSON
        ("author", pa.string()),
        ("time_ns", pa.int64()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("other_episode_id", pa.string()),
    ]
)

RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("kind", pa.string()),  # "train", "evaluate", "trust", "select", "improve", "embed"
        ("config", pa.string()),  # JSON
        ("snapshot", pa.string()),  # JSON; what the run read
        ("bundle", pa.string()),  # bundle id
        ("metrics", pa.string()),  # JSON
        ("time_ns", pa.int64()),
    ]
)

VECTORS_PREFIX = "vectors."
"""The windows that one embedder has embedded are a table of their own: ``vectors.EMBEDDER``.

Vectors of different embedders differ in dimension and cannot be compared. A store has none of these
tables until something is embedded; the runs of kind "embed" name them.
"""


def vectors_schema(elements: int, dtype: str, metadata: dict[bytes, bytes]) -> pa.Schema:
    """The schema of a table of embedded windows.

    Args:
        elements: of a vector as stored.
        dtype: ``"float32"`` or ``"float16"``.
        metadata: what `viae.store.vectors` says of the embedder.
    """
    element = pa.float16() if dtype == "float16" else pa.float32()
    return pa.schema(
        [
            ("episode_id", pa.string()),
            ("write_id", pa.string()),  # null unless written by the ingest of the episode itself
            ("start_ns", pa.int64()),  # first and last arrival of what the window shows, log clock
            ("end_ns", pa.int64()),
            ("decision_ns", pa.int64()),
            ("vector", pa.list_(element, elements)),
        ],
        metadata=metadata,
    )


TABLES: dict[str, pa.Schema] = {
    "chunks": CHUNKS,
    "video": VIDEO,
    "streams": STREAMS,
    "facts": FACTS,
    "runs": RUNS,
    "episodes": EPISODES,
}
"""Every store's tables, in commit order: the episode's row makes others visible, so it is last."""
