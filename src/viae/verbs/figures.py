"""Figures as SVG text, for reports; every estimate is drawn with its interval.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")


def success_by_round(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Success per task and overall against the round.

    Args:
        rounds: the metrics of each round's evaluation: ``overall`` and ``tasks``, rates as JSON.
    """
    figure, axes = _axes(7.2, 3.6)
    tasks = sorted(rounds[0]["tasks"])
    places = np.arange(len(rounds))
    curves = [(task, [r["tasks"][task] for r in rounds]) for task in tasks]
    for number, (label, rates) in enumerate([*curves, ("mean", [r["overall"] for r in rounds])]):
        overall = label == "mean"
        mean = np.array([rate["mean"] for rate in rates])
        ends = np.array([[rate["low"], rate["high"]] for rate in rates]).T
        axes.errorbar(
            places + 0.03 * (number - len(tasks) / 2), mean, yerr=np.abs(ends - mean),
            color="black" if overall else COLOURS[number % len(COLOURS)],
            linewidth=2.5 if overall else 1.2, capsize=3, marker="o", markersize=4, label=label,
        )  # fmt: skip
    axes.set(
        xticks=places, ylim=(-0.02, 1.02), ylabel="success, 95% interval",
        xticklabels=[f"round {n}" for n in range(len(rounds))],
    )  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return _svg(figure)


def reliability(
    bins: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """A reliability diagram.

    Args:
        bins: ``predicted`` (mean), ``observed`` (share), ``low``, ``high`` and ``n`` of each bin.
        before: the same before calibration, drawn paler.
    """
    figure, axes = _axes(3.8, 3.6)
    if before:
        axes.plot(
            [b["predicted"] for b in before], [b["observed"] for b in before], "o--",
            color=COLOURS[1], linewidth=1, markersize=4, label="as given",
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    predicted = np.array([b["predicted"] for b in bins])
    observed = np.array([b["observed"] for b in bins])
    ends = np.array([[b["low"], b["high"]] for b in bins]).T
    axes.errorbar(
        predicted, observed, yerr=np.abs(ends - observed), fmt="o", color=COLOURS[0], capsize=3,
        label="calibrated",
    )  # fmt: skip
    if before:
        axes.legend(frameon=False, loc="upper left")
    for b in bins:
        axes.annotate(
            f"{b['n']}", (b["predicted"], b["observed"]), textcoords="offset points",
            xytext=(6, -10), fontsize=7, color="#555555",
        )  # fmt: skip
    axes.set(
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability of success",
        ylabel="observed success, 95% interval",
    )  # fmt: skip
    return _svg(figure)


def loss_curve(curve: Sequence[Sequence[float | None]]) -> str:
    """Training and held-out loss against the update.

    Args:
        curve: rows of (update, training loss, held-out loss or None).
    """
    figure, axes = _axes(3.8, 2.4)
    rows = np.array(curve, np.float64)
    axes.plot(rows[:, 0], rows[:, 1], color=COLOURS[0], label="training")
    if np.isfinite(rows[:, 2]).any():
        axes.plot(rows[:, 0], rows[:, 2], color=COLOURS[5], label="held out")
    axes.set(xlabel="update", ylabel="mean absolute error, s.d.", yscale="log")
    axes.legend(frameon=False)
    return _svg(figure)


def leads(inputs: Sequence[Mapping[str, Any]]) -> str:
    """What the usual alignment knows too early, per input; zero is the decision.

    Args:
        inputs: of `LeakReport.to_json`.
    """
    figure, axes = _axes(7.2, 0.8 + 0.4 * len(inputs))
    places = np.arange(len(inputs))[::-1]
    usual = [each["usual"] for each in inputs]
    worst = [u["worst_lead_ms"] or 0.0 for u in usual]
    median = [u["median_lead_ms"] or 0.0 for u in usual]
    axes.barh(places, worst, height=0.5, color=COLOURS[1], alpha=0.4, label="by frame, worst")
    axes.barh(places, median, height=0.5, color=COLOURS[5], label="by frame, median")
    latest = [each["worst_ms"] or 0.0 for each in inputs]
    axes.plot(latest, places, "|", color=COLOURS[0], markersize=14, markeredgewidth=3,
              label="viae, latest")  # fmt: skip
    for place, u, end in zip(places, usual, worst, strict=True):
        axes.annotate(f"{u['share'] or 0:.0%} of windows", (end, place), fontsize=7,
                      textcoords="offset points", xytext=(4, -3))  # fmt: skip
    axes.axvline(0, color="black", linewidth=1)
    axes.set(
        yticks=places, yticklabels=[each["stream"] for each in inputs],
        xlabel="arrival less decision, ms: what is positive came from the future",
    )  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=3, frameon=False)
    return _svg(figure)


def around(at_s: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    """Numbers around a moment, which is at zero.

    Args:
        at_s: float64 [N], ascending or not.
        values: float64 [N, D].
    """
    figure, axes = _axes(3.4, 1.6)
    order = np.argsort(at_s, kind="stable")
    for number, column in enumerate(values.T):
        axes.plot(at_s[order], column[order], color=COLOURS[number % len(COLOURS)], linewidth=1)
    axes.axvline(0, color="black", linewidth=1, linestyle=":")
    axes.tick_params(labelsize=7)
    return _svg(figure)


def recorded_and_decoded(
    at_s: npt.NDArray[np.float64],
    recorded: npt.NDArray[np.float64],
    decoded: npt.NDArray[np.float64],
    names: Sequence[str],
) -> str:
    """What was recorded and what its tokens say, a small plot per element.

    Args:
        at_s: float64 [N], ascending.
        recorded: float64 [N, D].
        decoded: float64 [N, D].
        names: [D].
    """
    from matplotlib.figure import Figure

    columns = 2
    rows = max(-(-len(names) // columns), 1)
    figure = Figure(figsize=(10.0, 1.5 * rows), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.plot(at_s, recorded[:, place], color=COLOURS[0], linewidth=2.2)
        axes.plot(at_s, decoded[:, place], color=COLOURS[1], linewidth=0.9)
        axes.set_title(name, fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
    return _svg(figure)


def foreseen(
    at_s: npt.NDArray[np.float64],
    quantiles: npt.NDArray[np.float64],
    came_s: npt.NDArray[np.float64],
    came: npt.NDArray[np.float64],
    names: Sequence[str],
) -> str:
    """Futures as bands, and what came, one axes per element.

    Args:
        at_s: float64 [m], seconds after the moment.
        quantiles: float64 [5, m, D], ascending and symmetric: two bands and the median.
        came_s: float64 [r].
        came: float64 [r, D].
        names: D of them.
    """
    from matplotlib.figure import Figure

    columns = min(4, len(names)) or 1
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(3.2, 2.6 * columns), 0.4 + 1.5 * rows), layout="constrained")
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.spines[["top", "right"]].set_visible(False)
        q = quantiles[:, :, number]
        axes.fill_between(at_s, q[0], q[4], color=COLOURS[4], alpha=0.35, linewidth=0)
        axes.fill_between(at_s, q[1], q[3], color=COLOURS[0], alpha=0.35, linewidth=0)
        axes.plot(at_s, q[2], color=COLOURS[0], linewidth=1)
        axes.plot(came_s, came[:, number], color="black", linewidth=1.2)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=7)
        if number >= len(names) - columns:
            axes.set_xlabel("s after the moment", fontsize=7)
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """As an ``<svg>`` element whose text stays text; equal figures give equal text."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "viae"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
