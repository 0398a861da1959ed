"""The mixture that says a whole answer at once, and what the network's two ways of saying share.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ASTRAY = 1e-5
"""Share of every component that is spread over all values: nothing costs more than 20 nats."""
LOG_SCALE = -8.0, 1.0
FAR = 60.0
"""The outermost edges: no distribution reaches beyond."""
TIMID = 0.1
"""What is left of a head's weights: what it says at first is nearly its biases."""
SHARP = 1.0, 8.0, 64.0
"""How sharply a slot sees which side of their middle the ones before it are on."""


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
    """Says an event or an answer whose tokens are numbers in order, from one small MLP.

    Each slot has a mixture of discretised logistic distributions (Salimans et al. 2017,
    arXiv:1701.05517): a token has the mass between its edges on a line. With several components a
    slot is given the tokens before it, which move the hidden layer as in RNADE (Uria et al. 2013,
    arXiv:1306.0186); with one, all slots are said at once, each by itself. A step of the depth
    decoder per slot takes some twenty times as long.

    Args:
        width: D.
        slots: values per slot.
        components: K.
    """

    def __init__(self, width: int, slots: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.sizes: Tensor
        self.edges: Tensor
        self.register_buffer("sizes", torch.tensor(slots), persistent=False)
        even = [torch.linspace(-1, 1, size + 1).tolist() for size in slots]
        self.register_buffer("edges", _edges(even))
        self.components = components
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.leave = nn.Parameter(torch.randn(len(slots), width, 3 * components) * width**-0.5)
        usual_SNK = torch.tensor([0.0, 0.0, -2.0])[:, None].expand(len(slots), 3, components)
        self.usual = nn.Parameter(usual_SNK.flatten())  # no matrix: weights do not decay
        self.chain = (
            nn.Parameter(0.1 * torch.randn(len(slots), len(SHARP), width))
            if components > 1
            else None
        )

    @torch.no_grad()
    def begin(self, edges: Sequence[Sequence[float]], usual_SNK: Tensor) -> None:
        """Begin with what is usual, whatever the state.

        Args:
            edges: of each slot V + 1, ascending, where its tokens lie on the line; the first and
                the last do not count: outermost tokens have no end.
            usual_SNK: float [S, 3, K], log weights, centres and log scales.
        """
        self.edges.copy_(_edges(edges))
        self.leave.mul_(TIMID)
        self.usual.copy_(usual_SNK.flatten())

    def log_p(self, state_PD: Tensor, tokens_PS: Tensor) -> Tensor:
        """Log probability of each token, given those before it: [P, S], nats; 0 if `SILENT`.

        Its gradient by a centre is that in units of the scale (as of the β-NLL at β = 1/2, Seitzer
        et al. 2022, arXiv:2203.09168): else what is almost certain, such as where a resting hand
        will be, drowns all else that the trunk is to learn.
        """
        return self._log_p(self._given(state_PD, tokens_PS), tokens_PS)

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
        out_PSN = self._given(state_PD, tokens_PS)
        log_w_PSK, centre_PSK, log_scale_PSK = _components(out_PSN)
        values_V, slots = gaps.values, slice(tokens_PS.shape[1])
        ends_SV = self.edges[slots, values_V + 1]
        passed_PSV = ASTRAY * (values_V + 1) / self.sizes[slots, None]
        for k in range(self.components):
            z_PSV = (ends_SV - centre_PSK[..., k, None]) * torch.exp(-log_scale_PSK[..., k, None])
            share_PS1 = (1 - ASTRAY) * log_w_PSK[..., k, None].exp()
            passed_PSV = passed_PSV + share_PS1 * torch.sigmoid(z_PSV)
        came_PSV = (tokens_PS[..., None] <= values_V).float()
        score_PS = ((passed_PSV - came_PSV) ** 2 * gaps.weights[slots]).sum(-1)
        return self._log_p(out_PSN, tokens_PS), score_PS * (tokens_PS >= 0)

    @torch.no_grad()
    def say(
        self, state_PD: Tensor, *, count: int | None, temperature: float, draws_PS: Tensor,
        given_PS: Tensor | None,
    ) -> Said:  # fmt: skip
        """See `BaseModel.say`. A draw at temperature 1 first picks a component, then its token."""
        slots = len(self.sizes) if count is None else count
        hidden_PD = self._enter(state_PD)
        tokens_PS = torch.zeros((len(state_PD), slots), dtype=torch.int64, device=state_PD.device)
        log_p_PS = torch.zeros(tokens_PS.shape, device=state_PD.device)
        for place in range(slots):
            size, edges_V, draws_P = self.sizes[place], self.edges[place], draws_PS[:, place]
            out_PN = functional.silu(hidden_PD) @ self.leave[place] + self._usual()[place]
            log_w_PK, centre_PK, log_scale_PK = _components(out_PN)
            if temperature == 1:
                token_P = _drawn(size, edges_V, log_w_PK, centre_PK, log_scale_PK, draws_P)
            else:
                cells = edges_V[:size, None], edges_V[1 : size + 1, None]
                own_PVK = _log_mass(*cells, size, centre_PK[:, None], log_scale_PK[:, None])
                token_P = choose(
                    torch.logsumexp(log_w_PK[:, None] + own_PVK, -1), temperature, draws_P
                )
            if given_PS is not None and place < given_PS.shape[1]:
                token_P = torch.where(given_PS[:, place] >= 0, given_PS[:, place], token_P)
            tokens_PS[:, place] = token_P
            cell = edges_V[token_P, None], edges_V[token_P + 1, None]
            own_PK = _log_mass(*cell, size, centre_PK, log_scale_PK)
            log_p_PS[:, place] = torch.logsumexp(log_w_PK + own_PK, -1)
            if self.chain is not None:
                hidden_PD = hidden_PD + _seen(token_P, size) @ self.chain[place]
        return Said(tokens_PS, log_p_PS)

    def _enter(self, state_PD: Tensor) -> Tensor:
        with torch.autocast(state_PD.device.type, enabled=False):
            hidden_PD: Tensor = self.enter(state_PD.float())
        return hidden_PD

    def _given(self, state_PD: Tensor, tokens_PS: Tensor) -> Tensor:
        """What is said of each slot, given the tokens before it: [P, S, 3 K]."""
        slots = tokens_PS.shape[1]
        with torch.autocast(state_PD.device.type, enabled=False):
            hidden_PD = self._enter(state_PD)
            leave_SDN, usual_SN = self.leave[:slots], self._usual()[:slots]
            if self.chain is None:
                return torch.einsum("pd,sdn->psn", functional.silu(hidden_PD), leave_SDN) + usual_SN
            seen_PSF = _seen(tokens_PS, self.sizes[:slots]) * (tokens_PS >= 0)[..., None]
            moved_PSD = torch.einsum("psf,sfd->psd", seen_PSF, self.chain[:slots]).cumsum(1)
            before_PSD = functional.pad(moved_PSD[:, :-1], (0, 0, 1, 0))
            hidden_PSD = functional.silu(hidden_PD[:, None] + before_PSD)
            return torch.einsum("psd,sdn->psn", hidden_PSD, leave_SDN) + usual_SN

    def _usual(self) -> Tensor:
        return self.usual.view(len(self.sizes), -1)

    def _log_p(self, out_PSN: Tensor, tokens_PS: Tensor) -> Tensor:
        log_w_PSK, centre_PSK, log_scale_PSK = _components(out_PSN)
        calm_PSK = log_scale_PSK.detach().exp()
        centre_PSK = calm_PSK * centre_PSK + ((1 - calm_PSK) * centre_PSK).detach()
        slots = torch.arange(tokens_PS.shape[1], device=tokens_PS.device)
        said_PS = tokens_PS.clamp(min=0)
        low_PS1, high_PS1 = (self.edges[slots, said_PS + end, None] for end in (0, 1))
        sizes_S1 = self.sizes[slots, None]
        own_PSK = _log_mass(low_PS1, high_PS1, sizes_S1, centre_PSK, log_scale_PSK)
        return torch.logsumexp(log_w_PSK + own_PSK, -1) * (tokens_PS >= 0)


def _edges(of_slots: Sequence[Sequence[float]]) -> Tensor:
    """Edges of all slots: float32 [S, V + 1]; the outermost are `FAR`, as is what is not there."""
    found = torch.full((len(of_slots), max(map(len, of_slots))), FAR)
    for slot, edges in enumerate(of_slots):
        found[slot, : len(edges) - 1] = torch.tensor(edges[:-1])
        found[slot, 0] = -FAR
    return found


def _components(out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, centres and log scales, each [..., K]."""
    parts = out.view(*out.shape[:-1], 3, out.shape[-1] // 3)
    weight, centre, log_scale = parts.unbind(-2)
    return weight.log_softmax(-1), centre, log_scale.clamp(*LOG_SCALE)


def _seen(tokens: Tensor, sizes: Tensor) -> Tensor:
    """A token as those after it see it: from the middle of its slot, near and far, [..., F]."""
    at = (2 * tokens + 1) / sizes - 1
    return torch.tanh(at[..., None] * torch.tensor(SHARP, device=at.device))


def _log_mass(
    low: Tensor, high: Tensor, sizes: Tensor, centre: Tensor, log_scale: Tensor
) -> Tensor:
    """Log probability of a token of a component: that of its cell, and its part of `ASTRAY`."""
    sharp = torch.exp(-log_scale)
    inside = torch.log(-torch.expm1((low - high) * sharp))
    low, high = (low - centre) * sharp, (high - centre) * sharp
    own = functional.logsigmoid(high) + functional.logsigmoid(-low) + inside
    return torch.logaddexp(own + math.log1p(-ASTRAY), math.log(ASTRAY) - torch.log(sizes))


def _drawn(
    size: Tensor, edges_V: Tensor, log_w_PK: Tensor, centre_PK: Tensor, log_scale_PK: Tensor,
    draws_P: Tensor,
) -> Tensor:  # fmt: skip
    """A sample of a mixture from a number in [0, 1), used up: by a component, then inside it."""
    passed_PK = log_w_PK.double().softmax(-1).cumsum(-1)
    passed_PK = passed_PK / passed_PK[:, -1:]
    which_P1 = (passed_PK <= draws_P[:, None]).sum(-1, keepdim=True)
    before_PK = functional.pad(passed_PK[:, :-1], (1, 0))
    low_P1, high_P1 = before_PK.gather(1, which_P1), passed_PK.gather(1, which_P1)
    inside_P1 = (draws_P[:, None] - low_P1) / (high_P1 - low_P1)
    within_P1 = ((inside_P1 - ASTRAY) / (1 - ASTRAY)).clamp(1e-12, 1 - 1e-12)
    scale_P1 = log_scale_PK.gather(1, which_P1).exp()
    at_P1 = centre_PK.gather(1, which_P1) + scale_P1 * torch.logit(within_P1)
    own_P1 = torch.searchsorted(edges_V, at_P1.float().contiguous(), right=True) - 1
    astray_P1 = (inside_P1 / ASTRAY * size).long()
    token_P: Tensor = torch.where(inside_P1 < ASTRAY, astray_P1, own_P1)[:, 0]
    return token_P.clamp(min=0).minimum(size - 1)


def choose(logits_PV: Tensor, temperature: float, draws_P: Tensor) -> Tensor:
    """The value at which the cumulated probability passes a number in [0, 1): int64 [P]."""
    if temperature == 0:
        temperature, draws_P = 1.0, torch.full_like(draws_P, 0.5)
    passed_PV = (logits_PV / temperature).softmax(-1).cumsum(-1)
    return (passed_PV <= draws_P[:, None] * passed_PV[:, -1:]).sum(-1)


__all__ = ["Gaps", "MixtureHead", "Said", "choose"]
