"""One clock for all streams: when the rows are, and which sample of each stream is in a row.

At row time τ an observation is the latest known (`viae.sequence.latest_known`): nothing that
arrived after τ is in it. An action or outcome answers the observations of its row, so it is the
latest that arrived before the next row; where an action is itself the clock, before the middle
between the rows, as its companions may come a little earlier or later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.export.exporter import GRID, ExportOptions, Late
from viae.export.source import EpisodeSource, Stamps
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Role, StreamSpec, TimesNs
from viae.sequence import latest_known

LOWEST_DELAY_NS = 60 * NS_PER_S
"""The least delay of a stream is looked for in spans of this length: clocks drift apart."""


@dataclass(slots=True, kw_only=True, eq=False)
class Rows:
    """What is in the rows of one episode.

    Args:
        at_ns: int64 [N], log time of each row.
        index: per stream int64 [N], the sample in each row, counted in recorded order; -1 only for
            text that was not said yet.
        losses: what the rows leave out or move.
    """

    at_ns: TimesNs
    index: dict[str, npt.NDArray[np.int64]]
    losses: list[Loss] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.at_ns)

    def is_whole(self, stream: str, count: int) -> bool:
        """Whether the rows are exactly the stream's samples, in order."""
        index = self.index[stream]
        return len(index) == count and bool((index == np.arange(count)).all())


def shared_clock(specs: Mapping[str, StreamSpec], stamps: Mapping[str, Stamps]) -> str:
    """The stream whose times all others share; empty where there is none.

    A stream may lack samples that others have (a video shorter than its table), and text may have
    any of them; times that no other stream has are another clock.
    """
    longest = max(stamps, key=lambda name: (len(stamps[name]), name), default="")
    if not longest:
        return ""
    table = stamps[longest]
    if not np.array_equal(table.capture_ns, table.arrival_ns) or len(table) < 2:
        return ""
    if not (np.diff(table.arrival_ns) > 0).all():
        return ""
    for name, own in stamps.items():
        few = specs[name].kind in (Kind.VIDEO, Kind.TEXT)
        same = len(own) == len(table) or (few and len(own) > 0)
        if not same or not np.isin(own.arrival_ns, table.arrival_ns).all():
            return ""
        if not np.array_equal(own.arrival_ns, own.capture_ns):
            return ""
    return longest


def period_ns(stamps: Stamps) -> int:
    """The median gap between arrivals; 0 where there is none."""
    gaps = np.diff(np.sort(stamps.arrival_ns))
    gaps = gaps[gaps > 0]
    return int(np.median(gaps)) if len(gaps) else 0


def rows_of(
    source: EpisodeSource, stamps: Mapping[str, Stamps], options: ExportOptions, *, fps: Fraction
) -> Rows:
    """Choose the rows of an episode.

    Args:
        source: the episode.
        stamps: the times of the streams that are exported.
        options: clock, rate and what to do with late samples.
        fps: rows per second, as will be declared.

    Raises:
        UsageError: there is no such clock, or no moment at which every stream is known.
    """
    if not options.resamples:
        return _table_rows(source, stamps, shared_clock(source.specs, stamps))
    clock = "" if options.clock in ("", GRID) else options.clock
    if clock and clock not in stamps:
        raise UsageError(f"{source.where}: the clock '{clock}' is no stream among {sorted(stamps)}")
    gap_ns = NS_PER_S * fps.denominator // fps.numerator
    losses: list[Loss] = []
    known: dict[str, tuple[TimesNs, TimesNs, npt.NDArray[np.int64]]] = {}
    for name, own in stamps.items():
        known[name] = _available(source, name, own, options.late, gap_ns, losses)
    at_ns = (
        np.sort(stamps[clock].arrival_ns, kind="stable")
        if clock
        else _grid(source.specs, {name: each[1] for name, each in known.items()}, fps)
    )
    after_ns = np.append(at_ns[1:], at_ns[-1:] + gap_ns)
    if clock and source.specs[clock].role is not Role.OBSERVATION:
        answer_ns = at_ns + (after_ns - at_ns) // 2
    else:
        answer_ns = np.maximum(after_ns - 1, at_ns)
    index = {}
    for name, (capture_ns, arrival_ns, kept) in known.items():
        until = at_ns if source.specs[name].role is Role.OBSERVATION else answer_ns
        found = latest_known(capture_ns, arrival_ns, until)
        index[name] = np.where(found < 0, -1, np.append(kept, -1)[found])
    if clock:
        index[clock] = np.argsort(stamps[clock].arrival_ns, kind="stable")
    return _without_unknown(source, stamps, Rows(at_ns=at_ns, index=index, losses=losses))


