"""What the times in an MCAP file say, before it is read: whether it holds several episodes.

A topic *restarts* where its log time steps back by more than a second, to the first half of what it
had covered. If all topics restart as often as each other, the file holds so many episodes more: its
parts, of which each has the k-th run of every topic. Topics that were appended one after another do
not restart, each for itself, and stay one episode.

The times are read from the message indexes behind the chunks, 16 bytes a message, and chunks are
passed over. Only a chunk without an index is opened, and outside of chunks the heads of all
messages are read; such a file is read twice.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.records import Channel, Chunk, DataEnd

from viae.logs.mcap.chunk import open_chunk
from viae.logs.mcap.index import Index
from viae.logs.mcap.layout import OUTER
from viae.logs.mcap.run import HEAD, MessageRun, Place
from viae.logs.mcap.scan import Gap, Outer, SkippedChunk, scan
from viae.logs.mcap.source import Source
from viae.logs.mcap.summary import Summary, read_summary
from viae.schema import NS_PER_S, Loss, LossKind, TimesNs

WHOLE = 0
"""The number of a part that is all of the file."""
WINDOW = 1 << 16
MIN_STEP_NS = NS_PER_S
MIN_MESSAGES = 8
"""Messages in a run, on average, of a topic whose restarts count."""
CRC_PIECE = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where the episodes in a file begin.

    Args:
        count: how many there are.
        places: where each but the first begins, by channel id.
        default: the same for any other channel.
        is_indexed: whether the summary describes all channels, so that chunks can be passed over.
        doubt: whether messages are missing that may be inside of others.
        losses: what was seen and not acted on.
    """

    count: int = 1
    places: dict[int, tuple[Place, ...]] = field(default_factory=dict)
    default: tuple[Place, ...] = ()
    is_indexed: bool = False
    doubt: bool = False
    losses: tuple[Loss, ...] = ()

    def take(self, run: MessageRun, number: int) -> MessageRun:
        """The messages of a run that belong to a part, counted from 1 on; `WHOLE` is all."""
        if number == WHOLE:
            return run
        ids = run.heads["channel_id"]
        kept = np.zeros(len(run), bool)
        for id_ in np.unique(ids).tolist():
            places = self.places.get(id_, self.default)
            mine = ids == id_
            if number > 1:
                mine &= ~run.is_before(places[number - 2])
            if number <= len(places):
                mine &= run.is_before(places[number - 1])
            kept |= mine
        return run.take(kept)

    def span(self, number: int) -> tuple[int, int]:
        """Bytes of the file in which everything of a part is; its chunks begin between them."""
        every = [self.default, *self.places.values()]
        first = min(places[number - 2][0] for places in every) if number > 1 else 0
        last = max(places[number - 1][0] for places in every) if number < self.count else 1 << 63
        return first, last


def survey(path: Path) -> Parts:
    """Read the times of all messages.

    Args:
        path: the file; it begins with the magic.
    """
    source = Source(path, window=WINDOW)
    try:
        return _Survey(path, source).parts()
    finally:
        source.close()


