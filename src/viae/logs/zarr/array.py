"""Rows of a Zarr array as a column: chunks that are not there, codecs that are missing.

Zarr reads a chunk that is not there as its fill value, and most writers leave out a chunk that
would hold nothing else. So a missing chunk is either lost or says "all fill value", and the files
do not tell which. The rule: where the nearest stored row before or after it is all fill value too,
it is taken to say so, and the repair ``chunk-absent-fill`` counts its rows; else its rows are not
yielded and the loss ``chunk-missing`` counts them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from viae.logs.arrays.column import Column, Gap
from viae.logs.arrays.forms import Array
from viae.logs.zarr.store import Store, checked_by_us
from viae.schema import Loss, LossKind

MAX_ACROSS = 1 << 16
"""Chunks side by side up to which missing ones are looked at one by one."""


class ZarrArray:
    """An array of a store, as far as all episodes share it.

    Args:
        store: the store.
        node: its path below the root.
        array: the zarr package's array.
    """

    def __init__(self, store: Store, node: str, array: Any) -> None:
        self.store, self.node, self.array = store, node, array
        self.rows = int(array.shape[0])
        self.shape = tuple(int(size) for size in array.shape[1:])
        files = array.shards or array.chunks
        self.chunks = tuple(max(1, int(size)) for size in files)
        self.across = math.prod(
            -(-size // chunk) for size, chunk in zip(self.shape, self.chunks[1:], strict=True)
        )

    @cached_property
    def stored(self) -> Mapping[int, set[tuple[int, ...]]]:
        """The chunks that are there."""
        return self.store.stored_chunks(self.node, 1 + len(self.shape))

    @cached_property
    def bands(self) -> list[int]:
        """First coordinates under which every chunk is there."""
        return sorted(band for band, found in self.stored.items() if len(found) >= self.across)

    def read(self, start: int, stop: int) -> Array:
        """Rows start to stop; missing chunks as fill value."""
        if self.is_blosc:
            for band in range(start // self.chunks[0], -(-stop // self.chunks[0])):
                for coordinates in self.stored.get(band, ()):
                    self._check_blosc((band, *coordinates))
        with checked_by_us():
            return np.asarray(self.array[start:stop])

    @cached_property
    def is_blosc(self) -> bool:
        """Whether chunks are files of their own that Blosc compressed last."""
        coders = self.array.compressors
        named = [type(coder).__name__ for coder in coders[-1:]]
        return (
            not self.store.zipped and not self.array.shards and named in (["Blosc"], ["BloscCodec"])
        )

    def _check_blosc(self, coordinates: tuple[int, ...]) -> None:
        """Blosc, as numcodecs calls it, reads past the end of a chunk that was cut short.

        The bytes behind are then whatever memory holds. Its header says how long a chunk is.
        """
        key = f"{self.node}/{self.array.metadata.encode_chunk_key(coordinates)}".lstrip("/")
        size, head = self.store.chunk_head(key)
        declared = int.from_bytes(head[12:16], "little")
        if len(head) < 16 or declared != size:
            raise OSError(f"chunk {key} has {size} bytes, and its Blosc header says {declared}")
        holds = int.from_bytes(head[4:8], "little")
        expected = math.prod(self.chunks) * self.array.dtype.itemsize
        if self.array.dtype.kind in "biufcM" and holds != expected:
            raise OSError(f"chunk {key} holds {holds} bytes, and {expected} are declared")

    def runs_missing(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Runs of rows, of those from start to stop, in which a chunk is missing."""
        size, at = self.chunks[0], start
        for band in self.bands:
            first, past = band * size, (band + 1) * size
            if past <= at:
                continue
            if first >= stop:
                break
            if first > at:
                yield at, first
            at = past
        if at < stop:
            yield at, stop

    def says_fill(self, start: int, stop: int) -> bool:
        """Whether a missing run may be nothing but fill value, by the stored rows beside it."""
        fill = self.array.fill_value
        if fill is None or self.across > MAX_ACROSS:
            return False
        size = self.chunks[0]
        first, last = start // size, (stop - 1) // size
        before = max((band for band in self.bands if band < first), default=None)
        after = min((band for band in self.bands if band > last), default=None)
        rows = [] if before is None else [(before + 1) * size - 1]
        rows += [] if after is None else [after * size]
        missing = set.union(*(self._missing(band) for band in range(first, last + 1)))
        return any(self._is_fill(row, missing, fill) for row in rows)

    def _missing(self, band: int) -> set[tuple[int, ...]]:
        """The other coordinates of the chunks that are missing under a first one."""
        grid = (
            range(-(-size // chunk))
            for size, chunk in zip(self.shape, self.chunks[1:], strict=True)
        )
        return set(itertools.product(*grid)) - self.stored.get(band, set())

    def _is_fill(self, row: int, missing: set[tuple[int, ...]], fill: Any) -> bool:
        try:
            values = self.read(row, row + 1)[0]
        except Exception:  # the neighbour is damaged, and says nothing
            return False
        for coordinates in missing:
            part = tuple(
                slice(c * chunk, (c + 1) * chunk)
                for c, chunk in zip(coordinates, self.chunks[1:], strict=True)
            )
            found = np.asarray(values[part] if part else values)
            same = (found == fill) | ((found != found) & (fill != fill))  # noqa: PLR0124 - NaN
            if not np.all(same):
                return False
        return True


class ZarrColumn(Column):
    """The rows of an array that belong to one episode.

    Args:
        source: the array.
        path: the stream's name.
        start: the episode's first row.
        stop: past its last.
    """

    def __init__(self, source: ZarrArray, path: str, start: int, stop: int) -> None:
        self.source = source
        self.path, self.topic = path, source.node
        self.dtype: np.dtype[Any] = np.dtype(source.array.dtype)
        self.start = min(start, source.rows)
        self.rows, self.shape = min(stop, source.rows) - self.start, source.shape
        self.chunk_rows = int((source.array.chunks or (1,))[0]) or 1
        self.chunk_start = self.start % self.chunk_rows

    def read(self, start: int, stop: int) -> Array:
        """Rows start to stop of the episode."""
        return self.source.read(self.start + start, self.start + stop)

    def gaps(self) -> Iterator[Gap | Loss]:
        """Missing chunks."""
        for first, last in self.source.runs_missing(self.start, self.start + self.rows):
            start, stop, fill = first - self.start, last - self.start, self.source.array.fill_value
            if self.source.says_fill(first, last):
                detail = (
                    f"rows {start} to {stop - 1} are in chunks that are not there, beside rows "
                    f"that are all {fill!s}; taken as that, as a chunk left out by its writer means"
                )
                yield Loss(
                    kind=LossKind.REPAIRED, name="chunk-absent-fill", path="", detail=detail,
                    count=stop - start,
                )  # fmt: skip
                continue
            detail = (
                f"rows {start} to {stop - 1} are in chunks that are not there; Zarr would make up "
                f"{fill!s} for them. If they were all that and left out by the writer, write the "
                "array again with write_empty_chunks=True; else copy the store again"
            )
            yield Gap(start=start, stop=stop, name="chunk-missing", detail=detail)


def codec_missing(error: Exception) -> str:
    """What to say where an array cannot be opened for want of a codec; empty for other reasons."""
    text = f"{type(error).__name__}: {error}"
    if "UnknownCodecError" not in text and "codec not available" not in text:
        return ""
    names = re.findall(r"['\"]([\w.\-]+)['\"]", str(error))
    name = names[0] if names else str(error)
    package = "imagecodecs" if "imagecodecs" in name else "the package that registers it"
    return (
        f"it is compressed with the codec {name}, which is not installed: run  pip install "
        f"{package}  and ingest it into a new store"
    )
