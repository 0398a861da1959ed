"""Statistics of streams in a store: of all their samples, or of thumbnails of their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.frames import OnDemand
from viae.load.packets import TakenPackets
from viae.load.stats.statistics import QUANTILES, Statistics, Summary
from viae.load.timelines import StreamRows, read_timelines
from viae.schema import Kind, StreamSpec
from viae.store import Store
from viae.video import PictureView

Per = Literal["element", "stream", "channel"]

HELD_BYTES = 256 << 20
"""Streams up to this size are read once and held for all passes; others are read for each."""
MOST_ELEMENTS = 4096
"""Samples with more elements, such as scans, have statistics over all of them together."""
LOOKED_AT = 2000
"""About so many pictures of a stream are looked at unless told otherwise."""
ENOUGH_GROUPS = 200
"""Groups of pictures from which on their key frames are enough."""
AT_ONCE = 64

Seen: TypeAlias = Callable[[int, int], None]
"""Told how many samples are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamStatistics:
    """Statistics of one stream over some episodes.

    Args:
        spec: of the stream, as its first episode has it.
        per: what has figures of its own: each element of a sample; each channel (red, green, blue;
            0 to 255) of a picture; or the stream as a whole, where samples vary in length or have
            more than 4096 elements.
        summary: the figures, of shape ``spec.shape``, ``(3,)`` or ``()``.
        samples: of the stream in these episodes.
        looked_at: how many of them the figures are of.
        how: which ones, and how they were looked at, in words.
        passes: over the values.
    """

    spec: StreamSpec
    per: Per
    summary: Summary
    samples: int
    looked_at: int
    how: str
    passes: int

    def elements(self) -> tuple[str, ...]:
        """A name for each figure: of the elements or channels; their index where they have none."""
        if self.per == "channel":
            return ("red", "green", "blue")
        if self.per == "stream":
            return ("all",)
        if self.spec.names:
            return self.spec.names
        return tuple(",".join(map(str, at)) for at in np.ndindex(*self.spec.shape))


def vector_statistics(
    store: Store,
    stream: str,
    episode_ids: Sequence[str],
    *,
    quantiles: Sequence[float] = QUANTILES,
    seen: Seen = lambda done, total: None,
) -> StreamStatistics:
    """Of all samples of a vector stream.

    Args:
        store: at the snapshot to read.
        stream: its name.
        episode_ids: of the samples.
        quantiles: each in [0, 1].
        seen: told of progress.

    Raises:
        WindowError: the stream is missing, is no vector, or differs between episodes.
    """
    spec, samples = _spec(store, stream, episode_ids)
    if spec.kind is not Kind.VECTOR:
        raise WindowError(f"stream '{stream}' is {spec.kind}: it has no numbers")
    pooled = spec.varies or spec.size > MOST_ELEMENTS
    statistics = Statistics(() if pooled else spec.shape, spec.dtype, quantiles)
    pieces: Iterable[npt.NDArray[Any]] = _values(store, spec, episode_ids, statistics.shape)
    small = not spec.varies and samples * spec.size * np.dtype(spec.dtype).itemsize <= HELD_BYTES
    if small:
        pieces = list(pieces)
    while True:
        done = 0
        for values in pieces:
            statistics.add(values)
            done += len(values) if not pooled else 0
            seen(done, samples)
        if statistics.finish_pass():
            break
        if not small:
            pieces = _values(store, spec, episode_ids, statistics.shape)
    return StreamStatistics(
        spec=spec, per="stream" if pooled else "element", summary=statistics.summary(),
        samples=samples, looked_at=samples,
        how="all samples, all their elements together" if pooled else "all samples",
        passes=statistics.passes,
    )  # fmt: skip


