"""Ingest: logs into a store, an episode whole or not at all, and an account of everything else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from viae.errors import LogError, SchemaError
from viae.load.clocks import CLOCK_KEY, clock_fact
from viae.logs import LogEpisode, Statement, find_logs, open_log
from viae.logs.format import EPISODE_KEYS
from viae.logs.mapping import StreamMapping
from viae.schema import Episode, Fact, JsonValue, Loss, LossKind, Samples, StreamSpec, VideoGroup
from viae.sequence.stamps import Stamps
from viae.store import EpisodeDraft, Store, StoreWriter
from viae.verbs.progress import Progress, Tell, quiet
from viae.video.lines import Account, UnrecodableError
from viae.video.recode import Recoder
from viae.video.recoding import Recoding


@dataclass(slots=True, kw_only=True)
class StreamCount:
    """What was ingested of one stream, over all new episodes of one log."""

    topic: str
    stream: str
    kind: str
    episodes: int = 0
    samples: int = 0
    span_ns: int = 0
    """Sum over episodes of last - first arrival."""

    @property
    def rate_hz(self) -> float | None:
        """Samples per second of recording."""
        gaps = self.samples - self.episodes
        return gaps / (self.span_ns / 1e9) if self.span_ns > 0 else None


@dataclass(slots=True, kw_only=True)
class LogReport:
    """What became of one log.

    Args:
        path: the file or folder.
        format: the format that read it; empty where none could.
        ingested: ids of episodes new to the store.
        known: episodes that the store had already.
        streams: counts per stream of the new episodes.
        losses: everything lost, skipped or repaired.
        recoded: streams of pictures that were to be coded anew, and what became of them.
    """

    path: str
    format: str = ""
    ingested: list[str] = field(default_factory=list)
    known: int = 0
    streams: dict[str, StreamCount] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    recoded: list[Account] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "path": self.path,
            "format": self.format,
            "ingested": self.ingested,
            "known": self.known,
            "streams": [
                {
                    "topic": s.topic, "stream": s.stream, "kind": s.kind, "episodes": s.episodes,
                    "samples": s.samples, "rate_hz": s.rate_hz,
                }
                for s in self.streams.values()
            ],
            "losses": [loss.to_json() for loss in self.losses],
            "recoded": [account.to_json() for account in self.recoded],
        }  # fmt: skip


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What became of everything that was asked for."""

    store: str
    logs: list[LogReport] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Files below the given folders that no format recognises."""
    unused: list[str] = field(default_factory=list)
    """Patterns of the mapping that fitted no stream or topic of any new episode."""

    @property
    def ingested(self) -> int:
        """Episodes new to the store."""
        return sum(len(log.ingested) for log in self.logs)

    @property
    def known(self) -> int:
        """Episodes that the store had already."""
        return sum(log.known for log in self.logs)

    def streams(self) -> list[StreamCount]:
        """What was ingested per topic and stream, over all logs."""
        total: dict[tuple[str, str, str], StreamCount] = {}
        for count in (count for log in self.logs for count in log.streams.values()):
            key = (count.topic, count.stream, count.kind)
            own = total.setdefault(
                key, StreamCount(topic=count.topic, stream=count.stream, kind=count.kind)
            )
            own.episodes += count.episodes
            own.samples += count.samples
            own.span_ns += count.span_ns
        return list(total.values())

    def recoded(self) -> list[Account]:
        """What became of streams that were to be coded anew, over all logs."""
        return _joined(account for log in self.logs for account in log.recoded)

    @property
    def losses(self) -> list[Loss]:
        """All losses."""
        return [loss for log in self.logs for loss in log.losses]

    @property
    def complete(self) -> bool:
        """Whether every message of every log asked for is in the store."""
        return not any(loss.kind is LossKind.LOST for loss in self.losses)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "store": self.store, "ingested": self.ingested, "known": self.known,
            "complete": self.complete, "skipped_files": self.skipped,
            "unused_mapping": self.unused,
            "logs": [log.to_json() for log in self.logs],
        }  # fmt: skip


def ingest(
    paths: Iterable[str | Path],
    store: Store,
    *,
    mapping: StreamMapping | None = None,
    recoding: Recoding | None = None,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> IngestReport:
    """Read logs into a store.

    Atomic per episode, idempotent by content, resumable after a kill: run it again. A log that
    cannot be read is reported and does not stop the others.

    Args:
        paths: files and folders; folders are searched for logs.
        store: where to.
        mapping: what the user knows better about the streams; part of an episode's identity.
        recoding: which pictures are coded anew, and how; likewise. None leaves all as they are.
        tell: told of progress, per block; ``done`` counts logs.
        now_ns: the clock, for facts and ``ingested_ns``.

    Raises:
        LogNotFoundError: a path does not exist; nothing was ingested.
        StoreFullError: no space; what was committed is whole.
    """
    found = [find_logs(path) for path in paths]
    logs = list(dict.fromkeys(path for each in found for path in each.logs))
    report = IngestReport(
        store=store.uri, skipped=[str(path) for each in found for path in each.skipped]
    )
    known = store.episode_ids()
    writer = StoreWriter(store, now_ns=now_ns)
    for number, path in enumerate(logs):

        def note(text: str, done: int = number) -> None:
            tell(Progress(phase="ingest", done=done, total=len(logs), note=text))

        note(path.name)
        report.logs.append(_ingest_log(path, writer, known, mapping, recoding, note))
    writer.commit()
    if mapping and report.ingested and not report.known:
        report.unused = mapping.unused
    store.compact()
    tell(Progress(phase="ingest", done=len(logs), total=len(logs)))
    return report


def _ingest_log(
    path: Path,
    writer: StoreWriter,
    known: set[str],
    mapping: StreamMapping | None,
    recoding: Recoding | None,
    note: Callable[[str], None],
) -> LogReport:
    report = LogReport(path=text_of(str(path)))
    try:
        log = open_log(path)
    except LogError as error:
        report.losses.append(_refused(error, path))
        return report
    report.format = log.format
    for episode in log.episodes:
        unrecodable: dict[str, UnrecodableError] = {}
        while True:
            try:
                _ingest_episode(
                    episode, log.format, writer, known, mapping, recoding, unrecodable, report, note
                )
            except UnrecodableError as error:  # again, with this stream as it is
                unrecodable[error.stream] = error
                continue
            except (LogError, SchemaError) as error:
                report.losses.append(_refused(error, path))
            break
    report.losses.extend(map(_as_text, log.losses))
    return report


def _ingest_episode(
    source: LogEpisode,
    log_format: str,
    writer: StoreWriter,
    known: set[str],
    mapping: StreamMapping | None,
    recoding: Recoding | None,
    unrecodable: Mapping[str, UnrecodableError],
    report: LogReport,
    note: Callable[[str], None],
) -> None:
    log_hash = source.fingerprint()
    place = f"{source.range} mapping {mapping.digest}" if mapping else source.range
    if recoding:
        place += f" pictures {recoding.digest}"
    episode_id = episode_id_of(log_hash, place)
    if episode_id in known:
        report.known += 1
        return
    draft = writer.begin(episode_id)
    said: dict[str, JsonValue] = {"viae.mapping": mapping.to_json()} if mapping else {}
    if recoding:
        said["viae.pictures"] = recoding.to_json()
    losses = [_not_recoded(source, error) for error in unrecodable.values()]
    stamps: dict[str, Stamps] = {}
    recoder = Recoder(
        recoding or Recoding(), {name: error.reason for name, error in unrecodable.items()}
    )
    for item in recoder.items(mapping.apply(source.read()) if mapping else source.read()):
        match item:
            case Statement(key=key, value=value):
                said[key] = value
            case Loss():
                losses.append(_as_text(item))
            case Samples() | VideoGroup():
                draft.add(item)
                stamps.setdefault(item.spec.name, Stamps()).add(item.capture_ns, item.arrival_ns)
                note(f"{Path(source.uri).name} {source.range} {draft.samples:,} samples")
    report.losses.extend(losses)
    now_ns = writer.now_ns()
    episode = _episode(source, episode_id, log_hash, log_format, said, draft)
    facts = [
        Fact(episode_id=episode_id, key=key, value=value, author="log", time_ns=now_ns)
        for key, value in said.items()
        if key not in EPISODE_KEYS or key == "outcome"
    ]
    facts += [
        Fact(
            episode_id=episode_id, key=f"loss.{number}.{loss.name}", value=loss.to_json(),
            author="viae ingest", time_ns=now_ns,
        )
        for number, loss in enumerate(losses)
    ]  # fmt: skip
    facts += [
        clock_fact(episode_id, stream, clock, author="viae ingest", time_ns=now_ns)
        for stream, seen in stamps.items()
        if f"{CLOCK_KEY}{stream}" not in said and (clock := seen.correction()) is not None
    ]
    facts += [
        Fact(
            episode_id=episode_id,
            key=f"video.{'kept' if account.kept else 'recoded'}.{stream}",
            value=account.to_json(), author="viae ingest", time_ns=now_ns,
        )
        for stream, account in recoder.accounts.items()
    ]  # fmt: skip
    draft.finish(episode, facts)
    known.add(episode_id)
    report.ingested.append(episode_id)
    _count(draft, report)
    report.recoded = _joined([*report.recoded, *recoder.accounts.values()])


def episode_id_of(log_hash: str, log_range: str) -> str:
    """The id of an episode: a digest of its content and its place in the log."""
    digest = hashlib.blake2b(f"{log_hash}\n{log_range}".encode(), digest_size=8)
    return digest.hexdigest()


def _episode(
    source: LogEpisode,
    episode_id: str,
    log_hash: str,
    log_format: str,
    said: dict[str, JsonValue],
    draft: EpisodeDraft,
) -> Episode:
    outcome, conditions = said.get("outcome"), said.get("conditions")
    start_ns, end_ns = draft.span_ns()
    return Episode(
        episode_id=episode_id,
        log_uri=text_of(source.uri),
        log_hash=log_hash,
        log_range=source.range,
        log_format=log_format,
        robot=str(said.get("robot") or ""),
        task=str(said.get("task") or ""),
        agent=str(said.get("agent") or ""),
        start_ns=start_ns,
        end_ns=end_ns,
        outcome=outcome if isinstance(outcome, bool) else None,
        conditions=conditions if isinstance(conditions, dict) else {},
    )


def _count(draft: EpisodeDraft, report: LogReport) -> None:
    for name, tally in draft.tallies.items():
        count = report.streams.setdefault(
            name, StreamCount(topic=tally.spec.topic, stream=name, kind=str(tally.spec.kind))
        )
        count.episodes += 1
        count.samples += tally.samples
        count.span_ns += tally.last_ns - tally.first_ns


def _refused(error: LogError | SchemaError, path: Path) -> Loss:
    """A log or an episode that could not be taken at all."""
    return Loss(
        kind=LossKind.LOST,
        name="refused",
        path=text_of(getattr(error, "path", str(path))),
        stream=getattr(error, "stream", ""),
        at_ns=getattr(error, "at_ns", None),
        detail=text_of(str(error)),
    )


def _not_recoded(source: LogEpisode, error: UnrecodableError) -> Loss:
    """A stream that was to be coded anew, and had to stay as it is."""
    return Loss(
        kind=LossKind.REPAIRED,
        name="not-recoded",
        path=text_of(source.uri),
        stream=error.stream,
        at_ns=error.at_ns,
        detail=f"{error.reason}; the whole stream is kept as it was recorded",
    )


def _joined(accounts: Iterable[Account]) -> list[Account]:
    """Accounts of streams with one name, one description and one end as one."""
    total: dict[tuple[StreamSpec, str], Account] = {}
    for account in accounts:
        key = (account.spec, account.kept)
        if key in total:
            total[key].add(account)
        else:
            total[key] = replace(account)
    return list(total.values())


def _as_text(loss: Loss) -> Loss:
    return replace(loss, path=text_of(loss.path), detail=text_of(loss.detail))


def text_of(path: str) -> str:
    """A path as text that can be stored and shown; bytes that are no UTF-8 by their numbers."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
