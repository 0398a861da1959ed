"""What a window costs: packets to decode, pictures to convert, bytes to copy; and in seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from viae.load.index import Index
from viae.load.pool import PoolOrder
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.sequence import Shuffled

Ints = npt.NDArray[np.int64]

BATCHES = 16
"""Looked at to count what windows need on demand."""
SIMULATED = 200_000
"""Windows of an epoch that are played through to count what a pool decodes."""
REORDERED = 3
"""Packets that a decoder wants ahead of a picture where pictures are stored out of order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the pictures of one stream need, per window on average.

    Args:
        groups: groups of pictures begun.
        packets: decoded; images count as one each.
        pictures: converted.
        frames: asked for, padding left out.
    """

    groups: float
    packets: float
    pictures: float
    frames: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCosts:
    """Seconds that pictures of one stream take, on one thread.

    Args:
        first_s: the first packet of a group, or an image.
        next_s: each packet after it.
        convert_s: one picture, decoded, to RGB of the size asked for.
        row_s: to read one row of the store; 0 where packets are in memory.
        asked_s: what else a frame on demand takes.
    """

    first_s: float
    next_s: float
    convert_s: float
    row_s: float = 0.0
    asked_s: float = 0.0

    def seconds(self, work: Work) -> float:
        """Of a window."""
        decoding = work.groups * self.first_s + (work.packets - work.groups) * self.next_s
        reading = work.groups * self.row_s
        return decoding + work.pictures * (self.convert_s + self.asked_s) + reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that parts of a window take, on one thread.

    Args:
        window_s: everything but pictures.
        copy_bytes_s: bytes of decoded frames gathered per second.
        streams: what decoding takes, by picture stream.
    """

    window_s: float
    copy_bytes_s: float
    streams: Mapping[str, StreamCosts]


def typical(stream: StreamRows, shape: tuple[int, int, int]) -> StreamCosts:
    """Costs by sizes alone, for choosing without measuring: ``--video fast`` on one core.

    Fitted by ``benchmarks/video_costs.py`` to the pictures of a real robot at six sizes from 96x96
    to 1280x720, coded by the defaults of `FastVideo`: within 21% for a first packet, 24% for the
    next, 6% for a conversion. Other content and machines differ by more; `viae.load.plan` measures.

    Args:
        stream: of pictures.
        shape: (3, H, W) of a frame as it is looked at.
    """
    pixels, shown = float(np.prod(stream.spec.shape[:2])), float(np.prod(shape[1:]))
    return StreamCosts(
        first_s=45e-6 + 3.0e-9 * pixels,
        next_s=0.7e-6 + 1.1e-9 * pixels,
        convert_s=4e-6 + 0.125e-9 * (pixels + shown),
    )


def used_frames(index: Index, stream: str) -> Ints:
    """The frames of a picture stream that windows use: int64, ascending."""
    parts = [
        np.unique(samples) for key, samples in index.samples.items()
        if key.split("/", 1)[1] == stream
    ]  # fmt: skip
    found = np.unique(np.concatenate(parts)).astype(np.int64)
    return found[found >= 0]


