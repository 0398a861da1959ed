"""By how much one motion comes after another: correlation over windows, with an interval.

Two tracks are brought onto one grid of times *here and for this measurement only*: positions are
interpolated linearly and differenced, which gives the mean velocity in each cell whatever the rates
were. Motion above about 1 Hz, and what only trends, is filtered out, of both alike: joints tremble
up there, and a controller's delay there is not the delay of the movement. The time is cut into
windows; in each, the two are correlated at every lag within reach (by FFT).

- **lag**: the peak of the sum over windows, to a fraction of a cell by a parabola. Elements whose
  lags differ (an arm and a hand on another bus) are told apart; the larger group is *the* lag.
- **interval**: 95 %, by bootstrap over windows.
- **significance**: each window's correlation is shifted by a random amount of its own, which keeps
  the rhythm of both and destroys what they have in common. A peak that such shifts reach once in a
  hundred times is no peak, and nothing is said. Nor where another peak is nearly as high: the lag
  of a periodic motion is ambiguous.

Written by hand: SciPy correlates, but has neither the interval nor the significance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

Track: TypeAlias = tuple[Floats, Floats, Floats, Floats]
"""Seconds [N] and positions [N, D] of the first, seconds [M] and positions [M, D] of the second."""

MOST_LAG_S = 1.0
LEAST_WINDOWS = 6
LEAST_WINDOW_S = 2.0
MOST_WINDOWS = 400
LEAST_LAG_CELLS = 6
LEAST_CORRELATION = 0.4
MARGIN = 0.1
"""Above chance: of few windows, a hundredth of chance is not known well."""
SMOOTHING_S = 0.1
"""Standard deviation, s, of the Gaussian by which velocities are smoothed."""
TREND_S = 1.5
"""And of the one whose result is taken away."""
SHIFTS = 300
RESAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Elements of a stream that lag alike.

    Args:
        lag_s: how late they are; negative where early.
        low_s: lower end of the 95 % interval.
        high_s: upper end.
        correlation: at the peak.
        elements: which, by position in the second stream.
    """

    lag_s: float
    low_s: float
    high_s: float
    correlation: float
    elements: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """By how much one stream comes after another.

    Args:
        first: the stream that is taken to cause or to lead.
        second: the stream that follows.
        groups: elements of like lag, the largest group first, which is the stream's lag.
        frame_s: median interval of the slower stream.
        chance: what one in a hundred random shifts reaches.
        windows: how many windows were measured.
        episodes: out of how many episodes.
        clock: whose stamps were used: ``"capture"`` or ``"arrival"``.
        curve_s: float64 [L], lags of the curve, s.
        curve: float64 [L], correlation.
    """

    first: str
    second: str
    groups: tuple[Group, ...]
    frame_s: float
    chance: float
    windows: int
    episodes: int
    clock: str
    curve_s: Floats
    curve: Floats

    @property
    def significant(self) -> bool:
        """Whether chance does not explain the peak."""
        return self.main.correlation > max(self.chance + MARGIN, LEAST_CORRELATION)

    @property
    def main(self) -> Group:
        """The largest group."""
        return self.groups[0]


def measure(
    first: str,
    second: str,
    tracks: Sequence[Track],
    *,
    step_s: float,
    frame_s: float,
    elements: Sequence[int],
    clock: str,
    noisy: bool = True,
) -> Lag | None:
    """The lag between two streams.

    Args:
        first: the stream that is taken to lead.
        second: the stream that follows.
        tracks: one per episode; all of one D.
        step_s: width of a cell.
        frame_s: see `Lag`.
        elements: positions of the D columns in the second stream.
        clock: see `Lag`.
        noisy: whether columns that correlate no more than by chance are left out.

    Returns:
        None where there is too little to measure, or no peak within reach.
    """
    spans = [min(t[-1], u[-1]) for t, _, u, _ in tracks]
    window_s = _window_s(spans)
    cells, most = int(window_s / step_s), int(min(window_s / 4, MOST_LAG_S) / step_s)
    if most < LEAST_LAG_CELLS or window_s < LEAST_WINDOW_S:
        return None
    parts_of = [_windows(track, step_s, cells, most) for track in tracks]
    counts = [len(x) for x, _, _ in parts_of]
    x, y, there = (np.concatenate(each)[:MOST_WINDOWS] for each in zip(*parts_of, strict=True))
    if len(x) < LEAST_WINDOWS - 1:
        return None
    curves, shuffled = _correlations(x, y, there, most)
    rng = np.random.default_rng(0)  # of the shifts and resamples, so that equal logs agree
    lags = np.arange(-most, most + 1)
    if not noisy:
        alike = np.array([0])
    else:
        alike = np.flatnonzero(_alike(curves, shuffled, lags, rng))
        if not alike.size:
            return None
    parts = _split(curves[:, alike], lags)
    joint = curves[:, alike[parts[0]]].mean(axis=1)
    curve = joint.sum(axis=0)
    if int(np.argmax(curve)) in (0, len(lags) - 1) or _ambiguous(curve):
        return None
    groups = [
        _group(curves, alike[part], tuple(elements[i] for i in alike[part]), lags, step_s, rng)
        for part in parts
    ]
    return Lag(
        first=first,
        second=second,
        groups=tuple(groups),
        frame_s=frame_s,
        chance=float(
            np.quantile(_by_chance(shuffled[:, alike[parts[0]]].mean(axis=1), lags, rng), 0.99)
        ),
        windows=len(joint),
        episodes=sum(count > 0 for count in counts),
        clock=clock,
        curve_s=np.asarray(lags * step_s, np.float64),
        curve=curve,
    )


