"""Clock: what is said of streams' clocks, and saying it anew, by facts that are appended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np

from viae.errors import UsageError
from viae.load.clocks import clock_fact, clock_of, read_clock_facts
from viae.schema import Episode, Fact, JsonValue, TimesNs
from viae.sequence.clock import ArrivalClock, Clock, clock_by_hand, clock_from_json
from viae.sequence.stamps import correction
from viae.store import Store, query, times_from_rows
from viae.verbs.progress import Progress, Tell, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLine:
    """What is said of the clock of one stream of an episode.

    Args:
        episode_id: the episode.
        stream: the stream.
        clock: what maps its captures to the log's clock; None where they are taken as stamped.
        author: who says so; empty where nobody says anything.
        time_ns: when.
    """

    episode_id: str
    stream: str
    clock: Clock | None
    author: str = ""
    time_ns: int | None = None

    @property
    def said(self) -> str:
        """For people, e.g. ``"66.2 days behind"``."""
        return told(self.clock)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; offset and drift are those of the longest piece."""
        fields: dict[str, Any] = {
            "episode": self.episode_id, "stream": self.stream, "said": self.said,
            "author": self.author or None, "time_ns": self.time_ns,
            "clock": self.clock and self.clock.to_json(),
        }  # fmt: skip
        if self.clock is None or isinstance(self.clock, ArrivalClock):
            return fields
        piece = max(self.clock.pieces, key=lambda piece: piece.count)
        return fields | {
            "offset_ms": piece.offset_ns / 1e6, "offset_error_ms": piece.offset_error_ns / 1e6,
            "drift_ppm": piece.drift_ppm, "drift_error_ppm": piece.drift_error_ppm,
            "pieces": len(self.clock.pieces), "samples": piece.count,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReport:
    """What is said now.

    Args:
        lines: per stream asked for by name, or of which something is said; by episode and stream.
        others: streams of the episodes of which nothing is said, and which are not in ``lines``.
        appended: facts appended by this call.
    """

    lines: Sequence[ClockLine]
    others: int
    appended: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "streams": [line.to_json() for line in self.lines], "as_stamped": self.others,
            "appended": self.appended,
        }  # fmt: skip


Subject: TypeAlias = tuple[str, str]
"""Episode id and stream."""
AT_ONCE = 256
"""Episodes whose times are in memory at once."""
TABLES: tuple[Literal["chunks", "video"], ...] = ("chunks", "video")
Said = Literal["fit", "as-stamped", "by-arrival"]


