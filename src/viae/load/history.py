"""A live episode as windows: what a policy is shown while it acts.

The same index code that cuts training windows cuts these, so replaying a recorded rollout gives
back, bit for bit, every window its policy saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.reference import PictureSize, gather
from viae.schema import Batch, Kind, StreamSpec, WindowSpec
from viae.sequence import Timeline, ages_s, input_indices
from viae.video.pictures import decode_picture


class History:
    """Samples of the streams that a window spec reads as inputs, as they arrive.

    Captures are taken as they are stamped: a robot whose sensors keep clocks of their own maps them
    to its own clock before it adds a sample.

    Args:
        spec: its inputs are cut; its targets are ignored.
        streams: the robot's streams.
        task: the instruction.
        picture_sizes: as for `Windows`.

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
            WindowError: a stream has given nothing yet, and the spec does not pad.
        """
        inputs, masks, ages = {}, {}, {}
        decisions_ns = np.array([at_ns], np.int64)
        for take in self.spec.inputs:
            name = take.stream
            timeline = Timeline(
                role=self._specs[name].role,
                capture_ns=np.array(self._capture[name], np.int64),
                arrival_ns=np.array(self._arrival[name], np.int64),
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

    def _stacked(self, name: str, which: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Values by position in the stream, [N, *shape], of the right shape also where N is 0."""
        if len(which):
            return np.stack([self._values[name][i] for i in which])
        spec = self._specs[name]
        if spec.kind in (Kind.IMAGE, Kind.VIDEO):
            size = self._sizes.get(name, spec.shape[:2])
            return np.empty((0, 3, *size), np.uint8)
        return np.empty((0, *spec.shape), spec.dtype)
