"""What was foreseen as one HTML file: bands of the futures beside what came."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from viae.errors import UsageError
from viae.verbs import figures
from viae.verbs.foresee import Band, ForeseeReport

MOST_ELEMENTS = 16


def foresee_page(report: ForeseeReport, out: Path) -> Path:
    """Write the futures as a page that needs nothing beside it.

    Args:
        report: of `viae.verbs.foresee.foresee`.
        out: the HTML file.

    Raises:
        UsageError: it cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        files("viae.verbs").joinpath("foresee.html.jinja").read_text()
    )
    shown = [
        (name, _figure(band), max(0, band.mean.shape[1] - MOST_ELEMENTS))
        for name, band in report.bands.items()
    ]
    text = page.render(
        report=report, figures=shown, foreseen_success=report.to_json()["foreseen_success"]
    )
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: this cannot be written: {error}") from error
    return out


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
