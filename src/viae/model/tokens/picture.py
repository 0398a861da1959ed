"""Pictures as a grid of codes: an autoencoder with finite scalar quantisation.

The encoder makes a few numbers of every patch; each is squashed to a small range and rounded, so
that a patch is one of ``prod(levels)`` codes and there is no codebook to learn (Mentzer et al.
2023, arXiv:2309.15505). The decoder makes the picture from the codes.

Nothing in the network looks at the whole picture (no attention, no normalisation over it): a code
depends on the pixels nearby, so what stands still keeps its codes while something else moves.

Shapes: B pictures, H x W pixels, h x w patches, D numbers per patch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from viae.errors import UsageError

STEM = 4
"""Pixels a side that the first and the last layer take at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureConfig:
    """What an autoencoder of pictures looks like.

    Args:
        size: (H, W), multiples of ``patch``.
        patch: pixels a side of a patch: 4, 8, 16 or 32.
        levels: how many values each of the D numbers of a patch can take.
        width: channels of the encoder; the decoder has twice as many.
        depth: residual blocks of the encoder, and of the decoder, at the grid.

    Raises:
        UsageError: the size is no multiple of the patch, or a number cannot be.
    """

    size: tuple[int, int]
    patch: int = 8
    levels: tuple[int, ...] = (8, 5, 5, 5)
    width: int = 48
    depth: int = 2

    def __post_init__(self) -> None:
        if self.patch not in (4, 8, 16, 32):
            raise UsageError(f"a patch of {self.patch} pixels; it can be 4, 8, 16 or 32")
        height, width = self.size
        if min(self.size) < 1 or height % self.patch or width % self.patch:
            near = [max(1, round(side / self.patch)) * self.patch for side in self.size]
            raise UsageError(
                f"pictures of {height}x{width} do not divide into patches of {self.patch} pixels: "
                f"choose a size such as {near[0]}x{near[1]}"
            )
        if not self.levels or min(self.levels) < 2 or min(self.width, self.depth) < 1:
            raise UsageError(f"there is no autoencoder with {self}")

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        return self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def patches(self) -> int:
        """P = h * w."""
        return math.prod(self.grid)

    @property
    def codes(self) -> int:
        """How many different codes a patch can have."""
        return math.prod(self.levels)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> PictureConfig:
        """The inverse of `to_json`."""
        height, width = card["size"]
        return cls(
            size=(height, width), patch=card["patch"], levels=tuple(card["levels"]),
            width=card["width"], depth=card["depth"],
        )  # fmt: skip


class PictureNet(nn.Module):
    """Pictures to latents in [-1, 1], latents to codes, and back."""

    low: Tensor
    basis: Tensor

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        self.config = config
        width, wide = config.width, 2 * config.width
        halvings = int(math.log2(config.patch // STEM))
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(STEM),
            nn.Conv2d(3 * STEM**2, width, 1),
            *(_Halve(width) for _ in range(halvings)),
            *(_Residual(width) for _ in range(config.depth)),
            nn.SiLU(),
            nn.Conv2d(width, len(config.levels), 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(len(config.levels), wide, 1),
            *(_Residual(wide) for _ in range(config.depth)),
            *(_Double(wide if i == 0 else width, width) for i in range(halvings)),
            _Residual(width if halvings else wide),
            nn.SiLU(),
            nn.Conv2d(width if halvings else wide, 3 * STEM**2, 3, padding=1),
            nn.PixelShuffle(STEM),
        )
        levels = torch.tensor(config.levels)
        self.register_buffer("low", (levels // 2).float(), persistent=False)
        basis = torch.cumprod(torch.tensor((1, *config.levels[:-1])), 0)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures as they come back, straight-through where rounded: float [B, 3, H, W]."""
        return self.paint(self.latents(pictures))

    def latents(self, pictures: Tensor) -> Tensor:
        """What is left of each patch.

        Args:
            pictures: float [B, 3, H, W] in [-1, 1].

        Returns:
            float [B, D, h, w] on a grid in [-1, 1]; its gradient is that of the unrounded.
        """
        bounded = self._bounded(self.encoder(pictures).float())
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self.low[:, None, None]

    def _bounded(self, raw: Tensor) -> Tensor:
        """Squashed, so that number d rounds to one of ``levels[d]`` whole numbers."""
        levels = torch.tensor(self.config.levels, device=raw.device)[:, None, None]
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half)
        return torch.tanh(raw + shift) * half - offset

    def codes(self, latents: Tensor) -> Tensor:
        """Latents [B, D, h, w] as one number per patch: int64 [B, h, w]."""
        digits = (latents * self.low[:, None, None] + self.low[:, None, None]).round().long()
        return (digits * self.basis[:, None, None]).sum(1)

    def of_codes(self, codes: Tensor) -> Tensor:
        """The inverse of `codes`; a code of -1 (nothing known) is the middle of all: 0."""
        levels = torch.tensor(self.config.levels, device=codes.device)[:, None, None]
        digits = (codes.clamp(min=0)[:, None] // self.basis[:, None, None]) % levels
        found = (digits - self.low[:, None, None]) / self.low[:, None, None]
        return torch.where(codes[:, None] < 0, 0.0, found)

    def paint(self, latents: Tensor) -> Tensor:
        """Latents [B, D, h, w] as pictures: float [B, 3, H, W], about [-1, 1]."""
        pictures: Tensor = self.decoder(latents)
        return pictures


class _Residual(nn.Module):
    """x + what two 3x3 convolutions make of it; nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.second(functional.silu(self.first(functional.silu(x))))
        return found


class _Halve(nn.Sequential):
    """Half the height and width."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.SiLU(), nn.Conv2d(width, width, 4, stride=2, padding=1))


class _Double(nn.Sequential):
    """Twice the height and width."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.SiLU(), nn.Conv2d(width, 4 * out, 1), nn.PixelShuffle(2))


def as_input(pictures: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] as the network wants them: float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def as_pictures(painted: Tensor) -> Tensor:
    """The inverse of `as_input`: rounded and clipped to uint8."""
    return ((painted.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def reconstruction_loss(net: nn.Module, pictures: Tensor) -> Tensor:
    """Mean squared error, which PSNR is made of, and a little mean absolute error, for edges.

    Args:
        net: a `PictureNet`.
        pictures: float [B, 3, H, W] in [-1, 1].
    """
    difference = net(pictures).float() - pictures
    loss: Tensor = difference.square().mean() + 0.02 * difference.abs().mean()
    return loss
