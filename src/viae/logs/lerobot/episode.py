"""One LeRobot episode: its table as blocks, then each of its videos as groups of pictures.

The dataset has one clock, the column ``timestamp``, so capture and arrival are both that. What the
table lacks makes the episode unreadable; what a video lacks is a loss, and the numbers are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from viae.errors import DamagedLogError, LogError
from viae.logs.format import Item, LogEpisode, Statement, fingerprint_files
from viae.logs.images import look_at_image
from viae.logs.lerobot.info import BOOKKEEPING, Feature, Info
from viae.logs.remux import read_video
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Samples, StreamSpec, TimesNs, Values

Book: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""The bookkeeping columns."""

UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What PyArrow raises on a file that is not whole Parquet."""

BATCH_ROWS = 1024
BATCH_ROWS_WITH_IMAGES = 16


class LeRobotEpisode(LogEpisode):
    """One episode of a dataset.

    Args:
        info: the dataset's metadata.
        index: the episode's index.
    """

    def __init__(self, info: Info, index: int) -> None:
        self.info, self.index = info, index
        self.uri = str(info.root)
        self.range = f"episode_{index:06d}"
        self.table = info.table(index)

    def fingerprint(self) -> str:
        """Of the table, the videos that are there, and what the metadata says of the episode."""
        videos = [self.info.video(self.index, f.name) for f in self.info.videos]
        here = [video for video in videos if video.is_file()]
        said = [
            self.info.robot,
            sorted(self.info.tasks.items()),
            self.info.declared.get(self.index),
            [(f.name, f.dtype, f.shape, f.names) for f in self.info.features.values()],
            [video.is_file() for video in videos],
        ]
        return fingerprint_files(
            [self.table, *here], salt=json.dumps(said, sort_keys=True).encode()
        )

    def read(self) -> Iterator[Item]:
        """Statements, the table, the videos.

        Raises:
            DamagedLogError: the table is not Parquet, or cut short.
            LogError: it lacks a declared column, or its frames are not in order.
        """
        try:
            file = pq.ParquetFile(self.table)
            self._check_columns(file.schema_arrow)
            columns = [name for name in BOOKKEEPING if name in file.schema_arrow.names]
            book = {name: self._book(name, file.read([name])[name]) for name in columns}
            times_ns = self._times(book)
            yield from self._statements(book, times_ns)
            yield from self._declared_length(file.metadata.num_rows)
            yield from self._blocks(file, times_ns)
        except UNREADABLE as error:
            raise DamagedLogError(
                self.table,
                found=f"this is no whole Parquet file ({str(error).partition(chr(10))[0]:.200})",
                expected="the episode's table",
                todo="copy the file again; the other episodes are kept",
            ) from error
        for feature in self.info.videos:
            path = self.info.video(self.index, feature.name)
            yield from read_video(
                path,
                name=feature.name,
                role=feature.role,
                times_ns=times_ns,
                declared_codec=feature.codec,
            )

    def _check_columns(self, schema: pa.Schema) -> None:
        needed = [f.name for f in self.info.features.values() if f.dtype != "video"]
        for name in {"timestamp": 0, "frame_index": 0, **dict.fromkeys(needed)}:
            if name not in schema.names:
                raise self._refused(
                    name, "the table has no such column", "every feature that info.json declares"
                )

    def _book(self, name: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
        """A bookkeeping column, one number a row."""
        numbers: npt.NDArray[Any] = column.to_numpy()
        if column.null_count or numbers.dtype.kind not in "iuf":
            found = f"it holds {column.type}, {column.null_count} of them null"
            raise self._refused(name, found, "one number in each row")
        return numbers

    def _times(self, book: Book) -> TimesNs:
        """The time of each frame, ns."""
        frames = book["frame_index"]
        if not np.array_equal(frames, np.arange(len(frames))):
            at = int(np.argmax(frames != np.arange(len(frames))))
            raise self._refused(
                "frame_index", f"row {at} has frame {frames[at]}", "frames 0 to n-1 in order"
            )
        seconds = book["timestamp"].astype(np.float64)
        if not np.isfinite(seconds).all():
            raise self._refused("timestamp", "it holds times that are no numbers", "seconds")
        times_ns: TimesNs = np.rint(seconds * NS_PER_S).astype(np.int64)
        return times_ns

    def _statements(self, book: Book, times_ns: TimesNs) -> Iterator[Item]:
        if self.info.robot:
            yield Statement(key="robot", value=self.info.robot)
        line = self.info.declared.get(self.index, {})
        tasks = [str(task) for task in line.get("tasks", [])]
        if "task_index" in book:
            indices = book["task_index"].tolist()
            spoken = [self.info.tasks.get(index, "") for index in indices]
            found = list(dict.fromkeys(filter(None, spoken)))
            if tasks and found != tasks:
                detail = f"the table says {found}, episodes.jsonl says {tasks}; the table is taken"
                yield self._loss(LossKind.REPAIRED, "task-differs", 1, detail)
            tasks = found or tasks
            if len(tasks) > 1:
                spec = StreamSpec(name="task", kind=Kind.TEXT, dtype="", topic="task_index")
                yield _samples(spec, times_ns, 0, spoken)
        if tasks:
            yield Statement(key="task", value=tasks[0])

    def _declared_length(self, rows: int) -> Iterator[Loss]:
        declared = self.info.declared.get(self.index, {}).get("length", rows)
        if declared != rows:
            kind = LossKind.LOST if rows < declared else LossKind.REPAIRED
            detail = f"episodes.jsonl declares {declared} frames, the table holds {rows}"
            yield self._loss(kind, "length-differs", abs(declared - rows), detail)

    def _blocks(self, file: pq.ParquetFile, times_ns: TimesNs) -> Iterator[Item]:
        """The table's columns, a batch of rows at a time."""
        features = self.info.columns
        specs: dict[str, StreamSpec] = {}
        has_images = any(feature.dtype == "image" for feature in features)
        rows = BATCH_ROWS_WITH_IMAGES if has_images else BATCH_ROWS
        start = 0
        for batch in file.iter_batches(rows, columns=[feature.name for feature in features]):
            for feature in features:
                column = batch.column(feature.name)
                if column.null_count:
                    raise self._refused(
                        feature.name, f"{column.null_count} values are null", "none"
                    )
                values = self._values(feature, column)
                if feature.name not in specs:
                    specs[feature.name] = self._spec(feature, values)
                    actual = specs[feature.name].dtype
                    if actual != feature.dtype and specs[feature.name].kind is Kind.VECTOR:
                        detail = f"declared as {feature.dtype}, stored and kept as {actual}"
                        yield self._loss(
                            LossKind.REPAIRED,
                            "dtype-differs",
                            file.metadata.num_rows,
                            detail,
                            feature.name,
                        )
                yield _samples(specs[feature.name], times_ns, start, values)
            start += batch.num_rows

    def _values(self, feature: Feature, column: pa.Array) -> Values:
        if feature.dtype == "string":
            return [str(value) for value in column.to_pylist()]
        if feature.dtype == "image":
            return [value["bytes"] for value in column.to_pylist()]
        rows = len(column)
        while pa.types.is_nested(column.type):
            column = column.flatten()
        array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        shape = (rows, *feature.shape)
        if array.size != np.prod(shape) or array.dtype.kind not in "biuf":
            raise self._refused(
                feature.name,
                f"{rows} rows hold {array.size} values of type {column.type}",
                f"{feature.dtype}{list(feature.shape)} in each",
            )
        return array.reshape(shape)

    def _spec(self, feature: Feature, first: Values) -> StreamSpec:
        dtype, shape, encoding, kind = feature.dtype, feature.shape, "", Kind.VECTOR
        if feature.dtype == "string":
            dtype, shape, kind = "", (), Kind.TEXT
        elif feature.dtype == "image":
            look = look_at_image(cast(bytes, first[0]) or b"")
            if look is None:
                raise self._refused(feature.name, "its first image cannot be read", "PNG or JPEG")
            (encoding, dtype, shape), kind = look, Kind.IMAGE
        elif isinstance(first, np.ndarray):
            dtype = str(first.dtype)
        return StreamSpec(
            name=feature.name,
            kind=kind,
            dtype=dtype,
            shape=shape,
            names=feature.names if kind is Kind.VECTOR else (),
            role=feature.role,
            topic=feature.name,
            encoding=encoding,
        )

    def _refused(self, column: str, found: str, expected: str) -> LogError:
        return LogError(
            self.table,
            stream=column,
            found=found,
            expected=expected,
            todo="repair the dataset; the other episodes are kept",
        )

    def _loss(self, kind: LossKind, name: str, count: int, detail: str, stream: str = "") -> Loss:
        return Loss(
            kind=kind, name=name, path=str(self.table), stream=stream, count=count, detail=detail
        )


def _samples(spec: StreamSpec, times_ns: TimesNs, start: int, values: Values) -> Samples:
    end = start + len(values)
    times = times_ns[start:end]
    return Samples(
        spec=spec,
        capture_ns=times,
        arrival_ns=times,
        seq=np.arange(start, end, dtype=np.int64),
        values=values,
    )