def clock(
    store: Store,
    *,
    episodes: Collection[str] = (),
    where: str = "",
    streams: Collection[str] = (),
    say: Said | tuple[float, float] | None = None,
    author: str = "",
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> ClockReport:
    """Show the clocks of streams, or say what they are from now on.

    A fact is appended where what is to be said differs from what was said last; a snapshot from
    before gives the windows of before.

    Args:
        store: where the episodes are.
        episodes: ids or their beginnings; all where empty.
        where: only episodes for which this SQL condition on ``episodes`` holds.
        streams: names, or patterns with ``*`` and ``?``; all where empty.
        say: None says nothing. ``"fit"`` judges the stamps again, as ingest does; ``"as-stamped"``
            takes the stamps as they are, ``"by-arrival"`` the arrivals for them; a pair is how far
            the streams' clock is ahead of the log's when the episode begins, in ms, and how much
            faster it runs, in ppm.
        author: who says so.
        tell: told of progress; ``done`` counts episodes.
        now_ns: the clock, for facts.

    Raises:
        NoSuchEpisodeError: no episode, or several, has a given id.
        QueryError: ``where`` is not SQL.
        UsageError: no episode or no stream fits, a correction by hand names no stream or is no
            clock, or nobody is its author.
    """
    if isinstance(say, tuple) and not isfinite(say[0]):
        raise UsageError(f"an offset of {say[0]} ms is none")
    if say is not None and not author:
        raise UsageError("say who says so, with --author")
    if say not in (None, "fit") and not streams:
        raise UsageError("name the streams whose clock this is, with --stream")
    chosen = _episodes(store, episodes, where)
    ids = [episode.episode_id for episode in chosen]
    rows: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in ids}
    every = 0
    for row in store.streams(ids):
        every += 1
        if _fits(row["stream"], streams):
            rows[row["episode_id"]].append(row)
    if streams and not any(rows.values()):
        raise UsageError(
            f"{store.uri}: no stream of {len(ids)} episodes fits {', '.join(sorted(streams))}; "
            "list the streams of one with  viae show EPISODE"
        )
    known = read_clock_facts(store, ids)
    appended: list[Fact] = []
    for start in range(0, len(chosen) if say is not None else 0, AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        tell(Progress(phase="clock", done=start, total=len(chosen)))
        for subject, found in _said(store, part, rows, say):
            before = known.get(subject)
            fact = clock_fact(*subject, found, author=author, time_ns=now_ns())
            if fact.value != (before.value if before else None):
                appended.append(fact)
                known[subject] = fact
    store.add_facts(appended)
    lines = [
        _line(id_, row["stream"], known.get((id_, row["stream"])))
        for id_ in ids
        for row in rows[id_]
        if streams or (id_, row["stream"]) in known
    ]
    return ClockReport(lines=lines, others=every - len(lines), appended=len(appended))


def told(clock: Clock | None) -> str:
    """A clock in words: ``"66.2 days behind, 25.1 ppm fast, 1 step"``."""
    from viae.doctor.times import seconds

    if clock is None:
        return "as stamped"
    if isinstance(clock, ArrivalClock):
        return "by arrival"
    piece = max(clock.pieces, key=lambda piece: piece.count)
    offset = piece.offset_ns
    words = [f"{seconds(abs(offset))} {'ahead' if offset > 0 else 'behind'}"]
    if piece.drift_ppm:
        words.append(f"{abs(piece.drift_ppm):.3g} ppm {'fast' if piece.drift_ppm > 0 else 'slow'}")
    if steps := len(clock.pieces) - 1:
        words.append(f"{steps} step{'s' if steps > 1 else ''}")
    return ", ".join(words)


def told_json(value: JsonValue) -> str:
    """The value of a fact about a clock in words."""
    return told(clock_from_json(value) if isinstance(value, dict) else None)


def _episodes(store: Store, prefixes: Collection[str], where: str) -> list[Episode]:
    found = [store.episode(prefix) for prefix in prefixes] if prefixes else store.episodes()
    if where:
        rows = query(store, f"SELECT episode_id FROM episodes WHERE {where}")
        kept = set(rows["episode_id"].to_pylist())
        found = [episode for episode in found if episode.episode_id in kept]
    if not found:
        raise UsageError(f"{store.uri}: no episode fits. List them with  viae ls")
    return list({episode.episode_id: episode for episode in found}.values())


def _fits(stream: str, wanted: Collection[str]) -> bool:
    return not wanted or stream in wanted or any(fnmatchcase(stream, each) for each in wanted)


def _line(episode_id: str, stream: str, fact: Fact | None) -> ClockLine:
    if fact is None:
        return ClockLine(episode_id=episode_id, stream=stream, clock=None)
    return ClockLine(
        episode_id=episode_id, stream=stream, clock=clock_of(fact), author=fact.author,
        time_ns=fact.time_ns,
    )  # fmt: skip


def _said(
    store: Store,
    episodes: Sequence[Episode],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    say: Said | tuple[float, float] | None,
) -> Iterator[tuple[Subject, Clock | None]]:
    """What is to be said of each stream."""
    if say == "fit":
        wanted = {(e.episode_id, row["stream"]) for e in episodes for row in rows[e.episode_id]}
        for subject, (capture_ns, arrival_ns) in _times(store, wanted).items():
            yield subject, correction(capture_ns, arrival_ns)
        return
    for episode in episodes:
        same: Clock | None = None
        if say == "by-arrival":
            same = ArrivalClock()
        elif isinstance(say, tuple):
            same = clock_by_hand(
                at_ns=episode.start_ns, offset_ns=round(say[0] * 1e6), drift_ppm=say[1]
            )
        for row in rows[episode.episode_id]:
            yield (episode.episode_id, row["stream"]), same


def _times(store: Store, wanted: Collection[Subject]) -> dict[Subject, tuple[TimesNs, TimesNs]]:
    """Captures and arrivals of streams, in recorded order, without their values."""
    ids, names = {id_ for id_, _ in wanted}, {name for _, name in wanted}
    parts: dict[Subject, list[tuple[int, TimesNs, TimesNs]]] = {}
    for table in TABLES:
        for found in store.scan(table, ("capture_ns", "arrival_ns"), ids, names):
            subjects = zip(
                found["episode_id"].to_pylist(), found["stream"].to_pylist(), strict=True
            )
            positions = found["position"].to_pylist()
            for at, subject in enumerate(subjects):
                if subject in wanted:
                    row = found.slice(at, 1)
                    capture_ns = times_from_rows(row["capture_ns"])
                    arrival_ns = times_from_rows(row["arrival_ns"])
                    parts.setdefault(subject, []).append((positions[at], capture_ns, arrival_ns))
    times = {}
    for subject, blocks in sorted(parts.items()):
        blocks.sort(key=lambda block: block[0])
        _, captures, arrivals = zip(*blocks, strict=True)
        times[subject] = np.concatenate(captures), np.concatenate(arrivals)
    return times
