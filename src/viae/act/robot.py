"""What a robot is to viae: something with streams and a clock that can be observed and acted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from viae.schema import JsonValue, StreamSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One sample as a robot gives it.

    Args:
        value: [*shape] of its stream.
        capture_ns: by the robot's clock, when the world was in that state.
    """

    value: Any
    capture_ns: int


@runtime_checkable
class Clock(Protocol):
    """Time on the log clock.

    A clock of simulated time has beside this an attribute ``is_stepped`` that is True: no time of
    the machine then gets into a recording, and equal conditions give byte-equal logs.
    """

    def now_ns(self) -> int:
        """The time now, ns."""
        ...

    def wait_until(self, at_ns: int) -> None:
        """Return when it is ``at_ns``, or at once if that has passed."""
        ...


@runtime_checkable
class Robot(Protocol):
    """A robot, or a simulator that stands for one. Hardware and worlds look the same from here."""

    name: str
    """Which robot, e.g. ``"sawyer"``."""
    task: str
    """The instruction, in words."""
    streams: tuple[StreamSpec, ...]
    """Everything it reports and takes; roles say which is which."""
    period_ns: int
    """Control period."""
    clock: Clock
    """The clock that stamps ``capture_ns``; read it after `reset`, which may start it anew."""

    def reset(self, conditions: Mapping[str, JsonValue]) -> None:
        """Bring the world into an initial condition, e.g. ``{"seed": 7}``.

        Equal conditions give equal worlds.

        Raises:
            WorldError: a condition it cannot be brought into.
        """
        ...

    def observe(self) -> Mapping[str, Reading]:
        """A reading of every observation stream that has a new one."""
        ...

    def act(self, action: Mapping[str, Any]) -> None:
        """Take an action per action stream, and let one control period pass."""
        ...

    def outcome(self) -> Mapping[str, Reading]:
        """A reading of every outcome stream, ``"success"`` among them where it is known."""
        ...

    def close(self) -> None:
        """Let go of the hardware or the simulator."""
        ...


class SteppedClock:
    """A clock that moves only when it is waited on: simulated time, as fast as it computes.

    Args:
        start_ns: its first time; not 0, which logs read as "no stamp".
    """

    is_stepped = True

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time now, ns."""
        return self._now_ns

    def wait_until(self, at_ns: int) -> None:
        """Move to ``at_ns`` unless it has passed."""
        self._now_ns = max(self._now_ns, at_ns)


class WallClock:
    """The machine's clock, ns since 1970."""

    def now_ns(self) -> int:
        """The time now, ns."""
        import time

        return time.time_ns()

    def wait_until(self, at_ns: int) -> None:
        """Sleep until ``at_ns``."""
        import time

        left_ns = at_ns - time.time_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
