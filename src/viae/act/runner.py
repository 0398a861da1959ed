"""Runs a policy on a robot and records everything that either of them saw or did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viae.act.policy import Policy
from viae.act.robot import Clock, Robot
from viae.record import FLUSH_S, Recorder
from viae.schema import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How an attempt went.

    Args:
        log: the recording.
        steps: control periods that passed.
        outcome: whether it succeeded; None where the robot cannot tell.
        late: steps whose action came after the end of their period (real time only).
    """

    log: Path
    steps: int
    outcome: bool | None
    late: int


def run(
    robot: Robot,
    policy: Policy,
    log: Path,
    *,
    conditions: Mapping[str, JsonValue],
    horizon: int,
    notes: Mapping[str, JsonValue] | None = None,
    clock: Clock | None = None,
) -> Rollout:
    """Run one episode, until success or the horizon, and record it.

    Each period the policy answers what has arrived, the robot acts, and the outcome and the next
    observations arrive. The log appears under its name only when the episode is complete; a killed
    run leaves ``*.partial``, which is a readable log too.

    Args:
        robot: what to act on.
        policy: what acts.
        log: the MCAP file to write.
        conditions: the initial condition; recorded.
        horizon: steps after which the attempt has failed.
        notes: recorded beside the conditions, e.g. the world's name.
        clock: the log clock; by default the robot's own. A simulator's moves only when it is
            stepped: the episode then runs as fast as it computes, and equal conditions give
            byte-equal logs. Give a `WallClock` to run a simulator in real time.

    Raises:
        WorldError: the robot cannot be brought into the conditions.
        RecorderError: the log cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    partial = log.with_name(f"{log.name}.partial")
    partial.unlink(missing_ok=True)  # what a killed run of this very attempt left
    robot.reset(conditions)
    policy.reset(robot.task, robot.streams)
    clock = clock or robot.clock
    late = 0
    outcome: bool | None = None
    steps = 0
    with Recorder(
        partial, streams=robot.streams, robot=robot.name, task=robot.task, agent=policy.agent,
        conditions={**(notes or {}), **conditions, "horizon": horizon},
        # Chunks closed by the machine's time would make equal episodes differ in their bytes.
        # Worlds fit `Clock` by shape, so the clock itself says that it is simulated.
        flush_s=None if getattr(clock, "is_stepped", False) else FLUSH_S,
    ) as recorder:  # fmt: skip

        def tell(stream: str, value: object, capture_ns: int, arrival_ns: int) -> None:
            recorder.write(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
            policy.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)

        def observe() -> int:
            """What is observed together arrives together, and is decided on at that very time."""
            readings = robot.observe()
            now_ns = clock.now_ns()
            for stream, reading in readings.items():
                tell(stream, reading.value, reading.capture_ns, now_ns)
            return now_ns

        start_ns = clock.now_ns()
        decision_ns = observe()
        while steps < horizon and not outcome:
            action = policy.act(decision_ns)
            for stream, value in action.items():
                now_ns = clock.now_ns()
                tell(stream, value, now_ns, now_ns)
            robot.act(action)
            steps += 1
            late += clock.now_ns() > start_ns + steps * robot.period_ns
            clock.wait_until(start_ns + steps * robot.period_ns)
            for stream, reading in robot.outcome().items():
                tell(stream, reading.value, reading.capture_ns, clock.now_ns())
                if stream == "success":
                    outcome = bool(np.any(reading.value))
            decision_ns = observe()
        recorder.finish(outcome)
    partial.replace(log)
    return Rollout(log=log, steps=steps, outcome=outcome, late=late)
