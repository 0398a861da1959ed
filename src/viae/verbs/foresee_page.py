"""What was foreseen as one HTML file: bands of the futures beside what came."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from viae.verbs import figures
from viae.verbs.foresee import Band, ForeseeReport
from viae.verbs.page import write_page

MOST_ELEMENTS = 16


def foresee_page(report: ForeseeReport, out: Path) -> Path:
    """Write the futures as a page that needs nothing beside it.

    Args:
        report: of `viae.verbs.foresee.foresee`.
        out: the HTML file.

    Raises:
        UsageError: it cannot be written.
    """
    shown = [
        (name, _figure(band), max(0, band.mean.shape[1] - MOST_ELEMENTS))
        for name, band in report.bands.items()
    ]
    return write_page(
        out, "foresee.html.jinja", report=report, figures=shown,
        foreseen_success=report.to_json()["foreseen_success"],
    )  # fmt: skip


def _figure(band: Band) -> str:
    """The elements that moved most, each in its own axes."""
    size = band.mean.shape[1]
    moved = np.ptp(np.concatenate([band.quantiles[0], band.quantiles[-1]]), axis=0)
    if len(band.came):
        moved = np.maximum(moved, np.ptp(band.came, axis=0))
    chosen = np.sort(np.argsort(-moved, kind="stable")[:MOST_ELEMENTS])
    names = band.spec.names or tuple(str(j) for j in range(size))
    return figures.foreseen(
        band.at_s, band.quantiles[:, :, chosen], band.came_s, band.came[:, chosen],
        [names[j] for j in chosen.tolist()],
    )  # fmt: skip