def on_demand(stream: StreamRows, index: Index, batch: int) -> Work:
    """What batches drawn at random need, counted on some of them.

    Args:
        stream: of pictures.
        index: the windows.
        batch: windows in a batch; frames that several of them share are decoded once.
    """
    batch = min(batch, len(index))
    if not batch:
        return Work(groups=0, packets=0, pictures=0, frames=0)
    order = Shuffled(len(index), 0)
    total = np.zeros(4)
    count = min(BATCHES, len(index) // batch)
    for number in range(count):
        which = order.take(0, number * batch, (number + 1) * batch)
        asked = asked_of(index, stream.spec.name, which)
        total += (*decoded(stream, np.unique(asked)), len(asked))
    groups, packets, pictures, frames = (total / (count * batch)).tolist()
    return Work(groups=groups, packets=packets, pictures=pictures, frames=frames)


def once(stream: StreamRows, index: Index, times: float = 1.0) -> Work:
    """What it needs to decode each frame that windows use so many times, shared out."""
    windows = max(1, len(index))
    groups, packets, pictures = decoded(stream, used_frames(index, stream.spec.name))
    asked = [
        np.count_nonzero(samples >= 0) for key, samples in index.samples.items()
        if key.split("/", 1)[1] == stream.spec.name
    ]  # fmt: skip
    return Work(
        groups=times * groups / windows,
        packets=times * packets / windows,
        pictures=times * pictures / windows,
        frames=sum(asked) / windows,
    )


def pooled_times(
    stream: StreamRows, index: Index, order: PoolOrder, memory_bytes: int, batch: int, shape: object
) -> float:
    """How often a pool decodes each group in an epoch, played through on the order itself.

    Args:
        stream: of pictures.
        index: the windows.
        order: of the pool.
        memory_bytes: for decoded groups of this stream.
        batch: windows in a batch.
        shape: (3, H, W) of a decoded frame.
    """
    used = used_frames(index, stream.spec.name)
    sizes = np.diff(np.searchsorted(used, stream.row_starts)) * int(np.prod(np.asarray(shape)))
    needed = int(np.count_nonzero(sizes))
    groups: OrderedDict[int, None] = OrderedDict()
    bytes_held = filled = decoded = 0
    played = min(len(order), SIMULATED)
    for start in range(0, played, batch):
        which = order.take(0, start, min(start + batch, played))
        asked = asked_of(index, stream.spec.name, which)
        rows = np.unique(np.searchsorted(stream.row_starts, asked, side="right") - 1)
        for row in rows.tolist():
            if row in groups:
                groups.move_to_end(row)
                continue
            decoded += 1
            groups[row] = None
            bytes_held += int(sizes[row])
            while bytes_held > memory_bytes and len(groups) > 1:
                filled = filled or decoded
                bytes_held -= int(sizes[groups.popitem(last=False)[0]])
    filled = filled or decoded
    rest = (decoded - filled) * (len(order) - played) / max(1, played)
    return (decoded + rest) / max(1, needed)


def in_groups_of(stream: StreamRows, pictures: int) -> StreamRows:
    """The same stream, were it coded in closed groups of so many pictures."""
    spans = [
        np.arange(a, b, pictures)
        for a, b in zip(stream.starts[:-1].tolist(), stream.starts[1:].tolist(), strict=True)
    ]
    starts = np.concatenate([*spans, [len(stream)]]).astype(np.int64)
    coding = replace(stream.codings[0], in_order=True)
    return StreamRows(
        spec=stream.spec, starts=stream.starts, rows=np.arange(len(starts) - 1),
        row_starts=starts, capture_ns=stream.capture_ns, arrival_ns=stream.arrival_ns,
        codings=(coding,), coding_of=np.zeros(len(starts) - 1, np.int64),
    )  # fmt: skip


def asked_of(index: Index, stream: str, which: Ints) -> Ints:
    """The frames that windows ask for, padding left out."""
    parts = [
        samples[which].reshape(-1) for key, samples in index.samples.items()
        if key.split("/", 1)[1] == stream
    ]  # fmt: skip
    asked = np.concatenate(parts).astype(np.int64)
    return asked[asked >= 0]


def decoded(stream: StreamRows, frames: Ints) -> Sequence[int]:
    """Groups begun, packets decoded and pictures converted to get at frames, each once."""
    if stream.spec.kind is not Kind.VIDEO or not len(frames):
        return (len(frames),) * 3
    rows = np.searchsorted(stream.row_starts, frames, side="right") - 1
    last = np.flatnonzero(np.append(np.diff(rows) != 0, True))
    groups = rows[last]
    lengths = np.diff(stream.row_starts)[groups]
    in_order = np.array([coding.in_order for coding in stream.codings])[stream.coding_of[groups]]
    packets = frames[last] - stream.row_starts[groups] + 1 + np.where(in_order, 0, REORDERED)
    return len(groups), int(np.minimum(packets, lengths).sum()), len(frames)
