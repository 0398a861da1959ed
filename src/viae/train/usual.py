"""A network that begins with what is usual: how often each token was, whatever came before.

A stream of which there are few samples is then foretold no worse than by counting from the first
update on, and what is learnt is how the moment differs from what is usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.model.base import BaseModel
from viae.model.tokens.vocabulary import Encoded, Vocabulary

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

WIDTHS = (0.3, 1.0, 3.0)
"""Of the kernels by which counts are smoothed, times the standard deviation over n^(1/5)."""
ROUNDS = 50
TIMID = 0.1
"""What is left of the head's weights: what it says at first is nearly its biases."""


def begin_usual(model: BaseModel, vocabulary: Vocabulary, episodes: Sequence[Encoded]) -> None:
    """Set the biases of a new network to what is usual, in place.

    Args:
        model: of the vocabulary.
        vocabulary: of the episodes.
        episodes: that it will learn from.
    """
    depth = model.depth
    with torch.no_grad():
        depth.head.weight.mul_(TIMID)
        depth.head.bias.zero_()
        for group, sizes in enumerate(vocabulary.slots):
            tokens = [e.tokens[group] for e in episodes if group in e.tokens]
            tokens += [e.asked[group][1] for e in episodes if group in e.asked]
            for slot, size in enumerate(sizes):
                said = np.concatenate([np.empty(0, np.int64), *(each[:, slot] for each in tokens)])
                counts = np.bincount(said[said >= 0], minlength=size)
                number = depth.starts[group] + slot
                depth.bias.weight[number, :size] = torch.from_numpy(np.log(usual_share(counts)))


def usual_share(counts: Ints) -> Doubles:
    """How likely each token of a slot is, from how often it was: float64 [V], none is 0.

    A mixture of the shares themselves, of shares smoothed over neighbours (bins are in order) and
    of all alike. Its weights are those that foretell best, each sample left out of what foretells
    it.

    Args:
        counts: int64 [V].
    """
    size, total = len(counts), int(counts.sum())
    if total < 2 or size < 2:
        return np.asarray((counts + 1) / (total + size))
    at, seen = np.arange(size), counts > 0
    mean = (at * counts).sum() / total
    spread = max(float(np.sqrt(((at - mean) ** 2 * counts).sum() / total)), 0.5)
    parts = [counts / total, np.full(size, 1 / size)]
    others = [(counts[seen] - 1) / (total - 1), parts[1][seen]]
    for width in WIDTHS:
        kernel = np.exp(-0.5 * ((at[:, None] - at) / (width * spread * total**-0.2)) ** 2)
        kernel /= kernel.sum(0, keepdims=True)
        smooth = kernel @ counts
        parts.append(smooth / total)
        others.append((smooth - np.diag(kernel))[seen] / (total - 1))
    foretold = np.stack(others, 1)
    weights = np.full(len(parts), 1 / len(parts))
    for _ in range(ROUNDS):
        share = foretold * weights
        weights = (share * (counts[seen] / share.sum(1))[:, None]).sum(0) + 0.5
        weights /= weights.sum()
    return np.asarray(np.stack(parts, 1) @ weights)
