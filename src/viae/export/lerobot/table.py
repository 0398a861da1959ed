"""``data/*.parquet``: the rows of all episodes, in files of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from viae.export.lerobot.plan import Column, Form

FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA = f"data/{FILE}.parquet"
MB = 1 << 20

Place = tuple[int, int]
"""Chunk and file."""


def next_place(place: Place, chunks_size: int) -> Place:
    """The file after this one."""
    chunk, file = place
    return (chunk + 1, 0) if file + 1 >= chunks_size else (chunk, file + 1)


class TableFiles:
    """Parquet files that whole episodes, or rows about them, are appended to.

    Args:
        folder: the dataset.
        template: where a file is.
        limit_mb: a file takes no further table that would lift it above this.
        chunks_size: files per folder.
    """

    def __init__(self, folder: Path, template: str, *, limit_mb: float, chunks_size: int) -> None:
        self._folder, self._template = folder, template
        self._limit, self._chunks_size = limit_mb * MB, chunks_size
        self._place: Place | None = None
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    def place_for(self, rows: int) -> Place:
        """Where a table of so many rows will go; begins a new file if it must."""
        if self._place is None:
            self._place = (0, 0)
        elif self._writer is not None:
            size = self._path.stat().st_size
            if size + size / max(self._rows, 1) * rows >= self._limit:
                self.close()
                self._place = next_place(self._place, self._chunks_size)
        return self._place

    def append(self, table: pa.Table) -> None:
        """Add rows to the file that `place_for` named."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
            self._rows = 0
        self._writer.write_table(table)
        self._rows += len(table)

    def close(self) -> None:
        """Write the footer of the open file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @property
    def _path(self) -> Path:
        chunk, file = self._place or (0, 0)
        return self._folder / self._template.format(chunk_index=chunk, file_index=file)


def data_schema(columns: Sequence[Column], book: Mapping[str, str]) -> pa.Schema:
    """The columns of the table, with what Hugging Face's ``datasets`` says about them."""
    fields, features = [], {}
    for column in columns:
        if column.form is not Form.VIDEO:
            field, feature = _field(column)
            fields.append(field)
            features[column.key] = feature
    for name, dtype in book.items():
        fields.append(pa.field(name, pa.from_numpy_dtype(np.dtype(dtype))))
        features[name] = {"dtype": dtype, "_type": "Value"}
    said = json.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": said})


def data_table(
    schema: pa.Schema,
    columns: Sequence[Column],
    values: Mapping[str, Any],
    paths: Mapping[str, Mapping[int, str]],
) -> pa.Table:
    """The rows of one episode.

    Args:
        schema: as `data_schema` has it.
        columns: the features.
        values: per feature and bookkeeping column, its values.
        paths: per image feature, names of files by row, where they are not LeRobot's own.
    """
    forms = {column.key: column.form for column in columns}
    arrays = []
    for field in schema:
        found = values[field.name]
        if forms.get(field.name) is Form.IMAGE:
            names = [f"frame-{row:06d}.png" for row in range(len(found))]
            for row, name in paths.get(field.name, {}).items():
                names[row] = name
            both = [pa.array(found, pa.binary()), pa.array(names, pa.string())]
            arrays.append(pa.StructArray.from_arrays(both, names=["bytes", "path"]))
        elif isinstance(found, np.ndarray):
            arrays.append(_nested(found, field.type))
        else:
            arrays.append(pa.array(found, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _field(column: Column) -> tuple[pa.Field, dict[str, Any]]:
    if column.form is Form.TEXT:
        return pa.field(column.key, pa.string()), {"dtype": "string", "_type": "Value"}
    if column.form is Form.IMAGE:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.field(column.key, kind), {"_type": "Image"}
    dtype, shape = column.spec.dtype, column.shape
    value = pa.from_numpy_dtype(np.dtype(dtype))
    if shape == (1,):
        return pa.field(column.key, value), {"dtype": dtype, "_type": "Value"}
    if len(shape) == 1:
        inner = {"dtype": dtype, "_type": "Value"}
        feature = {"feature": inner, "length": shape[0], "_type": "List"}
        return pa.field(column.key, pa.list_(value, shape[0])), feature
    nested = value
    for _ in shape:
        nested = pa.list_(nested)
    kind = f"Array{len(shape)}D"
    extension = {
        "ARROW:extension:name": f"datasets.features.features.{kind}ExtensionType",
        "ARROW:extension:metadata": json.dumps([list(shape), dtype]),
    }
    feature = {"shape": list(shape), "dtype": dtype, "_type": kind}
    return pa.field(column.key, nested, metadata=extension), feature


def _nested(array: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """An array [N, *shape] as lists in lists, without boxing the numbers."""
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    if not pa.types.is_nested(kind):
        return flat.cast(kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat.cast(kind.value_type), kind.list_size)
    for size in reversed(array.shape[1:]):
        offsets = pa.array(np.arange(0, len(flat) + 1, size, dtype=np.int32))
        flat = pa.ListArray.from_arrays(offsets, flat)
    return flat
