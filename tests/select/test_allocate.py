"""The queue: spent to the last demonstration, where it helps most, with a reason each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viae.errors import UsageError
from viae.select import Outcomes, allocate


def seen(task, successes, *, demonstrations=5, n=50):
    return Outcomes(task=task, demonstrations=demonstrations, successes=successes, n=n)


@st.composite
def outcomes(draw):
    found = []
    for task in draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5)):
        n = draw(st.integers(1, 50))
        found.append(
            Outcomes(
                task=task, demonstrations=draw(st.integers(0, 50)), n=n,
                successes=draw(st.integers(0, n)),
            )
        )  # fmt: skip
    return found


@given(outcomes(), st.integers(0, 30))
@settings(max_examples=40)
def test_the_budget_is_spent_exactly_and_lines_are_sorted_by_gain(found, budget):
    queue = allocate(found, budget=budget)
    assert sum(line.demonstrations for line in queue) == budget
    assert sorted(line.task for line in queue) == sorted({o.task for o in found})
    assert [line.gain for line in queue] == sorted((line.gain for line in queue), reverse=True)
    for line in queue:
        assert line.demonstrations >= 0
        assert 0 <= line.failure_then <= line.failure_now <= 1
        assert line.gain == pytest.approx((line.failure_now - line.failure_then) / len(queue))
        assert line.have == max(o.demonstrations for o in found if o.task == line.task)


@given(outcomes(), st.integers(0, 15))
@settings(max_examples=40)
def test_a_larger_budget_takes_nothing_away(found, budget):
    less = {line.task: line.demonstrations for line in allocate(found, budget=budget)}
    more = {line.task: line.demonstrations for line in allocate(found, budget=budget + 3)}
    assert all(more[task] >= count for task, count in less.items())


@given(st.integers(0, 49), st.integers(1, 25))
@settings(max_examples=40)
def test_the_worse_task_gets_more(successes, budget):
    queue = allocate([seen("good", 50), seen("bad", successes)], budget=budget)
    given_to = {line.task: line.demonstrations for line in queue}
    assert given_to["bad"] >= given_to["good"]
    assert queue[0].task == "bad"


@given(st.integers(0, 49))
@settings(max_examples=40)
def test_failing_more_never_gets_less(successes):
    def for_a(count):
        queue = allocate([seen("a", count), seen("b", 25)], budget=12)
        return next(line.demonstrations for line in queue if line.task == "a")

    assert for_a(successes) >= for_a(successes + 1)


def test_of_two_tasks_that_fail_alike_the_one_with_fewer_demonstrations_gets_more():
    queue = allocate(
        [seen("few", 25, demonstrations=3), seen("many", 25, demonstrations=60)], budget=6
    )
    assert [line.task for line in queue] == ["few", "many"]
    assert queue[0].demonstrations == 6


def test_every_line_says_why():
    good, bad = seen("good", 50), seen("bad", 10)
    lines = {line.task: line for line in allocate([good, bad], budget=10)}
    line = lines["bad"]
    assert line.demonstrations == 10
    assert line.reason == (
        "failed 40 of 50 attempts with 5 demonstrations; 10 more are expected to cut its failures "
        f"from {line.failure_now:.0%} to {line.failure_then:.0%}"
    )
    assert lines["good"].reason == (
        "failed 0 of 50 attempts with 5 demonstrations; one more helps less here than elsewhere"
    )
    assert line.to_json()["reason"] == line.reason


def test_the_newest_round_is_what_is_quoted():
    rounds = [seen("a", 5, demonstrations=3), seen("a", 40, demonstrations=20)]
    [line] = allocate(rounds[::-1], budget=1)
    assert line.have == 20
    assert line.reason.startswith("failed 10 of 50 attempts with 20 demonstrations")


def test_no_budget():
    queue = allocate([seen("a", 10)], budget=0)
    assert [(line.demonstrations, line.gain) for line in queue] == [(0, 0.0)]


@pytest.mark.parametrize(("found", "budget"), [([], 5), ([seen("a", 1)], -1)])
def test_no_queue(found, budget):
    with pytest.raises(UsageError, match="give no queue"):
        allocate(found, budget=budget)
