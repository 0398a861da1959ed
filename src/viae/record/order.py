"""An MCAP file in causal order, into a new file, in bounded memory: an external merge sort.

Messages are read as they are in the file and sorted by the pool, a fixed number of bytes. What a
full pool gives goes on with the sorted run before where it can, and begins another where it cannot:
so a file that is in order, or nearly, is one run, and that run is the new file already. Several
runs, in temporary files, are merged.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
)

from viae.errors import LogError, RecorderError, UsageError
from viae.logs.mcap.run import MessageRun
from viae.logs.mcap.survey import survey
from viae.logs.messages.plan import SPEC_KEY
from viae.record.chunkfile import Aside, ChunkFile, record_bytes
from viae.record.copying import Copying, check_source
from viae.record.gathered import OVERHEAD, Gathered, Ints
from viae.schema import Loss, LossKind, Role, StreamSpec

POOL_BYTES = 128 << 20
"""Memory of the messages that are sorted at once."""
MERGE_BYTES = 192 << 20
"""What the runs that are merged at once may hold: the largest chunk of each."""
FAN_IN = 256
"""And how many they may be: each has a file open."""

Keys: TypeAlias = npt.NDArray[np.uint64]
On: TypeAlias = Callable[[str, int, int], None]
"""Told of progress: the phase (``"read"``, ``"merge"``), how many bytes are done, of how many."""


class Merging(Protocol):
    """How keys are sorted; `viae.sequence.merge` does it."""

    def merge(self, runs: Sequence[Iterator[Keys]]) -> Iterator[tuple[Ints, Ints]]:
        """See `viae.sequence.merge.merge`."""

    def key_order(self, keys: Keys) -> Ints | None:
        """See `viae.sequence.merge.key_order`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What was put in order.

    Args:
        source: the file; it is left as it is.
        path: the new file.
        read: messages read, by topic.
        written: messages written, by topic.
        late: how many came after one with a later log time.
        runs: sorted runs there were; 1 where none had to be merged.
        spilled_bytes: written to temporary files.
        metadata: metadata records kept.
        attachments: attachments kept.
        losses: what could not be read.
    """

    source: Path
    path: Path
    read: dict[str, int]
    written: dict[str, int]
    late: int
    runs: int
    spilled_bytes: int
    metadata: int
    attachments: int
    losses: list[Loss] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost."""
        return all(loss.kind is not LossKind.LOST for loss in self.losses)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "source": str(self.source), "path": str(self.path), "read": self.read,
            "written": self.written, "late": self.late, "runs": self.runs,
            "spilled_bytes": self.spilled_bytes, "metadata": self.metadata,
            "attachments": self.attachments, "losses": [loss.to_json() for loss in self.losses],
        }  # fmt: skip


def order(
    source: str | Path,
    path: str | Path,
    merging: Merging,
    *,
    temp: Path | None = None,
    as_one: bool = False,
    on: On = lambda *_: None,
) -> Ordered:
    """Write the messages of an MCAP file into a new one, in causal order.

    By log time; ties by role (of channels that viae recorded; others are observations), topic,
    sequence, and place in the source. Everything else is kept, after the messages.

    Args:
        source: the file, with any damage.
        path: the new file; it must not exist.
        merging: how keys are sorted.
        temp: folder of temporary files, as large as the source together; that of the new file.
        as_one: take it as one episode even where its time starts again and again.
        on: told of progress.

    Raises:
        LogNotFoundError, EmptyLogError: there is no file.
        DamagedLogError: it does not begin as an MCAP file does.
        LogError: its time starts again and again: it holds several episodes.
        UsageError: ``temp`` is no folder.
        RecorderError: the new file exists, or cannot be written; then there is none.

    Cost: O(N log N) for N messages. Memory: twice `POOL_BYTES`, or twice `MERGE_BYTES`; and a
    chunk and an attachment of the source.
    """
    source, path = Path(source), Path(path)
    check_source(source)
    if path.exists():
        raise RecorderError(
            f"{path}: there is a file already, and nothing is ever overwritten. Give another name"
        )
    if not path.parent.is_dir():
        raise RecorderError(f"{path}: there is no folder {path.parent}. Make it first")
    if temp is not None and not temp.is_dir():
        raise UsageError(f"{temp}: there is no such folder for temporary files")
    if not as_one and (parts := survey(source)).count > 1:
        raise LogError(
            source,
            found=f"its time starts again: it holds {parts.count} episodes, and ordering would mix "
            "them",
            todo="ingest it as it is, each part is an episode; or order it as one",
        )
    sorter = _Sorter(source, path, temp or path.parent, merging, on)
    try:
        return sorter.run()
    except BaseException as error:
        sorter.close()
        if isinstance(error, OSError) and not isinstance(error, LogError | RecorderError):
            raise RecorderError(
                f"{error.filename or path}: cannot write ({error.strerror}); nothing is left of "
                "the new file. Free some space and order to a new file"
            ) from error
        raise


