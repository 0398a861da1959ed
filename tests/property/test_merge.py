"""Sorted runs merged by blocks are a stable sort of everything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from viae.sequence.merge import key_order, merge

COLUMN = st.integers(0, 3) | st.integers(0, (1 << 64) - 1)
KEYS = st.lists(st.tuples(COLUMN, COLUMN), max_size=12)


def as_keys(rows):
    return np.array(rows, np.uint64).reshape(-1, 2)


@given(st.lists(st.tuples(KEYS, st.lists(st.integers(0, 12), max_size=5)), max_size=5))
@settings(max_examples=150)
def test_it_is_the_stable_sort(drawn):
    runs, held, blocks_of = [], [0] * len(drawn), []
    for rows, cuts in drawn:
        runs.append(sorted(rows))
        blocks_of.append(np.split(as_keys(runs[-1]), sorted(c for c in cuts if c <= len(rows))))

    def blocks(run):
        before = 0
        for block in blocks_of[run]:
            held[run] = before
            before += len(block)
            yield block

    found = []
    for run, position in merge([blocks(run) for run in range(len(runs))]):
        assert len(run)
        found += [(r, held[r] + p) for r, p in zip(run.tolist(), position.tolist(), strict=True)]
    every = [(r, p) for r, rows in enumerate(runs) for p in range(len(rows))]
    assert found == sorted(every, key=lambda place: runs[place[0]][place[1]])


@given(KEYS)
def test_key_order_is_a_stable_sort_or_none(rows):
    order = key_order(as_keys(rows))
    stable = sorted(range(len(rows)), key=rows.__getitem__)
    assert (list(range(len(rows))) if order is None else order.tolist()) == stable
    assert (order is None) == (rows == sorted(rows))
