"""Stats: the figures that normalise what a model sees, of the streams in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viae.errors import UsageError, WindowError
from viae.load.spec import LoadSpec
from viae.load.stats import (
    QUANTILES,
    StreamStatistics,
    picture_statistics,
    quantile_name,
    vector_statistics,
)
from viae.schema import Kind
from viae.store import Store
from viae.verbs.choose import all_of, chosen
from viae.verbs.progress import Progress, Tell, quiet

PICTURES = (Kind.IMAGE, Kind.VIDEO)
LEVELS = 255
"""LeRobot's figures of pictures are from 0 to 1."""
LEROBOT = ("min", "max", "mean", "std", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsReport:
    """Statistics of streams.

    Args:
        store: its address.
        snapshot: id of the state that was read.
        where: the SQL condition on ``episodes``.
        episodes: how many fit it.
        streams: the figures, by name.
        without: streams that have no numbers, and what they are.
        failed: streams that should have figures and have none, and why.
    """

    store: str
    snapshot: str
    where: str
    episodes: int
    streams: dict[str, StreamStatistics] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; figures are nested lists in the shape of a sample."""
        return {
            "store": self.store, "snapshot": self.snapshot, "where": self.where,
            "episodes": self.episodes,
            "streams": {
                name: {
                    "kind": str(found.spec.kind), "dtype": found.spec.dtype,
                    "shape": list(found.spec.shape), "unit": found.spec.unit, "per": found.per,
                    "elements": list(found.elements()), "samples": found.samples,
                    "looked_at": found.looked_at, "how": found.how, "passes": found.passes,
                    **{key: value.tolist() for key, value in found.summary.columns().items()},
                }
                for name, found in self.streams.items()
            },
            "without_numbers": self.without, "failed": self.failed,
        }  # fmt: skip

    def to_lerobot(self) -> dict[str, Any]:
        """As LeRobot's ``meta/stats.json`` has it: by feature, pictures [3, 1, 1] from 0 to 1.

        Raises:
            UsageError: a stream has figures only as a whole, which LeRobot cannot say.
        """
        features = {}
        for name, found in self.streams.items():
            if found.per == "stream":
                raise UsageError(
                    f"stream '{name}' has one figure for all its elements, for which LeRobot's "
                    "format has no place; name the others in a SPEC, or write without --format"
                )
            picture = found.per == "channel"
            columns = found.summary.columns()
            quantiles = [quantile_name(q) for q in found.summary.quantiles]
            stats: dict[str, Any] = {}
            for key in (*LEROBOT[:-1], *quantiles):
                value = np.atleast_1d(columns[key])
                stats[key] = ((value / LEVELS).reshape(3, 1, 1) if picture else value).tolist()
            features[name] = stats | {"count": [found.looked_at]}
        return features


def stats(
    store: Store,
    spec: LoadSpec | None = None,
    *,
    where: str = "true",
    quantiles: Sequence[float] = QUANTILES,
    thumb: int = 32,
    every: int | None = None,
    threads: int = 2,
    tell: Tell = quiet,
) -> StatsReport:
    """Mean, spread, range and exact quantiles of every element of every stream.

    Numbers are read whole, in bounded memory. Pictures are looked at as thumbnails, some of them;
    the report says which.

    Args:
        store: its newest snapshot is read.
        spec: only the streams of its windows, in the episodes that it chooses; a stream that
            cannot be summed up then raises.
        where: SQL condition on the table ``episodes``, beside that of the spec.
        quantiles: each in [0, 1].
        thumb: height and width of thumbnails, pixels.
        every: look at every k-th picture; None at about 2000 a stream.
        threads: that decode pictures.
        tell: told of progress.

    Raises:
        UsageError: no episode fits, or a quantile lies outside [0, 1].
        WindowError: a stream of the spec has no numbers, or differs between episodes.
        QueryError: ``where`` is not SQL.
    """
    if not all(0 <= q <= 1 for q in quantiles):
        raise UsageError(f"quantiles lie between 0 and 1, not {', '.join(map(str, quantiles))}")
    pinned = store.at(store.snapshot())
    condition = all_of(spec.where, where) if spec else all_of(where)
    ids = [episode.episode_id for episode in chosen(pinned, condition)]
    kinds: dict[str, Kind] = {}
    for row in pinned.streams(ids):
        kinds.setdefault(row["stream"], row["spec"].kind)
    names = sorted(kinds)
    if spec:
        takes = (*spec.window.inputs, *spec.window.targets)
        names = sorted({take.stream for take in takes})
    report = StatsReport(
        store=store.uri, snapshot=pinned.snapshot().snapshot_id, where=condition, episodes=len(ids)
    )
    for number, name in enumerate(names):

        def seen(done: int, total: int, name: str = name, number: int = number) -> None:
            note = f"{name}, {done:,} of {total:,}"
            tell(Progress(phase="stats", done=number, total=len(names), note=note))

        seen(0, 0)
        kind = kinds.get(name)
        if not spec and kind in (Kind.TEXT, Kind.BYTES):
            report.without[name] = str(kind)
            continue
        try:
            if kind in PICTURES:
                report.streams[name] = picture_statistics(
                    pinned, name, ids, quantiles=quantiles, thumb=thumb, every=every,
                    threads=threads, seen=seen,
                )  # fmt: skip
            else:
                report.streams[name] = vector_statistics(
                    pinned, name, ids, quantiles=quantiles, seen=seen
                )
        except WindowError as error:
            if spec:
                raise
            report.failed[name] = str(error)
    tell(Progress(phase="stats", done=len(names), total=len(names)))
    return report