class _Sorter:
    """One file, put in order. A `viae.record.copying.NewFile`."""

    def __init__(self, source: Path, path: Path, temp: Path, merging: Merging, on: On) -> None:
        self._source, self._path, self._temp = source, path, temp
        self._merging, self._on = merging, on
        self._size = source.stat().st_size
        self._head = Header(profile="", library="")
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._places: list[tuple[int, str]] = []  # role and topic of each channel
        self._ranks = np.zeros(0, np.uint64)  # of these, as far as messages have asked for them
        self._paths: list[Path] = []
        self._files: list[ChunkFile] = []
        self._runs: list[ChunkFile] = []
        self._aside = Aside(self._new_path(temp))
        self._pool: list[Gathered] = []
        self._pool_bytes = 0
        self._last: npt.NDArray[Any] | None = None  # head of what was last written to a run
        self._high_ns = 0
        self._late = 0
        self._spilled = 0

    def run(self) -> Ordered:
        copying = Copying(self._source, self)
        copying.run()
        self._empty_pool()
        self._on("read", self._size, self._size)
        count = len(self._runs)
        new = self._merged()
        new.flush()
        written = Counter[str]()
        for number, messages in new.counts.items():
            written[self._channels[number].topic] += messages
        if written != copying.messages:
            raise RecorderError(
                f"{self._path}: {copying.messages.total()} messages were read and "
                f"{written.total()} written; the new file is removed again. Please report this"
            )
        new.finish(self._aside)
        new.close()
        if self._path.exists():
            raise RecorderError(f"{self._path}: there is a file by now, and it is not overwritten")
        new.path.rename(self._path)
        self.close()
        return Ordered(
            source=self._source, path=self._path, read=dict(sorted(copying.messages.items())),
            written=dict(sorted(written.items())), late=self._late, runs=count,
            spilled_bytes=self._spilled, metadata=copying.metadata,
            attachments=copying.attachments, losses=copying.losses,
        )  # fmt: skip

    def close(self) -> None:
        """Leave nothing behind."""
        for file in self._files:
            file.close()
        self._aside.close()
        for path in self._paths:
            with suppress(OSError):
                path.unlink()

    # -- what is read -----------------------------------------------------------------------------

    def start(self, profile: str = "", library: str = "") -> None:
        """See `NewFile`."""
        self._head = Header(profile=profile, library=library)

    def register_schema(self, name: str, encoding: str, data: bytes) -> int:
        """See `NewFile`."""
        record = Schema(id=len(self._schemas) + 1, name=name, encoding=encoding, data=data)
        self._schemas.append(record)
        if self._runs:
            self._runs[-1].define(record)
        return record.id

    def register_channel(
        self, topic: str, message_encoding: str, schema_id: int, metadata: dict[str, str]
    ) -> int:
        """See `NewFile`."""
        record = Channel(
            id=len(self._channels), topic=topic, message_encoding=message_encoding,
            schema_id=schema_id, metadata=metadata,
        )  # fmt: skip
        self._channels.append(record)
        self._places.append((role_of(metadata).rank, topic))
        if self._runs:
            self._runs[-1].define(record)
        return record.id

    def add_metadata(self, name: str, data: dict[str, str]) -> None:
        """See `NewFile`."""
        record = Metadata(name=name, metadata=data)
        self._aside.add(MetadataIndex(offset=0, length=0, name=name), record_bytes(record))

    def add_attachment(
        self, create_time: int, log_time: int, name: str, media_type: str, data: bytes
    ) -> None:
        """See `NewFile`."""
        record = Attachment(
            create_time=create_time, log_time=log_time, name=name, media_type=media_type, data=data
        )
        index = AttachmentIndex(
            offset=0, length=0, log_time=log_time, create_time=create_time, data_size=len(data),
            name=name, media_type=media_type,
        )  # fmt: skip
        self._aside.add(index, record_bytes(record))

    def add_run(self, run: MessageRun, numbers: Ints) -> None:
        """See `NewFile`."""
        self._on("read", run.origin, self._size)
        part = Gathered.of(run, numbers)
        times = part.heads["log_time"]
        high = np.maximum.accumulate(np.concatenate([[np.uint64(self._high_ns)], times]))
        self._late += int((times < high[1:]).sum())
        self._high_ns = int(high[-1])
        self._pool_bytes += len(part) * OVERHEAD
        if not self._pool or part.buffers[0] is not self._pool[-1].buffers[0]:
            self._pool_bytes += part.held_bytes
        self._pool.append(part)
        if self._pool_bytes >= POOL_BYTES:
            self._empty_pool(keep=0.5)

    # -- runs -------------------------------------------------------------------------------------

    def _keys(self, heads: npt.NDArray[Any]) -> Keys:
        """Uint64 [N, 2] of heads [N]: log time; then role and topic, then sequence."""
        if len(self._ranks) < len(self._places):
            known = {place: rank for rank, place in enumerate(sorted(set(self._places)))}
            self._ranks = np.array([known[place] for place in self._places], np.uint64)
        rank = self._ranks[heads["channel_id"]] << np.uint64(32)
        return np.stack([heads["log_time"], rank | heads["sequence"]], axis=1)

    def _empty_pool(self, *, keep: float = 0.0) -> None:
        """Add the pool to the runs, in order.

        Args:
            keep: a pool that had to be sorted keeps the last part of it, for what may come before.
        """
        if not self._pool:
            return
        pool = Gathered.together(self._pool)
        self._pool, self._pool_bytes = [], 0
        found = self._merging.key_order(self._keys(pool.heads))
        kept: Gathered | None = None
        if found is not None:
            pool = pool.take(found)
            if keep:
                sizes = np.cumsum(pool.sizes)
                cut = max(1, int(np.searchsorted(sizes, sizes[-1] * (1 - keep))))
                kept, pool = pool.take(slice(cut, None)), pool.take(slice(cut))
        self._run_for(pool.heads[0]).add(pool)
        self._last = pool.heads[-1:].copy()
        if kept is not None and len(kept):
            self._pool = [kept.compact()]
            self._pool_bytes = self._pool[0].held_bytes + len(kept) * OVERHEAD

    def _run_for(self, head: npt.NDArray[Any]) -> ChunkFile:
        """The run that goes on with this message: the last one, if it ends before."""
        if self._runs and self._last is not None:
            last, first = self._keys(np.concatenate([self._last, head[None]])).tolist()
            if first >= last:
                return self._runs[-1]
            self._spill()
        self._runs.append(self._new_run(anonymous=bool(self._runs)))
        return self._runs[-1]

    def _spill(self) -> None:
        """The last run is a temporary one."""
        run = self._runs[-1]
        run.flush()
        self._spilled += run.nbytes
        with suppress(OSError):  # the first has a name, as it might have been the only one
            run.path.unlink()

    def _new_run(self, *, anonymous: bool) -> ChunkFile:
        folder = self._temp if anonymous else self._path.parent
        defined: list[Schema | Channel] = [*self._schemas, *self._channels]
        file = ChunkFile(self._new_path(folder), self._head, defined, anonymous=anonymous)
        self._files.append(file)
        return file

    def _new_path(self, folder: Path) -> Path:
        path = folder / f".{self._path.name}.{uuid.uuid4().hex[:12]}.partial"
        self._paths.append(path)
        return path

    # -- merging ----------------------------------------------------------------------------------

    def _merged(self) -> ChunkFile:
        """All runs as one, whose file has a name."""
        if not self._runs:
            self._runs.append(self._new_run(anonymous=False))
        if len(self._runs) == 1:
            return self._runs[0]
        self._spill()
        runs = self._runs
        while len(groups := _groups(runs)) > 1:
            runs = [self._merge(group, anonymous=True) for group in groups]
            self._spilled += sum(run.nbytes for run in runs)
        return self._merge(runs, anonymous=False)

    def _merge(self, runs: Sequence[ChunkFile], *, anonymous: bool) -> ChunkFile:
        if len(runs) == 1 and anonymous:
            return runs[0]
        new = self._new_run(anonymous=anonymous)
        blocks = [_Blocks(run, self._keys) for run in runs]
        done, total = 0, sum(run.nbytes for run in runs)
        for run, position in self._merging.merge([iter(block) for block in blocks]):
            used, place = np.unique(run, return_inverse=True)
            held = [blocks[number].held for number in used.tolist()]
            starts = np.cumsum([0, *map(len, held)])[:-1]
            records = Gathered.together(held).take(starts[place] + position)
            new.add(records)
            done += int(records.sizes.sum())
            self._on("merge", min(done, total), total)
        new.flush()
        for old in runs:
            old.close()
        return new