def picture_statistics(
    store: Store,
    stream: str,
    episode_ids: Sequence[str],
    *,
    quantiles: Sequence[float] = QUANTILES,
    thumb: int = 32,
    every: int | None = None,
    threads: int = 2,
    seen: Seen = lambda done, total: None,
) -> StreamStatistics:
    """Of thumbnails of a picture stream, per colour channel, 0 to 255.

    A thumbnail has about the mean of its picture; its spread is smaller: each pixel is an average.

    Args:
        store: at the snapshot to read.
        stream: its name.
        episode_ids: of the pictures.
        quantiles: each in [0, 1].
        thumb: height and width, pixels, to which pictures are scaled by area.
        every: look at every k-th picture; None looks at about 2000, of video the first ones of
            groups of pictures, which alone decode without others.
        threads: that decode.
        seen: told of progress.

    Raises:
        WindowError: the stream is missing, or a picture cannot be decoded.
    """
    rows = read_timelines(store, episode_ids, [stream], scaled={stream})[stream]
    chosen, which = _chosen(rows, every)
    view = PictureView((thumb, thumb))
    frames = OnDemand(rows, TakenPackets(store, rows), view, tuple(episode_ids))
    statistics = Statistics((3,), np.uint8, quantiles)

    def look(some: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        out = np.empty((len(some), 3, thumb, thumb), np.uint8)
        frames.read(some, out)
        return out.transpose(0, 2, 3, 1).reshape(-1, 3)

    parts = [chosen[i : i + AT_ONCE] for i in range(0, len(chosen), AT_ONCE)]
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for part, pixels in zip(parts, pool.map(look, parts), strict=True):
            statistics.add(pixels)
            done += len(part)
            seen(done, len(chosen))
    finished = statistics.finish_pass()
    assert finished, "numbers of 8 bits take one pass"
    return StreamStatistics(
        spec=rows.spec, per="channel", summary=statistics.summary(), samples=len(rows),
        looked_at=len(chosen), how=f"{which}, scaled to {thumb}x{thumb} by area", passes=1,
    )  # fmt: skip


def _chosen(rows: StreamRows, every: int | None) -> tuple[npt.NDArray[np.int64], str]:
    """Which pictures are looked at, and how to say it."""
    firsts = rows.row_starts[:-1]
    if every is None and rows.spec.kind is Kind.VIDEO and len(firsts) >= ENOUGH_GROUPS:
        step = -(-len(firsts) // LOOKED_AT)
        return firsts[::step], "all key frames" if step == 1 else f"one key frame in {step}"
    step = every or max(-(-len(rows) // LOOKED_AT), 1)
    return np.arange(0, len(rows), step), "all pictures" if step == 1 else f"one picture in {step}"


def _spec(store: Store, stream: str, episode_ids: Sequence[str]) -> tuple[StreamSpec, int]:
    """The spec that all episodes agree on, and how many samples they have."""
    found = [row for row in store.streams(episode_ids) if row["stream"] == stream]
    if not found:
        raise WindowError(
            f"none of {len(episode_ids)} episodes has the stream '{stream}'; list the streams of "
            "one with  viae show EPISODE"
        )
    spec: StreamSpec = found[0]["spec"]
    for row in found[1:]:
        own = row["spec"]
        if (own.kind, own.dtype, own.shape) != (spec.kind, spec.dtype, spec.shape):
            raise WindowError(
                f"stream '{stream}' is {spec.dtype}{list(spec.shape)} in episode "
                f"{found[0]['episode_id']} and {own.dtype}{list(own.shape)} in "
                f"{row['episode_id']}; choose episodes that agree, with --where"
            )
    return spec, sum(row["samples"] for row in found)


def _values(
    store: Store, spec: StreamSpec, episode_ids: Sequence[str], shape: tuple[int, ...]
) -> Iterator[npt.NDArray[Any]]:
    """All values of a stream, a few rows at a time: [N, *shape]."""
    dtype = np.dtype(spec.dtype)
    column = "floats" if dtype.kind == "f" else "ints"
    for rows in store.scan("chunks", [column], episode_ids, [spec.name]):
        flat = rows[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        flat = flat.view(np.uint64) if dtype == np.uint64 else flat.astype(dtype, copy=False)
        yield flat.reshape(-1, *shape)
