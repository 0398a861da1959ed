"""Figures as SVG text, for reports; every estimate is drawn with its interval.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """A reliability diagram.

    Args:
        bins: ``predicted`` (mean), ``observed`` (share), ``low``, ``high`` and ``n`` of each bin.
    """
    figure, axes = _axes(3.8, 3.6)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    predicted = np.array([b["predicted"] for b in bins])
    observed = np.array([b["observed"] for b in bins])
    ends = np.array([[b["low"], b["high"]] for b in bins]).T
    axes.errorbar(
        predicted, observed, yerr=np.abs(ends - observed), fmt="o", color=COLOURS[0], capsize=3
    )
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