class _Blocks:
    """A run's chunks again: their keys, and what is in the one that was taken last."""

    def __init__(self, run: ChunkFile, keys: Callable[[npt.NDArray[Any]], Keys]) -> None:
        self._run, self._keys = run, keys
        self.held: Gathered

    def __iter__(self) -> Iterator[Keys]:
        for chunk in self._run.chunks():
            self.held = Gathered.of(chunk, chunk.heads["channel_id"])
            yield self._keys(self.held.heads)


def _groups(runs: Sequence[ChunkFile]) -> list[list[ChunkFile]]:
    """Runs to merge at once; they follow each other, so that equal keys keep their order."""
    groups: list[list[ChunkFile]] = [[]]
    room = MERGE_BYTES
    for run in runs:
        group = groups[-1]
        if len(group) > 1 and (run.largest > room or len(group) == FAN_IN):
            group, room = [], MERGE_BYTES
            groups.append(group)
        group.append(run)
        room -= run.largest
    return groups


def role_of(metadata: dict[str, str]) -> Role:
    """The role of a channel: as viae's recorder says in its metadata, else an observation."""
    try:
        return StreamSpec.from_json(json.loads(metadata[SPEC_KEY])).role
    except (KeyError, ValueError, TypeError, AttributeError):
        return Role.OBSERVATION
