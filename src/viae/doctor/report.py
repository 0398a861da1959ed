"""A page about what the doctor found: one HTML file that needs nothing beside it.

Plots are drawn while an episode's trace is at hand and only as text kept, so a page can be made of
a log of any size. Their number is bounded: first come the streams that something is said of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from viae.doctor import plots
from viae.doctor.finding import Finding, Severity
from viae.doctor.timing import StreamTiming
from viae.doctor.trace import EpisodeTrace

MOST_PLOTS = 80
PLOTS_PER_EPISODE = 24
MOST_EPISODES = 12


@dataclass(slots=True, kw_only=True)
class _Episode:
    """What the page shows of an episode."""

    path: str
    name: str
    format: str
    timeline: str
    streams: list[dict[str, Any]]
    left_out: int


@dataclass(slots=True)
class Page:
    """A page in the making: `add` episodes, then `write`."""

    _episodes: list[_Episode] = field(default_factory=list)
    _seen: set[tuple[str, str, str]] = field(default_factory=set)
    _plots: int = 0

    def add(
        self,
        trace: EpisodeTrace,
        timings: Mapping[str, StreamTiming],
        findings: Sequence[Finding],
    ) -> None:
        """Draw an episode, if it shows what no earlier one has shown.

        Args:
            trace: the episode.
            timings: the figures of its streams.
            findings: what was found in it.
        """
        new = {(trace.path, f.stream, f.name) for f in findings} - self._seen
        first = not any(episode.path == trace.path for episode in self._episodes)
        full = len(self._episodes) >= MOST_EPISODES or self._plots >= MOST_PLOTS
        lively = {name: s for name, s in trace.streams.items() if len(s) > 1}
        if not lively or full or not (new or first):
            return
        self._seen |= new
        most = min(PLOTS_PER_EPISODE, MOST_PLOTS - self._plots)
        concerned = {stream for _, stream, _ in new if stream in lively}
        names = plots.shown_first(list(lively), concerned, most if first else len(concerned))[:most]
        origin_ns = min(int(stream.arrival_ns.min()) for stream in lively.values())
        self._plots += len(names)
        self._episodes.append(
            _Episode(
                path=trace.path,
                name=trace.episode,
                format=trace.format,
                timeline=plots.timeline(lively, origin_ns),
                streams=[
                    {
                        "name": name,
                        "spec": lively[name].spec,
                        "timing": asdict(timings[name]),
                        "rules": sorted({f.name for f in findings if f.stream == name}),
                        "svg": plots.stream_plot(lively[name], origin_ns),
                    }
                    for name in names
                ],
                left_out=len(lively) - len(names),
            )
        )

    def write(
        self,
        out: Path,
        *,
        title: str,
        findings: Sequence[Finding],
        logs: Sequence[Mapping[str, Any]],
    ) -> Path:
        """Write the page.

        Args:
            out: the HTML file; its folder is made if need be.
            title: what was looked at.
            findings: folded, the worst first.
            logs: ``path``, ``format``, ``episodes`` and ``streams`` (rows of the table) of each.
        """
        from jinja2 import Environment, StrictUndefined

        page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
            files("viae.doctor").joinpath("report.html.jinja").read_text()
        )
        text = page.render(
            title=title,
            groups=[
                (severity, [_shown(f) for f in findings if f.severity is severity])
                for severity in reversed(Severity)
            ],
            logs=logs,
            episodes=self._episodes,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f"{out.name}.partial")
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(out)
        return out


def _shown(finding: Finding) -> dict[str, Any]:
    curve = "curve_ms" in finding.values
    return {
        "finding": finding,
        "svg": plots.correlation(finding.values) if curve else "",
    }
