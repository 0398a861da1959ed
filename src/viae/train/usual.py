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

from viae.model.base import BaseModel, MixtureHead
from viae.model.mixture import TIMID
from viae.model.tokens.vocabulary import Encoded, Vocabulary

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

WIDTHS = (0.3, 1.0, 3.0)
"""Of the kernels by which counts are smoothed, times the standard deviation over n^(1/5)."""
ROUNDS = 50
ALL_ALIKE = 0.01
"""Of what is usual, for edges: no token is too narrow to be told from its neighbours."""
QUARTERS = 2 * np.log(3)
"""The middle half of a logistic distribution is so many of its scales wide."""


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
            shares = []
            for slot, size in enumerate(sizes):
                said = np.concatenate([np.empty(0, np.int64), *(each[:, slot] for each in tokens)])
                shares.append(usual_share(np.bincount(said[said >= 0], minlength=size)))
            head = dict(model.mixtures.items()).get(str(group))
            if isinstance(head, MixtureHead):
                laid = _odds if group < len(vocabulary.types) else _even
                edges, usual = laid(shares, head.components)
                head.begin(edges, torch.from_numpy(usual))
                continue
            for number, share in enumerate(shares, start=depth.starts[group]):
                depth.bias.weight[number, : len(share)] = torch.from_numpy(np.log(share))


def _odds(shares: Sequence[Doubles], count: int) -> tuple[list[list[float]], Doubles]:
    """Edges and biases of a mixture: a token lies where the log odds of all below it are.

    A logistic distribution is then at first what is usual itself, and what is rare lies far from
    what is not, so that hardly any mass spills over to it.
    """
    edges = []
    for share in shares:
        passed = np.cumsum(share * (1 - ALL_ALIKE) + ALL_ALIKE / len(share))[:-1]
        edges.append([0.0, *np.log(passed / (1 - passed)).tolist(), 0.0])
    return edges, np.zeros((len(shares), 3, count))


def _even(shares: Sequence[Doubles], count: int) -> tuple[list[list[float]], Doubles]:
    """The same where all tokens of a slot are alike wide: scores are by distance.

    Components are at equal shares of what is usual, each as wide as its own share.
    """
    edges = [np.linspace(-1, 1, len(share) + 1).tolist() for share in shares]
    begun = np.zeros((len(shares), 3, count))
    for slot, share in enumerate(shares):
        passed = np.concatenate([[0.0], np.cumsum(share)])
        at = np.interp(np.arange(2 * count + 1) / (2 * count), passed, edges[slot])
        begun[slot, 1] = at[1::2]
        begun[slot, 2] = np.log(np.maximum(np.diff(at[::2]) / QUARTERS, 0.2 / len(share)))
    return edges, begun


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