def _window_s(spans: Sequence[float]) -> float:
    """The longest windows of which there are enough, since each lies inside an episode."""
    total_s = sum(max(span, 0) for span in spans)
    window_s = min(4 * MOST_LAG_S, total_s / LEAST_WINDOWS, max(spans, default=0))
    while window_s > LEAST_WINDOW_S and sum(s // window_s for s in spans if s > 0) < LEAST_WINDOWS:
        window_s = max(0.9 * window_s, LEAST_WINDOW_S)
    return window_s


def _group(
    curves: Floats,
    which: npt.NDArray[np.intp],
    elements: tuple[int, ...],
    lags: npt.NDArray[np.int64],
    step_s: float,
    rng: np.random.Generator,
) -> Group:
    """The lag of some elements, and its interval by bootstrap over windows."""
    joint = curves[:, which].mean(axis=1)
    weights = rng.multinomial(len(joint), np.full(len(joint), 1 / len(joint)), RESAMPLES)
    low, high = np.quantile(_peaks(weights @ joint), [0.025, 0.975])
    curve = joint.sum(axis=0)
    peak = float(_peaks(curve[None])[0])
    blur = 0.1  # of a cell: a parabola through three points is no better
    return Group(
        lag_s=(peak + lags[0]) * step_s,
        low_s=(float(min(low, peak - blur)) + lags[0]) * step_s,
        high_s=(float(max(high, peak + blur)) + lags[0]) * step_s,
        correlation=min(float(curve.max()), 1.0),
        elements=elements,
    )


def _split(curves: Floats, lags: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """Elements in groups of like lag, the largest first: a group ends where the lags jump."""
    peaks = _peaks(curves.sum(axis=0)) + lags[0]
    order = np.argsort(peaks, kind="stable")
    jumps = np.diff(peaks[order]) > np.maximum(1.5, 0.25 * np.abs(peaks[order[:-1]]))
    parts = np.split(order, np.flatnonzero(jumps) + 1)
    return sorted((np.sort(part) for part in parts), key=len, reverse=True)


def _windows(
    track: Track, step_s: float, cells: int, most: int
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Velocities in each whole window in which neither stream has a gap.

    Returns:
        Of the first [W, D, cells]; of the second [W, D, most + cells + most], as far as the lag may
        reach; and bool [W, most + cells + most], which of these cells there are.
    """
    t, x, u, y = track
    total = int(min(t[-1], u[-1]) / step_s)
    count = total // cells
    if count < 1:
        none = np.empty((0, x.shape[1], cells + 2 * most))
        return none[:, :, :cells], none, np.empty((0, cells + 2 * most), bool)
    edges = np.asarray(np.arange(total + 1) * step_s, np.float64)
    first, second = (
        _band(np.diff([np.interp(edges, times, column) for column in positions.T], axis=1), step_s)
        for times, positions in ((t, x), (u, y))
    )
    whole = np.flatnonzero(_covered(t, edges, cells) & _covered(u, edges, cells)) * cells
    second = np.pad(second, ((0, 0), (most, most)))
    there = np.pad(np.ones(total, bool), (most, most))
    near, wide = (whole[:, None] + np.arange(size) for size in (cells, cells + 2 * most))
    return first[:, near].swapaxes(0, 1), second[:, wide].swapaxes(0, 1), there[wide]


def _band(velocity: Floats, step_s: float) -> Floats:
    """Velocities [D, T] without what trembles and without what only trends; cut at 8 deviations."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(velocity, SMOOTHING_S / step_s, axis=1, mode="nearest")
    trend = gaussian_filter1d(velocity, TREND_S / step_s, axis=1, mode="nearest")
    return _limited(smooth - trend)


def _covered(times: Floats, edges: Floats, cells: int) -> npt.NDArray[np.bool_]:
    """Bool [W], whether no gap of several samples reaches into a window."""
    steps = np.diff(times)
    at = np.flatnonzero(steps > 5 * np.median(steps))
    width = edges[cells] - edges[0]
    whole = np.ones((len(edges) - 1) // cells, bool)
    for gap in at:
        first, last = int(times[gap] // width), int(times[gap + 1] // width)
        whole[max(first, 0) : last + 1] = False
    return whole


def _correlations(
    x: Floats, y: Floats, there: npt.NDArray[np.bool_], most: int
) -> tuple[Floats, Floats]:
    """Of each window and element, the share in the correlation coefficient, which is their sum.

    Returns:
        At every lag [W, D, 2 * most + 1]; and circular [W, D, cells], for `_by_chance`.
    """
    cells, wide = x.shape[2], y.shape[2]
    middle = y[:, :, most : most + cells]
    power = np.sqrt((x**2).sum(axis=(0, 2)) * (middle**2).sum(axis=(0, 2)))
    power = np.where(power > 0, power, np.inf)[None, :, None]
    x_f = np.conj(np.fft.rfft(x, n=wide, axis=2))  # padded: at no lag within reach does it wrap
    curves = np.fft.irfft(x_f * np.fft.rfft(y, axis=2), n=wide, axis=2)[:, :, : 2 * most + 1]
    had = np.array([there[:, lag : lag + cells].sum() for lag in range(2 * most + 1)])
    product = np.conj(np.fft.rfft(x, axis=2)) * np.fft.rfft(middle, axis=2)
    circular = np.fft.irfft(product, n=cells, axis=2)
    return curves / power * (there[:, most : most + cells].sum() / np.maximum(had, 1)), (
        circular / power
    )


def _limited(v: Floats) -> Floats:
    """Velocities [D, T] cut off at 8 deviations, so that one jump is not the whole correlation."""
    deviation = np.sqrt((v**2).mean(axis=1, keepdims=True))
    return np.asarray(np.clip(v, -8 * deviation, 8 * deviation))


def _alike(
    curves: Floats, shuffled: Floats, lags: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Bool [D], elements that correlate by more than chance."""
    found = np.zeros(curves.shape[1], bool)
    for d in range(curves.shape[1]):
        peak = curves[:, d].sum(axis=0).max()
        chance = np.quantile(_by_chance(shuffled[:, d], lags, rng, shifts=100), 0.99)
        found[d] = peak > max(chance, LEAST_CORRELATION / 2)
    return found


def _by_chance(
    joint: Floats, lags: npt.NDArray[np.int64], rng: np.random.Generator, *, shifts: int = SHIFTS
) -> Floats:
    """float64 [shifts], greatest correlation over the lags when windows are shifted at random."""
    windows, cells = joint.shape
    each = rng.integers(0, cells, (shifts, windows))
    rows = np.arange(windows)[:, None]
    return np.array(
        [joint[rows, (lags[None] + shift[:, None]) % cells].sum(axis=0).max() for shift in each]
    )


def _ambiguous(curve: Floats) -> bool:
    """Whether another peak, across a valley, is nearly as high as the highest."""
    top = int(np.argmax(curve))
    low = np.flatnonzero(curve < 0.8 * curve[top])
    left, right = low[low < top], low[low > top]
    beyond = [curve[: left[-1]] if left.size else curve[:0]]
    beyond.append(curve[right[0] :] if right.size else curve[:0])
    return bool(np.concatenate(beyond).max(initial=-1.0) > 0.9 * curve[top])


def _peaks(curves: Floats) -> Floats:
    """float64 [K], where each curve [K, L] is greatest, by a parabola through its top."""
    at = np.clip(np.argmax(curves, axis=1), 1, curves.shape[1] - 2)
    rows = np.arange(len(curves))
    left, top, right = (curves[rows, at + d] for d in (-1, 0, 1))
    bend = left - 2 * top + right
    flat = bend >= 0
    shift = np.where(flat, 0.0, 0.5 * (left - right) / np.where(flat, 1.0, bend))
    return np.asarray(at + np.clip(shift, -0.5, 0.5))
