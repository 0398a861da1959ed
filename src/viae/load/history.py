"""A live episode as windows: what a policy is shown while it acts.

The same index code that cuts training windows cuts these, so replaying a recorded rollout gives
back, bit for bit, every window its policy saw.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.reference import PictureSize, gather
from viae.schema import Batch, Kind, StreamSpec, Take, TimesNs, WindowSpec
from viae.sequence import Timeline, ages_s, input_indices
from viae.sequence.clock import Clock, ClockModel
from viae.sequence.stamps import AHEAD_NS, correction
from viae.video.pictures import decode_picture


class ClockWarning(UserWarning):
    """Live stamps are a little off the log's clock."""


class History:
    """Samples of the streams that a window spec reads as inputs, as they arrive.

    Captures are taken as they are stamped, unless ``clocks`` says how to date them. Stamps that
    would have been corrected in a log (`viae.sequence.stamps`) cannot be corrected here by the same
    clock, which is fitted to a whole episode. So they are judged as they come, when a stream has 1,
    2, 4, 8 … samples:

    - where the correction would change no window (a constant offset, and the windows ask for no
      age), nothing happens;
    - where it would move a capture by a second or more, or the clock has stepped, `window` raises:
      the stamps are not on the log's clock;
    - where it would move less (a drift, a stamp some milliseconds in the future), `window` warns
      once per stream: ages are off by so much.

    Args:
        spec: its inputs are cut; its targets are ignored.
        streams: the robot's streams.
        task: the instruction.
        picture_sizes: as for `Windows`.
        clocks: by stream, what puts its captures on the log's clock: `ArrivalClock` for a stream
            that was dated by its arrivals in training, or a clock that is known beforehand
            (`viae.sequence.clock.clock_by_hand`).

    Raises:
        WindowError: the robot lacks a stream that the spec reads.
    """

    def __init__(
        self,
        spec: WindowSpec,
        streams: Sequence[StreamSpec],
        *,
        task: str,
        picture_sizes: Mapping[str, PictureSize] | None = None,
        clocks: Mapping[str, Clock] | None = None,
    ) -> None:
        self.spec = spec
        self.task = task
        self._sizes = dict(picture_sizes or {})
        by_name = {stream.name: stream for stream in streams}
        missing = [take.stream for take in spec.inputs if take.stream not in by_name]
        if missing:
            raise WindowError(f"the window needs {missing}; this robot has {sorted(by_name)}")
        self._specs = {take.stream: by_name[take.stream] for take in spec.inputs}
        self._values: dict[str, list[Any]] = {name: [] for name in self._specs}
        self._capture: dict[str, list[int]] = {name: [] for name in self._specs}
        self._arrival: dict[str, list[int]] = {name: [] for name in self._specs}
        self._clocks = dict(clocks or {})
        self._judged_from = dict.fromkeys(self._specs, 1)
        self._warned: set[str] = set()

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """Add a sample; streams that the windows do not read are ignored.

        Args:
            stream: its name.
            value: [*shape]; a picture is uint8 [H, W, 1 or 3], or its bytes in the stream's
                encoding.
            capture_ns: by the stream's clock.
            arrival_ns: on the log clock.
        """
        if stream not in self._specs:
            return
        spec = self._specs[stream]
        if spec.kind in (Kind.IMAGE, Kind.VIDEO):
            value = decode_picture(value, spec, self._sizes.get(stream))
        else:
            value = np.asarray(value, spec.dtype).reshape(spec.shape)
        self._values[stream].append(value)
        self._capture[stream].append(capture_ns)
        self._arrival[stream].append(arrival_ns)

    def window(self, at_ns: int) -> Batch:
        """The window of a decision at a time: a batch of one, without targets.

        Raises:
            WindowError: a stream has given nothing yet, and the spec does not pad; or its stamps
                are not on the log's clock, and the window depends on them.
        """
        inputs, masks, ages = {}, {}, {}
        decisions_ns = np.array([at_ns], np.int64)
        for take in self.spec.inputs:
            name = take.stream
            arrival_ns = np.array(self._arrival[name], np.int64)
            timeline = Timeline(
                role=self._specs[name].role,
                capture_ns=self._captured(take, arrival_ns),
                arrival_ns=arrival_ns,
            )
            indices = input_indices(timeline, take, decisions_ns)
            used = np.unique(indices[indices >= 0])
            if not len(used) and self.spec.missing != "pad":
                raise WindowError(
                    f"no sample of stream '{name}' had arrived by {at_ns / 1e9:.3f} s, and the "
                    "policy goes on from one: send one before it starts, or train without it"
                )
            values = self._stacked(name, used)
            local = np.where(indices >= 0, np.searchsorted(used, indices), -1)
            inputs[name], masks[f"inputs/{name}"] = gather(values, local)
            if take.age:
                ages[name] = ages_s(indices, timeline, decisions_ns)
        return Batch(
            inputs=inputs,
            targets={},
            masks=masks,
            tasks=(self.task,),
            episodes=np.zeros(1, np.int64),
            decisions_ns=decisions_ns,
            ages=ages,
        )

    def _captured(self, take: Take, arrival_ns: TimesNs) -> TimesNs:
        """Captures of a stream by the log's clock: int64 [N], ns."""
        name = take.stream
        capture_ns = np.array(self._capture[name], np.int64)
        if (clock := self._clocks.get(name)) is not None:
            capture_ns = clock.apply(capture_ns, arrival_ns)
        if len(arrival_ns) >= self._judged_from[name]:
            self._judged_from[name] = 2 * len(arrival_ns)
            self._judge(take, capture_ns, arrival_ns)
        return capture_ns

    def _judge(self, take: Take, capture_ns: TimesNs, arrival_ns: TimesNs) -> None:
        """Raise or warn if these captures would be corrected in a log, and it matters here."""
        if (clock := correction(capture_ns, arrival_ns)) is None:
            return
        corrected_ns = clock.apply(capture_ns, arrival_ns)
        timed = take.age or take.max_age_s is not None
        if not timed and _same_order(capture_ns, corrected_ns, arrival_ns):
            return
        off_ns = int(np.abs(arrival_ns - capture_ns).max())
        moved_ns = int(np.abs(corrected_ns - capture_ns).max())
        name, at_s = take.stream, float(arrival_ns[-1]) / 1e9
        steps = isinstance(clock, ClockModel) and len(clock.pieces) > 1
        if steps or moved_ns >= AHEAD_NS:
            why = "its clock stepped" if steps else f"they are up to {off_ns / 1e9:.3f} s apart"
            raise WindowError(
                f"stream '{name}', at {at_s:.3f} s: capture and arrival cannot be of one clock, "
                f"{why}. In a log a fit to the whole episode would correct it; live, nobody knows "
                "it yet. Stamp the stream by the robot's own clock, or say its clock with "
                "clocks (ArrivalClock() where stamps mean nothing)"
            )
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"stream '{name}', at {at_s:.3f} s: its clock is not the log's; in a log captures "
                f"would be moved by up to {moved_ns / 1e6:.1f} ms, here ages are off by so much. "
                "Synchronise the clocks, or say this one with clocks",
                ClockWarning, stacklevel=4,
            )  # fmt: skip

    def _stacked(self, name: str, which: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values by position in the stream, [N, *shape], of the right shape also where N is 0."""
        if len(which):
            return np.stack([self._values[name][i] for i in which])
        spec = self._specs[name]
        if spec.kind in (Kind.IMAGE, Kind.VIDEO):
            size = self._sizes.get(name, spec.shape[:2])
            return np.empty((0, 3, *size), np.uint8)
        return np.empty((0, *spec.shape), spec.dtype)


def _same_order(capture_ns: TimesNs, corrected_ns: TimesNs, arrival_ns: TimesNs) -> bool:
    """Whether a correction leaves the order of the latest known as it is."""
    one, other = (np.lexsort((arrival_ns, ns)) for ns in (capture_ns, corrected_ns))
    return bool((one == other).all())
