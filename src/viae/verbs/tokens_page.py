"""Recorded against decoded samples, as one HTML file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from viae.verbs import figures
from viae.verbs.page import jpeg, write_page
from viae.verbs.tokens import Shown, TokensReport

MOST_STREAMS = 24
"""Plotted: those with most tokens."""
MOST_ELEMENTS = 8
"""Plotted of a stream: those with the largest mean errors."""
MOST_SAMPLES = 400


def tokens_page(report: TokensReport, out: Path) -> Path:
    """Write a page that needs nothing beside it: tables, plots, and pictures before and after.

    Args:
        report: of `viae.verbs.tokens.tokens`.
        out: the HTML file.

    Raises:
        UsageError: it cannot be written.
    """
    most = sorted(report.shown, key=lambda name: -report.streams[name].tokens)[:MOST_STREAMS]
    plots = {name: _plot(report, name, report.shown[name]) for name in sorted(most)}
    return write_page(
        out, "tokens.html.jinja", report=report, plots=plots, most=MOST_SAMPLES, jpeg=jpeg
    )


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
