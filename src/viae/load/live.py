"""A live episode as events: those of its beginning, while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.events import (
    INSTRUCTION_SPEC,
    PictureSize,
    known,
    prefix,
    shown_spec,
    why_left,
)
from viae.schema import Events, Kind, StreamSpec
from viae.schema.names import PICTURES, StreamNames
from viae.sequence.clock import Clock
from viae.video import AS_RECORDED, PictureView
from viae.video.pictures import decode_picture

FIRST_ROOM = 64


class LiveEvents:
    """Samples of a robot's streams as they arrive, as events in causal order.

    The events are those that `viae.load.events.EventReader` cuts from the recording of the episode
    (``facts=()``), as far as it has come. Samples that arrive at one time may be added in any order
    of their streams: they are put in order, so an event is *settled* only when time has moved on.

    Captures are taken as stamped, unless ``clocks`` says how to date them; whether they can be true
    is for `viae.load.suspects` to say. Numbers that are not finite are taken, too.

    Args:
        streams: the robot's, named as in its log. Those that cannot be events are in `left`.
        task: the instruction; empty for none.
        robot: its name, which decides what streams are called where ``names`` has several robots.
        names: of the streams, as in training (`EventReader.names`); None leaves them as they are.
        picture_sizes: as for `EventReader`, (height, width).
        clocks: by stream, what puts its captures on the log's clock.
    """

    def __init__(
        self,
        streams: Sequence[StreamSpec],
        task: str,
        *,
        robot: str = "",
        names: StreamNames | None = None,
        picture_sizes: Mapping[str, PictureSize] | None = None,
        clocks: Mapping[str, Clock] | None = None,
    ) -> None:
        self.task = task
        self.left: dict[str, str] = {}
        """Streams that cannot be events, and why."""
        self._sizes, self._clocks = dict(picture_sizes or {}), dict(clocks or {})
        names = names or StreamNames.of((robot, self._shown(spec)) for spec in streams)
        self._streams: dict[str, _Stream] = {}
        for spec in streams:
            shown = names.renamed(robot, self._shown(spec))
            if why := why_left(shown):
                self.left[spec.name] = why
            else:
                self._streams[spec.name] = _Stream(spec, shown)
        ranked = sorted(self._streams.values(), key=lambda s: (s.spec.role.rank, s.spec.name))
        for rank, stream in enumerate(ranked, 1):
            stream.rank = rank
        if task:
            ranked.insert(0, _Stream(INSTRUCTION_SPEC, INSTRUCTION_SPEC))
        self._made_of = sorted(ranked, key=lambda stream: stream.shown.name)
        self.streams = tuple(stream.shown for stream in self._made_of)
        """Of the events, in the order of `Events.streams`."""
        for number, stream in enumerate(self._made_of):
            stream.number = number
        self._rows = _Growing((4,), np.dtype(np.int64))  # of events: stream, row, capture, arrival

    def __len__(self) -> int:
        """How many events there are."""
        return len(self._rows)

    @property
    def settled(self) -> int:
        """How many of them, from the first on, will stay as they are whatever is added."""
        arrival_ns = self._rows.taken(0)[:, 3]
        return int(np.searchsorted(arrival_ns, arrival_ns[-1])) if len(arrival_ns) else 0

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """Add a sample. Those of streams that cannot be events (`left`) are left out.

        Args:
            stream: its name in the robot's log.
            value: [*shape]; a text; a picture: uint8 [H, W, 1 or 3], or bytes in the stream's
                encoding.
            capture_ns: by the stream's clock.
            arrival_ns: on the log clock; not before the one before.

        Raises:
            WindowError: a stream that the robot does not have, another shape, a picture that
                cannot be decoded, or time goes back. Nothing was added.

        Cost: amortised O(1), and the number of samples that arrived at this very time.
        """
        if stream in self.left:
            return
        at_s = arrival_ns / 1e9
        own = self._streams.get(stream)
        if own is None:
            raise WindowError(
                f"at {at_s:.3f} s a sample of '{stream}' arrived, which this robot does not have; "
                f"it has {sorted({*self._streams, *self.left})}"
            )
        newest_ns = int(self._rows.taken(len(self) - 1)[0, 3]) if len(self) else arrival_ns
        if arrival_ns < newest_ns:
            raise WindowError(
                f"stream '{stream}', at {at_s:.3f} s: arrivals go back, {newest_ns / 1e9:.3f} s "
                "was there already; add samples in the order in which they arrive, and stamp "
                "arrivals by one clock"
            )
        value = self._value(own, value, at_s)
        if (clock := self._clocks.get(stream)) is not None:
            times = np.array([capture_ns], np.int64), np.array([arrival_ns], np.int64)
            capture_ns = int(clock.apply(*times)[0])
        if not len(self) and self.task:
            [instruction] = [each for each in self._made_of if each.shown is INSTRUCTION_SPEC]
            self._insert(instruction, self.task, arrival_ns, arrival_ns)
        self._insert(own, value, capture_ns, arrival_ns)

    def events(self, at_ns: int | None = None) -> Events:
        """The events so far.

        Args:
            at_ns: of a decision: only what it may see. Its own answer, which arrives at the same
                time, is not among it.
        """
        every = self._made(self._rows.taken(0).copy())
        return every if at_ns is None else prefix(every, known(every, at_ns))

    def since(self, n: int, *, context: bool = False) -> Events:
        """The events from the n-th on, their rows counted from the first of them.

        Args:
            n: in [0, len(self)]; up to `settled` the events before it are final.
            context: put the last event of each stream before the n-th in front: what a difference,
                a gap or a repetition is measured against.

        Cost: O(new events + streams).
        """
        new = self._rows.taken(n).copy()
        if context:
            new = np.concatenate([self._before(new), new])
        return self._made(new)

    def _before(self, new: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The last event of each stream before these: int64 [k, 4], in causal order."""
        ends = np.array([len(stream) for stream in self._made_of], np.int64)
        np.minimum.at(ends, new[:, 0], new[:, 1])
        last = [
            (number, end - 1, *self._made_of[number].times.taken(end - 1)[0].tolist())
            for number, end in enumerate(ends.tolist())
            if end
        ]
        last.sort(key=lambda event: (event[3], self._made_of[event[0]].rank))
        return np.array(last, np.int64).reshape(-1, 4)

    def _made(self, rows: npt.NDArray[np.int64]) -> Events:
        """Events of int64 [k, 4]: of each stream, rows that follow one another."""
        stream, row, capture_ns, arrival_ns = rows.T
        firsts = np.full(len(self.streams), np.iinfo(np.int64).max)
        np.minimum.at(firsts, stream, row)
        counts = np.bincount(stream, minlength=len(self.streams)).tolist()
        values = {
            own.shown.name: own.values(first if count else 0, count)
            for own, first, count in zip(self._made_of, firsts.tolist(), counts, strict=True)
        }
        return Events(
            streams=self.streams, stream=stream, row=row - firsts[stream], capture_ns=capture_ns,
            arrival_ns=arrival_ns, values=values, asked=np.ones(len(rows), np.bool_),
        )  # fmt: skip

    def _insert(self, own: _Stream, value: Any, capture_ns: int, arrival_ns: int) -> None:
        """Put an event behind those that come before it, among those of the same arrival."""
        place = len(self)
        while place:
            number, _, _, before_ns = self._rows.taken(place - 1)[0].tolist()
            if before_ns < arrival_ns or self._made_of[number].rank <= own.rank:
                break
            place -= 1
        self._rows.insert(place, (own.number, len(own), capture_ns, arrival_ns))
        own.add(value, capture_ns, arrival_ns)

    def _shown(self, spec: StreamSpec) -> StreamSpec:
        size = self._sizes.get(spec.name)
        return shown_spec(spec, PictureView(size) if size else AS_RECORDED)

    def _value(self, own: _Stream, value: Any, at_s: float) -> Any:
        """A sample as it is kept."""
        spec, where = own.spec, f"stream '{own.spec.name}', at {at_s:.3f} s"
        if spec.kind is Kind.TEXT:
            if not isinstance(value, str):
                raise WindowError(f"{where}: {type(value).__name__} is no text")
            return value
        if spec.kind in PICTURES and isinstance(value, bytes):
            return _of_shape(decode_picture(value, spec, self._sizes.get(spec.name)), own, where)
        array = np.asarray(value)
        found = f"{array.dtype}{list(array.shape)}"
        if spec.kind in PICTURES:
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
                raise WindowError(f"{where}: a picture is uint8 [H, W, 1 or 3], not {found}")
            return _of_shape(decode_picture(array, spec, self._sizes.get(spec.name)), own, where)
        with np.errstate(invalid="ignore"):
            kept = array.astype(spec.dtype) if array.dtype.kind in "biuf" else None
        fits = array.shape == spec.shape or (array.ndim < 2 and array.size == spec.size)
        whole = kept is None or kept.dtype.kind == "f" or bool((kept == array).all())
        if kept is None or not fits or not whole:
            raise WindowError(
                f"{where}: a sample of {found} is none of {spec.dtype}{list(spec.shape)}"
            )
        return kept.reshape(spec.shape)


