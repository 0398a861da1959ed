"""An HDF5 dataset as a column: what of it was ever written, and reading that."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from viae.logs.arrays.column import Column, Gap
from viae.logs.arrays.forms import Array


class Hdf5Column(Column):
    """A dataset of at least one dimension.

    Args:
        dataset: the open dataset.
        path: below the episode.
        file: the file's path.
    """

    def __init__(self, dataset: Any, path: str, file: str) -> None:
        self.dataset, self.path_of_file = dataset, file
        self.path = self.topic = path
        self.dtype: np.dtype[Any] = dataset.dtype
        rows, *shape = dataset.shape
        self.rows, self.shape = int(rows), tuple(int(size) for size in shape)
        self.chunks = dataset.chunks
        self.chunk_rows = int(self.chunks[0]) if self.chunks else 1

    def read(self, start: int, stop: int) -> Array:
        """Rows start to stop."""
        if self.dtype.metadata and "vlen" in self.dtype.metadata and not self.chunks:
            self._check_lengths(start, stop)
        rows: Array = self.dataset[start:stop]
        return rows

    def _check_lengths(self, start: int, stop: int) -> None:
        """Values of varying length are not longer than the file; libhdf5 would make them so.

        In the file, each is 16 bytes, of which the first four are its length (HDF5 File Format
        Specification 3.0, IV.A.2.d). Those of chunked datasets cannot be seen so.
        """
        offset = self.dataset.id.get_offset()
        each = math.prod(self.shape)
        if offset is None or self.dataset.id.get_storage_size() != self.rows * each * 16:
            return
        path = Path(self.path_of_file)
        with path.open("rb") as file:
            file.seek(offset + start * each * 16)
            raw = np.frombuffer(file.read((stop - start) * each * 16), "<u4")[::4]
        if len(raw) and (longest := int(raw.max())) > path.stat().st_size:
            raise OSError(f"a value is declared to have {longest:,} elements")

    def refusal(self) -> tuple[str, str] | None:
        """Data in other files, and filters that are not installed."""
        if self.dataset.is_virtual or self.dataset.external:
            return "external-storage", "its values are in other files, which are not opened"
        missing = _missing_filter(self.dataset)
        if missing:
            return "codec-missing", (
                f"it is compressed with {missing}, which is not installed: run  pip install "
                "hdf5plugin  and ingest it into a new store"
            )
        return None

    def gaps(self) -> Iterator[Gap]:
        """Rows that were declared and never written: HDF5 would read them as the fill value."""
        detail = "declared and never written; HDF5 would make up its fill value for them"
        storage = self.dataset.id.get_storage_size()
        if not self.chunks:
            if not storage:
                yield Gap(start=0, stop=self.rows, name="never-written", detail=detail)
            return
        stored = self._stored_chunks()
        across = math.prod(
            -(-size // chunk) for size, chunk in zip(self.shape, self.chunks[1:], strict=True)
        )
        at = 0
        for first in sorted(row for row, count in stored.items() if count >= across):
            if first > at:
                yield Gap(start=at, stop=first, name="never-written", detail=detail)
            at = min(first + self.chunk_rows, self.rows)
        if at < self.rows:
            yield Gap(start=at, stop=self.rows, name="never-written", detail=detail)

    def _stored_chunks(self) -> Counter[int]:
        """How many chunks are stored that begin at a row."""
        found: Counter[int] = Counter()
        declared = math.prod(
            -(-size // chunk)
            for size, chunk in zip((self.rows, *self.shape), self.chunks, strict=True)
        )

        def note(chunk: Any) -> bool | None:
            row = int(chunk.chunk_offset[0])
            if 0 <= row < self.rows:
                found[row] += 1
            return True if found.total() > declared else None  # a damaged index may go in circles

        self.dataset.id.chunk_iter(note)
        return found


def _missing_filter(dataset: Any) -> str:
    import h5py

    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    missing = [found for found in filters if not h5py.h5z.filter_avail(found[0])]
    if missing and importlib.util.find_spec("hdf5plugin"):
        importlib.import_module("hdf5plugin")  # registers its filters
        missing = [found for found in missing if not h5py.h5z.filter_avail(found[0])]
    if not missing:
        return ""
    name = missing[0][3]
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return f"filter {missing[0][0]} ({text or 'no name'})"
