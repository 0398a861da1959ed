"""What a base model descends: the likelihood of the log, in parts.

Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viae.errors import UsageError
from viae.model.base import EventBatch, Gaps
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import Asked
from viae.train.draws import Draws
from viae.train.moments import Moments
from viae.train.processes import sharded
from viae.train.recipe import TYPE, BaseRecipe

Noise: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
THINNED = 8
SCORE = "crps/"
"""Before the name of a question: the part of the loss that is its score."""
BITS_PER_NAT = 1 / float(np.log(2))


class Objective:
    """The loss of a batch, in parts.

    Args:
        vocabulary: of the model.
        recipe: weights and shares.

    Raises:
        UsageError: a weight or share for what the model does not say.
    """

    def __init__(self, vocabulary: Vocabulary, recipe: BaseRecipe) -> None:
        self._names = [kind.stream for kind in vocabulary.types]
        self._names += [question.name for question in vocabulary.questions]
        unknown = {*recipe.weights, *recipe.share} - {*self._names, TYPE, ""}
        if unknown:
            raise UsageError(
                f"a weight or share for {sorted(unknown)}; the model says {sorted({*self._names})}"
            )
        self._recipe, self._features = recipe, vocabulary.features
        self._says = [len(slots) > 0 for slots in vocabulary.slots]
        self._gaps = vocabulary.gaps
        self._chunks = {q.name for q in vocabulary.questions if q.acts}
        self._mixed = {group: len(vocabulary.slots[group]) for group in vocabulary.mixed}
        scored = [SCORE + self._names[group] for group in self._gaps]
        self.names = (TYPE, *dict.fromkeys([*self._names, *scored]))
        """Of the parts, in this order."""

    def sums(
        self,
        model: nn.Module,
        windows: tuple[EventBatch, Asked],
        noise_P: Noise | None,
        moments: tuple[EventBatch, Asked] | None = None,
        thinned: int | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Negative log-likelihood in nats, and of how many tokens, by stream and question.

        And under `SCORE`, scores of chunks, in spreads of an element.

        Args:
            model: the network, or what wraps it.
            windows: a batch, and what it is asked.
            noise_P: float64 [B·T], in [0, 1): draws the places that are asked; None asks at all.
            moments: more of the same, asked at all places.
            thinned: which eighth of the values scores are taken at; None takes all. Drawn at
                random, it gives an unbiased estimate.
        """
        device = next(model.parameters()).device
        batches = []
        for (events, asked), noise in ((windows, noise_P), *([(moments, None)] if moments else [])):
            groups = {}
            for group, (at, tokens) in asked.groups.items():
                if self._says[group]:  # else it was always the same, and costs nothing
                    chosen = self._chosen(group, at, events.types.shape[1], noise)
                    groups[group] = at[chosen].to(device), tokens[chosen].to(device)
            types = asked.types[0].to(device), asked.types[1].to(device)
            batches.append((events.to(device), types, groups))
        gaps = {group: _gaps(own, thinned, device) for group, own in self._gaps.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self._recipe.bf16):
            found = model(batches, gaps)
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def add(name: str, part: Tensor, count: int) -> None:
            sums[name] = sums.get(name, 0) + part
            counts[name] = counts.get(name, 0) + count

        for (_, types, groups), answered in zip(batches, found, strict=True):
            add(TYPE, -answered.types.sum(), len(types[0]))
            for group, log_p_PS in answered.log_p.items():
                said = int((groups[group][1] >= 0).sum())
                add(self._names[group], -log_p_PS.sum(), said)
                if group in answered.scores:
                    add(SCORE + self._names[group], answered.scores[group].sum(), said)
        return sums, counts

    def touch(self, events: EventBatch, asked: Asked) -> None:
        """Let a batch have all streams and all that mixtures say, if with no events.

        FSDP wants gradients of every weight.
        """
        none = torch.empty(0, dtype=torch.int64)
        nothing = {
            group: (none, torch.empty((0, slots), dtype=torch.int64))
            for group, slots in self._mixed.items()
        }
        asked.groups = {**nothing, **asked.groups}
        every = {s: (none, torch.empty(0, size)) for s, size in enumerate(self._features)}
        events.features = {**every, **events.features}

    def parts(
        self, model: nn.Module, events: EventBatch, asked: Asked, noise_P: Noise | None = None
    ) -> dict[str, Tensor]:
        """Mean negative log-likelihood per token, nats, by stream and question; see `sums`."""
        sums, counts = self.sums(model, (events, asked), noise_P)
        return {name: part / max(1, counts[name]) for name, part in sums.items()}

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum that is descended."""
        return torch.stack([self.weight(name) * part for name, part in parts.items()]).sum()

    def weight(self, name: str) -> float:
        """Of a part of the loss."""
        own = name.removeprefix(SCORE)
        weight = self._recipe.weights.get(own, self._recipe.acting if own in self._chunks else 1.0)
        return weight * self._recipe.crps if name.startswith(SCORE) else weight

    def _chosen(self, group: int, at: Tensor, length: int, noise_P: Noise | None) -> Tensor:
        """Which of some places are asked: a share of each window's, and always one of them."""
        others = (
            1.0
            if group in self._mixed and group not in self._gaps
            else self._recipe.share.get("", 1.0)
        )
        share = self._recipe.share.get(self._names[group], others)
        if noise_P is None or share >= 1:
            return torch.arange(len(at))
        places = at.numpy()
        order = np.lexsort((noise_P[places], places // length))
        _, begins, counts = np.unique(
            places[order] // length, return_index=True, return_counts=True
        )
        rank = np.arange(len(places)) - np.repeat(begins, counts)
        enough = np.repeat(np.maximum(1, np.rint(share * counts)), counts)
        return torch.from_numpy(np.sort(order[rank < enough]))


def _gaps(weights_SV: Floats, thinned: int | None, device: torch.device) -> Gaps:
    every = 1 if thinned is None else THINNED
    values = np.arange(thinned or 0, weights_SV.shape[1], every)
    weights = torch.from_numpy(every * weights_SV[:, values])
    return Gaps(torch.from_numpy(values).to(device), weights.to(device))


def losses(
    draws: Draws,
    objective: Objective,
    recipe: BaseRecipe,
    accelerator: Any = None,
    moments: Moments | None = None,
) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a batch, by number: a function of the model and the number only.

    Args:
        draws: the windows.
        objective: what is asked of them.
        recipe: how many at once.
        accelerator: of several processes, each with its share of the batch; the mean of what they
            return is the loss of the whole batch. Without dropout it is that of a single process.
        moments: asked besides, if there are any.
    """
    rank = 0 if accelerator is None else accelerator.process_index
    ranks = 1 if accelerator is None else accelerator.num_processes
    if recipe.batch_size < ranks:
        raise UsageError(f"a batch of {recipe.batch_size} windows for {ranks} processes")

    def loss(model: nn.Module, number: int) -> Tensor:
        model.train()
        seed, size = recipe.loop.seed, recipe.batch_size
        torch.manual_seed(seed * 1_000_003 + number + 7919 * rank)  # of dropout
        events, asked = draws.batch(seed, number, size, rank=rank, ranks=ranks)
        noise_BT = np.random.default_rng((seed, number, 1)).random((size, recipe.length))
        if sharded(model):
            objective.touch(events, asked)
        beside = None
        if moments is not None and moments.any and recipe.moments:
            beside = moments.batch(seed, number, recipe.moments, rank=rank, ranks=ranks)
        sums, counts = objective.sums(
            model, (events, asked), noise_BT[rank::ranks].ravel(), beside,
            thinned=int(np.random.default_rng((seed, number, 3)).integers(THINNED)),
        )  # fmt: skip
        if ranks > 1:  # what a rank does not ask for counts, too
            own = torch.tensor([counts.get(name, 0) for name in objective.names])
            every = accelerator.reduce(own.to(accelerator.device), "sum").tolist()
            counts = dict(zip(objective.names, every, strict=True))
        return ranks * objective.total({n: part / max(1, counts[n]) for n, part in sums.items()})

    return loss


def measured(
    draws: Draws, objective: Objective, recipe: BaseRecipe, *, batches: int = 4
) -> Callable[[nn.Module], tuple[float, dict[str, float]]]:
    """The loss on the same windows each time, and its parts; actions are hidden as in training.

    Parts are bits per token, scores in spreads; the loss is as in training.
    """
    seed, size = recipe.loop.seed, recipe.batch_size
    held = [draws.batch(seed, 0x7FFFFFFF - n, size) for n in range(batches)]

    def measure(model: nn.Module) -> tuple[float, dict[str, float]]:
        was = model.training
        model.eval()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        with torch.no_grad():
            for events, asked in held:
                some, of = objective.sums(model, (events, asked), None)
                for name, part in some.items():
                    sums[name] = sums.get(name, 0.0) + float(part)
                    counts[name] = counts.get(name, 0) + of[name]
        model.train(was)
        nats = {name: part / max(1, counts[name]) for name, part in sums.items()}
        total = sum(objective.weight(name) * part for name, part in nats.items())
        units = {n: 1.0 if n.startswith(SCORE) else BITS_PER_NAT for n in nats}
        return total, {name: part * units[name] for name, part in nats.items()}

    return measure


__all__ = ["BITS_PER_NAT", "SCORE", "Objective", "losses", "measured"]
