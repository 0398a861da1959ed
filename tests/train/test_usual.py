"""What is usual, from counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from base_events import made, network
from viae.model import BaseModel
from viae.model.tokens.vocabulary import Vocabulary
from viae.train.usual import begin_usual, usual_share


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


def test_a_mixture_begins_with_what_is_usual():
    torch.set_num_threads(1)
    episodes = [made(seed, steps=60) for seed in range(6)]
    vocabulary = Vocabulary.fit(episodes, chunk=3, bins=16)
    encoded = [vocabulary.encode(events) for events in episodes]
    config = replace(
        network(vocabulary).config, mixed=tuple((group, 8) for group in vocabulary.mixed)
    )
    model = BaseModel(config).eval()
    begin_usual(model, vocabulary, encoded)
    number = vocabulary.type_of("state", first=False)
    assert str(number) in model.mixtures
    tokens = np.concatenate([each.tokens[number] for each in encoded])
    shares = [
        usual_share(np.bincount(tokens[:, slot], minlength=size))
        for slot, size in enumerate(vocabulary.slots[number])
    ]
    usual = np.mean([np.log(share[tokens[:, slot]]).mean() for slot, share in enumerate(shares)])
    state_PD = torch.zeros(len(tokens), config.width)
    with torch.inference_mode():
        said = model.log_p(state_PD, number, torch.from_numpy(tokens.astype(np.int64)))
    assert usual - 0.5 < said.mean().item() < usual + 0.1
