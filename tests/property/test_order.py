"""The causal order is total, stable, and that of DESIGN.md."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import ROLES, TIMES, WIDE_TIMES

from viae.errors import WindowError
from viae.schema import Role, StreamSpec
from viae.sequence import causal_order, reference
from viae.sequence import order as order_module

NAMES = st.text("abAé/.", min_size=1, max_size=3)
WIDE_LISTS = st.lists(WIDE_TIMES, max_size=6)
RANGES = [st.just(range(n)) for n in range(7)]


@st.composite
def recordings(draw):
    """Streams of distinct names, each with arrivals in any order and distinct seqs."""
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    streams = [StreamSpec(name=name, role=draw(ROLES)) for name in names]
    arrivals = [draw(st.lists(TIMES, max_size=6) | WIDE_LISTS) for _ in streams]
    if draw(st.booleans()):
        arrivals = [sorted(arrival) for arrival in arrivals]
    seqs = [
        draw(RANGES[len(arrival)] | st.permutations(range(len(arrival)))) for arrival in arrivals
    ]
    return streams, arrivals, seqs


def order(streams, arrivals, seqs):
    arrays = [[np.array(x, np.int64) for x in each] for each in (arrivals, seqs)]
    return [tuple(row) for row in causal_order(streams, *arrays).tolist()]


@given(recordings(), st.integers(1, 9))
@settings(max_examples=200)
def test_it_is_the_plain_sort(recording, block):
    streams, *times = recording
    arrays = [[np.array(x, np.int64) for x in each] for each in times]
    with patch.object(order_module, "BLOCK", block):
        found = causal_order(streams, *arrays)
    expected = reference.causal_order(streams, *arrays)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tolist() == expected.tolist()


@given(recordings())
def test_the_order_is_total(recording):
    streams, arrivals, seqs = recording
    ranks = [Role.OBSERVATION, Role.ACTION, Role.OUTCOME]
    keys = [
        (arrivals[s][i], ranks.index(streams[s].role), streams[s].name, seqs[s][i])
        for s, i in order(*recording)
    ]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("late", [0.0, 0.1, 1.0])
def test_many_samples(late):
    rng = np.random.default_rng(5)
    roles = [Role.ACTION, Role.OBSERVATION, Role.OBSERVATION, Role.OUTCOME, Role.ACTION]
    streams = [StreamSpec(name=name, role=role) for name, role in zip("edcba", roles, strict=True)]
    counts = [90_000, 7, 40_000, 0, 1]
    arrivals = [np.sort(rng.integers(0, 10**5, n)) for n in counts]
    for times in arrivals:
        moved = rng.random(len(times)) < late
        times[moved] += rng.integers(0, 10**4, int(moved.sum()))
    seqs = [np.arange(n) for n in counts]
    seqs[2] = rng.permutation(counts[2])
    stream = np.repeat(np.arange(5), counts)
    name = 4 - stream
    role = np.array([spec.role.rank for spec in streams])[stream]
    expected = np.lexsort((np.concatenate(seqs), name, role, np.concatenate(arrivals)))
    position = np.concatenate([np.arange(n) for n in counts])
    found = causal_order(streams, arrivals, seqs)
    assert (found == np.stack([stream, position], axis=1)[expected]).all()


@given(recordings())
def test_it_is_a_permutation(recording):
    _, arrivals, _ = recording
    every = {(s, i) for s, arrival in enumerate(arrivals) for i in range(len(arrival))}
    found = order(*recording)
    assert len(found) == len(every)
    assert set(found) == every


@given(recordings(), st.data())
def test_two_samples_keep_their_order_whatever_else_there_is(recording, data):
    streams, arrivals, seqs = recording
    keep = [
        sorted(data.draw(st.sets(st.integers(0, len(a) - 1)))) if len(a) else [] for a in arrivals
    ]
    fewer = order(
        streams,
        [[a[i] for i in k] for a, k in zip(arrivals, keep, strict=True)],
        [[q[i] for i in k] for q, k in zip(seqs, keep, strict=True)],
    )
    named = [(s, keep[s][i]) for s, i in fewer]
    assert named == [(s, i) for s, i in order(*recording) if i in keep[s]]


@given(recordings(), st.data())
def test_the_order_of_the_arguments_does_not_matter(recording, data):
    shuffled = data.draw(st.permutations(range(len(recording[0]))))
    other = order(*([each[s] for s in shuffled] for each in recording))
    assert [(shuffled[s], i) for s, i in other] == order(*recording)


@pytest.mark.parametrize(
    ("names", "arrivals", "seqs", "text"),
    [
        (["a", "a"], [[1], [1]], [[0], [0]], "two streams share a name"),
        (["a"], [], [], "1 streams, 0 arrivals, 0 seqs"),
        (["a"], [[1, 2]], [[0]], "arrivals and seqs differ in length"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(names, arrivals, seqs, text):
    with pytest.raises(WindowError, match=text):
        order([StreamSpec(name=name) for name in names], arrivals, seqs)