class _Growing:
    """An array that grows at its end; what was taken of it stays as it was, unless inserted to."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._room: npt.NDArray[Any] = np.empty((FIRST_ROOM, *shape), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def taken(self, start: int, stop: int | None = None) -> npt.NDArray[Any]:
        """A part, without a copy."""
        return self._room[start : self._count if stop is None else stop]

    def insert(self, place: int, value: Any) -> None:
        """Put a value at a place, those from there on one further."""
        if self._count == len(self._room):
            self._room = np.concatenate([self._room, np.empty_like(self._room)])
        if place < self._count:
            self._room[place + 1 : self._count + 1] = self._room[place : self._count].copy()
        self._room[place] = value
        self._count += 1


class _Stream:
    """The samples of one stream so far.

    Args:
        spec: as the robot has it.
        shown: as the events have it.
    """

    def __init__(self, spec: StreamSpec, shown: StreamSpec) -> None:
        self.spec, self.shown = spec, shown
        self.rank = self.number = 0
        self.times = _Growing((2,), np.dtype(np.int64))  # capture and arrival
        shape = shown.shape
        if shown.kind in PICTURES:
            shape = (3, *shape[:2])
        self._texts: list[str] | None = [] if shown.kind is Kind.TEXT else None
        self._array = _Growing(shape if shown.dtype else (), np.dtype(shown.dtype or np.bool_))

    def __len__(self) -> int:
        return len(self.times)

    def add(self, value: Any, capture_ns: int, arrival_ns: int) -> None:
        self.times.insert(len(self), (capture_ns, arrival_ns))
        if self._texts is None:
            self._array.insert(len(self._array), value)
        else:
            self._texts.append(value)

    def values(self, first: int, count: int) -> Any:
        """Samples one after another."""
        if self._texts is None:
            return self._array.taken(first, first + count)
        return self._texts[first : first + count]


def _of_shape(picture: npt.NDArray[np.uint8], own: _Stream, where: str) -> npt.NDArray[np.uint8]:
    expected = (3, *own.shown.shape[:2])
    if picture.shape != expected:
        raise WindowError(
            f"{where}: a picture of {list(picture.shape)}, not {list(expected)}; give a size"
        )
    return picture
