"""Draws and splits are functions of their arguments only."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import UsageError
from viae.sequence import held_out, iid_order, split_episodes

IDS = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, min_size=1, max_size=12)
GROUPS = st.dictionaries(st.text("xyz", min_size=1, max_size=2), IDS, min_size=1, max_size=4)
FRACTIONS = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)
EPISODES = [f"e{n}" for n in range(14)]
TASKS = st.dictionaries(st.sampled_from(EPISODES), st.sampled_from("xyz"), max_size=14)
ONE_TASK = st.dictionaries(st.sampled_from(EPISODES), st.just("x"), max_size=14)
TIED = st.lists(st.sets(st.sampled_from([*EPISODES, "other"]), max_size=4), max_size=6)


def groups_of(tasks, tied):
    """Groups by merging sets until none overlap: what ties must mean."""
    groups = [{episode} for episode in tasks] + [set(tie) for tie in tied]
    while overlap := next((p for p in combinations(groups, 2) if p[0] & p[1]), None):
        groups = [group for group in groups if group not in overlap] + [overlap[0] | overlap[1]]
    return [group & tasks.keys() for group in groups if group & tasks.keys()]


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


@given(TASKS, TIED, FRACTIONS, SEEDS)
def test_a_split_separates_nothing_that_is_tied(tasks, tied, fraction, seed):
    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    assert chosen <= tasks.keys()
    for group in groups_of(tasks, tied):
        assert group <= chosen or not group & chosen


@given(TASKS, TIED, FRACTIONS, SEEDS)
def test_a_task_keeps_an_episode_to_train_on(tasks, tied, fraction, seed):
    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    assert {tasks[episode] for episode in tasks.keys() - chosen} == set(tasks.values())


@given(ONE_TASK, TIED, FRACTIONS, SEEDS)
def test_the_share_of_a_task_is_as_near_as_groups_allow(tasks, tied, fraction, seed):
    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    wanted = min(round(fraction * len(tasks)), len(tasks) - 1)
    possible = {0}
    for group in groups_of(tasks, tied):
        possible |= {total + len(group) for total in possible}
    nearest = min(possible - {len(tasks)} | {0}, key=lambda n: (abs(n - wanted), n))
    assert len(chosen) == (nearest if tasks else 0)


@given(TASKS, TIED, FRACTIONS, SEEDS)
def test_no_move_of_a_group_brings_the_shares_nearer(tasks, tied, fraction, seed):
    total = Counter(tasks.values())
    wanted = {task: min(round(fraction * n), n - 1) for task, n in total.items()}

    def miss(chosen):
        count = Counter(tasks[episode] for episode in chosen)
        if any(count[task] == n for task, n in total.items()):
            return float("inf")
        return sum(abs(count[task] - wanted[task]) for task in total)

    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    assert all(miss(chosen ^ group) >= miss(chosen) for group in groups_of(tasks, tied))


@given(TASKS, TIED, FRACTIONS, SEEDS, st.data())
def test_a_split_is_a_function_of_ids_ties_and_seed(tasks, tied, fraction, seed, data):
    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    shuffled = {episode: tasks[episode] for episode in data.draw(st.permutations([*tasks]))}
    ties = [data.draw(st.permutations(sorted(tie))) for tie in data.draw(st.permutations(tied))]
    assert split_episodes(shuffled, fraction=fraction, seed=seed, tied=ties) == chosen


@given(TASKS, TIED, FRACTIONS, SEEDS, st.integers(1, 5))
def test_other_tasks_that_are_not_tied_change_nothing(tasks, tied, fraction, seed, more):
    chosen = split_episodes(tasks, fraction=fraction, seed=seed, tied=tied)
    others = {f"a{n}": "another" for n in range(more)}
    wider = split_episodes(others | tasks, fraction=fraction, seed=seed, tied=[*tied, {"a0", "a1"}])
    assert wider & tasks.keys() == chosen


@given(GROUPS, FRACTIONS, SEEDS)
def test_without_ties_the_first_of_a_shuffled_task_are_held_out(groups, fraction, seed):
    tasks = {f"{task}/{i}": task for task, ids in groups.items() for i in ids}
    expected = set()
    for task in groups:
        ids = sorted(episode for episode in tasks if tasks[episode] == task)
        count = min(round(fraction * len(ids)), len(ids) - 1)
        shuffled = np.random.default_rng([seed, len(ids)]).permutation(len(ids))
        expected |= {ids[i] for i in shuffled[:count]}
    assert split_episodes(tasks, fraction=fraction, seed=seed) == expected


def test_ids_that_are_not_split_tie_others():
    tasks = dict.fromkeys("abcd", "x")
    for seed in range(20):
        chosen = split_episodes(tasks, fraction=0.5, seed=seed, tied=["a?", "?b"])
        assert chosen in ({"a", "b"}, {"c", "d"})


def test_of_two_shares_as_near_the_smaller():
    tasks = dict.fromkeys("abcd", "x")
    assert split_episodes(tasks, fraction=0.25, seed=0, tied=["ab", "cd"]) == frozenset()


def test_a_task_of_one_group_is_not_held_out():
    tasks = {"a": "x", "b": "x", "c": "y", "d": "y"}
    assert split_episodes(tasks, fraction=0.5, seed=0, tied=["ab"]) <= {"c", "d"}
    assert split_episodes(tasks, fraction=0.9, seed=0, tied=["abcd"]) == frozenset()


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(fraction):
    with pytest.raises(UsageError, match="cannot be held out; give one from 0 to 1"):
        split_episodes({"a": "x"}, fraction=fraction, seed=0)


def test_nothing_to_hold_out():
    assert split_episodes({}, fraction=0.5, seed=0, tied=["ab"]) == frozenset()
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
