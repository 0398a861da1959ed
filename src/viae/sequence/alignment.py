"""The usual way to align streams, for comparison: by frame number and rate, each by its stamps.

Most converters put an episode on a grid, frame k at k / fps after the start, and take from every
stream the row whose stamp is nearest. When a row *arrived* plays no part in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from viae.schema import NS_PER_S, Role, Take, TimesNs, to_ns
from viae.sequence.order import decision_bound
from viae.sequence.window import Timeline


def frame_times(timeline: Timeline, rate_hz: float | None = None) -> tuple[TimesNs, float]:
    """The grid of an episode.

    Args:
        timeline: of the decision stream, N samples.
        rate_hz: frames per second; None for as many frames as the stream has samples.

    Returns:
        int64 [K], log clock, from the first capture to the last; and the time between two, ns.
    """
    n = len(timeline.capture_ns)
    if not n:
        return np.empty(0, np.int64), 0.0
    start, span = int(timeline.capture_ns.min()), int(np.ptp(timeline.capture_ns))
    period = NS_PER_S / rate_hz if rate_hz else span / max(n - 1, 1)
    count = int(span / period + 1e-9) + 1 if period > 0 else 1
    frames: TimesNs = start + np.rint(np.arange(count) * period).astype(np.int64)
    return frames, period


def nearest(stamps_ns: TimesNs, at_ns: TimesNs) -> npt.NDArray[np.int64]:
    """The sample whose stamp is nearest to each time; of two equally near the earlier.

    Args:
        stamps_ns: int64 [N], N >= 1; any order.
        at_ns: int64 of any shape.

    Returns:
        int64 of that shape, positions in ``stamps_ns``.
    """
    order = np.argsort(stamps_ns, kind="stable")
    stamps = stamps_ns[order]
    after = np.clip(np.searchsorted(stamps, at_ns), 1, max(len(stamps) - 1, 1))
    after = np.minimum(after, len(stamps) - 1)
    before = np.maximum(after - 1, 0)
    closer = stamps[after] - at_ns < at_ns - stamps[before]
    found: npt.NDArray[np.int64] = order[np.where(closer, after, before)]
    return found


def frame_leads(
    timeline: Timeline, take: Take, frames_ns: TimesNs, period_ns: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """How long after each frame's decision the samples arrived that the grid gives it.

    Args:
        timeline: of a stream, captures on the log's clock.
        take: which samples; a step is a frame. The actions of a frame answer it, so step 0 of
            actions is the frame before, as in `viae.sequence.input_indices`.
        frames_ns: int64 [K], decision times.
        period_ns: between two frames.

    Returns:
        int64 [K, T], arrival less the last moment at which the decision could have known it: what
        is positive came from the future; and bool [K, T], False before the episode's first frame.
    """
    shift = 0 if timeline.role is Role.OBSERVATION else 1
    offsets = [to_ns(s) for s in take.offsets_s] or [
        round((step - shift) * period_ns) for step in take.steps
    ]
    at_ns = frames_ns[:, None] + np.array(offsets, np.int64)
    there = at_ns >= frames_ns[:1]
    if not len(timeline.capture_ns):
        return np.zeros(at_ns.shape, np.int64), np.zeros(at_ns.shape, np.bool_)
    found = nearest(timeline.capture_ns, at_ns)
    bounds = decision_bound(timeline.role, frames_ns)
    return timeline.arrival_ns[found] - bounds[:, None], there
