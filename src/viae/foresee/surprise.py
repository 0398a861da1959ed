"""Surprise: how many bits the newest events cost, against what their stream usually costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viae.errors import QueryRefusedError
from viae.foresee.habits import Usual
from viae.foresee.history import Blame, History
from viae.foresee.likelihood import PARTS, added_bits, bits
from viae.model import BaseBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """How surprising an event was.

    Args:
        stream: its stream.
        arrival_ns: when it arrived, log clock.
        bits: it cost.
        parts: bits of type, gap, age and content.
        quantile: the share of this stream's usual events that cost no more; None where nobody
            fitted what is usual.
        blame: what is wrong with the history.
    """

    stream: str
    arrival_ns: int
    bits: float
    parts: dict[str, float]
    quantile: float | None
    blame: Sequence[Blame] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "stream": self.stream, "arrival_ns": self.arrival_ns, "bits": self.bits,
            "parts": self.parts, "quantile": self.quantile,
            "blame": [blame.to_json() for blame in self.blame],
        }  # fmt: skip


def surprise(history: History, usual: Usual | None = None) -> dict[str, Surprise]:
    """How surprising the newest event of each stream was, by stream.

    Only streams with an event in the model's current window are in it.

    Args:
        history: up to a moment.
        usual: what events usually cost.

    Raises:
        QueryRefusedError: the history is empty.
    """
    scored = bits(
        history.bundle, history.events, newest=history.bundle.length,
        hide_actions=history.context.hides_actions,
    )  # fmt: skip
    if not len(scored):
        raise QueryRefusedError("nothing has arrived: there is nothing to be surprised at")
    found = {}
    for number, name in enumerate(scored.names):
        last = int(np.flatnonzero(scored.stream == number)[-1])
        found[name] = _surprise(
            name, int(scored.arrival_ns[last]), scored.bits[last], usual, history.blame
        )
    return found


class Watch:
    """Surprise while an episode goes on, an event at a time.

    Args:
        bundle: the model.
        usual: what events usually cost.
        hide_actions: whether the model sees what is done.
    """

    def __init__(
        self, bundle: BaseBundle, usual: Usual | None = None, *, hide_actions: bool = False
    ) -> None:
        self.context = bundle.context(hide_actions=hide_actions)
        self._usual = usual

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> Surprise:
        """An event has arrived, in causal order.

        Raises:
            TokenError: a stream that the model does not have, or a value that has no token.
        """
        found = added_bits(
            self.context, stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns
        )
        return _surprise(stream, arrival_ns, found, self._usual, ())


def _surprise(
    stream: str, arrival_ns: int, parts: Any, usual: Usual | None, blame: Sequence[Blame]
) -> Surprise:
    total = float(parts.sum())
    quantile = None
    if usual is not None and stream in usual.bits:
        quantile = float(usual.quantile(stream, np.array([total]))[0])
    return Surprise(
        stream=stream, arrival_ns=arrival_ns, bits=total, quantile=quantile, blame=tuple(blame),
        parts=dict(zip(PARTS, parts.tolist(), strict=True)),
    )  # fmt: skip
