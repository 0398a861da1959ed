"""Doctor: what is wrong with logs, datasets and stores, what that does to learning, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from viae.doctor import Finding, Severity
from viae.doctor.checks import check_episode
from viae.doctor.dataset import check_dataset
from viae.doctor.digest import EpisodeDigest, digest_of
from viae.doctor.elements import CONSTANT_DIMENSION
from viae.doctor.finding import rule
from viae.doctor.fold import fold
from viae.doctor.latency import RULES as LATENCY_RULES
from viae.doctor.latency import Latencies
from viae.doctor.losses import finding_of
from viae.doctor.placing import MESSAGE_LOGS, split
from viae.doctor.report import Page
from viae.doctor.timing import StreamTiming, timing_of
from viae.doctor.trace import EpisodeTrace
from viae.doctor.tracing import trace_episode
from viae.doctor.values import FROZEN_DIMENSION
from viae.doctor.video import SUFFIXES, check_pair, pairs
from viae.errors import MissingExtraError, ViaeError
from viae.load.clocks import clock_of, read_clock_facts
from viae.logs import LogEpisode, find_logs, open_log
from viae.schema import Fact, Loss
from viae.store import Store
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.stored import is_store, stored_episodes

UNREADABLE = rule(
    "unreadable",
    Severity.ERROR,
    "it cannot be read",
    consequence="nothing can be learned from it",
    fix="See the evidence; copy the file again from the robot, or convert it.",
)


@dataclass(slots=True, kw_only=True)
class StreamRow:
    """The figures of one stream over all episodes of a log.

    Args:
        stream: its name.
        kind: its kind.
        episodes: in how many it is.
        count: samples.
        span_s: sum of the spans.
        rate_hz: median over episodes; likewise ``offset_ms``, ``drift_ppm``, ``delay_median_ms``.
        jitter_ms: the worst episode's; likewise ``longest_gap_s``.
    """

    stream: str
    kind: str
    episodes: int
    count: int
    span_s: float | None
    rate_hz: float | None
    jitter_ms: float | None
    longest_gap_s: float | None
    offset_ms: float | None
    drift_ppm: float | None
    delay_median_ms: float | None


@dataclass(slots=True, kw_only=True)
class LogDiagnosis:
    """What was found in one log or store.

    Args:
        path: the file, folder or address.
        format: the format that read it, ``"store"``, or empty where none could.
        episodes: how many were read.
        streams: their figures.
        findings: about this log; each once per episode.
    """

    path: str
    format: str = ""
    episodes: int = 0
    streams: list[StreamRow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "path": self.path, "format": self.format, "episodes": self.episodes,
            "streams": [asdict(row) for row in self.streams],
            "findings": [finding.to_json() for finding in self.findings],
        }  # fmt: skip


@dataclass(slots=True, kw_only=True)
class DoctorReport:
    """What was found in everything that was asked for.

    Args:
        logs: one entry per log or store.
        across: findings about several logs: episodes against each other, videos beside logs.
        skipped: files below the given folders that no format recognises.
    """

    logs: list[LogDiagnosis] = field(default_factory=list)
    across: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """All findings, the worst first."""
        every = [*self.across, *(finding for log in self.logs for finding in log.findings)]
        return sorted(every, key=lambda finding: -finding.severity.rank)

    @property
    def worst(self) -> Severity | None:
        """The worst severity; None where nothing was found."""
        return max(
            (finding.severity for finding in self.findings),
            key=lambda severity: severity.rank,
            default=None,
        )

    @property
    def exit_code(self) -> int:
        """0: nothing, or notes. 3: warnings. 4: errors."""
        return self.worst.exit_code if self.worst else 0

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; findings are not folded."""
        return {
            "worst": str(self.worst) if self.worst else None, "exit_code": self.exit_code,
            "logs": [log.to_json() for log in self.logs],
            "across": [finding.to_json() for finding in self.across],
            "skipped_files": self.skipped,
        }  # fmt: skip


