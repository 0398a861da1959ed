"""Draws and splits are functions of their arguments only."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from viae.sequence import held_out, iid_order

IDS = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, min_size=1, max_size=12)
GROUPS = st.dictionaries(st.text("xyz", min_size=1, max_size=2), IDS, min_size=1, max_size=4)
FRACTIONS = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)


@given(GROUPS, FRACTIONS, SEEDS)
def test_held_out_takes_its_share_of_each_group_and_empties_none(groups, fraction, seed):
    apart = {name: [f"{name}/{i}" for i in ids] for name, ids in groups.items()}
    chosen = held_out(apart, fraction=fraction, seed=seed)
    for ids in apart.values():
        taken = chosen & set(ids)
        assert len(taken) == min(round(fraction * len(ids)), len(ids) - 1)
    assert chosen <= {i for ids in apart.values() for i in ids}


@given(GROUPS, FRACTIONS, SEEDS, st.data())
def test_held_out_of_a_group_depends_on_nothing_else(groups, fraction, seed, data):
    apart = {name: [f"{name}/{i}" for i in ids] for name, ids in groups.items()}
    chosen = held_out(apart, fraction=fraction, seed=seed)
    name = data.draw(st.sampled_from(sorted(apart)))
    shuffled = data.draw(st.permutations(apart[name]))
    assert held_out({name: shuffled}, fraction=fraction, seed=seed) == chosen & set(shuffled)
    assert held_out({"renamed": shuffled}, fraction=fraction, seed=seed) == chosen & set(shuffled)


def test_nothing_to_hold_out():
    assert held_out({}, fraction=0.5, seed=0) == frozenset()
    assert held_out({"a": []}, fraction=0.5, seed=0) == frozenset()


@given(st.integers(1, 10**6), SEEDS, st.integers(0, 10**6), st.integers(0, 200))
def test_draws_are_within_range_and_repeatable(n, seed, draw, size):
    order = iid_order(n, seed=seed, draw=draw, size=size)
    assert order.shape == (size,)
    assert order.dtype == np.int64
    assert ((order >= 0) & (order < n)).all()
    assert (order == iid_order(n, seed=seed, draw=draw, size=size)).all()


def test_draws_differ_and_are_uniform():
    draws = np.stack([iid_order(10, seed=3, draw=d, size=1000) for d in range(20)])
    assert len({draw.tobytes() for draw in draws}) == 20
    counts = np.bincount(draws.ravel(), minlength=10)
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert (iid_order(10, seed=4, draw=0, size=1000) != draws[0]).any()


def test_weights_are_chances():
    weights = np.array([0.0, 1.0, 3.0, 0.0])
    drawn = np.concatenate(
        [iid_order(4, seed=1, draw=draw, size=100, weights=weights) for draw in range(100)]
    )
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert shares[[0, 3]].tolist() == [0, 0]
    assert abs(shares[2] - 0.75) < 0.02
    again = iid_order(4, seed=1, draw=99, size=100, weights=weights)
    assert (again == drawn[-100:]).all()
