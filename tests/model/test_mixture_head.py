"""The mixture that says whole chunks: exact, in order, and scored as the definition says."""

import itertools

import numpy as np
import pytest
import torch

from viae.model import BaseConfig, BaseModel
from viae.model.base import SILENT, Gaps, MixtureHead

SLOTS = (3, 4, 2)


@pytest.fixture(scope="module")
def head() -> MixtureHead:
    torch.manual_seed(3)
    found = MixtureHead(8, SLOTS, components=3).eval()
    with torch.no_grad():
        found.leave.mul_(6)  # components that differ
        found.chain.mul_(6)
    return found


@pytest.fixture(scope="module")
def state_PD() -> torch.Tensor:  # noqa: N802 (its shape is its name)
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def log_p(head: MixtureHead, state_PD: torch.Tensor, tokens) -> torch.Tensor:
    given = torch.tensor(tokens, dtype=torch.int64).expand(len(state_PD), -1)
    with torch.inference_mode():
        return head.log_p(state_PD, given)


def test_probabilities_of_all_answers_sum_to_one(head, state_PD):
    answers = itertools.product(*map(range, SLOTS))
    total = sum(log_p(head, state_PD, each).sum(1).exp() for each in answers)
    assert torch.allclose(total, torch.ones(5), atol=1e-5)


def test_each_slot_is_a_distribution_given_those_before_it(head, state_PD):
    for first in range(SLOTS[0]):
        second = sum(log_p(head, state_PD, (first, v))[:, 1].exp() for v in range(SLOTS[1]))
        assert torch.allclose(second, torch.ones(5), atol=1e-5)


def test_what_is_silent_costs_nothing(head, state_PD):
    short = log_p(head, state_PD, (1, SILENT, SILENT))
    assert (short[:, 1:] == 0).all()
    assert torch.allclose(short[:, 0], log_p(head, state_PD, (1, 2, 0))[:, 0], atol=1e-6)


def test_it_says_what_it_thinks(head, state_PD):
    draws = torch.rand(5, 3, generator=torch.Generator().manual_seed(1))
    said = head.say(state_PD, count=None, temperature=1.0, draws_PS=draws, given_PS=None)
    assert torch.allclose(said.log_p, head.log_p(state_PD, said.tokens), atol=1e-5)
    fixed = torch.tensor([[2, SILENT]]).expand(5, 2)
    given = head.say(state_PD, count=2, temperature=1.0, draws_PS=draws, given_PS=fixed)
    assert (given.tokens[:, 0] == 2).all()
    assert given.tokens.shape == (5, 2)


def test_samples_have_its_probabilities(head, state_PD):
    count = 20_000
    draws = torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    state = state_PD[:1].expand(count, 8)
    said = head.say(state, count=None, temperature=1.0, draws_PS=draws, given_PS=None)
    for answer in itertools.product(*map(range, SLOTS)):
        share = (said.tokens == torch.tensor(answer)).all(1).double().mean().item()
        p = log_p(head, state_PD[:1], answer).sum().exp().item()
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / count) + 1e-4


def test_at_temperature_0_it_says_medians(head, state_PD):
    said = head.say(state_PD, count=1, temperature=0.0, draws_PS=torch.zeros(5, 1), given_PS=None)
    p_PV = torch.stack([log_p(head, state_PD, (v,))[:, 0].exp() for v in range(SLOTS[0])], 1)
    assert torch.equal(said.tokens[:, 0], (p_PV.cumsum(1) <= 0.5).sum(1))


def test_its_score_is_the_integral(head, state_PD):
    rng = np.random.default_rng(0)
    gaps = torch.from_numpy(rng.random((3, 4)).astype("f4"))
    for slot, size in enumerate(SLOTS):
        gaps[slot, size - 1 :] = 0
    tokens = torch.tensor([[1, 3, 0]]).expand(5, 3)
    of_log_p, score = head.scored(state_PD, tokens, Gaps(torch.arange(4), gaps))
    assert torch.allclose(of_log_p, head.log_p(state_PD, tokens))
    for slot, size in enumerate(SLOTS):
        before = tokens[0, :slot].tolist()
        p_PV = torch.stack(
            [log_p(head, state_PD, (*before, v))[:, slot].exp() for v in range(size)], 1
        )
        came = (torch.arange(size) >= tokens[0, slot]).float()
        wanted = ((p_PV.cumsum(1) - came) ** 2 * gaps[slot, :size]).sum(1)
        assert torch.allclose(score[:, slot], wanted, atol=1e-5)


def test_a_base_model_asks_it_where_its_config_says():
    config = BaseConfig(
        features=(2,), stream_of=(0,), slots=((3,), SLOTS), width=8, depth=1, heads=2,
        depth_width=8, depth_layers=1, depth_heads=2, mixed=((1, 2),),
    )  # fmt: skip
    model = BaseModel(BaseConfig.from_json(config.to_json())).eval()
    state_PD = torch.randn(4, 8)
    said = model.say(state_PD, 1, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(said.log_p, model.log_p(state_PD, 1, said.tokens), atol=1e-5)
        assert torch.equal(
            model.log_p(state_PD, 1, said.tokens),
            model.mixtures["1"].log_p(state_PD, said.tokens),
        )
    assert model.say(state_PD, 0).tokens.shape == (4, 1)


def test_what_is_almost_certain_does_not_drown_the_rest():
    sharp = MixtureHead(8, (256,), components=1)
    with torch.no_grad():
        sharp.leave.zero_()
        sharp.usual.copy_(torch.tensor([0.0, 0.1, -4.0]))  # weight, centre, log scale + 2
    sharp.log_p(torch.zeros(1, 8), torch.tensor([[139]])).sum().backward()
    assert sharp.usual.grad is not None
    assert 0 < abs(sharp.usual.grad[1].item()) <= 1
