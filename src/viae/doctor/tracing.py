"""From the items of a log to what the doctor looks at: read once, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.doctor.naming import names_beside
from viae.doctor.trace import EpisodeTrace, StreamTrace, ValueSummary
from viae.errors import WindowError
from viae.logs import Item, Statement
from viae.schema import Block, JsonValue, Kind, Loss, LossKind, Samples, StreamSpec, VideoGroup
from viae.sequence.clock import Clock
from viae.video.pictures import decode_pictures

HEAD_VALUES = 1 << 18
"""Numbers kept of each vector stream, from its start: 2 MiB."""
PICTURES = 2000
"""Pictures of each stream that are looked at, from its start: decoding is what costs."""
THUMBNAIL = (32, 32)
MOST_ELEMENTS = 64
"""Elements of a vector that may vary in length, and does not, up to which it is looked at as one of
fixed shape. Joints are few; what has more is a scan or a cloud, where infinities mean something."""

Floats = npt.NDArray[np.float64]


def trace_episode(
    items: Iterable[Item],
    *,
    path: str,
    episode: str = "",
    format: str,  # noqa: A002  (the word for it everywhere)
    pictures: bool = True,
    clocks: Mapping[str, Clock] | None = None,
) -> EpisodeTrace:
    """What the doctor looks at, of one episode.

    Args:
        items: what a log's episode or a store yields; read once.
        path: the log's path, or the store's address.
        episode: its range in the log, or its id in the store.
        format: the log format's name, or ``"store"``.
        pictures: whether to decode pictures for their motion.
        clocks: by stream, what puts its captures on the log's clock, as facts of a store say.

    Returns:
        Times whole, values in summary. Pictures that cannot be decoded become a loss.

    Cost: one pass; 20 bytes a sample and up to 4 MiB a stream.
    """
    streams: dict[str, _Stream] = {}
    statements: dict[str, JsonValue] = {}
    losses: list[Loss] = []
    shown_ns: int | None = None  # the latest arrival among blocks that others have followed
    for item in items:
        if isinstance(item, Statement):
            statements[item.key] = item.value
        elif isinstance(item, Loss):
            losses.append(item)
        else:
            stream = streams.get(item.spec.name)
            if stream is None:
                stream = streams[item.spec.name] = _Stream(item.spec, pictures=pictures)
            shown_ns = stream.place(item, shown_ns)
            stream.add(item)
    losses += [loss for stream in streams.values() for loss in stream.losses(path)]
    texts = {name: stream.text for name, stream in streams.items() if stream.spec.kind is Kind.TEXT}
    return EpisodeTrace(
        path=path, episode=episode, format=format, statements=statements, losses=tuple(losses),
        streams={
            name: stream.trace(names_beside(stream.spec, texts), (clocks or {}).get(name))
            for name, stream in streams.items()
        },
    )  # fmt: skip


class _Stream:
    """What is gathered of one stream."""

    def __init__(self, spec: StreamSpec, *, pictures: bool) -> None:
        self.spec = spec
        self.capture: list[npt.NDArray[np.int64]] = []
        self.arrival: list[npt.NDArray[np.int64]] = []
        self.pts: list[Floats] = []
        self.values: _Values | None = None
        self.pictures: _Pictures | None = None
        self.text: str | None = ""
        """Of text: what every sample says; None where they differ."""
        self.may_vary = spec.kind is Kind.VECTOR and spec.varies
        if spec.kind is Kind.VECTOR and not spec.varies and spec.size:
            self.values = _Values(spec.size)
        elif spec.kind in {Kind.IMAGE, Kind.VIDEO} and pictures:
            self.pictures = _Pictures()
        self.last_ns: int | None = None
        self.last_shown_ns: int | None = None
        self.behind_ns = 0

    def place(self, block: Block, shown_ns: int | None) -> int | None:
        """Note how late in the log the block before this one came up.

        A reader gives a block when it is full or when the log ends. Only of a block that another of
        its stream follows is it sure that it was full, and that the log had come to its last
        sample.
        """
        if self.last_ns is not None:
            if self.last_shown_ns is not None:
                self.behind_ns = max(self.behind_ns, self.last_shown_ns - self.last_ns)
            shown_ns = self.last_ns if shown_ns is None else max(shown_ns, self.last_ns)
        self.last_ns, self.last_shown_ns = int(block.arrival_ns.max()), shown_ns
        return shown_ns

    def add(self, block: Block) -> None:
        """Take a block in."""
        if not len(block):
            return
        self.capture.append(block.capture_ns)
        self.arrival.append(block.arrival_ns)
        if isinstance(block, VideoGroup):
            self.pts.append(
                np.asarray(block.pts * (block.time_base[0] / block.time_base[1]), np.float64)
            )
        if self.may_vary and isinstance(block, Samples):
            self._fix_length(block)
        if self.spec.kind is Kind.TEXT and isinstance(block, Samples) and self.text is not None:
            said = {self.text or block.values[0], *block.values}
            self.text = said.pop() if len(said) == 1 else None
        if self.values is not None and isinstance(block, Samples):
            with np.errstate(all="ignore"):  # numbers near the largest overflow in sums
                self.values.add(np.asarray(block.values).reshape(len(block), -1).astype(np.float64))
        elif self.pictures is not None:
            self.pictures.add(block)

    def _fix_length(self, block: Samples) -> None:
        """Take a length that may vary, and has not, for fixed; give up once it does."""
        lengths = {len(value) for value in block.values}
        size = self.values.size if self.values else next(iter(lengths))
        self.may_vary = lengths == {size} and 0 < size <= MOST_ELEMENTS
        if not self.may_vary:
            self.values = None
        elif self.values is None:
            self.values = _Values(size)

    def losses(self, path: str) -> list[Loss]:
        """What could not be looked at."""
        if self.pictures is None or self.pictures.error is None:
            return []
        return [
            Loss(
                kind=LossKind.SKIPPED, name="pictures-undecodable", path=path,
                stream=self.spec.name, detail=str(self.pictures.error),
            )
        ]  # fmt: skip

    def trace(self, names: tuple[str, ...] | None, clock: Clock | None) -> StreamTrace:
        """All that was gathered.

        Args:
            names: what the log says beside the stream that its elements are; None where that
                changes, so that an element is not the same thing from sample to sample.
            clock: what puts its captures on the log's clock; None leaves them as stamped.
        """
        capture_ns, arrival_ns = _joined(self.capture), _joined(self.arrival)
        stamped_ns = None
        if clock is not None:
            stamped_ns, capture_ns = capture_ns, clock.apply(capture_ns, arrival_ns)
        values, head, spec = None, None, self.spec
        motion = np.empty(0, np.float32)
        if names is None and spec.varies:
            self.values = None
        if self.values is not None and spec.varies:
            named = names if names and len(names) == self.values.size else ()
            spec = replace(spec, shape=(self.values.size,), names=named)
        if self.values is not None:
            values, head, motion = self.values.summary(), self.values.kept(), self.values.motion()
        elif self.pictures is not None and self.pictures.motion:
            motion = np.full(len(arrival_ns), np.nan, np.float32)
            known = np.concatenate(self.pictures.motion)
            motion[: len(known)] = known
        return StreamTrace(
            spec=spec, capture_ns=capture_ns, arrival_ns=arrival_ns, values=values, head=head,
            motion=motion, codec=self.spec.encoding, frames_per_s=self._frames_per_s(),
            behind_ns=self.behind_ns, stamped_ns=stamped_ns,
        )  # fmt: skip

    def _frames_per_s(self) -> float | None:
        if not self.pts:
            return None
        steps = np.diff(np.unique(np.concatenate(self.pts)))
        return float(1 / np.median(steps)) if len(steps) else None


@dataclass(slots=True)
class _Values:
    """The values of a vector stream, block after block.

    Motion is in units of the spread (standard deviation) that each element has in the head, so it
    waits until the head is full. An element that first moves later takes its spread from the block
    in which it does.
    """

    size: int
    count: int = 0
    low: Floats = field(init=False)
    high: Floats = field(init=False)
    total: Floats = field(init=False)
    not_finite: npt.NDArray[np.int64] = field(init=False)
    at_low: npt.NDArray[np.int64] = field(init=False)
    at_high: npt.NDArray[np.int64] = field(init=False)
    changes: npt.NDArray[np.int64] = field(init=False)
    run: npt.NDArray[np.int64] = field(init=False)
    longest: npt.NDArray[np.int64] = field(init=False)
    run_end: npt.NDArray[np.int64] = field(init=False)
    last: Floats | None = None
    head: list[Floats] = field(default_factory=list)
    in_head: int = 0
    spread: Floats | None = None
    last_moved: Floats | None = None
    moved: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.low = np.full(self.size, np.inf)
        self.high = np.full(self.size, -np.inf)
        self.total = np.zeros(self.size)
        for name in ("not_finite", "at_low", "at_high", "changes", "run", "longest", "run_end"):
            setattr(self, name, np.zeros(self.size, np.int64))

    @property
    def head_rows(self) -> int:
        return max(1, HEAD_VALUES // self.size)

    def add(self, block: Floats) -> None:
        finite = np.isfinite(block)
        self.not_finite += (~finite).sum(axis=0)
        self.total += np.where(finite, block, 0).sum(axis=0)
        self.low, self.at_low = _extreme(self.low, self.at_low, block, finite, sign=1)
        high, self.at_high = _extreme(-self.high, self.at_high, block, finite, sign=-1)
        self.high = -high
        self._runs(block)
        self.count += len(block)
        rows = min(self.head_rows - self.in_head, len(block))
        if rows > 0:
            self.head.append(block[:rows].copy())
            self.in_head += rows
        if self.spread is None and self.in_head >= self.head_rows:
            self._start_motion()
        if self.spread is not None and rows < len(block):
            self._move(block[max(rows, 0) :])

    def _runs(self, block: Floats) -> None:
        """Changes, and the longest run of equal values, across the border of blocks."""
        before = block[:1] if self.last is None else self.last[None]
        earlier = np.concatenate([before, block[:-1]])
        same = (block == earlier) | (np.isnan(block) & np.isnan(earlier))
        if self.last is None:
            same[0] = True  # the first sample differs from none
        self.changes += (~same).sum(axis=0)
        rows = np.arange(len(block))[:, None]
        begun = np.maximum.accumulate(np.where(same, -1, rows), axis=0)
        length = np.where(begun < 0, self.run + rows + 1, rows - begun + 1)
        at = length.argmax(axis=0)
        most = length[at, np.arange(self.size)]
        longer = most > self.longest
        self.longest = np.where(longer, most, self.longest)
        self.run_end = np.where(longer, self.count + at + 1, self.run_end)
        self.run = length[-1]
        self.last = block[-1]

    def _start_motion(self) -> None:
        head = np.concatenate(self.head)
        self.spread = _spread(head)
        self._move(head)

    def _move(self, block: Floats) -> None:
        assert self.spread is not None
        still = self.spread == 0
        if still.any():
            self.spread = np.where(still, _spread(block), self.spread)
        before = block[:1] if self.last_moved is None else self.last_moved[None]
        with np.errstate(all="ignore"):  # values may be anything, NaN and infinities included
            steps = np.diff(np.concatenate([before, block]), axis=0)
            units = np.where(self.spread > 0, steps / self.spread, 0)
            moved = np.sqrt(np.nansum(np.where(np.isfinite(units), units, np.nan) ** 2, axis=1))
            moved = moved.astype(np.float32)
        if self.last_moved is None:
            moved[0] = np.nan
        self.last_moved = block[-1]
        self.moved.append(moved)

    def kept(self) -> Floats:
        return np.concatenate(self.head) if self.head else np.empty((0, self.size))

    def motion(self) -> npt.NDArray[np.float32]:
        if self.spread is None and self.head:
            self._start_motion()
        return np.concatenate(self.moved) if self.moved else np.empty(0, np.float32)

    def summary(self) -> ValueSummary:
        seen = self.count - self.not_finite
        none = seen == 0
        return ValueSummary(
            low=np.where(none, np.nan, self.low), high=np.where(none, np.nan, self.high),
            mean=np.where(none, np.nan, self.total / np.maximum(seen, 1)),
            not_finite=self.not_finite, at_low=self.at_low, at_high=self.at_high,
            changes=self.changes, longest_run=self.longest, run_end=self.run_end,
        )  # fmt: skip


@dataclass(slots=True)
class _Pictures:
    """Thumbnails of pictures, one after another."""

    motion: list[npt.NDArray[np.float32]] = field(default_factory=list)
    last: Floats | None = None
    seen: int = 0
    error: WindowError | None = None

    def add(self, block: Block) -> None:
        if self.error is not None or self.seen >= PICTURES:
            return
        try:
            pictures = decode_pictures(block if isinstance(block, Samples) else [block], THUMBNAIL)
        except WindowError as error:
            self.error = error
            return
        grey = pictures.mean(axis=1)
        before = np.full_like(grey[:1], np.nan) if self.last is None else self.last[None]
        steps: Any = np.abs(np.diff(np.concatenate([before, grey]), axis=0))
        self.motion.append(steps.mean(axis=(1, 2)).astype(np.float32))
        self.last = grey[-1]
        self.seen += len(grey)


def _extreme(
    least: Floats, count: npt.NDArray[np.int64], block: Floats, finite: Any, *, sign: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The least value so far and how many samples have it; the greatest with the sign turned."""
    turned = np.where(finite, sign * block, np.inf)
    lowest = turned.min(axis=0)
    at = ((turned == lowest) & finite).sum(axis=0)
    count = np.where(lowest < least, at, np.where(lowest == least, count + at, count))
    return np.minimum(least, lowest), count


def _spread(block: Floats) -> Floats:
    with np.errstate(all="ignore"):
        masked = np.where(np.isfinite(block), block, np.nan)
        known = np.isfinite(masked).sum(axis=0) > 1
        spread = np.zeros(block.shape[1])
        spread[known] = np.nanstd(masked[:, known], axis=0)
        # A mean of many equal numbers may differ from them by rounding.
        rounding = 1e-12 * np.abs(np.where(np.isfinite(block[0]), block[0], 0))
    return np.where(spread > rounding, spread, 0)


def _joined(parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
