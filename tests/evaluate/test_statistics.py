"""Numbers with their intervals, against published ones and against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from viae.errors import UsageError
from viae.evaluate import mean, paired_difference, success_rate

OUTCOMES = st.lists(st.booleans(), min_size=1, max_size=40)
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_as_published(successes, n, low, high):
    rate = success_rate([True] * successes + [False] * (n - successes))
    assert (rate.successes, rate.n, rate.mean) == (successes, n, successes / n)
    assert (round(rate.low, 4), round(rate.high, 4)) == (low, high)


def test_a_rate_prints_n_and_its_interval():
    rate = success_rate([True] * 9 + [False])
    assert str(rate) == "90% [60%, 98%] n=10"
    assert rate.to_json() == {
        "mean": 0.9, "low": rate.low, "high": rate.high, "successes": 9, "n": 10
    }  # fmt: skip


def test_no_attempts_make_no_rate():
    with pytest.raises(UsageError, match="a success rate needs at least one attempt"):
        success_rate([])


@given(OUTCOMES)
def test_the_rate_lies_in_its_interval(outcomes):
    rate = success_rate(outcomes)
    assert -1e-12 <= rate.low <= rate.mean + 1e-12
    assert rate.mean - 1e-12 <= rate.high <= 1 + 1e-12
    flipped = success_rate([not outcome for outcome in outcomes])
    assert flipped.low == pytest.approx(1 - rate.high, abs=1e-9)


@given(PAIRS)
def test_a_paired_difference_is_symmetric_and_in_its_interval(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.mean == -other.mean
    assert one.low == pytest.approx(-other.high)
    assert (one.only_a, one.only_b, one.p_value) == (other.only_b, other.only_a, other.p_value)
    assert -1 <= one.low <= one.high <= 1
    assert one.mean == pytest.approx(sum(a) / len(a) - sum(b) / len(b))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_the_p_value_is_mcnemars_exact_test(only_a, only_b, both):
    a = [True] * only_a + [False] * only_b + [True] * (both + 1)
    b = [False] * only_a + [True] * only_b + [True] * (both + 1)
    found = paired_difference(a, b)
    assert (found.only_a, found.only_b, found.n) == (only_a, only_b, only_a + only_b + both + 1)
    if only_a + only_b:
        assert found.p_value == binomtest(only_a, only_a + only_b, 0.5).pvalue
    else:
        assert found.p_value == 1


def test_policies_that_never_differ():
    found = paired_difference([True, False] * 10, [True, False] * 10)
    assert (found.mean, found.p_value) == (0, 1)
    assert found.low < 0 < found.high
    assert found.low == -found.high


def test_agresti_and_mins_interval_by_hand():
    # n = 30, only a 12, only b 4: p = 12.5/32 and 4.5/32; centre 0.25.
    a = [True] * 12 + [False] * 4 + [True] * 14
    b = [False] * 12 + [True] * 4 + [True] * 14
    found = paired_difference(a, b)
    half = 1.959964 * ((17 / 32 - 0.25**2) / 32) ** 0.5
    assert found.low == pytest.approx(0.25 - half, abs=1e-6)
    assert found.high == pytest.approx(0.25 + half, abs=1e-6)
    assert str(found) == "+27% [+1%, +49%] n=30 pairs"


@pytest.mark.parametrize(("a", "b"), [([], []), ([True], []), ([True], [True, False])])
def test_what_makes_no_pairs(a, b):
    with pytest.raises(UsageError, match="outcomes do not make pairs"):
        paired_difference(a, b)


def test_a_mean_over_seeds_by_hand():
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)  # t of 2 degrees, 97.5%
    assert found.low == pytest.approx(4 - found.high)
    assert str(found) == "2.000 [-0.484, 4.484] n=3"


def test_one_case_has_no_interval():
    assert np.isnan(mean([1.0]).low)
    with pytest.raises(UsageError, match="at least one case"):
        mean([])
