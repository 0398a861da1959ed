"""Lookups equal short references written from DESIGN.md's words."""

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import (
    DECISIONS,
    ROLES,
    SAMPLES,
    TIMES,
    input_takes,
    monotone_samples,
    target_takes,
    timeline,
    times,
)

from viae.schema import Role, to_ns
from viae.sequence import decision_bound, input_indices, known_at, latest_known, target_indices
from viae.sequence import window as window_module


def known_by(samples, at_ns):
    """Positions known by a time, newest first: capture, then arrival, then recorded order."""
    arrived = [i for i, sample in enumerate(samples) if sample.arrival_ns <= at_ns]
    arrived.sort(key=lambda i: (samples[i].capture_ns, samples[i].arrival_ns, i), reverse=True)
    return arrived


@given(SAMPLES, st.lists(TIMES | st.just(-1), max_size=6))
@settings(max_examples=300)
def test_latest_known_is_the_greatest_capture_among_the_arrived(samples, at):
    found = latest_known(
        times(samples, "capture_ns"), times(samples, "arrival_ns"), np.array(at, np.int64)
    )
    assert found.tolist() == [(known_by(samples, t) or [-1])[0] for t in at]


@given(SAMPLES, TIMES, st.integers(1, 10))
@settings(max_examples=300)
def test_known_at_is_the_whole_list(samples, at, count):
    capture, arrival = times(samples, "capture_ns"), times(samples, "arrival_ns")
    found = known_at(capture, arrival, at, count=count)
    assert found.tolist() == (known_by(samples, at) + [-1] * count)[:count]
    assert found[0] == latest_known(capture, arrival, np.array([at]))[0]


@given(ROLES, SAMPLES, DECISIONS, input_takes())
@settings(max_examples=300)
def test_inputs_are_what_was_known_steps_or_seconds_before(role, samples, decisions, take):
    def expected(decision_ns):
        bound = decision_ns if role is Role.OBSERVATION else decision_ns - 1
        if take.steps:
            known = known_by(samples, bound)
            found = [known[-s] if -s < len(known) else -1 for s in take.steps]
        else:
            found = [(known_by(samples, bound + to_ns(s)) or [-1])[0] for s in take.offsets_s]
        oldest = -np.inf if take.max_age_s is None else decision_ns - take.max_age_s * 1e9
        return [i if i >= 0 and samples[i].capture_ns >= oldest else -1 for i in found]

    found = input_indices(timeline(samples, role), take, np.array(decisions))
    assert found.tolist() == [expected(at) for at in decisions]


@given(ROLES, monotone_samples(), DECISIONS, input_takes())
@settings(max_examples=300)
def test_the_fast_path_of_streams_in_order_equals_the_general_one(role, samples, decisions, take):
    line, at_ns = timeline(samples, role), np.array(decisions)
    fast = input_indices(line, take, at_ns)
    with patch.object(window_module.np, "diff", lambda array: np.full(len(array), -1)):
        general = input_indices(line, take, at_ns)
    assert (fast == general).all()


@given(ROLES, SAMPLES, DECISIONS, target_takes())
@settings(max_examples=300)
def test_targets_are_what_follows_the_decision(role, samples, decisions, take):
    in_order = sorted(range(len(samples)), key=lambda i: samples[i].arrival_ns)

    def expected(decision_ns):
        [bound] = decision_bound(role, np.array([decision_ns])).tolist()
        after = [i for i in in_order if samples[i].arrival_ns > bound]
        if take.steps:
            return [after[s] if s < len(after) else -1 for s in take.steps]
        found = []
        for offset_s in take.offsets_s:
            at = decision_ns + to_ns(offset_s)
            past_end = not samples or at > max(s.arrival_ns for s in samples)
            in_force = [i for i in after if samples[i].arrival_ns <= at]
            found.append(-1 if past_end or not in_force else in_force[-1])
        return found

    found = target_indices(timeline(samples, role), take, np.array(decisions))
    assert found.tolist() == [expected(at) for at in decisions]
