"""Guards against updates that do harm: what is not finite, and what is far above its like.

After Chowdhery et al. 2022 (arXiv:2204.02311, 5.1): go back to before a spike, leave the batch out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from viae.errors import TrainingError, UsageError

LEAST_SHARE = 0.1
"""A standard deviation is taken for at least this: of the mean, and of a logarithm by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What an update may not do. A loss or gradient that is not finite is always refused.

    Args:
        clip: norm that gradients are clipped to; 0 never.
        spike: how many standard deviations the loss, and the logarithm of the gradients' norm, may
            be above their running means; 0 does not look.
        decay: of the running means.
        settle: updates before spikes are looked for.
        rollbacks: after so many, training gives up.
    """

    clip: float = 0.0
    spike: float = 0.0
    decay: float = 0.98
    settle: int = 50
    rollbacks: int = 8

    def __post_init__(self) -> None:
        if self.clip < 0 or self.spike < 0 or not 0 < self.decay < 1 or self.settle < 1:
            raise UsageError(f"there is no training with {self}")


@dataclass(slots=True)
class _Running:
    """Mean and variance, the past forgotten bit by bit."""

    mean: float = 0.0
    variance: float = 0.0

    def add(self, value: float, decay: float) -> None:
        off = value - self.mean
        self.mean += (1 - decay) * off
        self.variance = decay * (self.variance + (1 - decay) * off * off)

    def above(self, value: float, least: float) -> float:
        """How many standard deviations above the mean."""
        return (value - self.mean) / max(math.sqrt(self.variance), least)


@dataclass(slots=True)
class Watch:
    """What losses and gradients were like so far.

    Args:
        guards: what is not allowed.
    """

    guards: Guards
    count: int = 0
    loss: _Running = field(default_factory=_Running)
    log_norm: _Running = field(default_factory=_Running)

    def trouble(self, loss: float, norm: float) -> str:
        """What is wrong with an update, in words; empty where nothing is, and it counts from now.

        Args:
            loss: of its batch.
            norm: of its gradients, before they are clipped.
        """
        if not math.isfinite(loss) or not math.isfinite(norm):
            return f"loss {loss:g}, gradient norm {norm:g}"
        logarithm = math.log(max(norm, 1e-30))
        if self.guards.spike and self.count >= self.guards.settle:
            high = self.loss.above(loss, LEAST_SHARE * abs(self.loss.mean) or math.inf)
            if high > self.guards.spike:
                return f"loss {loss:g}, where it was about {self.loss.mean:g}"
            if self.log_norm.above(logarithm, LEAST_SHARE) > self.guards.spike:
                usual = math.exp(self.log_norm.mean)
                return f"gradient norm {norm:g}, where it was about {usual:g}"
        self.count += 1
        decay = min(self.guards.decay, 1 - 1 / self.count)
        self.loss.add(loss, decay)
        self.log_norm.add(logarithm, decay)
        return ""

    def check(self, skipped: Sequence[int], trouble: str, step: int) -> None:
        """Give up where too much had to be left out.

        Raises:
            TrainingError: it had.
        """
        if len(skipped) > self.guards.rollbacks:
            raise TrainingError(
                f"update {step}: {trouble}; {self.guards.rollbacks} batches were left out already "
                f"({skipped[:-1]}), and it goes on. Lower the learning rate, or look at the data"
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "count": self.count,
            "loss": [self.loss.mean, self.loss.variance],
            "log_norm": [self.log_norm.mean, self.log_norm.variance],
        }

    @classmethod
    def from_json(cls, guards: Guards, card: Mapping[str, Any]) -> Watch:
        """The inverse of `to_json`."""
        return cls(guards, card["count"], _Running(*card["loss"]), _Running(*card["log_norm"]))


__all__ = ["Guards", "Watch"]
