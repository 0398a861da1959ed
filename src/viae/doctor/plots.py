"""Small plots of streams, as SVG text whose text stays text.

Whatever the length of a stream, a plot holds a few hundred points: of each bin of time its least
and its greatest value, so that no gap and no spike is lost. Colours are Okabe and Ito's.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.doctor.trace import StreamTrace
from viae.schema import NS_PER_S, Kind
from viae.sequence.clock import fit_clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = npt.NDArray[np.float64]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
BINS = 240
MOST_FITTED = 20_000
MOST_ROWS = 60


def stream_plot(stream: StreamTrace, origin_ns: int) -> str:
    """Three plots of one stream: its intervals, its delay with the clock's line, and its motion.

    Args:
        stream: at least two samples.
        origin_ns: the log time that is second 0.
    """
    figure = _figure(9.0, 1.75)
    intervals, delay, motion = figure.subplots(1, 3)
    at_s = (stream.arrival_ns - origin_ns) / NS_PER_S
    _intervals(intervals, stream, at_s)
    _delay(delay, stream, at_s, origin_ns)
    _motion(motion, stream, at_s)
    for axes in (intervals, delay, motion):
        axes.set_xlabel("log time, s", fontsize=7)
    return _svg(figure)


def timeline(streams: Mapping[str, StreamTrace], origin_ns: int) -> str:
    """Which stream has data when: one row each, white where nothing arrived."""
    shown = [(name, s) for name, s in streams.items() if len(s)][:MOST_ROWS]
    figure = _figure(9.0, 0.55 + 0.17 * len(shown))
    axes = figure.add_subplot()
    end_s = max((int(s.arrival_ns.max()) - origin_ns) / NS_PER_S for _, s in shown)
    width_s = max(end_s, 1e-9) / 500
    for row, (_, stream) in enumerate(shown):
        at_s = np.sort((stream.arrival_ns - origin_ns) / NS_PER_S)
        reach_s = max(width_s, 1.5 * float(np.median(np.diff(at_s)))) if len(at_s) > 1 else width_s
        breaks = np.flatnonzero(np.diff(at_s) > reach_s)
        starts = at_s[np.concatenate([[0], breaks + 1])]
        ends = at_s[np.concatenate([breaks, [len(at_s) - 1]])]
        keep = _apart(starts, width_s)
        spans = [
            (float(a), max(float(b - a), width_s))
            for a, b in zip(starts[keep], np.maximum.reduceat(ends, keep), strict=True)
        ]
        axes.broken_barh(spans, (row - 0.35, 0.7), color=COLOURS[row % 2 * 4], linewidth=0)
    axes.set(
        yticks=range(len(shown)), yticklabels=[_short(name) for name, _ in shown],
        ylim=(len(shown) - 0.5, -0.5), xlim=(-0.01 * (end_s or 1), end_s or 1),
    )  # fmt: skip
    axes.set_xlabel("log time, s", fontsize=7)
    return _svg(figure)


def correlation(values: Mapping[str, Any]) -> str:
    """The curve of a latency finding, its peak with the interval.

    Args:
        values: of the finding: ``curve_ms``, ``curve``, ``lag_ms``, ``low_ms``, ``high_ms``.
    """
    figure = _figure(4.5, 1.75)
    axes = figure.add_subplot()
    axes.axvspan(values["low_ms"], values["high_ms"], color=COLOURS[1], alpha=0.4, linewidth=0)
    axes.axvline(values["lag_ms"], color=COLOURS[5], linewidth=1)
    axes.axvline(0, color="#999999", linewidth=0.7, linestyle="--")
    axes.axhline(values["chance"], color="#999999", linewidth=0.7, linestyle=":")
    axes.plot(values["curve_ms"], values["curve"], color=COLOURS[0], linewidth=1.2)
    axes.set_xlabel("lag, ms (dotted: by chance)", fontsize=7)
    axes.set_title("correlation of motion", fontsize=8, loc="left")
    return _svg(figure)


def _intervals(axes: Axes, stream: StreamTrace, at_s: Floats) -> None:
    steps_ms = np.diff(at_s) * 1e3
    positive = steps_ms > 0
    axes.set_title("interval between arrivals, ms", fontsize=8, loc="left")
    if positive.any():
        _line(axes, at_s[1:][positive], steps_ms[positive], COLOURS[0])
        axes.set_yscale("log")
        usual = float(np.median(steps_ms[positive]))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, usual / 3), max(high, usual * 3))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    not_later = np.flatnonzero(~positive)
    if not_later.size:
        at = at_s[1:][not_later[: BINS * 2]]
        axes.plot(at, np.zeros(len(at)), "|", color=COLOURS[5], markersize=6,
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip


def _delay(axes: Axes, stream: StreamTrace, at_s: Floats, origin_ns: int) -> None:
    lag_ns = stream.arrival_ns - stream.capture_ns
    if not lag_ns.any():
        axes.set_title("arrival is capture", fontsize=8, loc="left")
        axes.set(xticks=[], yticks=[])
        return
    least = int(lag_ns.min())
    axes.set_title(f"arrival - capture - {least / NS_PER_S:.6g} s, ms", fontsize=8, loc="left")
    _line(axes, at_s, (lag_ns - least) / 1e6, COLOURS[4])
    every = max(1, len(lag_ns) // MOST_FITTED)
    order = np.argsort(stream.arrival_ns[::every], kind="stable")
    capture, arrival = (t[::every][order] for t in (stream.capture_ns, stream.arrival_ns))
    if len(capture) < 20 or not np.ptp(capture):
        return
    fitted = fit_clock(capture, arrival)
    line = arrival - fitted.delay_ns(capture, arrival) - capture - least
    keep = np.linspace(0, len(arrival) - 1, min(len(arrival), BINS)).astype(int)
    axes.plot((arrival[keep] - origin_ns) / NS_PER_S, line[keep] / 1e6, color=COLOURS[5],
              linewidth=1, linestyle="--")  # fmt: skip


def _motion(axes: Axes, stream: StreamTrace, at_s: Floats) -> None:
    if stream.head is not None and len(stream.head) > 1 and stream.spec.kind is Kind.VECTOR:
        axes.set_title("values, each in its own range", fontsize=8, loc="left")
        head = stream.head.reshape(len(stream.head), -1)
        moving = [d for d in range(head.shape[1]) if np.isfinite(head[:, d]).any()][:6]
        for number, d in enumerate(moving):
            column = np.where(np.isfinite(head[:, d]), head[:, d], np.nan)
            low, high = np.nanmin(column), np.nanmax(column)
            with np.errstate(over="ignore", invalid="ignore"):
                unit = (column - low) / (high - low) if high > low else column * 0 + 0.5
            known = np.isfinite(unit)
            _line(axes, at_s[: len(head)][known], unit[known], COLOURS[number])
        axes.set_yticks([])
    elif np.isfinite(stream.motion).any():
        axes.set_title("change between pictures", fontsize=8, loc="left")
        known = np.isfinite(stream.motion)
        _line(axes, at_s[: len(stream.motion)][known], stream.motion[known].astype(np.float64),
              COLOURS[2])  # fmt: skip
    else:
        axes.set_title("no values to show", fontsize=8, loc="left")
        axes.set_yticks([])


def _line(axes: Axes, x: Floats, y: Floats, colour: str) -> None:
    """The least and greatest of each bin, joined."""
    if not len(x):
        return
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) > 2 * BINS:
        starts = np.unique(np.linspace(0, len(x), BINS, endpoint=False).astype(int))
        low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        x, y = np.repeat(x[starts], 2), np.stack([low, high], axis=1).reshape(-1)
    axes.plot(x, y, color=colour, linewidth=0.8)


def _apart(starts: Floats, width_s: float) -> npt.NDArray[np.intp]:
    """Indices of starts that are at least a width after the last kept one."""
    bins = np.floor(starts / width_s)
    return np.concatenate([[0], np.flatnonzero(np.diff(bins) > 0) + 1]).astype(np.intp)


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"…{name[-most + 1 :]}"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    import matplotlib

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "viae"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def shown_first(names: Sequence[str], concerned: set[str], most: int) -> list[str]:
    """Which streams to plot: those with findings, then the others, up to a number."""
    return [*[n for n in names if n in concerned], *[n for n in names if n not in concerned]][:most]
