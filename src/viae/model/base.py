"""The base model: one transformer over the events of an episode, in causal order.

Read this file from top to bottom; the mixture of point 3 has a file of its own.

1. Every event becomes one vector: what type it is, what it looks like, when it came. (`Entrance`)
2. A decoder-only trunk, one position per event, sees all events up to its own. (`transformers`)
3. From the trunk's state after an event, a linear layer says which type comes next, and a small
   second network says the tokens of that event, one after another. Where all tokens are numbers
   in order, it is an MLP with mixtures (`viae.model.mixture`); of texts and pictures it is a
   transformer, the *depth decoder*. (`DepthDecoder`)
4. *Questions* are events that are never in the sequence, such as how the episode will end, or the
   next K actions: they are answered like any event.

Every distribution is over a known, finite number of values, so likelihoods are exact.

Shapes: B windows, T events, D width of the trunk, P positions that something is asked at,
S slots (tokens of an event), V values of a slot, W width of the depth decoder, F features,
K components of a mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from viae.model.mixture import Gaps, MixtureHead, Said, choose

SILENT = -1
PADDED = -1
Cache = Any
"""Keys and values of the trunk, as `transformers` keeps them."""
Places: TypeAlias = tuple[Tensor, Tensor]
Groups: TypeAlias = Mapping[int, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """The network's size.

    A *group* is a kind of event that the depth decoder can say: the types of events first, in
    their order, then the questions.

    Args:
        features: F, per stream.
        stream_of: per type, its stream.
        slots: per group, how many values each of its slots has.
        width: D.
        depth: layers of the trunk.
        heads: of the trunk.
        depth_width: W.
        depth_layers: of the depth decoder.
        depth_heads: of the depth decoder.
        mixed: by group that a mixture says, and not the depth decoder, its K: (group, K). All their
            slots are in order.
        dropout: on what enters the trunk and on what leaves it, while training.
        trunk: name or folder of a pretrained trunk; then ``width`` is its own. Empty for a new one.
        longest: events that a window may have.
        trunk_shape: config of a pretrained trunk whose weights come from elsewhere: from a bundle.
    """

    features: tuple[int, ...]
    stream_of: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]
    width: int = 256
    depth: int = 4
    heads: int = 8
    depth_width: int = 128
    depth_layers: int = 2
    depth_heads: int = 4
    mixed: tuple[tuple[int, int], ...] = ()
    dropout: float = 0.0
    trunk: str = ""
    longest: int = 1024
    trunk_shape: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> BaseConfig:
        """The inverse of `to_json`."""
        nested = {"features": tuple(card["features"]), "stream_of": tuple(card["stream_of"])}
        slots = tuple(tuple(group) for group in card["slots"])
        mixed = tuple((group, count) for group, count in card.get("mixed", ()))
        return cls(**{**card, **nested, "slots": slots, "mixed": mixed})


@dataclass(slots=True, kw_only=True)
class EventBatch:
    """Windows of events, as tensors.

    Args:
        types: int64 [B, T]; one more than the last type for the beginning of an episode, `PADDED`
            after the last event of a window.
        times: float32 [B, T, 2]: gap and age of each event, about unit scale.
        features: by stream, places int64 [n] in B·T, and what its events look like [n, F].
        hidden: bool [B, T]: events that are known to have been, but not what they said.
    """

    types: Tensor
    times: Tensor
    features: Mapping[int, tuple[Tensor, Tensor]]
    hidden: Tensor

    def to(self, device: torch.device | str) -> EventBatch:
        """The same on a device."""
        return EventBatch(
            types=self.types.to(device), times=self.times.to(device), hidden=self.hidden.to(device),
            features={k: (i.to(device), f.to(device)) for k, (i, f) in self.features.items()},
        )  # fmt: skip


@dataclass(slots=True)
class Answered:
    """What training needs of a batch.

    Args:
        types: float32 [n], log probability of the types that came next, nats.
        log_p: by group float32 [n, S], of the tokens.
        scores: by group float32 [n, S], where a mixture says it; see `MixtureHead.scored`.
    """

    types: Tensor
    log_p: dict[int, Tensor]
    scores: dict[int, Tensor]


class Entrance(nn.Module):
    """An event as one vector of the trunk's width."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        width = config.width
        self.which = nn.Embedding(len(config.stream_of) + 1, width)
        self.hidden = nn.Parameter(torch.zeros(width))
        self.times = nn.Linear(2, width)
        self.looks = nn.ModuleList(
            nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))
            if size
            else nn.Identity()  # a stream that never says anything new
            for size in config.features
        )
        nn.init.normal_(self.which.weight, std=0.5)

    def forward(self, events: EventBatch) -> Tensor:
        """float32 [B, T, D]."""
        into_BTD = self.which(events.types.clamp(min=0)) + self.times(events.times)
        looks_ND = torch.zeros_like(into_BTD).flatten(0, 1)
        for stream, (where, features) in sorted(events.features.items()):
            if not features.shape[1]:
                continue
            with torch.autocast(features.device.type, enabled=False):  # a millimetre counts
                looks_nD = self.looks[stream](features)
            looks_ND = looks_ND.index_copy(0, where, looks_nD.to(looks_ND))
        looks_BTD = looks_ND.view_as(into_BTD)
        out: Tensor = into_BTD + torch.where(events.hidden[..., None], self.hidden, looks_BTD)
        return out


