"""Lookups equal the short reference that says DESIGN.md's words in Python, sample by sample."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streams import (
    DECISIONS,
    MANY_SAMPLES,
    ROLES,
    SAMPLES,
    SECOND,
    TIMES,
    WIDE_DECISIONS,
    WIDE_TIMES,
    input_takes,
    target_takes,
    timeline,
    times,
)

from viae.schema import Role, Take
from viae.sequence import (
    ages_s,
    decision_times,
    input_indices,
    known_at,
    latest_known,
    reference,
    target_indices,
    until_stop,
)

BOUNDARIES = st.lists(WIDE_TIMES, max_size=4)
RATES = st.sampled_from([0.5, 1.0, 3.0, 29.97, 30.0, 1000 / 7])


def ns(values):
    return np.array(values, np.int64)


def same(found, expected):
    """Equal in every value, in shape and in dtype."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tolist() == expected.tolist()


@given(MANY_SAMPLES, WIDE_DECISIONS)
@settings(max_examples=150)
def test_latest_known_is_the_greatest_capture_among_the_arrived(samples, at):
    stamps = times(samples, "capture_ns"), times(samples, "arrival_ns"), ns(at)
    same(latest_known(*stamps), reference.latest_known(*stamps))


@given(MANY_SAMPLES, WIDE_DECISIONS, st.integers(0, 25))
@settings(max_examples=150)
def test_known_at_is_the_newest_first(samples, at, count):
    stamps = times(samples, "capture_ns"), times(samples, "arrival_ns"), ns(at)
    found = known_at(*stamps, count=count)
    same(found, reference.known_at(*stamps, count=count))
    if count:
        same(found[:, 0], latest_known(*stamps))


@given(ROLES, MANY_SAMPLES, WIDE_DECISIONS, input_takes())
@settings(max_examples=200)
def test_inputs_are_what_was_known_steps_or_seconds_before(role, samples, decisions, take):
    line = timeline(samples, role)
    found = input_indices(line, take, ns(decisions))
    same(found, reference.input_indices(line, take, ns(decisions)))
    same(input_indices(line, take, ns(decisions)), found)  # now that the line is sorted


@given(ROLES, SAMPLES, DECISIONS, input_takes())
@settings(max_examples=200)
def test_inputs_where_ages_are_near_what_is_too_old(role, samples, decisions, take):
    line = timeline(samples, role)
    expected = reference.input_indices(line, take, ns(decisions))
    same(input_indices(line, take, ns(decisions)), expected)


@given(ROLES, SAMPLES | MANY_SAMPLES, DECISIONS | WIDE_DECISIONS, target_takes())
@settings(max_examples=200)
def test_targets_are_what_follows_the_decision(role, samples, decisions, take):
    line = timeline(samples, role)
    expected = reference.target_indices(line, take, ns(decisions))
    same(target_indices(line, take, ns(decisions)), expected)


@given(ROLES, SAMPLES, DECISIONS, target_takes(), st.lists(TIMES, max_size=4) | BOUNDARIES)
@settings(max_examples=150)
def test_targets_stop_at_the_first_boundary_ahead(role, samples, decisions, take, boundaries):
    line = timeline(samples, role)
    indices = target_indices(line, take, ns(decisions))
    found = until_stop(indices, line, ns(decisions), ns(boundaries))
    same(found, reference.until_stop(indices, line, ns(decisions), ns(boundaries)))


@given(ROLES, SAMPLES | MANY_SAMPLES, DECISIONS | WIDE_DECISIONS, input_takes())
@settings(max_examples=150)
def test_ages_are_since_capture(role, samples, decisions, take):
    line = timeline(samples, role)
    indices = input_indices(line, take, ns(decisions))
    same(ages_s(indices, line, ns(decisions)), reference.ages_s(indices, line, ns(decisions)))


@given(ROLES, MANY_SAMPLES)
def test_decisions_are_at_each_arrival(role, samples):
    line = timeline(samples, role)
    same(decision_times(line, None), reference.decision_times(line, None))


@given(SAMPLES, st.sampled_from([0, -7, 1_760_000_000 * SECOND, 2**61]), RATES)
def test_decisions_are_at_a_rate_until_the_last_arrival(samples, since, rate_hz):
    arrivals = times(samples, "arrival_ns") + since
    line = timeline(samples, Role.OBSERVATION)
    line = type(line)(role=line.role, capture_ns=arrivals, arrival_ns=arrivals)
    found = decision_times(line, rate_hz)
    same(found, reference.decision_times(line, rate_hz))
    assert (np.diff(found) > 0).all()
    if len(found):
        assert found[0] == arrivals.min()
        assert arrivals.max() - 1.001 * SECOND / rate_hz < found[-1] <= arrivals.max()


@given(st.data(), st.integers(0, 2**32), st.sampled_from(["late", "unsorted", "random"]))
@settings(max_examples=25)
def test_longer_streams(data, seed, how):
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(100, 300))
    capture = np.arange(n) * 10
    arrival = capture + np.where(rng.random(n) < 0.1, rng.integers(0, 200, n), rng.integers(0, 3))
    if how == "random":
        rng.shuffle(arrival)
    if how == "late":
        by_arrival = np.argsort(arrival, kind="stable")
        capture, arrival = capture[by_arrival], arrival[by_arrival]
    at = rng.integers(-10, 10 * n + 200, 30)
    count = data.draw(st.integers(1, 40))
    same(
        known_at(capture, arrival, at, count=count),
        reference.known_at(capture, arrival, at, count=count),
    )


def test_a_timeline_is_sorted_once():
    line = timeline([], Role.OBSERVATION)
    assert line.arrivals is line.arrivals


@given(ROLES, SAMPLES, DECISIONS)
def test_what_is_found_is_the_callers_to_change(role, samples, decisions):
    assume(samples)
    line, take = timeline(samples, role), Take(stream="q", steps=(0,))
    for found in (
        input_indices(line, take, ns(decisions)),
        target_indices(line, take, ns(decisions)),
        decision_times(line, None),
    ):
        found[:] = 7
    same(line.arrival_ns, times(samples, "arrival_ns"))
    same(
        input_indices(line, take, ns(decisions)),
        reference.input_indices(line, take, ns(decisions)),
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_asked_and_nothing_recorded(count):
    assert known_at(ns([]), ns([]), ns([]), count=count).shape == (0, count)
    assert known_at(ns([]), ns([]), ns([5]), count=count).tolist() == [[-1] * count]
