"""One LeRobot episode: its rows as blocks, then each of its videos as groups of pictures.

The dataset has one clock, the column ``timestamp``, so capture and arrival are both that. What the
table lacks makes the episode unreadable; what a video lacks is a loss, and the numbers are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from viae.errors import LogError
from viae.logs.format import Item, LogEpisode, Statement
from viae.logs.lerobot.columns import BOOKKEEPING, ColumnError, Feature, spec_of, values_of
from viae.logs.lerobot.place import Clip, Layout, Place
from viae.logs.lerobot.rows import BATCH_ROWS, BATCH_ROWS_WITH_IMAGES, UNREADABLE, damaged
from viae.logs.remux import RATE_TOLERANCE, Declared, read_video
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Samples, StreamSpec, TimesNs, Values

Book: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""The bookkeeping columns."""

MAX_S = 9.2e9
"""Times beyond do not fit into int64 nanoseconds."""


class LeRobotEpisode(LogEpisode):
    """One episode of a dataset.

    Args:
        layout: the dataset.
        index: the episode's index.
    """

    def __init__(self, layout: Layout, index: int) -> None:
        self.layout, self.index = layout, index
        self.uri = str(layout.root)
        self.range = f"episode_{index:06d}"

    def fingerprint(self) -> str:
        """Of the episode's content and what the metadata says of it; see its layout."""
        return self.layout.fingerprint(self.index)

    def read(self) -> Iterator[Item]:
        """Statements, the table, the videos.

        Raises:
            DamagedLogError: the table is not whole.
            LogError: it lacks a declared column, or its frames are not in order.
        """
        place = self.layout.place(self.index)
        try:
            schemas = [set(part.schema.names) for part in place.parts]
            self._check_columns(place, set.intersection(*schemas))
            book = self._book(place, schemas[0])
            times_ns = _times(place, book)
            yield from place.losses
            yield from self._statements(place, book)
            yield from _lengths(place, book, times_ns)
            yield from _kept_bookkeeping(place, book, times_ns)
            yield from self._blocks(place, times_ns)
        except UNREADABLE as error:
            raise damaged(place.path, error) from error
        for clip in place.clips:
            yield from _video(place, clip, times_ns)

    def _check_columns(self, place: Place, names: set[str]) -> None:
        needed = {"timestamp": 0, "frame_index": 0, **dict.fromkeys(f.name for f in place.columns)}
        for name in needed:
            if name not in names:
                found = "the table has no such column"
                raise _refused(place, name, found, "every feature that info.json declares")

    def _book(self, place: Place, names: set[str]) -> Book:
        """The bookkeeping columns, one number a row."""
        columns = [name for name in BOOKKEEPING if name in names]
        found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in columns}
        for part in place.parts:
            for batch in part.batches(columns, BATCH_ROWS):
                for name in columns:
                    column = batch.column(name)
                    numbers = column.to_numpy(zero_copy_only=False)
                    if column.null_count or numbers.dtype.kind not in "iuf":
                        what = f"it holds {column.type}, {column.null_count} of them null"
                        raise _refused(place, name, what, "one number in each row")
                    found[name].append(numbers)
        empty = np.empty(0, np.int64)
        return {name: np.concatenate(parts) if parts else empty for name, parts in found.items()}

    def _statements(self, place: Place, book: Book) -> Iterator[Item]:
        if place.robot:
            yield Statement(key="robot", value=place.robot)
        said = list(place.said_tasks)
        indices = book["task_index"].tolist() if "task_index" in book else []
        unknown = sorted({index for index in indices if index not in place.tasks})
        if unknown and place.tasks:
            detail = f"the dataset's tasks have no index {unknown[0]}; those frames have no text"
            count = sum(index in unknown for index in indices)
            yield _loss(place, LossKind.LOST, "task-unknown", count, detail)
        found = list(dict.fromkeys(place.tasks[i] for i in indices if i in place.tasks))
        if said and found and set(found) != set(said):
            detail = f"the table says {found}, {place.source} says {said}; the table is taken"
            yield _loss(place, LossKind.REPAIRED, "task-differs", 1, detail)
        if tasks := found or said:
            yield Statement(key="task", value=tasks[0])
        yield from place.statements()
        schema = place.parts[0].schema
        table: dict[str, Any] = {
            "columns": {field.name: str(field.type) for field in schema},
            "episode_index": place.index,
            "first_index": int(book["index"][0]) if len(book.get("index", ())) else None,
            "task_index": int(indices[0]) if len(set(indices)) == 1 else None,
        }
        yield Statement(key="lerobot.table", value=table)

    def _blocks(self, place: Place, times_ns: TimesNs) -> Iterator[Item]:
        """The table's columns, a batch of rows at a time."""
        features = [*place.columns]
        for field in place.parts[0].schema:
            if field.name in BOOKKEEPING or any(f.name == field.name for f in features):
                continue
            if any(clip.feature.name == field.name for clip in place.clips):
                continue
            rows = len(times_ns)
            feature = Feature.from_arrow(field.name, field.type)
            if feature is None or feature.dtype == "video":
                detail = f"a column of type {field.type} is no kind of stream; it is not taken"
                kind, name = LossKind.SKIPPED, "column-unknown"
            else:
                detail = f"info.json does not declare it; it is kept as {feature.dtype}"
                kind, name = LossKind.REPAIRED, "column-undeclared"
                features.append(feature)
            yield _loss(place, kind, name, rows, detail, field.name)
        specs: dict[str, StreamSpec] = {}
        has_images = any(feature.dtype == "image" for feature in features)
        rows, start = BATCH_ROWS_WITH_IMAGES if has_images else BATCH_ROWS, 0
        for part in place.parts:
            for batch in part.batches([feature.name for feature in features], rows):
                for feature in features:
                    try:
                        values = values_of(feature, batch.column(feature.name))
                        if feature.name not in specs:
                            spec = specs[feature.name] = spec_of(feature, values)
                            yield from _dtype(place, feature, spec, len(times_ns))
                    except ColumnError as error:
                        raise _refused(place, feature.name, error.found, error.expected) from error
                    yield _samples(specs[feature.name], times_ns, start, values)
                    if feature.dtype == "image":
                        column = batch.column(feature.name)
                        yield from _odd_paths(feature, column, times_ns, start)
                start += batch.num_rows


