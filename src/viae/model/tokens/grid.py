"""Pictures as tokens, every patch of every picture: the dense grid.

A picture goes through the network by itself, never in a batch, so that its codes do not hang on
what else is coded with it. Pictures are uint8 [N, 3, H, W] throughout; P = h * w patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from viae.errors import TokenError
from viae.model.tokens.codec import Codec, Coded, Floats, Tokens
from viae.model.tokens.picture import PictureConfig, PictureNet, as_input, as_pictures

Pixels: TypeAlias = npt.NDArray[np.uint8]
Codes: TypeAlias = npt.NDArray[np.int32]
"""int32 [P], or [N, P]: the code of each patch in raster order; -1 where none is known."""

WEIGHTS = "weights.safetensors"
UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """A picture as the network has it.

    Args:
        codes: int32 [P].
        errors: float64 [P], mean squared error of each patch if all codes are sent, in levels of
            0 to 255.
    """

    codes: Codes
    errors: npt.NDArray[np.float64]


class Painter:
    """A trained network, for one picture at a time.

    Args:
        net: is put into evaluation mode.
    """

    def __init__(self, net: PictureNet) -> None:
        self.net = net.eval()
        self.config = net.config

    def look(self, picture: Pixels) -> Look:
        """A picture uint8 [3, H, W] as the network has it."""
        codes = self.codes(picture)
        return Look(codes=codes, errors=self.errors(picture, self.paint(codes)))

    def codes(self, picture: Pixels) -> Codes:
        """What a picture uint8 [3, H, W] is made of: int32 [P]."""
        with torch.inference_mode():
            grid = self.net.codes(self.net.latents(as_input(torch.from_numpy(picture)[None])))
        found: Codes = grid.reshape(-1).numpy().astype(np.int32)
        return found

    def paint(self, codes: Codes) -> Pixels:
        """The picture uint8 [3, H, W] of codes int32 [P]."""
        with torch.inference_mode():
            return as_pictures(self.net.paint(self._latents(codes[None])))[0].numpy()

    def features(self, codes: Codes) -> Floats:
        """Latents of codes int32 [N, P]: float32 [N, D * P], in [-1, 1]."""
        with torch.inference_mode():
            return self._latents(codes).flatten(1).numpy()

    def errors(self, picture: Pixels, painted: Pixels) -> npt.NDArray[np.float64]:
        """Mean squared error of each patch, in levels of 0 to 255: float64 [P]."""
        side = self.config.patch
        height, width = self.config.grid
        squared = (picture.astype(np.float64) - painted) ** 2
        found: npt.NDArray[np.float64] = (
            squared.reshape(3, height, side, width, side).mean((0, 2, 4)).reshape(-1)
        )
        return found

    def check(self, values: Any) -> Pixels:
        """Pictures as they must be.

        Raises:
            TokenError: of another type or shape.
        """
        values = np.asarray(values)
        wanted = (3, *self.config.size)
        if values.dtype != np.uint8 or values.shape[1:] != wanted:
            raise TokenError(
                f"pictures are {values.dtype} {list(values.shape)}; this tokenizer knows uint8 "
                f"[N, 3, {wanted[1]}, {wanted[2]}]: load them at its size"
            )
        return np.ascontiguousarray(values)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, folder / WEIGHTS)

    @classmethod
    def load(cls, config: PictureConfig, folder: Path) -> Painter:
        """The inverse of `save`."""
        net = PictureNet(config)
        net.load_state_dict(load_file(folder / WEIGHTS))
        return cls(net)

    def _latents(self, codes: Codes) -> torch.Tensor:
        grid = torch.from_numpy(codes.astype(np.int64)).reshape(len(codes), *self.config.grid)
        latents: torch.Tensor = self.net.of_codes(grid)
        return latents


class GridCodec(Codec):
    """A code for every patch: what each first picture of an episode costs.

    Args:
        painter: the network.
    """

    kind = "picture-grid"

    def __init__(self, painter: Painter) -> None:
        self.painter = painter
        config = painter.config
        self.slots = (config.codes,) * config.patches
        self.features = len(config.levels) * config.patches

    def code(self, values: Any, before: Any = None) -> Coded:
        """Pictures one after another; ``before`` plays no part."""
        tokens = self.encode(values, before)
        return Coded(
            tokens=tokens, features=self.painter.features(tokens), before=before, after=tokens[-1:]
        )

    def encode(self, values: Any, before: Any) -> Tokens:
        """int32 [N, P]; ``before`` plays no part."""
        del before
        values = self.painter.check(values)
        found = [self.painter.codes(picture) for picture in values]
        return np.stack(found) if found else np.empty((0, len(self.slots)), np.int32)

    def decode(self, tokens: Tokens, before: Any) -> Pixels:
        """uint8 [N, 3, H, W]."""
        del before
        none = np.empty((0, 3, *self.painter.config.size), np.uint8)
        return np.stack([self.painter.paint(codes) for codes in tokens]) if len(tokens) else none

    def describe(self, values: Any, before: Any) -> Floats:
        """float32 [N, F]: the latents of every patch."""
        return self.painter.features(self.encode(values, before))

    def after(self, tokens: Tokens, before: Any) -> Codes:
        """What a decoder has then: the codes themselves."""
        del before
        return tokens

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; the weights go to `save_arrays`."""
        return {"kind": self.kind, "config": self.painter.config.to_json()}

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> GridCodec:
        """The inverse of `to_json`."""
        assert folder is not None
        return cls(Painter.load(PictureConfig.from_json(card["config"]), folder))

    def save_arrays(self, folder: Path) -> None:
        """Write the weights."""
        self.painter.save(folder)