class DepthDecoder(nn.Module):
    """Says the tokens of an event, each given the trunk's state and the tokens before it."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        width = config.depth_width
        sizes = [size for group in config.slots for size in group]
        starts = [0]
        for group in config.slots:
            starts.append(starts[-1] + len(group))
        self.starts = starts
        self.sizes: Tensor
        self.register_buffer("sizes", torch.tensor(sizes or [1]), persistent=False)
        values = max(sizes, default=1)
        self.state = nn.Linear(config.width, width)
        self.slot = nn.Embedding(len(sizes) or 1, width)
        self.token = nn.Embedding(values, width)
        self.ramp = nn.Embedding(len(sizes) or 1, width)
        """Direction in which a slot's tokens grow: they are mostly bins, in order."""
        self.layers = nn.ModuleList(
            _Layer(width, config.depth_heads) for _ in range(config.depth_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, values)
        self.bias = nn.Embedding(len(sizes) or 1, values)
        for table in (self.slot, self.token, self.ramp):
            nn.init.normal_(table.weight, std=0.3)
        nn.init.zeros_(self.bias.weight)

    def slots_of(self, group: int) -> Tensor:
        """Numbers of a group's slots: int64 [S]."""
        return torch.arange(self.starts[group], self.starts[group + 1], device=self.sizes.device)

    def log_p(self, state_PD: Tensor, group: int, tokens_PS: Tensor) -> Tensor:
        """Log probability of given tokens: float32 [P, S], nats; 0 where `SILENT`."""
        if not tokens_PS.shape[1]:  # nothing is left to say
            return torch.zeros(tokens_PS.shape, device=state_PD.device)
        slots_S = self.slots_of(group)[: tokens_PS.shape[1]]
        said_PS = tokens_PS.clamp(min=0)
        x_PSW = self._enter(state_PD, slots_S, said_PS)
        for layer in self.layers:
            x_PSW = layer(x_PSW)
        logits_PSV = self.head(self.norm(x_PSW)) + self._offset(slots_S)
        log_p_PS = -functional.cross_entropy(
            logits_PSV.flatten(0, 1).float(), said_PS.flatten(), reduction="none"
        ).view_as(said_PS)
        return log_p_PS * (tokens_PS >= 0)

    @torch.no_grad()
    def say(
        self, state_PD: Tensor, group: int, *, count: int, temperature: float, draws_PS: Tensor,
        given_PS: Tensor | None,
    ) -> Said:  # fmt: skip
        """See `BaseModel.say`."""
        slots_S = self.slots_of(group)[:count]
        shape = len(state_PD), len(slots_S)
        x_PSW, offset_SV = self.state(state_PD)[:, None] + self.slot(slots_S), self._offset(slots_S)
        layers = [layer for layer in self.layers if isinstance(layer, _Layer)]
        caches = [layer.new_cache(*shape, like=x_PSW) for layer in layers]
        tokens_PS = torch.zeros(shape, dtype=torch.int64, device=state_PD.device)
        log_p_PS = torch.zeros(shape, device=state_PD.device)
        for place in range(len(slots_S)):
            x_P1W, before = x_PSW[:, place : place + 1], slice(place - 1, place)
            if place:
                x_P1W = x_P1W + self._said(tokens_PS[:, before], slots_S[before])
            for layer, cache in zip(layers, caches, strict=True):
                x_P1W = layer.step(x_P1W, cache, place)
            logits_PV = (self.head(self.norm(x_P1W[:, 0])) + offset_SV[place]).float()
            token_P = choose(logits_PV, temperature, draws_PS[:, place])
            if given_PS is not None and place < given_PS.shape[1]:
                token_P = torch.where(given_PS[:, place] >= 0, given_PS[:, place], token_P)
            tokens_PS[:, place] = token_P
            log_p_PS[:, place] = logits_PV.log_softmax(-1).gather(1, token_P[:, None])[:, 0]
        return Said(tokens_PS, log_p_PS)

    def _enter(self, state_PD: Tensor, slots_S: Tensor, said_PS: Tensor) -> Tensor:
        x_PSW = self.state(state_PD)[:, None] + self.slot(slots_S)
        before_PS, where_S = said_PS[:, :-1], slots_S[:-1]
        out: Tensor = x_PSW + functional.pad(self._said(before_PS, where_S), (0, 0, 1, 0))
        return out

    def _said(self, tokens_PS: Tensor, slots_S: Tensor) -> Tensor:
        share_PS = (tokens_PS + 0.5) / self.sizes[slots_S] - 0.5
        ramp_PSW = share_PS[..., None].to(self.ramp.weight.dtype) * self.ramp(slots_S)
        out: Tensor = self.token(tokens_PS) + 4 * ramp_PSW
        return out

    def _offset(self, slots_S: Tensor) -> Tensor:
        """Per slot and value: its bias, or minus infinity where the slot has no such value."""
        bias_SV: Tensor = self.bias(slots_S)
        beyond = torch.arange(bias_SV.shape[-1], device=slots_S.device)
        return bias_SV.masked_fill(beyond >= self.sizes[slots_S][:, None], -torch.inf)


class _Layer(nn.Module):
    """Causal attention and an MLP, pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_PSW: Tensor) -> Tensor:
        q, k, v = self._split(x_PSW)
        return self._rest(x_PSW, _causal(q, k, v))

    def new_cache(self, count: int, slots: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """Room for keys and values of all slots of ``count`` events."""
        shape = count, self.heads, slots, like.shape[-1] // self.heads
        return like.new_empty(shape), like.new_empty(shape)

    def step(self, x_P1W: Tensor, cache: tuple[Tensor, Tensor], place: int) -> Tensor:
        """One more slot, given keys and values of those before it; its own are added."""
        q, k, v = self._split(x_P1W)
        keys, values = cache
        keys[:, :, place], values[:, :, place] = k[:, :, 0], v[:, :, 0]
        to = place + 1
        seen = functional.scaled_dot_product_attention(q, keys[:, :, :to], values[:, :, :to])
        return self._rest(x_P1W, seen)

    def _split(self, x_PSW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(self.norm_1(x_PSW)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        return q, k, v

    def _rest(self, x_PSW: Tensor, seen: Tensor) -> Tensor:
        x_PSW = x_PSW + self.out(seen.transpose(1, 2).flatten(2))
        out: Tensor = x_PSW + self.mlp(self.norm_2(x_PSW))
        return out


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention to what came before. PyTorch's own is four times slower in bfloat16 on a CPU."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    ahead = q.new_full((q.shape[-2], k.shape[-2]), -torch.inf).triu(1)
    seen: Tensor = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + ahead).softmax(-1) @ v
    return seen


class BaseModel(nn.Module):
    """Everything in the log, from one set of weights."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = Entrance(config)
        self.drop = nn.Dropout(config.dropout)
        self.trunk = _trunk(config)
        self.next_type = nn.Linear(config.width, len(config.stream_of))
        self.depth = DepthDecoder(config)
        self.mixtures = nn.ModuleDict(
            {
                str(group): MixtureHead(config.width, config.slots[group], count)
                for group, count in config.mixed
            }
        )

    def forward(
        self, batches: Sequence[tuple[EventBatch, Places, Groups]], gaps: Mapping[int, Gaps]
    ) -> list[Answered]:
        """Log probabilities of all that windows are asked: what training needs, in one call.

        Args:
            batches: windows; places int64 [n] in B·T and the type that came next there [n]; and by
                group, places int64 [n] and the right tokens int64 [n, S].
            gaps: of groups that mixtures say, and that are to be scored.
        """
        found = []
        for events, (places, kinds), groups in batches:
            state_PD = self.states(events).flatten(0, 1)
            types = self.log_p_type(state_PD.index_select(0, places), kinds)
            answered = Answered(types, {}, {})
            for group, (at, tokens) in groups.items():
                state_nD, mixture = state_PD.index_select(0, at), self._mixture(group)
                if mixture is None or group not in gaps:
                    answered.log_p[group] = self.log_p(state_nD, group, tokens)
                    continue
                of = mixture.scored(state_nD, tokens, gaps[group])
                answered.log_p[group], answered.scores[group] = of
            found.append(answered)
        return found

    def states(self, events: EventBatch, cache: Cache | None = None) -> Tensor:
        """The trunk's state after each event: [B, T, D].

        Args:
            events: a window, or, with a cache, what came after those that it holds.
            cache: from `new_cache`; it is added to.
        """
        into_BTD = self.drop(self.enter(events))
        out = self.trunk(inputs_embeds=into_BTD, past_key_values=cache, use_cache=cache is not None)
        state_BTD: Tensor = self.drop(out.last_hidden_state)
        return state_BTD

    def new_cache(self) -> Cache:
        """An empty cache for `states`."""
        from transformers import DynamicCache

        return DynamicCache()

    def log_p_type(self, state_PD: Tensor, types_P: Tensor) -> Tensor:
        """Log probability that an event of this type comes next: float32 [P], nats."""
        return -functional.cross_entropy(
            self.next_type(state_PD).float(), types_P, reduction="none"
        )

    def log_p(self, state_PD: Tensor, group: int, tokens_PS: Tensor) -> Tensor:
        """Log probability of given tokens: float32 [P, S], nats; 0 where `SILENT`."""
        mixture = self._mixture(group)
        if mixture is not None:
            return mixture.log_p(state_PD, tokens_PS)
        return self.depth.log_p(state_PD, group, tokens_PS)

    def say(
        self,
        state_PD: Tensor,
        group: int,
        *,
        count: int | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        draws_PS: Tensor | None = None,
        given_PS: Tensor | None = None,
    ) -> Said:
        """Tokens of an event or an answer.

        Args:
            state_PD: the trunk's states.
            group: what is asked.
            count: say no more than the first so many slots.
            temperature: 1 samples; less is bolder; 0 takes the median of each slot, given those
                before it: bins are in order, and the median errs least.
            generator: of the samples.
            draws_PS: float32 [P, S] in [0, 1), in place of a generator: a token is where the
                cumulated probability of its slot passes the number.
            given_PS: int64 [P, S], tokens that are known; `SILENT` where they are to be said.
        """
        slots = len(self.config.slots[group][:count])
        if draws_PS is None:
            draws_PS = torch.rand((len(state_PD), slots), generator=generator, device="cpu")
        draws_PS = draws_PS.to(state_PD.device)
        head = self._mixture(group)
        if head is not None:
            return head.say(
                state_PD, count=slots, temperature=temperature, draws_PS=draws_PS, given_PS=given_PS
            )
        return self.depth.say(
            state_PD, group, count=slots, temperature=temperature, draws_PS=draws_PS,
            given_PS=given_PS,
        )  # fmt: skip

    def _mixture(self, group: int) -> MixtureHead | None:
        found = dict(self.mixtures.items()).get(str(group))
        return found if isinstance(found, MixtureHead) else None


def _trunk(config: BaseConfig) -> nn.Module:
    """Positions see only those before them, so what is padded at the end needs no mask."""
    import transformers

    make: Any = transformers.AutoModel  # it has no types
    if config.trunk_shape is not None:
        again: nn.Module = make.from_config(transformers.AutoConfig.for_model(**config.trunk_shape))
        return again
    if config.trunk:
        pretrained: Any = make.from_pretrained(config.trunk)
        pretrained.set_input_embeddings(nn.Embedding(1, config.width))  # events enter as vectors
        pretrained.config.vocab_size, pretrained.config.pad_token_id = 1, None
        found: nn.Module = pretrained
        return found
    shape: dict[str, Any] = {
        "vocab_size": 1, "bos_token_id": None, "eos_token_id": None,
        "hidden_size": config.width, "intermediate_size": 3 * config.width,
        "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads, "max_position_embeddings": config.longest,
        "attn_implementation": "sdpa",
    }  # fmt: skip
    trunk: nn.Module = make.from_config(transformers.LlamaConfig(**shape))
    return trunk


__all__ = [
    "PADDED",
    "SILENT",
    "BaseConfig",
    "BaseModel",
    "Cache",
    "DepthDecoder",
    "EventBatch",
    "Gaps",
    "MixtureHead",
    "Said",
    "choose",
]
