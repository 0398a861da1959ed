"""What the doctor looks at: of every stream its times whole, and its values in summary.

16 bytes a sample for the times and 4 for its motion, whatever the samples are: a log of 10 GB fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viae.schema import JsonValue, Loss, StreamSpec, TimesNs


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSummary:
    """The values of a vector stream of fixed shape, per element, without the values.

    Args:
        low: float64 [D], least finite value; NaN where there is none.
        high: float64 [D], greatest finite value; NaN where there is none.
        mean: float64 [D], of the finite values.
        not_finite: int64 [D], samples that are NaN or infinite.
        at_low: int64 [D], samples equal to ``low``.
        at_high: int64 [D], samples equal to ``high``.
        changes: int64 [D], samples that differ from the one before.
        longest_run: int64 [D], samples in the longest run of equal values.
        run_end: int64 [D], index of the sample after that run; None where it is not known.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    not_finite: npt.NDArray[np.int64]
    at_low: npt.NDArray[np.int64]
    at_high: npt.NDArray[np.int64]
    changes: npt.NDArray[np.int64]
    longest_run: npt.NDArray[np.int64]
    run_end: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTrace:
    """One stream of one episode.

    Args:
        spec: the stream.
        capture_ns: int64 [N], in recorded order; of a store on the log's clock, as its newest fact
            about the stream's clock says.
        arrival_ns: int64 [N], likewise.
        values: of numeric streams of fixed shape; None for others.
        head: float64 [M, D], the first M <= N samples of such streams, for checks that need the
            values themselves; M is bounded (see `HEAD_VALUES`).
        motion: float32 [N], how much each sample differs from the one before: for vectors the
            distance in units of each element's spread, for pictures the mean absolute difference of
            thumbnails; empty where it is not known, NaN for samples of which it is not (the first,
            and pictures after the first `tracing.PICTURES`).
        codec: of video streams and coded images.
        frames_per_s: of video streams, the rate that the packets' own times give.
        behind_ns: how far the stream's samples lie behind what other streams had shown when they
            came up in the log; 0 in a log in the order of arrival.
        stamped_ns: int64 [N], the captures as they were recorded, where a fact corrects them; None
            where none does.
    """

    spec: StreamSpec
    capture_ns: TimesNs
    arrival_ns: TimesNs
    values: ValueSummary | None = None
    head: npt.NDArray[np.float64] | None = None
    motion: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    codec: str = ""
    frames_per_s: float | None = None
    behind_ns: int = 0
    stamped_ns: TimesNs | None = None

    def __len__(self) -> int:
        return len(self.arrival_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeTrace:
    """One episode.

    Args:
        path: the log's path, or the store's address.
        episode: its range in the log, or its id in the store.
        format: the log format's name, or ``"store"``.
        streams: by name, in the order they appear.
        statements: what the log says of itself.
        losses: what reading it lost, skipped or repaired.
    """

    path: str
    episode: str
    format: str
    streams: Mapping[str, StreamTrace]
    statements: Mapping[str, JsonValue] = field(default_factory=dict)
    losses: Sequence[Loss] = ()
