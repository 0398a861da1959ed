"""The loop: learning rate, the best weights kept, early stopping."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from viae.train import LoopConfig, fit


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    config = LoopConfig(steps=1000, warmup=100, lr=0.1)
    rates = [config.lr_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[99] == pytest.approx(0.1, rel=0.03)
    assert rates[500] == pytest.approx(0.05)
    assert 0 < rates[-1] < 1e-5
    assert all(a < b for a, b in pairwise(rates[:91]))
    assert all(a > b for a, b in pairwise(rates[100:]))


def test_no_warm_up():
    assert LoopConfig(steps=10, warmup=0, lr=0.1).lr_at(0) == pytest.approx(0.1)


class Number(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([5.0]))


def train(tmp_path, held_out, **config):
    model = Number()
    curve = fit(
        model, lambda m, step: (m.x**2).sum(), held_out,
        LoopConfig(**{"steps": 40, "check_every": 5, "warmup": 1, "lr": 0.1, "ema": 0.5} | config),
        checkpoint=tmp_path / "c", identity="i",
    )  # fmt: skip
    return model, curve


def test_it_descends_and_draws_its_curve(tmp_path):
    model, curve = train(tmp_path, None)
    assert [point.step for point in curve] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert all(point.held_out is None for point in curve)
    assert curve[-1].train < curve[0].train < 25
    assert abs(model.x.item()) < 5
    assert list(tmp_path.iterdir()) == []


def test_it_stops_when_held_out_gets_no_better_and_keeps_the_best(tmp_path):
    seen = []

    def held_out(model):
        seen.append(model.x.item())
        return abs(len(seen) - 3)  # best at the third measurement

    model, curve = train(tmp_path, held_out, patience=2)
    assert [point.held_out for point in curve] == [2, 1, 0, 1, 2]
    assert model.x.item() == seen[2]


def test_it_never_stops_early_without_patience(tmp_path):
    measured = iter(range(100))
    _, curve = train(tmp_path, lambda model: float(next(measured)), patience=0)
    assert curve[-1].step == 40


def test_the_last_point_comes_even_between_checks(tmp_path):
    _, curve = train(tmp_path, None, steps=12)
    assert [point.step for point in curve] == [5, 10, 12]
