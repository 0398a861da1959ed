"""An episode's events as numbers for the network.

Shapes: N events, n events of a type or samples of a stream, S slots, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.model.tokens.codec import Floats, Tokens

Ints: TypeAlias = npt.NDArray[np.int64]

SHORTEST_S = 1e-4
"""Times are shown to the trunk on a scale that is linear below this and logarithmic above."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """What `viae.model.tokens.vocabulary.Vocabulary.encode` makes of events.

    Args:
        types: int64 [N].
        times: float32 [N, 2], gap and age on the scale of `shown_time`.
        stream: int64 [N], index into the vocabulary's streams.
        row: int64 [N], which sample of its stream.
        place: int64 [N], which one of its type.
        features: per stream float32 [n, F].
        tokens: per type int32 [n, S].
        asked: per question, the events after which it is asked int64 [m], ascending, and the
            answers int32 [m, S].
        action: bool [N], whether the event is an action.
        after: per stream that has events, what its next sample is coded given.
    """

    types: Ints
    times: Floats
    stream: Ints
    row: Ints
    place: Ints
    features: Mapping[int, Floats]
    tokens: Mapping[int, Tokens]
    asked: Mapping[int, tuple[Ints, Tokens]]
    action: npt.NDArray[np.bool_]
    after: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.types)


def shown_time(ns: Ints) -> Floats:
    """Times as the trunk is shown them: float32 [N]; linear near 0, logarithmic beyond."""
    scaled = np.asarray(ns, np.float64) / (SHORTEST_S * 1e9)
    return (np.arcsinh(scaled) / 5.0).astype(np.float32)


__all__ = ["Encoded", "shown_time"]