class _Survey:
    """One pass over the times."""

    def __init__(self, path: Path, source: Source) -> None:
        self._path, self._source = path, source
        self._summary: Summary = read_summary(source)
        self._topics = {id_: c.topic for id_, c in self._summary.channels.items()}
        self._times: dict[str, _Times] = {}
        self._ids: dict[int, str] = {}
        self._flat = self._chunk = 0
        self._has_chunks = self._has_gap = self._crc_differs = False

    def parts(self) -> Parts:
        waits: SkippedChunk | None = None  # the last chunk, if no index has come
        for piece in scan(self._source, chunks=self._summary.chunks, skim=True):
            match piece:
                case Outer(record=Index() as index) if self._has_chunks:
                    if waits:
                        self._chunk, waits = waits.start, None
                    self._add_index(index)
                    continue
            if waits:
                self._open(waits)
                waits = None
            match piece:
                case SkippedChunk():
                    self._has_chunks, waits = True, piece
                case MessageRun():
                    self._flat += len(piece)
                    self._add_run(piece)
                case Outer(record=Channel() as channel):
                    self._topics[channel.id] = channel.topic
                case Outer(record=DataEnd() as end):
                    self._check(piece.start, end)
                case Gap():
                    self._has_gap = True
        if waits:
            self._open(waits)
        return self._decide()

    def _add_index(self, index: Index) -> None:
        entries = index.entries[np.argsort(index.entries["offset"], kind="stable")]
        offsets = entries["offset"].astype(np.int64)
        origin = np.full(len(entries), self._chunk)
        self._add(index.channel_id, entries["log_time"].astype(np.int64), origin, offsets)

    def _add_run(self, run: MessageRun) -> None:
        ids = run.heads["channel_id"]
        records = run.starts - HEAD.itemsize - OUTER.size
        for id_ in np.unique(ids).tolist():
            mine = ids == id_
            times = run.heads["log_time"][mine].astype(np.int64)
            if run.in_chunk:
                self._add(id_, times, np.full(len(times), run.origin), records[mine])
            else:
                self._add(id_, times, run.origin + records[mine], np.zeros(len(times), np.int64))

    def _add(self, id_: int, times: TimesNs, origins: TimesNs, offsets: TimesNs) -> None:
        topic = self._ids[id_] = self._topics.get(id_, f"channel {id_}")
        fits = times >= 0
        self._times.setdefault(topic, _Times()).add(times[fits], origins[fits], offsets[fits])

    def _open(self, skipped: SkippedChunk) -> None:
        try:
            content = self._source.peek(skipped.start + OUTER.size, skipped.end)
            chunk = Chunk.read(ReadDataStream(io.BytesIO(content)))
            inside = open_chunk(chunk, skipped.start)
        except Exception:  # the reader says so; here it has no times
            return
        for record in inside:
            if isinstance(record, MessageRun):
                self._add_run(record)
            elif isinstance(record, Channel):
                self._topics[record.id] = record.topic

    def _check(self, at: int, end: DataEnd) -> None:
        """Of a file without chunks and counts: whether its bytes are what they were."""
        if not end.data_section_crc or self._has_chunks or self._summary.statistics:
            return
        actual = 0
        for start in range(0, at, CRC_PIECE):
            piece = self._source.peek(start, min(start + CRC_PIECE, at))
            actual = zlib.crc32(piece, actual)
        self._crc_differs = actual != end.data_section_crc

    def _decide(self) -> Parts:
        statistics = self._summary.statistics
        is_short = statistics is not None and self._flat < statistics.message_count
        doubt = bool(self._flat) and (
            self._has_gap or self._crc_differs or (is_short and not self._has_chunks)
        )
        times = {topic: times for topic, times in self._times.items() if times.count}
        most = max((len(t.restarts) for t in times.values()), default=0)
        restarts = {
            topic: len(t.restarts)
            for topic, t in times.items()
            if t.count >= MIN_MESSAGES * (most + 1)
        }
        if not most:
            return Parts(doubt=doubt)
        if not restarts:  # then the few there are have to say it
            restarts = {topic: len(t.restarts) for topic, t in times.items()}
        if set(restarts.values()) != {most}:
            return Parts(doubt=doubt, losses=(self._unlike(restarts),))
        busiest = max(restarts, key=lambda topic: times[topic].count)
        return Parts(
            count=most + 1,
            places={
                id_: tuple(times[topic].restarts)
                for id_, topic in self._ids.items()
                if topic in restarts
            },
            default=tuple(times[busiest].restarts),
            is_indexed=self._summary.is_sound and self._ids.keys() <= self._summary.channels.keys(),
            doubt=doubt,
        )

    def _unlike(self, restarts: dict[str, int]) -> Loss:
        each = ", ".join(
            f"'{topic}' {number}" for topic, number in Counter(restarts).most_common(5)
        )
        return Loss(
            kind=LossKind.REPAIRED,
            name="time-restarts",
            path=str(self._path),
            count=max(restarts.values()),
            detail=f"log times start again, and not in all topics alike ({each}; of "
            f"{len(restarts)} topics), so nobody can say which runs belong together; taken as one "
            "episode. Split the file where episodes begin, and ingest the pieces",
        )


class _Times:
    """The log times of one topic, as they come."""

    def __init__(self) -> None:
        self.count = 0
        self.restarts: list[Place] = []
        self._first = self._high = self._last = 0  # of this run; two after another were as high
        self._held: tuple[TimesNs, TimesNs, TimesNs] | None = None

    def add(self, times: TimesNs, origins: TimesNs, offsets: TimesNs) -> None:
        """The next ones: int64 [N] each. The very last waits for its successor."""
        if not len(times):
            return
        self.count += len(times)
        if self._held is None:
            self._first = self._high = self._last = int(times[0])
            start = 1
        else:
            times, origins, offsets = (
                np.concatenate(pair)
                for pair in zip(self._held, (times, origins, offsets), strict=True)
            )
            start = 0
        while start < len(times):
            found = self._restart(times[start:])
            if found is None:
                break
            start += found
            self.restarts.append((int(origins[start]), int(offsets[start])))
            self._first = self._high = self._last = int(times[start])
            start += 1
        self._pass(times[start:-1])
        self._held = times[-1:], origins[-1:], offsets[-1:]

    def _restart(self, times: TimesNs) -> int | None:
        """Where two after each other are early. One alone is an outlier, as one late one is."""
        highest = self._highest(times)[:-1]
        early = times <= highest - MIN_STEP_NS
        early &= times - self._first < (highest - self._first) // 2
        both = np.flatnonzero(early[:-1] & early[1:])
        return int(both[0]) if len(both) else None

    def _pass(self, times: TimesNs) -> None:
        if len(times):
            self._high, self._last = int(self._highest(times)[-1]), int(times[-1])

    def _highest(self, times: TimesNs) -> TimesNs:
        """Before each and after the last: what two neighbours of this run reached so far."""
        neighbours = np.minimum(np.concatenate([[self._last], times[:-1]]), times)
        return np.maximum.accumulate(np.concatenate([[self._high], neighbours]))
