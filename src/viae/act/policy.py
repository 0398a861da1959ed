"""What a policy is: something that is told each sample as it arrives, and asked for actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from viae.schema import StreamSpec


@runtime_checkable
class Policy(Protocol):
    """Chooses actions. It sees a stream of samples, never the robot."""

    agent: str
    """Who acts, as the log says it: ``"scripted:…"``, ``"human:…"``, ``"bundle:…"``."""

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """An episode begins.

        Args:
            task: the instruction.
            streams: the robot's streams.
        """
        ...

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """A sample has arrived: an observation, an action of its own, or an outcome."""
        ...

    def act(self, at_ns: int) -> Mapping[str, Any]:
        """The action per action stream, given everything that has arrived by ``at_ns``."""
        ...
