"""Robots, policies, and the runner that brings them together and records what happens."""

from viae.act.policy import Policy
from viae.act.robot import Clock, Reading, Robot, SteppedClock, WallClock
from viae.act.runner import Rollout, run

__all__ = ["Clock", "Policy", "Reading", "Robot", "Rollout", "SteppedClock", "WallClock", "run"]
