"""Chunks of actions, element bins step after step.

Shapes: N chunks, K steps, A elements of an action, S slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError
from viae.model.tokens.codec import SILENT, Codec, Floats, Tokens
from viae.model.tokens.vector import BINS, VectorCodec
from viae.schema import StreamSpec

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class BinnedChunk(Codec):
    """How many steps a chunk has, then the tokens of each step's action.

    A chunk that an episode's end cut short ends in steps of NaN; their slots are `SILENT`. Actions
    are coded by value, never by difference: a policy that says changes learns to repeat itself.

    Args:
        step: codes one action.
        steps: K.
    """

    kind = "binned-chunk"
    ordered = True

    def __init__(self, step: VectorCodec, steps: int) -> None:
        self.step, self.steps = step, steps
        self.slots = (steps, *step.slots * steps)
        self.features = steps * step.features + 1

    @classmethod
    def fit(cls, values: Any, spec: StreamSpec, *, bins: int = BINS, fine: int = 0) -> BinnedChunk:
        """Fit on chunks; see `VectorCodec.fit`.

        Args:
            values: [N, K, *shape], floating-point; missing last steps are NaN.
            spec: of the stream of actions.
            bins: tokens per slot, at most.
            fine: as for `VectorCodec.fit`.

        Raises:
            TokenError: there are no actions, or of another shape.
        """
        flat, lengths = chunks(values, spec.shape, spec.name)
        actions = flat[present(lengths, flat.shape[1])].reshape(-1, *spec.shape)
        step = VectorCodec.fit(actions, None, spec, bins=bins, first=True, fine=fine)
        return cls(step, flat.shape[1])

    def encode(self, values: Any, before: Any = None) -> Tokens:
        """Tokens of chunks: int32 [N, 1 + K S].

        Raises:
            TokenError: of another shape, a number that is not finite before the last step, or no
                step at all.
        """
        flat, lengths = self._chunks(values)
        here = present(lengths, self.steps)
        tokens = np.full((len(flat), self.steps, len(self.step.slots)), SILENT, np.int32)
        tokens[here] = self.step.encode(self._actions(flat[here]), None)
        return np.concatenate(
            [lengths[:, None].astype(np.int32) - 1, tokens.reshape(len(flat), -1)], axis=1
        )

    def decode(
        self, tokens: Tokens, before: Any = None, rng: np.random.Generator | None = None
    ) -> Any:
        """Chunks that tokens stand for: floating-point [N, K, *shape], NaN after the last step.

        Raises:
            TokenError: a token that its slot does not have.
        """
        given = np.asarray(tokens)
        if given.ndim != 2 or given.shape[1] != len(self.slots):
            raise TokenError(
                f"stream '{self.step.elements.stream}': tokens of shape {list(given.shape)}; its "
                f"chunks have {len(self.slots)} slots"
            )
        lengths = read_lengths(given[:, 0], self.steps, self.step.elements.stream)
        here = present(lengths, self.steps)
        said = given[:, 1:].reshape(len(given), self.steps, -1)[here]
        shape = self.step.elements.shape
        out = np.full((*here.shape, *shape), np.nan, floating(self.step.elements.dtype))
        out[here] = self.step.decode(said, None, rng)
        return out

    def describe(self, values: Any, before: Any = None) -> Floats:
        """Of each step as of a first sample, 0 after the last; then the share of steps there."""
        flat, lengths = self._chunks(values)
        here = present(lengths, self.steps)
        out = np.zeros((len(flat), self.steps, self.step.features), np.float32)
        out[here] = self.step.describe(self._actions(flat[here]), None)
        share = (lengths / self.steps).astype(np.float32)
        return np.concatenate([out.reshape(len(flat), -1), share[:, None]], axis=1)

    def check(self, values: Any, before: Any = None) -> list[tuple[str, str]]:
        """As `VectorCodec.check`, of all steps."""
        flat, lengths = self._chunks(values)
        return self.step.check(self._actions(flat[present(lengths, self.steps)]), None)

    def log_width(self, tokens: Tokens, before: Any = None) -> Doubles:
        """As `VectorCodec.log_width`, over the steps that are there: float64 [N]."""
        here = present(
            read_lengths(tokens[:, 0], self.steps, self.step.elements.stream), self.steps
        )
        total = np.zeros(here.shape)
        total[here] = self.step.log_width(tokens[:, 1:].reshape(*here.shape, -1)[here])
        return np.asarray(total.sum(axis=1))

    def gaps(self) -> tuple[Floats, ...]:
        """See `Codec.gaps`; the number of steps weighs nothing."""
        return np.zeros(self.steps, np.float32), *self.step.gaps() * self.steps

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"kind": self.kind, "step": self.step.to_json(), "steps": self.steps}

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> BinnedChunk:
        """The inverse of `to_json`."""
        return cls(VectorCodec.from_json(card["step"]), card["steps"])

    def _chunks(self, values: Any) -> tuple[npt.NDArray[Any], Ints]:
        elements = self.step.elements
        return chunks(values, elements.shape, elements.stream, self.steps)

    def _actions(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return flat.reshape(-1, *self.step.elements.shape)


def chunks(
    values: Any, shape: tuple[int, ...], stream: str, steps: int | None = None
) -> tuple[npt.NDArray[Any], Ints]:
    """Chunks as [N, K, A], and how many steps each has: int64 [N].

    Raises:
        TokenError: of another shape, or with no step at all.
    """
    given = np.asarray(values)
    if given.ndim != 2 + len(shape) or given.shape[2:] != shape or not given.shape[1] or (
        steps is not None and given.shape[1] != steps
    ):  # fmt: skip
        wanted = ["N", "K" if steps is None else steps, *shape]
        raise TokenError(f"stream '{stream}': chunks of shape {list(given.shape)}, not {wanted}")
    flat = given.reshape(*given.shape[:2], -1)
    if flat.dtype.kind != "f":
        return flat, np.full(len(flat), flat.shape[1], np.int64)
    there = ~np.isnan(flat).all(axis=2)
    lengths = np.where(there.any(axis=1), flat.shape[1] - there[:, ::-1].argmax(axis=1), 0)
    if (lengths == 0).any():
        raise TokenError(f"stream '{stream}': chunk {int(np.argmin(lengths))} has no step at all")
    return flat, lengths


def present(lengths: Ints, steps: int) -> npt.NDArray[np.bool_]:
    """Which steps are there: bool [N, K]."""
    return np.arange(steps) < lengths[:, None]


def read_lengths(tokens: npt.NDArray[Any], steps: int, stream: str) -> Ints:
    """Steps of chunks from their first token.

    Raises:
        TokenError: such a length does not exist.
    """
    lengths = tokens.astype(np.int64) + 1
    if ((lengths < 1) | (lengths > steps)).any():
        raise TokenError(f"stream '{stream}': a chunk has 1 to {steps} steps, not {lengths.min()}")
    return lengths


def floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The recorded dtype, or float64 where it has no NaN to say that a step is missing."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def of_actions(spec: StreamSpec) -> StreamSpec:
    """The same stream with a dtype that can say that a step is missing."""
    return replace(spec, dtype=floating(np.dtype(spec.dtype)).name)
