"""The behaviour-cloning network: a window in, a chunk of actions out.

Shapes: B windows, T input steps, D elements of a sample, K steps of the chunk, A action elements,
F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneConfig:
    """The network's size.

    Args:
        vectors: flattened size T·D per vector input, by key (``"inputs/…"``), the task included.
        pictures: channels T·3 per picture input, by key.
        target: the key predicted.
        chunk: K.
        action: A.
        width: F, of the trunk.
        depth: residual blocks.
    """

    vectors: Mapping[str, int]
    pictures: Mapping[str, int]
    target: str
    chunk: int
    action: int
    width: int = 256
    depth: int = 3

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self) | {"vectors": dict(self.vectors), "pictures": dict(self.pictures)}


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)

    def forward(self, h_BF: Tensor) -> Tensor:
        out: Tensor = h_BF + self.down(nn.functional.silu(self.up(self.norm(h_BF))))
        return out


class _Eye(nn.Module):
    """Pictures to features: strided convolutions, then where each channel is brightest.

    The spatial softmax (Levine et al. 2016, arXiv:1504.00702) keeps positions, which is what an
    arm needs, and few parameters, which is what few demonstrations allow.
    """

    def __init__(self, channels: int, features: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=2, padding=2), nn.SiLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(32, features, 3, stride=2, padding=1),
        )  # fmt: skip
        self.features = 2 * features

    def forward(self, picture_BCHW: Tensor) -> Tensor:
        maps = self.layers(picture_BCHW)
        height, width = maps.shape[-2:]
        weight = maps.flatten(2).softmax(-1).view_as(maps)
        y = torch.linspace(-1, 1, height, device=maps.device)
        x = torch.linspace(-1, 1, width, device=maps.device)
        return torch.cat([(weight.sum(3) * y).sum(2), (weight.sum(2) * x).sum(2)], dim=1)


class Clone(nn.Module):
    """A residual MLP over everything in the window, pictures through a small convolutional eye."""

    def __init__(self, config: CloneConfig) -> None:
        super().__init__()
        self.config = config
        self.eyes = nn.ModuleDict(
            {key.replace(".", "·"): _Eye(n) for key, n in sorted(config.pictures.items())}
        )
        seen = sum(config.vectors.values()) + sum(
            eye.features for eye in self.eyes.values() if isinstance(eye, _Eye)
        )
        self.enter = nn.Linear(seen, config.width)
        self.blocks = nn.ModuleList([_Residual(config.width) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, config.chunk * config.action)

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The trunk's last activations, float32 [B, F].

        Args:
            inputs: per key of the config, [B, T, *shape] (the task [B, n]).
        """
        parts = [inputs[key].flatten(1).float() for key in sorted(self.config.vectors)]
        parts += [
            self.eyes[key.replace(".", "·")](inputs[key].flatten(1, 2))
            for key in sorted(self.config.pictures)
        ]
        h_BF = self.enter(torch.cat(parts, dim=1))
        for block in self.blocks:
            h_BF = block(h_BF)
        return nn.functional.silu(self.norm(h_BF))

    def head(self, h_BF: Tensor) -> Tensor:
        """Features to a chunk of actions, float32 [B, K, A]."""
        out: Tensor = self.leave(h_BF)
        return out.view(-1, self.config.chunk, self.config.action)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """A chunk of standardised actions, float32 [B, K, A]."""
        return self.head(self.features(inputs))
