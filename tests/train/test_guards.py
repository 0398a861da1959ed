"""Guards: what does harm is rolled back, left out and told; resumed = uninterrupted throughout."""

import math

import pytest
import torch
from torch import nn

from viae.errors import TrainingError, UsageError
from viae.train import LoopConfig, fit
from viae.train.guards import Guards, Watch

CONFIG = LoopConfig(steps=24, check_every=4, warmup=2, lr=0.05, ema=0.8, patience=0)


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[3.0, -2.0]]))
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x @ self.w.T + self.b


class KilledError(Exception):
    pass


def loss_with(bad):
    """A regression whose batches ``bad`` do harm: by number, a factor on their loss."""

    def loss(model, number):
        x = torch.randn(8, 2, generator=torch.Generator().manual_seed(number))
        value = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        return value * bad.get(number, 1.0)

    return loss


def train(folder, bad, *, guards, at=None, loss=None, drawn=None):
    """Train; killed when so many batches were drawn."""
    own, count = loss or loss_with(bad), 0

    def counted(model, number):
        nonlocal count
        count += 1
        if count == at:
            raise KilledError
        if drawn is not None:
            drawn.append(number)
        return own(model, number)

    model, points = Line(), []
    curve = fit(
        model, counted, lambda m: (m.w - 1).abs().sum().item(), CONFIG,
        checkpoint=folder / "c", identity="i", guards=guards, progress=points.append,
    )  # fmt: skip
    assert list(folder.iterdir()) == []
    return [p.detach().clone() for p in model.parameters()], curve


def same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    assert one[1] == other[1]


NAN, SPIKE = {9: math.nan}, {6: math.inf, 14: 1e6, 15: 1e6}
WATCHED = Guards(clip=1.0, spike=6.0, settle=5, decay=0.9)


@pytest.mark.parametrize("bad", [NAN, SPIKE, {0: math.nan}, {23: math.nan}])
def test_what_does_harm_is_left_out_and_told(tmp_path, bad):
    drawn = []
    weights, curve = train(tmp_path, bad, guards=WATCHED, drawn=drawn)
    assert all(torch.isfinite(w).all() for w in weights)
    assert [n for point in curve for n in point.skipped] == sorted(bad)
    for point in curve:
        assert all(point.step - 4 <= n < point.step + len(bad) for n in point.skipped)
    kept = [n for n in dict.fromkeys(drawn) if n not in bad]
    assert kept == [n for n in range(24 + len(bad)) if n not in bad][:24]
    assert all(math.isfinite(point.train) for point in curve)


def test_the_weights_are_those_of_training_without_the_batch(tmp_path):
    def without(model, number):
        return loss_with({})(model, number + (number >= 9))

    one = train(tmp_path, NAN, guards=Guards())
    other = train(tmp_path, {}, guards=Guards(), loss=without)
    assert all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    assert [p.train for p in one[1]] == [p.train for p in other[1]]


@pytest.mark.parametrize("at", range(1, 32))
def test_killed_anywhere_and_resumed_is_uninterrupted_across_rollbacks(tmp_path, at):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = train(tmp_path / "whole", SPIKE, guards=WATCHED)
    with pytest.raises(KilledError):
        train(tmp_path / "cut", SPIKE, guards=WATCHED, at=at)
    same(train(tmp_path / "cut", SPIKE, guards=WATCHED), whole)


def test_guards_that_find_nothing_change_nothing(tmp_path):
    same(train(tmp_path, {}, guards=None), train(tmp_path, {}, guards=Guards(spike=50.0, settle=3)))


def test_gradients_are_clipped(tmp_path):
    clipped, curve = train(tmp_path, {}, guards=Guards(clip=1e-3))
    free, _ = train(tmp_path, {}, guards=None)
    assert not torch.equal(clipped[0], free[0])
    assert curve[0].norm > 1e-3  # as it was before


def test_it_gives_up_in_the_end(tmp_path):
    bad = dict.fromkeys(range(5, 99), math.nan)
    with pytest.raises(TrainingError, match=r"update 5: loss nan.*3 batches were left out already"):
        train(tmp_path, bad, guards=Guards(rollbacks=3))


def test_a_gradient_that_jumps_is_trouble_even_where_the_loss_does_not():
    watch = Watch(Guards(spike=6.0, settle=10))
    assert not any(watch.trouble(2.0 + 0.1 * (n % 3), 1.0 + 0.2 * (n % 2)) for n in range(20))
    assert watch.trouble(2.1, 300.0).startswith("gradient norm 300, where it was about 1.")
    assert watch.trouble(9.0, 1.0).startswith("loss 9, where it was about 2.")
    assert watch.trouble(2.1, 1.1) == ""
    again = Watch.from_json(watch.guards, watch.to_json())
    assert again == watch


def test_guards_that_make_no_sense():
    for wrong in ({"clip": -1}, {"decay": 1.0}, {"settle": 0}):
        with pytest.raises(UsageError, match="there is no training with"):
            Guards(**wrong)