def _times(place: Place, book: Book) -> TimesNs:
    """The time of each frame, ns."""
    frames = book["frame_index"]
    if not np.array_equal(frames, np.arange(len(frames))):
        at = int(np.argmax(frames != np.arange(len(frames))))
        found = f"row {at} has frame {frames[at]}"
        raise _refused(place, "frame_index", found, "frames 0 to n-1 in order")
    seconds = book["timestamp"].astype(np.float64)
    if not (np.isfinite(seconds) & (np.abs(seconds) < MAX_S)).all():
        raise _refused(place, "timestamp", "it holds times that are no numbers", "seconds")
    times_ns: TimesNs = np.rint(seconds * NS_PER_S).astype(np.int64)
    return times_ns


def _lengths(place: Place, book: Book, times_ns: TimesNs) -> Iterator[Loss]:
    """Declared length and rate against the table's."""
    rows = len(times_ns)
    declared = rows if place.length is None else place.length
    if declared != rows:
        kind = LossKind.LOST if rows < declared else LossKind.REPAIRED
        detail = f"{place.source} declares {declared} frames, the table holds {rows}"
        yield _loss(place, kind, "length-differs", abs(declared - rows), detail)
    if rows > 1 and place.rate_hz and place.rate_hz > 0:
        step_s = float(np.median(np.diff(book["timestamp"].astype(np.float64))))
        if abs(step_s * place.rate_hz - 1) > RATE_TOLERANCE:
            detail = (
                f"info.json declares {place.rate_hz:g} frames a second, the timestamps step by "
                f"{step_s:.6g} s; the timestamps are kept"
            )
            yield _loss(place, LossKind.REPAIRED, "rate-differs", rows, detail, "timestamp")


