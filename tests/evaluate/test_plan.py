"""Initial states: never trained on, the same for every policy."""

from hypothesis import given
from hypothesis import strategies as st

from builders import episode
from viae.evaluate import FIRST_SEED, InitialState, initial_states_of, plan

SEEDS = st.sets(st.integers(0, 25))
TASKS = ("push", "reach")


def state(task, seed):
    return InitialState(world="w", task=task, seed=seed)


@given(SEEDS, SEEDS, st.integers(0, 8))
def test_no_state_was_trained_on_and_none_is_left_out(push, reach, n):
    trained_on = {str(state("push", s)) for s in push} | {str(state("reach", s)) for s in reach}
    chosen = plan("w", TASKS, n=n, trained_on=trained_on, first_seed=0)
    assert not {str(s) for s in chosen} & trained_on
    assert len(set(chosen)) == len(chosen) == 2 * n
    for task, seeds in (("push", push), ("reach", reach)):
        free = [s for s in range(60) if s not in seeds]
        assert [s.seed for s in chosen if s.task == task] == free[:n]


@given(SEEDS, SEEDS)
def test_policies_that_are_compared_get_the_same_states(one, other):
    together = {str(state("push", seed)) for seed in one | other}
    first = plan("w", ["push"], n=5, trained_on=sorted(together))
    second = plan("w", ["push"], n=5, trained_on=frozenset(together))
    assert first == second


def test_demonstrations_and_evaluations_do_not_meet():
    assert [s.seed for s in plan("w", ["push"], n=2, trained_on=())] == [FIRST_SEED, FIRST_SEED + 1]


def test_the_same_seed_of_another_task_or_world_is_another_state():
    trained_on = {str(InitialState(world="v", task="push", seed=0)), str(state("reach", 0))}
    assert plan("w", ["push"], n=1, trained_on=trained_on, first_seed=0) == [state("push", 0)]


def test_states_of_episodes():
    episodes = [
        episode("a", task="push", conditions={"world": "w", "seed": 7}),
        episode("b", task="push", conditions={"world": "w", "seed": 3}),
        episode("c", task="push", conditions={"world": "w", "seed": 3, "note": "again"}),
        episode("d", task="fold", conditions={"operator": "Ada"}),
        episode("e", task="fold", conditions={"world": "w", "seed": "seven"}),
    ]
    assert initial_states_of(episodes) == [state("push", 3), state("push", 7)]
    assert str(state("push", 3)) == '["w", "push", 3]'
