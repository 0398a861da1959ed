"""Weights: what an expression says of episodes, shared out among their windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import write
from viae.errors import QueryError, UsageError, WindowError
from viae.load.weights import episode_weights, window_weights
from viae.schema import Fact
from viae.store import Store

DAY = 86_400_000_000_000


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path)
    write(store, "a", outcome=True, start_ns=0, end_ns=2 * 10**9)
    write(store, "b", outcome=False, start_ns=0, end_ns=30 * DAY)
    write(store, "it's c", start_ns=0, end_ns=0)
    return store


def weights(store, expression):
    return episode_weights(store, store.episodes(), expression).tolist()


def test_success_and_recency(store):
    found = weights(store, "CASE WHEN outcome THEN 2 ELSE 1 END * exp(-age_days / 30)")
    assert found == pytest.approx([2 * np.exp(-1), 1, np.exp(-1)], rel=1e-4)
    assert weights(store, "seconds") == [2.0, 30 * 86400.0, 0.0]


def test_in_the_order_of_the_episodes_given(store):
    turned = store.episodes()[:0:-1]
    expression = "CASE episode_id WHEN 'b' THEN 1 ELSE 3 END"
    assert episode_weights(store, turned, expression).tolist() == [3, 1]
    assert episode_weights(store, [], expression).tolist() == []


def test_facts_count_the_newest_first(store):
    def say(episode_id, value, time_ns):
        store.add_facts(
            [Fact(episode_id=episode_id, key="quality", value=value, author="me", time_ns=time_ns)]
        )

    say("a", 5, 1)
    say("a", 0.5, 2)
    say("b", {"no": "number"}, 1)
    rated = "coalesce(TRY_CAST(fact(episode_id, 'quality') AS DOUBLE), 1)"
    assert weights(store, rated) == [0.5, 1, 1]
    store.add_facts(
        [Fact(episode_id="b", key="outcome", value=True, author="me", time_ns=9)]
    )  # fmt: skip
    assert weights(store, "CASE WHEN outcome THEN 2 ELSE 1 END") == [2, 2, 1]


@pytest.mark.parametrize(
    ("expression", "said"),
    [("NULL", "is NULL"), ("-1", "is -1.0"), ("1 / 0", "is inf"), ("'nan'::DOUBLE", "is nan")],
)
def test_what_is_no_weight_names_the_episode(store, expression, said):
    with pytest.raises(UsageError, match="the weight of episode a") as caught:
        weights(store, expression)
    assert said in str(caught.value)


def test_nothing_to_draw(store):
    with pytest.raises(UsageError, match="is 0 for all 3 episodes"):
        weights(store, "0")
    for wrong in ("nonsense", "1) FROM episodes --", "'x'"):
        with pytest.raises(QueryError):
            weights(store, wrong)
    with pytest.raises(WindowError, match="no window has a weight"):
        window_weights(np.array([0, 0]), np.array([0.0, 1.0]), mass="episode")
    with pytest.raises(UsageError, match="'window' or 'episode'"):
        window_weights(np.array([0]), np.array([1.0]), mass="both")


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0.01, 100)), min_size=1, max_size=6))
def test_mass_is_of_windows_or_of_episodes(episodes):
    counts, given_weights = map(list, zip(*episodes, strict=True))
    episode_of = np.repeat(np.arange(len(counts)), counts)
    each = np.array(given_weights)
    assert window_weights(episode_of, each, mass="window").tolist() == each[episode_of].tolist()
    shared = window_weights(episode_of, each, mass="episode")
    sums = np.bincount(episode_of, weights=shared, minlength=len(counts))
    assert sums == pytest.approx(each)
    for number in range(len(counts)):
        assert len(set(shared[episode_of == number].tolist())) == 1