def _kept_bookkeeping(place: Place, book: Book, times_ns: TimesNs) -> Iterator[Item]:
    """Bookkeeping that nobody could compute again, as streams; and where it contradicts itself."""
    n = len(times_ns)
    if not n:
        return
    expected: dict[str, npt.NDArray[Any]] = {"episode_index": np.full(n, place.index)}
    if "index" in book:
        first = book["index"][0] if place.first_index is None else place.first_index
        expected["index"] = np.arange(n) + first
    for name, wanted in expected.items():
        wrong = 0 if name not in book else int((book[name] != wanted).sum())
        if wrong:
            at = int(np.argmax(book[name] != wanted))
            detail = (
                f"{wrong} of {n} rows have another {name} than the metadata says; the first is row "
                f"{at}: {book[name][at]}, not {wanted[at]}. The column is kept as a stream"
            )
            yield _loss(place, LossKind.REPAIRED, f"{name.replace('_', '-')}-differs", wrong,
                        detail, name)  # fmt: skip
            yield from _bookkeeping_stream(name, book[name], times_ns)
    if "task_index" in book and len(np.unique(book["task_index"])) > 1:
        yield from _bookkeeping_stream("task_index", book["task_index"], times_ns)
        spoken = [place.tasks.get(index, "") for index in book["task_index"].tolist()]
        spec = StreamSpec(name="task", kind=Kind.TEXT, dtype="", topic="task_index")
        for start in range(0, n, BATCH_ROWS):
            yield _samples(spec, times_ns, start, spoken[start : start + BATCH_ROWS])
    seconds = book["timestamp"]
    if ((times_ns / NS_PER_S).astype(seconds.dtype) != seconds).any():
        yield from _bookkeeping_stream("timestamp", seconds, times_ns)


def _bookkeeping_stream(
    name: str, numbers: npt.NDArray[Any], times_ns: TimesNs
) -> Iterator[Samples]:
    spec = StreamSpec(name=name, dtype=str(numbers.dtype), shape=(1,), topic=name)
    for start in range(0, len(numbers), BATCH_ROWS):
        values = numbers[start : start + BATCH_ROWS].reshape(-1, 1)
        yield _samples(spec, times_ns, start, values)


def _odd_paths(
    feature: Feature, column: pa.Array, times_ns: TimesNs, start: int
) -> Iterator[Samples]:
    """Names of images that are not LeRobot's own ``frame-000000.png``; a null is not kept."""
    if column.type.get_field_index("path") < 0:
        return
    paths = column.field("path").to_pylist()
    odd = [i for i, path in enumerate(paths) if path and path != f"frame-{start + i:06d}.png"]
    if odd:
        seq = np.array(odd, np.int64) + start
        spec = StreamSpec(name=f"{feature.name}#path", kind=Kind.TEXT, dtype="", topic=feature.name)
        yield Samples(
            spec=spec,
            capture_ns=times_ns[seq],
            arrival_ns=times_ns[seq],
            seq=seq,
            values=[str(paths[i]) for i in odd],
        )


def _dtype(place: Place, feature: Feature, spec: StreamSpec, rows: int) -> Iterator[Loss]:
    if spec.kind is Kind.VECTOR and spec.dtype != feature.dtype:
        detail = f"declared as {feature.dtype}, stored and kept as {spec.dtype}"
        yield _loss(place, LossKind.REPAIRED, "dtype-differs", rows, detail, feature.name)


def _video(place: Place, clip: Clip, times_ns: TimesNs) -> Iterator[Item]:
    feature = clip.feature
    if clip.path is None:
        detail = (
            f"nothing says where the episode's {len(times_ns)} pictures of this camera are. "
            "Copy the dataset's meta folder again"
        )
        yield _loss(place, LossKind.LOST, "video-unplaced", len(times_ns), detail, feature.name)
        return
    yield from read_video(
        clip.path,
        name=feature.name,
        role=feature.role,
        times_ns=times_ns,
        declared=Declared(
            codec=feature.codec, size=feature.size, rate_hz=feature.rate_hz or place.rate_hz
        ),
        span=clip.span,
    )


def _refused(place: Place, column: str, found: str, expected: str) -> LogError:
    return LogError(
        place.path,
        stream=column,
        found=found,
        expected=expected,
        todo="repair the dataset; the other episodes are kept",
    )


def _loss(
    place: Place, kind: LossKind, name: str, count: int, detail: str, stream: str = ""
) -> Loss:
    return Loss(
        kind=kind, name=name, path=str(place.path), stream=stream, count=count, detail=detail
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
