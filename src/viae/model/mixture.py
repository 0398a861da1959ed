"""The mixture that says a whole answer at once, and what the network's two ways of saying share.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Gaps:
    """Where an integral over the values of slots is taken, and how much each counts.

    Args:
        values: int64 [V], ascending.
        weights: float32 [S, V], from each value of a slot to the next one; 0 behind the last.
    """

    values: Tensor
    weights: Tensor


@dataclass(slots=True)
class Said:
    """Events or answers that were said.

    Args:
        tokens: int64 [P, S].
        log_p: float32 [P, S], log probability of each token, nats.
    """

    tokens: Tensor
    log_p: Tensor


class MixtureHead(nn.Module):
    """Says an answer whose tokens are numbers in order, all of it from one small MLP.

    A mixture of discretised logistic distributions (Salimans et al. 2017, arXiv:1701.05517): a
    component has a centre and a scale per slot. Within a component slots are independent; what
    binds the steps of a chunk together is which component it is. A step of the depth decoder per
    slot says the same with fewer bits, and an update took some twenty times as long.

    Args:
        width: D.
        slots: values per slot.
        components: K.
    """

    def __init__(self, width: int, slots: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.sizes: Tensor
        self.register_buffer("sizes", torch.tensor(slots), persistent=False)
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, components * (1 + 2 * len(slots))),
        )  # fmt: skip
        self.components = components

    def log_p(self, state_PD: Tensor, tokens_PS: Tensor) -> Tensor:
        """Log probability of each token, given those before it: [P, S], nats; 0 if `SILENT`."""
        log_w_PK, *shape = self._components(state_PD, tokens_PS.shape[1])
        log_w_PSK, own_PSK = self._given(log_w_PK, tokens_PS, *shape)
        return torch.logsumexp(log_w_PSK + own_PSK, -1) * (tokens_PS >= 0)

    def scored(self, state_PD: Tensor, tokens_PS: Tensor, gaps: Gaps) -> tuple[Tensor, Tensor]:
        """As `log_p`, and the continuous ranked probability score of each token: both [P, S].

        The score is the integral of the squared difference between the distribution's cumulated
        probability, given the tokens before, and the step of what came (Gneiting & Raftery 2007,
        doi:10.1198/016214506000001437).

        Args:
            state_PD: the trunk's states.
            tokens_PS: what came.
            gaps: where the integral is taken.
        """
        log_w_PK, centre_PSK, log_scale_PSK = self._components(state_PD, tokens_PS.shape[1])
        log_w_PSK, own_PSK = self._given(log_w_PK, tokens_PS, centre_PSK, log_scale_PSK)
        values_V, slots = gaps.values, slice(tokens_PS.shape[1])
        sizes_S1 = self.sizes[slots, None]
        ends_SV = 2 * (values_V + 1) / sizes_S1 - 1
        passed_PSV = torch.zeros(1, device=ends_SV.device)
        for k in range(self.components):
            z_PSV = (ends_SV - centre_PSK[..., k, None]) * torch.exp(-log_scale_PSK[..., k, None])
            passed_PSV = passed_PSV + log_w_PSK[..., k, None].exp() * torch.sigmoid(z_PSV)
        came_PSV = (tokens_PS[..., None] <= values_V).float()
        score_PS = ((passed_PSV - came_PSV) ** 2 * gaps.weights[slots]).sum(-1)
        log_p_PS = torch.logsumexp(log_w_PSK + own_PSK, -1)
        return log_p_PS * (tokens_PS >= 0), score_PS * (tokens_PS >= 0)

    @torch.no_grad()
    def say(
        self, state_PD: Tensor, *, count: int | None, temperature: float, draws_PS: Tensor,
        given_PS: Tensor | None,
    ) -> Said:  # fmt: skip
        """See `BaseModel.say`."""
        slots = len(self.sizes) if count is None else count
        log_w_PK, centre_PSK, log_scale_PSK = self._components(state_PD, slots)
        tokens_PS = torch.zeros((len(state_PD), slots), dtype=torch.int64, device=state_PD.device)
        log_p_PS = torch.zeros(tokens_PS.shape, device=state_PD.device)
        for place in range(slots):
            values_V = torch.arange(int(self.sizes[place]), device=state_PD.device)
            own_PVK = _log_mass(
                values_V[None, :, None], self.sizes[place], centre_PSK[:, place, None],
                log_scale_PSK[:, place, None],
            )  # fmt: skip
            logits_PV = torch.logsumexp(log_w_PK[:, None] + own_PVK, -1)
            token_P = choose(logits_PV, temperature, draws_PS[:, place])
            if given_PS is not None and place < given_PS.shape[1]:
                token_P = torch.where(given_PS[:, place] >= 0, given_PS[:, place], token_P)
            tokens_PS[:, place] = token_P
            log_p_PS[:, place] = logits_PV.gather(1, token_P[:, None])[:, 0]
            log_w_PK = log_w_PK + own_PVK[torch.arange(len(token_P)), token_P]
            log_w_PK = log_w_PK.log_softmax(-1)
        return Said(tokens_PS, log_p_PS)

    def _components(self, state_PD: Tensor, slots: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [P, K], centres and log scales [P, S, K]; slots reach from -1 to 1."""
        with torch.autocast(state_PD.device.type, enabled=False):
            out_PN = self.net(state_PD.float())
        log_w_PK = out_PN[:, : self.components].log_softmax(-1)
        rest = out_PN[:, self.components :].unflatten(1, (2, -1, self.components))[:, :, :slots]
        return log_w_PK, rest[:, 0], (rest[:, 1] - 2).clamp(-8, 4)

    def _given(
        self, log_w_PK: Tensor, tokens_PS: Tensor, centre_PSK: Tensor, log_scale_PSK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Per slot, log weights given the tokens before it, and log probability of its own."""
        sizes_S1 = self.sizes[: tokens_PS.shape[1], None]
        own_PSK = _log_mass(tokens_PS[..., None], sizes_S1, centre_PSK, log_scale_PSK)
        own_PSK = own_PSK * (tokens_PS >= 0)[..., None]
        before_PSK = functional.pad(own_PSK.cumsum(1)[:, :-1], (0, 0, 1, 0))
        return (log_w_PK[:, None] + before_PSK).log_softmax(-1), own_PSK


def _log_mass(tokens: Tensor, sizes: Tensor, centre: Tensor, log_scale: Tensor) -> Tensor:
    """Log probability of a token under a discretised logistic: that of its cell, ends open."""
    sharp = torch.exp(-log_scale)
    low = (2 * tokens / sizes - 1 - centre) * sharp
    high = (2 * (tokens + 1) / sizes - 1 - centre) * sharp
    inside = torch.log(-torch.expm1(low - high))
    below = torch.where(tokens >= sizes - 1, 0.0, functional.logsigmoid(high))
    above = torch.where(tokens <= 0, 0.0, functional.logsigmoid(-low))
    return below + above + torch.where((tokens <= 0) | (tokens >= sizes - 1), 0.0, inside)


def choose(logits_PV: Tensor, temperature: float, draws_P: Tensor) -> Tensor:
    """The value at which the cumulated probability passes a number in [0, 1): int64 [P]."""
    if temperature == 0:
        temperature, draws_P = 1.0, torch.full_like(draws_P, 0.5)
    passed_PV = (logits_PV / temperature).softmax(-1).cumsum(-1)
    return (passed_PV <= draws_P[:, None] * passed_PV[:, -1:]).sum(-1)


__all__ = ["Gaps", "MixtureHead", "Said", "choose"]
