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
from viae.model.base import EventBatch
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import Asked
from viae.train.draws import Draws
from viae.train.processes import sharded
from viae.train.recipe import TYPE, BaseRecipe

Noise: TypeAlias = npt.NDArray[np.float64]
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
        self.names = (TYPE, *dict.fromkeys(self._names))
        """Of the parts, in this order."""

    def sums(
        self, model: nn.Module, events: EventBatch, asked: Asked, noise_P: Noise | None
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Negative log-likelihood in nats, and of how many tokens, by stream and question.

        Args:
            model: the network, or what wraps it.
            events: a batch.
            asked: what it is asked.
            noise_P: float64 [B·T], in [0, 1): draws the places that are asked; None asks at all.
        """
        length = events.types.shape[1]
        device = next(model.parameters()).device
        groups = {}
        for group, (at, tokens) in asked.groups.items():
            if self._says[group]:  # else it was always the same, and costs nothing
                chosen = self._chosen(self._names[group], at, length, noise_P)
                groups[group] = at[chosen].to(device), tokens[chosen].to(device)
        types = asked.types[0].to(device), asked.types[1].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._recipe.bf16):
            of_types, of_groups = model(events.to(device), types, groups)
        sums, counts = {TYPE: -of_types.sum()}, {TYPE: len(types[0])}
        for group, log_p_PS in of_groups.items():
            name = self._names[group]
            sums[name] = sums.get(name, 0) - log_p_PS.sum()
            counts[name] = counts.get(name, 0) + int((groups[group][1] >= 0).sum())
        return sums, counts

    def touch(self, events: EventBatch) -> None:
        """Let a batch have all streams, if with no events: FSDP wants gradients of every weight."""
        none = torch.empty(0, dtype=torch.int64)
        every = {s: (none, torch.empty(0, size)) for s, size in enumerate(self._features)}
        events.features = {**every, **events.features}

    def parts(
        self, model: nn.Module, events: EventBatch, asked: Asked, noise_P: Noise | None = None
    ) -> dict[str, Tensor]:
        """Mean negative log-likelihood per token, nats, by stream and question; see `sums`."""
        sums, counts = self.sums(model, events, asked, noise_P)
        return {name: part / max(1, counts[name]) for name, part in sums.items()}

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum that is descended."""
        weights = self._recipe.weights
        return torch.stack([weights.get(n, 1.0) * part for n, part in parts.items()]).sum()

    def _chosen(self, name: str, at: Tensor, length: int, noise_P: Noise | None) -> Tensor:
        """Which of some places are asked: a share of each window's, and always one of them."""
        share = self._recipe.share.get(name, self._recipe.share.get("", 1.0))
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


def losses(
    draws: Draws, objective: Objective, recipe: BaseRecipe, accelerator: Any = None
) -> Callable[[nn.Module, int], Tensor]:
    """The loss of a batch, by number: a function of the model and the number only.

    Args:
        draws: the windows.
        objective: what is asked of them.
        recipe: how many at once.
        accelerator: of several processes, each with its share of the batch; the mean of what they
            return is the loss of the whole batch. Without dropout it is that of a single process.
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
            objective.touch(events)
        sums, counts = objective.sums(model, events, asked, noise_BT[rank::ranks].ravel())
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

    Parts are bits per token; the loss is in nats, as in training.
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
                some, of = objective.sums(model, events, asked, None)
                for name, part in some.items():
                    sums[name] = sums.get(name, 0.0) + float(part)
                    counts[name] = counts.get(name, 0) + of[name]
        model.train(was)
        nats = {name: part / max(1, counts[name]) for name, part in sums.items()}
        total = sum(recipe.weights.get(name, 1.0) * part for name, part in nats.items())
        return total, {name: part * BITS_PER_NAT for name, part in nats.items()}

    return measure


__all__ = ["BITS_PER_NAT", "Objective", "losses", "measured"]
