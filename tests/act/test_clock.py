"""Clocks: one that moves when waited on, one that is the machine's."""

import time

from viae.act import Clock, SteppedClock, WallClock


def test_a_stepped_clock_moves_only_when_waited_on():
    clock = SteppedClock(10)
    assert clock.now_ns() == clock.now_ns() == 10
    clock.wait_until(15)
    assert clock.now_ns() == 15
    clock.wait_until(12)
    assert clock.now_ns() == 15
    assert SteppedClock().now_ns() > 0
    assert isinstance(clock, Clock)


def test_the_wall_clock_sleeps_for_what_is_left(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000_000)
    monkeypatch.setattr(time, "sleep", slept.append)
    clock = WallClock()
    assert clock.now_ns() == 5_000_000_000
    clock.wait_until(5_500_000_000)
    clock.wait_until(5_000_000_000)
    clock.wait_until(4_000_000_000)
    assert slept == [0.5]
    assert isinstance(clock, Clock)