def doctor(
    paths: Iterable[str | Path],
    *,
    tell: Tell = quiet,
    pictures: bool = True,
    html: Path | None = None,
) -> DoctorReport:
    """Look at logs, datasets and stores, and say what is wrong with them.

    Nothing in a log stops it: what cannot be read is a finding.

    Args:
        paths: files, folders (searched for logs) and stores.
        tell: told of progress; ``done`` counts logs.
        pictures: whether to decode pictures, for their motion and to see whether they can be.
        html: where to write a page with plots.

    Raises:
        LogNotFoundError: a path does not exist; nothing was looked at.
        MissingExtraError: a page is asked for, and matplotlib or jinja2 is not installed.
    """
    for package in ("matplotlib", "jinja2") if html else ():
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="report")
    report = DoctorReport()
    sources: list[_Source] = []
    for path in paths:
        sources += _sources(path, report)
    sources = list({source.path: source for source in sources}.values())
    beside = _videos_beside([s.path for s in sources if s.store is None])
    page = Page() if html else None
    singles: list[tuple[str, str, EpisodeDigest]] = []
    kept: dict[str, EpisodeTrace] = {}
    for number, source in enumerate(sources):

        def note(text: str, done: int = number) -> None:
            tell(Progress(phase="doctor", done=done, total=len(sources), note=text))

        note(Path(source.path).name)
        patient = _Patient(source, pictures=pictures, page=page, note=note)
        patient.examine()
        report.logs.append(patient.diagnosis)
        if len(patient.digests) == 1 and source.store is None:
            singles.append((str(Path(source.path).parent), patient.diagnosis.format,
                            patient.digests[0]))  # fmt: skip
            if patient.first is not None and source.path in {p for pair in beside for p in pair}:
                kept[source.path] = _times_only(patient.first)
    report.across += _across(singles)
    report.across += _pairs(beside, kept)
    tell(Progress(phase="doctor", done=len(sources), total=len(sources)))
    if html and page:
        page.write(
            html,
            title=", ".join(Path(log.path).name for log in report.logs[:4])
            + (f" and {len(report.logs) - 4} more" if len(report.logs) > 4 else ""),
            findings=fold(report.findings),
            logs=[
                {"path": log.path, "format": log.format, "episodes": log.episodes,
                 "streams": [asdict(row) for row in log.streams]}
                for log in report.logs
            ],
        )  # fmt: skip
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A log or a store, not yet opened."""

    path: str
    store: Store | None = None


def _sources(path: str | Path, report: DoctorReport) -> Iterator[_Source]:
    if is_store(path):
        yield _Source(path=str(path), store=Store.open(path))
        return
    found = find_logs(path)
    report.skipped += map(str, found.skipped)
    for log in found.logs:
        yield _Source(path=str(log))
    if not found.logs:
        others = len(found.skipped)
        evidence = (
            f"no log is here, only {others} other file{'s' if others > 1 else ''}"
            if others
            else "no log is here, nor any other file"
        )
        diagnosis = LogDiagnosis(path=str(path))
        diagnosis.findings.append(Finding(rule=UNREADABLE, path=str(path), evidence=evidence))
        report.logs.append(diagnosis)


class _Patient:
    """One log on the table."""

    def __init__(self, source: _Source, *, pictures: bool, page: Page | None, note: Any) -> None:
        self.source, self.pictures, self.page, self.note = source, pictures, page, note
        self.diagnosis = LogDiagnosis(path=source.path)
        self.digests: list[EpisodeDigest] = []
        self.first: EpisodeTrace | None = None
        self.latencies = Latencies()
        self.timings: dict[str, list[StreamTiming]] = {}
        self.kinds: dict[str, str] = {}
        self.clock_facts: dict[tuple[str, str], Fact] = {}

    def examine(self) -> None:
        """Read it once, whatever it holds."""
        try:
            log_format, episodes, losses = self._open()
            self.diagnosis.format = log_format
            for episode in episodes:
                self._examine_episode(episode)
        except Exception as error:  # a parser's bug on a broken file is a finding about the file
            self._unreadable(error)
            losses = []
        self.diagnosis.findings += [finding_of(loss) for loss in losses]
        self.diagnosis.findings += split(
            self.source.path, self.diagnosis.format, self.diagnosis.episodes
        )
        if len(self.digests) > 1:
            self._compare()
        self.diagnosis.streams = [
            _row(name, self.kinds[name], timings) for name, timings in self.timings.items()
        ]

    def _compare(self) -> None:
        """The episodes with each other. What holds for all of them is said once, not for each."""
        path = self.source.path
        padded = self.diagnosis.format in MESSAGE_LOGS
        found = check_dataset(path, self.digests, padded=padded) + self.latencies.findings(path)
        constant = {
            f.stream: set(f.values["elements"])  # type: ignore[arg-type]
            for f in found
            if f.rule is CONSTANT_DIMENSION
        }

        def said(finding: Finding) -> bool:
            if finding.rule in LATENCY_RULES:  # over all episodes the interval is the better one
                return True
            elements = finding.values.get("elements")
            return finding.rule is FROZEN_DIMENSION and (
                set(elements) <= constant.get(finding.stream, set())  # type: ignore[arg-type]
            )

        self.diagnosis.findings = [f for f in self.diagnosis.findings if not said(f)] + found

    def _open(self) -> tuple[str, Iterable[LogEpisode], Sequence[Loss]]:
        if self.source.store is not None:
            episodes = stored_episodes(self.source.store)
            self.clock_facts = read_clock_facts(
                self.source.store, [episode.range for episode in episodes]
            )
            return "store", episodes, ()
        log = open_log(self.source.path)
        return log.format, log.episodes, log.losses

    def _examine_episode(self, episode: LogEpisode) -> None:
        self.note(f"{Path(self.source.path).name} {episode.range}")
        try:
            clocks = {
                stream: clock
                for (episode_id, stream), fact in self.clock_facts.items()
                if episode_id == episode.range and (clock := clock_of(fact)) is not None
            }
            trace = trace_episode(
                episode.read(), path=self.source.path, episode=episode.range,
                format=self.diagnosis.format, pictures=self.pictures, clocks=clocks,
            )  # fmt: skip
            findings = check_episode(trace)
            timings = {name: timing_of(stream) for name, stream in trace.streams.items()}
            digest = digest_of(trace)
        except Exception as error:  # as above: one broken episode does not hide the others
            self._unreadable(error, episode.range)
            return
        self.diagnosis.episodes += 1
        self.diagnosis.findings += findings
        self.digests.append(digest)
        self.latencies.add(trace)
        self.first = self.first or trace
        for name, timing in timings.items():
            self.timings.setdefault(name, []).append(timing)
            self.kinds[name] = str(trace.streams[name].spec.kind)
        if self.page is not None:
            self.page.add(trace, timings, findings)

    def _unreadable(self, error: Exception, episode: str = "") -> None:
        said = str(error) or type(error).__name__
        if not isinstance(error, ViaeError):
            said = f"{type(error).__name__}: {said}"
        self.diagnosis.findings.append(
            Finding(rule=UNREADABLE, path=self.source.path, episode=episode, evidence=said[:500])
        )


def _row(name: str, kind: str, timings: Sequence[StreamTiming]) -> StreamRow:
    def over(figure: Any, what: str) -> float | None:
        values = [v for timing in timings if (v := getattr(timing, what)) is not None]
        return float(figure(values)) if values else None

    return StreamRow(
        stream=name, kind=kind, episodes=len(timings), count=sum(t.count for t in timings),
        span_s=over(sum, "span_s"), rate_hz=over(np.median, "rate_hz"),
        jitter_ms=over(max, "jitter_ms"), longest_gap_s=over(max, "longest_gap_s"),
        offset_ms=over(np.median, "offset_ms"), drift_ppm=over(np.median, "drift_ppm"),
        delay_median_ms=over(np.median, "delay_median_ms"),
    )  # fmt: skip


# -- several logs ---------------------------------------------------------------------------------


def _across(singles: Sequence[tuple[str, str, EpisodeDigest]]) -> list[Finding]:
    """Logs of one episode in one folder are a dataset, if nearly all have the same streams."""
    folders: dict[tuple[str, str], list[EpisodeDigest]] = {}
    for folder, log_format, digest in singles:
        folders.setdefault((folder, log_format), []).append(digest)
    found = []
    for (folder, log_format), digests in folders.items():
        usual = set.union(*(set(digest.streams) for digest in digests))
        alike = [len(set(digest.streams) & usual) >= 0.7 * len(usual) for digest in digests]
        if len(digests) > 1 and usual and np.mean(alike) >= 0.8:
            found += check_dataset(folder, digests, padded=log_format in MESSAGE_LOGS)
    return found


def _videos_beside(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a video file and the log that it lies beside, of which the log was asked for."""
    logs = [Path(path) for path in paths if Path(path).suffix.lower() not in SUFFIXES]
    videos: set[str] = set()
    others: set[str] = set()
    for log in logs:
        try:
            entries = list(log.absolute().parent.iterdir())
        except OSError:  # a folder that may not be looked into has nothing to say
            continue
        for entry in entries:
            near = log.parent / entry.name
            if entry.suffix.lower() in SUFFIXES and entry.is_file():
                videos.add(str(near))
            elif entry.suffix.lower() == log.suffix.lower():
                others.add(str(near))
    asked = set(map(str, logs))
    return [
        (video, log) for video, log in pairs(sorted(videos), sorted(others | asked)) if log in asked
    ]


def _pairs(beside: Sequence[tuple[str, str]], kept: dict[str, EpisodeTrace]) -> list[Finding]:
    found: list[Finding] = []
    for video, log in beside:
        if log not in kept:
            continue
        if video not in kept:
            try:
                opened = open_log(video)
                [episode] = opened.episodes
                kept[video] = trace_episode(
                    episode.read(), path=video, format=opened.format, pictures=False
                )
            except Exception as error:
                found.append(Finding(rule=UNREADABLE, path=video, evidence=str(error)[:500]))
                continue
        found += check_pair(kept[video], kept[log])
    return found


def _times_only(trace: EpisodeTrace) -> EpisodeTrace:
    return replace(
        trace,
        streams={
            name: replace(stream, head=None, motion=np.empty(0, np.float32))
            for name, stream in trace.streams.items()
        },
    )
