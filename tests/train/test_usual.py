"""What is usual, from counts."""

import numpy as np
import pytest

from viae.train.usual import usual_share


def test_shares_sum_to_one_and_none_is_zero():
    rng = np.random.default_rng(0)
    for counts in (
        rng.integers(0, 50, 30), np.bincount([3], minlength=9), np.zeros(7, np.int64),
        np.array([5]), np.bincount([2] * 40, minlength=128),
    ):  # fmt: skip
        share = usual_share(counts)
        assert share.shape == counts.shape
        assert share.sum() == pytest.approx(1)
        assert (share > 0).all()


def test_few_samples_of_a_smooth_element_are_smoothed():
    rng = np.random.default_rng(0)

    def draw(n):
        return np.clip(np.rint(rng.normal(60, 10, n)), 0, 127).astype(np.int64)

    share = usual_share(np.bincount(draw(25), minlength=128))
    counted = (np.bincount(draw(25), minlength=128) + 0.5) / (25 + 64)
    test = draw(2000)
    assert -np.log2(share[test]).mean() < 5.7 < -np.log2(counted[test]).mean()


def test_what_is_exact_stays_sharp():
    counts = np.zeros(128, np.int64)
    counts[64], counts[3] = 900, 100
    share = usual_share(counts)
    assert share[64] == pytest.approx(0.9, abs=0.01)
    assert share[63] < 0.01