def evened(source: EpisodeSource, rows: Rows, fps: Fraction) -> list[Loss]:
    """A loss where the rows were not evenly spaced, as the target will say they are."""
    if len(rows) < 2:
        return []
    steps = np.arange(len(rows), dtype=np.float64)
    even_ns = rows.at_ns[0] + np.rint(steps * (NS_PER_S * fps.denominator / fps.numerator))
    off_ns = np.abs(rows.at_ns - even_ns)
    if off_ns.max() <= 1_000_000:
        return []
    detail = (
        f"rows come at uneven times and are written as if at {float(fps):g} Hz: up to "
        f"{off_ns.max() / 1e9:.3f} s from where they were"
    )
    return [_loss(source, "", LossKind.REPAIRED, "times-evened", int((off_ns > 1e6).sum()), detail)]


def _table_rows(source: EpisodeSource, stamps: Mapping[str, Stamps], clock: str) -> Rows:
    table = stamps[clock]
    index = {}
    losses = []
    for name, own in stamps.items():
        place = np.searchsorted(own.arrival_ns, table.arrival_ns, side="right") - 1
        index[name] = place.astype(np.int64)
        lacking = len(table) - len(own)
        if lacking and source.specs[name].kind is Kind.VIDEO:
            detail = (
                f"{lacking} of {len(table)} rows have no picture of their own; they show the last "
                "one before, and the video is coded anew"
            )
            losses.append(_loss(source, name, LossKind.REPAIRED, "picture-held", lacking, detail))
    rows = Rows(at_ns=table.arrival_ns, index=index, losses=losses)
    return _without_unknown(source, stamps, rows, counted=False)


def _grid(
    specs: Mapping[str, StreamSpec], arrivals: Mapping[str, TimesNs], fps: Fraction
) -> TimesNs:
    """Even ticks, from when every observation is known to the last arrival of all."""
    first = {name: own.min() for name, own in arrivals.items() if len(own)}
    seen = [
        at
        for name, at in first.items()
        if specs[name].role is Role.OBSERVATION and specs[name].kind is not Kind.TEXT
    ]
    start = int(max(seen or first.values()))
    end = int(max(own.max() for own in arrivals.values() if len(own)))
    ticks = (end - start) * fps.numerator // (fps.denominator * NS_PER_S) + 1
    steps = np.arange(max(ticks, 1), dtype=np.int64)
    whole, rest = np.divmod(steps * fps.denominator, fps.numerator)
    times: TimesNs = start + whole * NS_PER_S + rest * NS_PER_S // fps.numerator
    return times


def _available(
    source: EpisodeSource, name: str, own: Stamps, late: Late, gap_ns: int, losses: list[Loss]
) -> tuple[TimesNs, TimesNs, npt.NDArray[np.int64]]:
    """Capture and arrival of the samples that count, as the lookup shall see them, and which."""
    every = np.arange(len(own))
    if not _runs_like_log(own):
        detail = "its capture clock does not run like the log's; samples are taken by their arrival"
        losses.append(_loss(source, name, LossKind.REPAIRED, "clock-unusable", len(own), detail))
        return own.arrival_ns, own.arrival_ns, every
    due_ns = own.capture_ns + _least_delay(own)
    is_late = own.arrival_ns - due_ns > gap_ns
    count = int(is_late.sum())
    if not count:
        return own.capture_ns, own.arrival_ns, every
    match late:
        case Late.HOLD:
            kind, what, said = LossKind.REPAIRED, "late-held", "count from their arrival on"
        case Late.DROP:
            kind, what, said = LossKind.SKIPPED, "late-dropped", "are left out"
        case Late.KEEP:
            kind, what, said = (
                LossKind.REPAIRED, "late-moved",
                "count from when they were due: those rows hold what was not yet known",
            )  # fmt: skip
    detail = f"{count} samples arrived more than a row ({gap_ns / 1e6:.1f} ms) late; they {said}"
    losses.append(_loss(source, name, kind, what, count, detail))
    if late == Late.DROP:
        kept = every[~is_late]
        return own.capture_ns[kept], own.arrival_ns[kept], kept
    arrival_ns = np.where(is_late, due_ns, own.arrival_ns) if late == Late.KEEP else own.arrival_ns
    return own.capture_ns, arrival_ns, every


