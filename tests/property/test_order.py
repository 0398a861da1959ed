"""The causal order is total, stable, and that of DESIGN.md."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import ROLES, TIMES

from viae.errors import WindowError
from viae.schema import Role, StreamSpec
from viae.sequence import causal_order

NAMES = st.text("abAé/.", min_size=1, max_size=3)


@st.composite
def recordings(draw):
    """Streams of distinct names, each with arrivals in any order and distinct seqs."""
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    streams = [StreamSpec(name=name, role=draw(ROLES)) for name in names]
    arrivals = [draw(st.lists(TIMES, max_size=6)) for _ in streams]
    seqs = [draw(st.permutations(range(len(arrival)))) for arrival in arrivals]
    return streams, arrivals, seqs


def order(streams, arrivals, seqs):
    arrays = [[np.array(x, np.int64) for x in each] for each in (arrivals, seqs)]
    return [tuple(row) for row in causal_order(streams, *arrays).tolist()]


@given(recordings())
def test_it_is_the_plain_sort(recording):
    streams, arrivals, seqs = recording
    every = [(s, i) for s in range(len(streams)) for i in range(len(arrivals[s]))]
    ranks = [Role.OBSERVATION, Role.ACTION, Role.OUTCOME]

    def key(sample):
        s, i = sample
        return arrivals[s][i], ranks.index(streams[s].role), streams[s].name, seqs[s][i]

    assert order(*recording) == sorted(every, key=key)
    assert len({key(sample) for sample in every}) == len(every), "the order is total"


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
