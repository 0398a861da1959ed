"""Recorded against decoded samples, as one HTML file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from viae.errors import UsageError
from viae.verbs import figures
from viae.verbs.tokens import Shown, TokensReport

MOST_STREAMS = 24
"""Plotted: those with most tokens."""
MOST_ELEMENTS = 8
"""Plotted of a stream: those with the largest mean errors."""
MOST_SAMPLES = 400


def tokens_page(report: TokensReport, out: Path) -> Path:
    """Write a page that needs nothing beside it: the table, and a plot per vector stream.

    Args:
        report: of `viae.verbs.tokens.tokens`.
        out: the HTML file.

    Raises:
        UsageError: it cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        files("viae.verbs").joinpath("tokens.html.jinja").read_text()
    )
    most = sorted(report.shown, key=lambda name: -report.streams[name].tokens)[:MOST_STREAMS]
    plots = {name: _plot(report, name, report.shown[name]) for name in sorted(most)}
    text = page.render(report=report, plots=plots, most=MOST_SAMPLES)
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: this cannot be written: {error}") from error
    return out


def _plot(report: TokensReport, name: str, shown: Shown) -> str:
    """The moving elements with the largest mean errors, at most 8."""
    elements = report.streams[name].elements
    moving = [j for j, e in enumerate(elements) if e.coding not in ("constant", "held")]
    seen = [j for j in moving if np.isfinite(shown.recorded[:MOST_SAMPLES, j]).any()]
    kept = sorted(sorted(seen, key=lambda j: (-elements[j].mean_error, j))[:MOST_ELEMENTS])
    part = slice(0, MOST_SAMPLES)
    return figures.recorded_and_decoded(
        shown.at_s[part], shown.recorded[part][:, kept], shown.decoded[part][:, kept],
        [elements[j].name for j in kept],
    )  # fmt: skip