def _runs_like_log(own: Stamps) -> bool:
    """Whether capture and arrival pass at about the same speed, without jumps back."""
    if len(own) < 2:
        return True
    by_arrival = np.argsort(own.arrival_ns, kind="stable")
    delay = (own.arrival_ns - own.capture_ns)[by_arrival]
    span = int(own.arrival_ns.max() - own.arrival_ns.min())
    captured = int(own.capture_ns.max() - own.capture_ns.min())
    return abs(captured - span) <= max(span // 10, NS_PER_S) and int(
        np.abs(np.diff(delay)).max()
    ) <= max(span // 2, NS_PER_S)


def _least_delay(own: Stamps) -> TimesNs:
    """Per sample, the least arrival - capture among those around it: int64 [N]."""
    delay = own.arrival_ns - own.capture_ns
    part = (own.arrival_ns - own.arrival_ns.min()) // LOWEST_DELAY_NS
    least = np.full(int(part.max()) + 1 if len(part) else 0, np.iinfo(np.int64).max)
    np.minimum.at(least, part, delay)
    around: TimesNs = least[part]
    return around


def _without_unknown(
    source: EpisodeSource, stamps: Mapping[str, Stamps], rows: Rows, *, counted: bool = True
) -> Rows:
    """Without the first rows, in which some stream is not known yet."""
    needed = [name for name in rows.index if source.specs[name].kind is not Kind.TEXT]
    is_known = np.ones(len(rows), bool)
    for name in needed:
        is_known &= rows.index[name] >= 0
    if not is_known.any():
        never = [name for name in needed if (rows.index[name] < 0).all()] or needed
        raise UsageError(
            f"{source.where}: there is no row in which every stream is known; {never} come too "
            "late or not at all. Choose others with  --stream"
        )
    start = int(np.argmax(is_known))
    if start:
        last = max(needed, key=lambda name: int(np.argmax(rows.index[name] >= 0)))
        detail = f"{start} rows before the first sample of '{last}' are left out"
        rows.losses.append(_loss(source, last, LossKind.SKIPPED, "rows-before", start, detail))
        rows.at_ns = rows.at_ns[start:]
        rows.index = {name: index[start:] for name, index in rows.index.items()}
    for name, index in rows.index.items() if counted else ():
        used = len(np.unique(index[index >= 0]))
        total, held = len(stamps[name]), int((index >= 0).sum()) - used
        if total > used:
            detail = f"{total - used} of {total} samples are in no row"
            rows.losses.append(
                _loss(source, name, LossKind.SKIPPED, "samples-between-rows", total - used, detail)
            )
        if held:
            detail = f"{held} of {len(index)} rows repeat the sample of the row before"
            rows.losses.append(_loss(source, name, LossKind.REPAIRED, "samples-held", held, detail))
        moved = int((stamps[name].arrival_ns != stamps[name].capture_ns).sum())
        if moved:
            detail = f"capture and arrival of {moved} samples differ; a row has one time"
            rows.losses.append(_loss(source, name, LossKind.SKIPPED, "second-stamp", moved, detail))
    return rows


def _loss(
    source: EpisodeSource, stream: str, kind: LossKind, name: str, count: int, detail: str
) -> Loss:
    return Loss(kind=kind, name=name, path=source.where, stream=stream, count=count, detail=detail)
