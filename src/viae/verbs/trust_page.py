"""The report on a table of scores as one HTML page, or its reliability diagram as SVG."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from viae.errors import UsageError
from viae.verbs import figures
from viae.verbs.trust_report import TableReport


def write_page(report: TableReport, out: Path) -> None:
    """Write a picture.

    Args:
        report: of `viae.verbs.trust_table.trust_table`.
        out: ``.html``, a page that needs nothing beside it; ``.svg``, the reliability diagram at
            the first elapsed time.

    Raises:
        UsageError: another kind of file, or it cannot be written.
    """
    check_page(out)
    text = _page(report) if out.suffix.lower() == ".html" else _diagrams(report)[0]
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: this cannot be written: {error}") from error


def check_page(out: Path) -> None:
    """Refuse a name that says neither page nor picture, before there is any work.

    Raises:
        UsageError: another kind of file.
    """
    if out.suffix.lower() not in (".html", ".svg"):
        raise UsageError(f"{out}: a report is written as .html or .svg")


def _page(report: TableReport) -> str:
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        files("viae.verbs").joinpath("trust.html.jinja").read_text(encoding="utf-8")
    )
    return page.render(report=report, diagrams=_diagrams(report))


def _diagrams(report: TableReport) -> list[str]:
    return [figures.reliability(moment.bins, moment.bins_given) for moment in report.moments]
