"""Commands that judge data: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viae.cli.app import JsonOption, app, need
from viae.cli.render import (
    MOST_LINES,
    out,
    print_first,
    print_json,
    print_left_out,
    print_table,
    progress_bar,
)
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.doctor import Finding, Severity
    from viae.verbs.doctor import DoctorReport

WIDTH = 100
FOREIGN_MS = 5000.0
"""An offset beyond which arrival less capture is no delay."""
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold blue"}


@app.command()
def doctor(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Logs, datasets, stores, or folders of logs.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not decode pictures: faster, and blind to them.")
    ] = False,
    catalogue: Annotated[
        bool, typer.Option("--list", help="List all that it can find, and stop.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say what is wrong with logs, what that does to learning, and what to do.

    Exit code 0 if nothing is wrong (notes at most), 3 after warnings, 4 after errors. Times are
    compared by stream, streams by their motion, episodes with each other, and a video with the log
    that it lies beside.
    """
    from viae.doctor import CATALOGUE
    from viae.verbs.doctor import doctor as verb

    if catalogue:
        rules = sorted(CATALOGUE.values(), key=lambda rule: (-rule.severity.rank, rule.name))
        if json:
            print_json([{"name": r.name, "severity": str(r.severity), "title": r.title,
                         "consequence": r.consequence, "fix": r.fix} for r in rules])  # fmt: skip
        else:
            print_table(
                ("name", "severity", "title"), [(r.name, str(r.severity), r.title) for r in rules]
            )
        return
    if not paths:
        raise UsageError("say what to look at:  viae doctor PATH…  (or --list)")
    if html:
        need("matplotlib", "jinja2")
    with progress_bar() as tell:
        report = verb(paths, tell=tell, pictures=not quick, html=html)
    if json:
        print_json(report.to_json())
    else:
        _print_streams(report)
        _print_findings(report)
        if html:
            out.print(f"the page is {html}", markup=False)
    raise typer.Exit(report.exit_code)


def _print_streams(report: DoctorReport) -> None:
    several = len(report.logs) > 1
    columns = (
        *(("log",) if several else ()), "stream", "kind", "count", "span s", "Hz", "jitter ms",
        "gap s", "clock offset", "ppm", "delay",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for log in report.logs:
        alike: dict[tuple[Any, ...], list[str]] = {}
        for s in log.streams:
            figures = (
                s.kind, s.count, s.span_s, s.rate_hz, s.jitter_ms, s.longest_gap_s,
                _span(s.offset_ms), s.drift_ppm,
                _span(s.delay_median_ms if abs(s.offset_ms or 0) < FOREIGN_MS else None),
            )  # fmt: skip
            alike.setdefault((s.stream.partition(".")[0], *figures), []).append(s.stream)
        rows += [
            (*((Path(log.path).name,) if several else ()), _named(names), *figures)
            for (_, *figures), names in alike.items()
        ]
    print_first(columns, rows)


def _named(names: list[str]) -> str:
    """The fields of one topic share their times, and so a line."""
    if len(names) <= 2:
        return ", ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _span(ms: float | None) -> str | None:
    from viae.doctor.times import seconds

    return None if ms is None else seconds(ms * 1e6)


def _print_findings(report: DoctorReport) -> None:
    from viae.doctor import Severity
    from viae.doctor.fold import fold

    folded = fold(report.findings)
    several = len({finding.path for finding in folded}) > 1
    for severity in reversed(Severity):
        _print_group(severity, [f for f in folded if f.severity is severity], several=several)
    episodes = sum(log.episodes for log in report.logs)
    counts = ", ".join(
        _many(n, str(severity))
        for severity in reversed(Severity)
        if (n := sum(f.severity is severity for f in folded))
    )
    looked_at = f"{_many(len(report.logs), 'log')}, {_many(episodes, 'episode')}"
    out.print(f"{looked_at}: {counts or 'nothing is wrong'}", style="bold", markup=False)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _print_group(severity: Severity, findings: list[Finding], *, several: bool) -> None:
    for finding in findings[:MOST_LINES]:
        out.print(str(severity), style=STYLES[severity], end=" ")
        where = " ".join(
            filter(None, (Path(finding.path).name if several else "", finding.episode,
                          finding.stream))
        )  # fmt: skip
        out.print(f"{finding.name}", style="bold", end="  ")
        out.print(where, markup=False)
        for text in (finding.evidence, f"→ {finding.rule.consequence}", f"✓ {finding.rule.fix}"):
            out.print(_wrapped(text), markup=False, style=None if text[0] not in "→✓" else "dim")
    print_left_out(len(findings) - MOST_LINES, f"{severity}s")


def _wrapped(text: str) -> str:
    from textwrap import fill

    return fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
