"""What DESIGN.md says of a late packet, of age, and of a decision's place, by example."""

import numpy as np
import pytest

from builders import ns
from viae.errors import WindowError
from viae.schema import Role, Take
from viae.sequence import (
    Timeline,
    decision_bound,
    input_indices,
    known_at,
    latest_known,
    target_indices,
)


def line(capture, arrival, role=Role.OBSERVATION):
    return Timeline(role=role, capture_ns=ns(capture), arrival_ns=ns(arrival))


def test_a_late_packet_never_shadows_a_newer_one():
    assert latest_known(ns([1, 3, 2]), ns([1, 3, 4]), ns([0, 1, 3, 4])).tolist() == [-1, 0, 1, 1]


def test_ties_go_to_the_last_to_arrive_then_to_the_last_recorded():
    assert latest_known(ns([5, 5]), ns([2, 1]), ns([1, 2])).tolist() == [1, 0]
    assert known_at(ns([5, 5]), ns([1, 1]), ns([1]), count=3).tolist() == [[1, 0, -1]]


def test_nothing_recorded():
    assert latest_known(ns([]), ns([]), ns([5])).tolist() == [-1]
    assert input_indices(line([], []), Take(stream="q", steps=(-1, 0)), ns([5])).tolist() == [
        [-1, -1]
    ]
    assert input_indices(line([2, 1], [1, 2]), Take(stream="q", steps=(0,)), ns([])).shape == (0, 1)
    for take in (Take(stream="q", steps=(0, 1)), Take(stream="q", offsets_s=(0.0, 1.0))):
        assert target_indices(line([], []), take, ns([5])).tolist() == [[-1, -1]]


def test_capture_and_arrival_agree_in_length():
    with pytest.raises(WindowError, match="2 captures for 1 arrivals"):
        latest_known(ns([1, 2]), ns([1]), ns([1]))


def test_an_action_that_shares_the_decisions_time_answers_it():
    at = ns([10])
    assert [int(decision_bound(role, at)[0]) for role in Role] == [10, 9, 9]
    now, first = Take(stream="q", steps=(0,)), Take(stream="q", steps=(0, 1))
    assert input_indices(line([10], [10]), now, at).tolist() == [[0]]
    assert input_indices(line([10], [10], Role.ACTION), now, at).tolist() == [[-1]]
    assert target_indices(line([10, 20], [10, 20], Role.ACTION), first, at).tolist() == [[0, 1]]
    assert target_indices(line([10, 20], [10, 20]), first, at).tolist() == [[1, -1]]


def test_what_is_too_old_is_missing():
    take = Take(stream="q", steps=(-1, 0), max_age_s=1e-8)
    old = input_indices(line([0, 10], [0, 10]), take, ns([10, 11, 20, 21]))
    assert old.tolist() == [[0, 1], [-1, 1], [-1, 1], [-1, -1]]


def test_seconds_before_and_after():
    second = 1_000_000_000
    times = np.arange(5) * second
    before = Take(stream="q", offsets_s=(-1.5, -1.0, 0.0))
    assert input_indices(line(times, times), before, ns([2 * second])).tolist() == [[0, 1, 2]]
    after = Take(stream="q", offsets_s=(0.0, 0.5, 1.0, 2.0, 2.5))
    acts = line(times, times, Role.ACTION)
    assert target_indices(acts, after, ns([2 * second])).tolist() == [[2, 2, 3, 4, -1]]
