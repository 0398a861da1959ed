"""Law 3: the future never changes a window."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import ROLES, SAMPLES, TIMES, Sample, input_takes, picked, timeline

from viae.sequence import ages_s, decision_bound, decision_times, input_indices


@st.composite
def two_futures(draw):
    """Two streams that agree on everything that had arrived by a decision, and on nothing else."""
    role, decision_ns = draw(ROLES), draw(TIMES)
    bound = int(decision_bound(role, np.array([decision_ns]))[0])
    samples = draw(SAMPLES)
    # Any capture, also one that looks newer than all; any arrival after the bound.
    late = st.builds(
        Sample, TIMES | st.just(2**62), TIMES.map(lambda t: bound + 1 + t), st.integers(-9, -1)
    )
    other = []
    anywhere = draw(st.booleans())
    for sample in samples:
        other += draw(st.lists(late, max_size=2)) if anywhere else []  # added, in recorded order
        if sample.arrival_ns <= bound:
            other.append(sample)
        else:
            other += draw(st.sampled_from([[], [sample]]) | late.map(lambda s: [s]))
    other += draw(st.lists(late, max_size=2))
    return role, decision_ns, samples, other


@given(two_futures(), input_takes())
@settings(max_examples=300)
def test_what_arrives_later_does_not_change_what_was_known(futures, take):
    role, decision_ns, samples, other = futures
    at_ns = np.array([decision_ns])
    one, two = timeline(samples, role), timeline(other, role)
    found, found_other = (input_indices(line, take, at_ns) for line in (one, two))
    assert picked(samples, found) == picked(other, found_other)
    assert (ages_s(found, one, at_ns) == ages_s(found_other, two, at_ns)).all()


@given(ROLES, SAMPLES, TIMES, st.sampled_from([None, 0.5, 3.0, 30.0]))
def test_what_arrives_later_does_not_move_earlier_decisions(role, samples, until_ns, rate_hz):
    earlier = [sample for sample in samples if sample.arrival_ns <= until_ns]
    before = decision_times(timeline(earlier, role), rate_hz)
    every = decision_times(timeline(samples, role), rate_hz)
    assert every[: len(before)].tolist() == before.tolist()


@given(ROLES, SAMPLES, input_takes(), st.lists(TIMES, max_size=4))
@settings(max_examples=300)
def test_nothing_is_known_before_it_arrives(role, samples, take, decisions):
    at_ns = np.array(decisions, np.int64)
    indices = input_indices(timeline(samples, role), take, at_ns)
    assert indices.shape == (len(decisions), len(take))
    bounds = decision_bound(role, at_ns)
    for bound, row in zip(bounds, picked(samples, indices), strict=True):
        assert all(sample is None or sample.arrival_ns <= bound for sample in row)


@given(ROLES, SAMPLES, input_takes(), st.lists(TIMES, min_size=1, max_size=4))
@settings(max_examples=300)
def test_a_decision_does_not_depend_on_the_other_decisions(role, samples, take, decisions):
    line = timeline(samples, role)
    together = input_indices(line, take, np.array(decisions))
    alone = [input_indices(line, take, np.array([at]))[0] for at in decisions]
    assert (together == np.array(alone)).all()
