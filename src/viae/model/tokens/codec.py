"""What turns the samples of one stream into tokens and back.

Shapes: N samples, S slots, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError, TokenError
from viae.schema import Kind, StreamSpec
from viae.schema.names import PICTURES

Tokens: TypeAlias = npt.NDArray[np.int32]
"""int32 [N, S]: a value per slot, and `SILENT` in every slot after the last one that is sent."""
Floats: TypeAlias = npt.NDArray[np.float32]

SILENT = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """Samples that follow one another in an episode, as a codec has them.

    Args:
        tokens: int32 [N, S].
        features: float32 [N, F].
        before: what each was coded given; to decode takes the same.
        after: what the sample that follows them is coded given: ``before`` of length 1.
    """

    tokens: Tokens
    features: Floats
    before: Any
    after: Any


class Codec(ABC):
    """The tokens of one stream's samples. Fitted, immutable, and plain numbers when saved.

    A sample is coded given the sample before it in the same stream (``before``), so that what did
    not change costs little. Where a codec uses it, decoding needs the sample before *as decoded*
    or as recorded; equal ones give equal results. A codec whose encoder keeps what the decoder has
    (pictures) has its own form of ``before``; who codes an episode need not know: `code` starts
    from nothing and says what comes ``after``.
    """

    registry: ClassVar[dict[str, type[Codec]]] = {}
    kind: ClassVar[str]
    """Its name in a saved vocabulary."""
    ordered: ClassVar[bool] = False
    """Whether the tokens of every slot are numbers in order."""

    def __init_subclass__(cls) -> None:
        Codec.registry[cls.kind] = cls

    slots: tuple[int, ...]
    """How many values each slot can take. A codec of varying length ends a sample with a token of
    its own choice, and leaves the slots after it `SILENT`."""
    features: int
    """F."""

    @property
    def numbers(self) -> int:
        """How many features are standardised numbers: the first ones; none by default."""
        return 0

    @abstractmethod
    def encode(self, values: Any, before: Any) -> Tokens:
        """Tokens of samples.

        Args:
            values: [N, *shape], in recorded units (texts: N strings).
            before: the same, of the sample before each.

        Raises:
            TokenError: a value that is not finite, or of another shape, with its place.
        """

    @abstractmethod
    def decode(self, tokens: Tokens, before: Any) -> Any:
        """Samples that tokens stand for, in recorded units and the stream's dtype."""

    @abstractmethod
    def describe(self, values: Any, before: Any) -> Floats:
        """What the trunk is shown of samples: float32 [N, F], about unit scale."""

    def code(self, values: Any, before: Any = None) -> Coded:
        """Samples that follow one another, the first of them after ``before``.

        Args:
            values: [N, *shape], as for `encode`.
            before: of the first: what `code` or `after` gave for the sample before it. None where
                there is none.
        """
        each = previous(values, before)
        then = values[-1:] if len(values) else before
        return Coded(
            tokens=self.encode(values, each), features=self.describe(values, each),
            before=each, after=then,
        )  # fmt: skip

    def after(self, tokens: Tokens, before: Any) -> Any:
        """What samples after these tokens are coded given: the decoded, unless told otherwise."""
        return self.decode(tokens, before)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, `kind` among them; arrays that are large go to `save_arrays`."""

    @classmethod
    @abstractmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> Codec:
        """The inverse of `to_json`; ``folder`` is where `save_arrays` wrote."""

    def gaps(self) -> tuple[Floats, ...]:
        """Per slot, how far it is from each value to the next: float32 [V], 0 behind the last.

        In spreads of the element. Empty where not all slots are numbers in order.
        """
        return ()

    def save_arrays(self, folder: Path) -> None:  # noqa: B027 (most have nothing to write)
        """Write what is too large for JSON, as safetensors; nothing by default."""


def check_values(values: Any, spec: StreamSpec) -> None:
    """Refuse what are no samples of a stream.

    Args:
        values: N of them.
        spec: of the stream, as it is shown: pictures [H, W, C] come as [N, C, H, W].

    Raises:
        TokenError: of another kind or shape.
    """
    where = f"stream '{spec.name}'"
    if spec.kind is Kind.TEXT:
        for row, text in enumerate(values):
            if not isinstance(text, str):
                raise TokenError(f"{where}: row {row} is {type(text).__name__} and no text")
        return
    height_width = spec.shape[:2]
    shape = (3, *height_width) if spec.kind in PICTURES else spec.shape
    found = f"{getattr(values, 'dtype', type(values).__name__)}{list(np.shape(values))}"
    if np.dtype(getattr(values, "dtype", object)).kind not in "biuf":
        raise TokenError(f"{where}: {found} are no numbers; it is {spec.dtype}{list(shape)}")
    if tuple(values.shape[1:]) != shape:
        raise TokenError(f"{where}: {found} are not [N, {', '.join(map(str, shape))}]")


def previous(values: Any, before: Any = None) -> Any:
    """The sample before each of some that follow one another.

    Args:
        values: [N, *shape], or N texts.
        before: the one before the first, of length 1; None for NaN (whole numbers, which have
            none and would lose their last digits as floats: for the first itself), an empty text
            or a black picture.
    """
    if not isinstance(values, np.ndarray):
        return [*(before or [""]), *values][: len(values)]
    pictures = values.dtype == np.uint8 and values.ndim == 4
    whole = values.dtype.kind in "iub"
    kept = values if whole else values.astype(np.float64)
    if before is None:
        none = np.full((1, *values.shape[1:]), 0 if pictures else np.nan, np.float64)
        before = values[:1] if whole and not pictures else none.astype(kept.dtype)
    return np.concatenate([before, kept])[: len(values)]


def codec_from_json(card: Mapping[str, Any], folder: Path | None = None) -> Codec:
    """A codec as it was saved.

    Raises:
        BundleError: a kind that this viae does not have.
    """
    kind = Codec.registry.get(card["kind"])
    if kind is None:
        raise BundleError(
            f"the vocabulary has a codec '{card['kind']}', which this viae does not have "
            f"(it has {sorted(Codec.registry)}): upgrade viae"
        )
    return kind.from_json(card, folder)
