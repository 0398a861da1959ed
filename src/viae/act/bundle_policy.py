"""A bundle as a policy: windows in, chunks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError
from viae.load import History
from viae.model import Bundle
from viae.schema import StreamSpec
from viae.sequence.clock import ArrivalClock, Clock


class BundlePolicy:
    """Acts with a bundle.

    Every step it predicts a chunk, and does what the newest one says for this step. Older chunks
    can have a say, too: the action is then the mean over chunks, one of age ``a`` weighing
    ``memory ** a`` (temporal ensembling, Zhao et al. 2023, arXiv:2304.13705, there with more weight
    on old chunks). It smooths, and did not help in Meta-World (docs/design/0001).

    Args:
        bundle: the policy.
        memory: weight of a chunk against the next newer one, in [0, 1].
        clocks: by stream, what puts live captures on the log's clock, where the robot does not; see
            `History`. Streams that were dated by their arrivals in all of the training are dated so
            here, too, and need none.

    Raises:
        BundleError: on `reset`, when the robot's streams are not those it was trained on.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        memory: float = 0.0,
        clocks: Mapping[str, Clock] | None = None,
    ) -> None:
        self.bundle = bundle
        self.agent = f"bundle:{bundle.bundle_id}"
        self._memory = memory
        by_arrival = (name for name, use in bundle.clocks.items() if use.is_by_arrival)
        self._clocks: dict[str, Clock] = {
            **dict(clocks or {}), **{name: ArrivalClock() for name in by_arrival},
        }  # fmt: skip
        self._target = bundle.window.targets[0].stream
        self._chunks: list[npt.NDArray[Any]] = []
        self._history: History | None = None

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """Forget the last episode."""
        robot = {spec.name: spec for spec in streams}
        for spec in self.bundle.streams:
            own = robot.get(spec.name)
            if own is None or (own.kind, own.shape) != (spec.kind, spec.shape):
                raise BundleError(
                    f"bundle {self.bundle.bundle_id} was trained with the stream '{spec.name}' "
                    f"({spec.kind}{list(spec.shape)}); this robot has "
                    f"{f'{own.kind}{list(own.shape)}' if own else sorted(robot)}"
                )
        self._chunks = []
        self._history = History(
            self.bundle.window, streams, task=task, picture_sizes=self.bundle.picture_sizes,
            clocks=self._clocks,
        )  # fmt: skip

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """A sample has arrived."""
        if self._history is None:
            raise BundleError("reset the policy before the first sample")
        self._history.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)

    def act(self, at_ns: int) -> dict[str, npt.NDArray[Any]]:
        """The action for this step."""
        if self._history is None:
            raise BundleError("reset the policy before the first action")
        chunk = self.bundle.predict(self._history.window(at_ns))[self._target][0]
        self._chunks = [*self._chunks, chunk][-len(chunk) :]
        ages = np.arange(len(self._chunks))[::-1]
        said = np.stack([past[age] for past, age in zip(self._chunks, ages, strict=True)])
        weights = np.power(self._memory, ages)  # 0 ** 0 is 1: the newest always counts
        blended = np.tensordot(weights / weights.sum(), said, axes=1)
        return {self._target: blended.astype(chunk.dtype)}
