"""Likelihood: exactly how many bits a log costs, event by event.

Shapes: N events, T places of a window, B windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viae.errors import TokenError
from viae.model import BaseBundle, Context
from viae.model.base import PADDED
from viae.model.tokens.vocabulary import Encoded
from viae.model.windows import event_batch, first_shown, lay
from viae.schema import INSTRUCTION, Events

Ints: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]

PARTS = ("type", "gap", "age", "content")
BITS_PER_NAT = 1 / np.log(2)
AT_ONCE = 16
"""Windows that are read together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bits:
    """Negative log-likelihood of events.

    Args:
        names: of the streams, those that have tokens.
        stream: int64 [N], index into ``names``.
        first: number of the first event among those of the episode that have tokens.
        arrival_ns: int64 [N].
        bits: float64 [N, 4], of type, gap, age and content (`PARTS`).
    """

    names: tuple[str, ...]
    stream: Ints
    first: int
    arrival_ns: Ints
    bits: Doubles

    def __len__(self) -> int:
        return len(self.stream)

    def of(self, name: str) -> Doubles:
        """Of one stream's events: float64 [n, 4]."""
        own: Doubles = self.bits[self.stream == self.names.index(name)]
        return own

    def per_stream(self) -> dict[str, dict[str, float]]:
        """Sums by stream and part, and how many ``events``."""
        found = {}
        for name in self.names:
            own = self.of(name)
            sums = dict(zip(PARTS, own.sum(axis=0).tolist(), strict=True))
            found[name] = {"events": float(len(own)), "bits": float(own.sum()), **sums}
        return found

    @property
    def total(self) -> float:
        """All bits."""
        return float(self.bits.sum())


def bits(
    bundle: BaseBundle, events: Events, *, newest: int | None = None, hide_actions: bool = False
) -> Bits:
    """Bits of the events of an episode, each given all before it that its window shows.

    The windows are those of `viae.model.Context`: live, the same events cost the same.

    Args:
        bundle: the model.
        events: of an episode, from its beginning; streams without tokens are left out.
        newest: only the last so many; None for all.
        hide_actions: whether the model sees what was done.

    Raises:
        TokenError: a value that has no token.

    Cost: `states_after`.
    """
    encoded = bundle.vocabulary.encode(events)
    total = len(encoded)
    first = 0 if newest is None else max(0, total - newest)
    numbers = np.arange(first, total)
    parts = [
        score(bundle, encoded, counts, state_PD)
        for counts, state_PD in states_after(bundle, encoded, numbers, hide_actions=hide_actions)
    ]
    out = np.concatenate([np.empty((0, len(PARTS))), *parts])
    names = [spec.name for spec in bundle.vocabulary.streams]
    known = {spec.name for spec in bundle.vocabulary.streams}
    kept = np.isin(events.stream, [i for i, s in enumerate(events.streams) if s.name in known])
    there = np.unique(encoded.stream[first:])
    return Bits(
        names=tuple(names[number] for number in there.tolist()),
        stream=np.searchsorted(there, encoded.stream[first:]),
        first=first, arrival_ns=events.arrival_ns[kept][first:], bits=out,
    )  # fmt: skip


def added_bits(
    context: Context, stream: str, value: Any, *, capture_ns: int, arrival_ns: int
) -> Doubles:
    """Add an event to a history, and say how many bits it cost: float64 [4].

    Args:
        context: one history.
        stream: its name.
        value: [*shape], or a text.
        capture_ns: log clock.
        arrival_ns: not before the last one.

    Raises:
        TokenError: see `Context.add`.
    """
    if context.count != 1:
        raise TokenError(f"bits are of one history, not of {context.count}")
    state_PD = context.state()
    values = [value] if isinstance(value, str) else np.asarray(value)[None]
    [added] = context.add(stream, values, capture_ns=capture_ns, arrival_ns=arrival_ns)
    kinds = torch.tensor([added.kind], device=state_PD.device)
    tokens = torch.from_numpy(added.tokens.astype(np.int64)).to(state_PD.device)
    with torch.inference_mode():
        of_type = context.model.log_p_type(state_PD, kinds)
        of_tokens = context.model.log_p(state_PD, added.kind, tokens)
    times = context.vocabulary.types[added.kind].times
    found: Doubles = _bits(of_type.double().cpu().numpy(), of_tokens.double().cpu().numpy(), times)[
        0
    ]
    return found


def states_after(
    bundle: BaseBundle, encoded: Encoded, counts: Ints, *, hide_actions: bool = False
) -> Iterator[tuple[Ints, Tensor]]:
    """The trunk's states after the first so many events of an episode, some at a time.

    Args:
        bundle: the model.
        encoded: the episode.
        counts: int64 [n], ascending, up to ``len(encoded)``.
        hide_actions: whether the model sees what was done.

    Returns:
        Some counts int64 [m], and the state after each: float32 [m, D]; equal to those of
        `viae.model.Context`.

    Cost: about two passes of the trunk over the events.
    """
    names = [spec.name for spec in bundle.vocabulary.streams]
    instruction = names.index(INSTRUCTION) if INSTRUCTION in names else -1
    pinned = np.flatnonzero(encoded.stream == instruction)[:1]
    after_pinned = np.array([(pinned < count).any() for count in counts.tolist()], np.bool_)
    starts = np.where(
        after_pinned, first_shown(counts, bundle.length, 1), first_shown(counts, bundle.length, 0)
    )
    each = np.unique(starts)
    for group in np.split(each, range(AT_ONCE, len(each), AT_ONCE)):
        if not len(group):
            continue
        where = np.stack([lay(encoded, start, bundle.length, pinned) for start in group.tolist()])
        own = [counts[starts == start] for start in group]
        places = [
            row * bundle.length + _place(where[row], wanted) for row, wanted in enumerate(own)
        ]
        hidden = (where >= 0) & encoded.action[np.maximum(where, 0)] & hide_actions
        batch = event_batch([encoded] * len(group), where, hidden, len(bundle.vocabulary.types))
        device = next(bundle.model.parameters()).device
        with torch.inference_mode():
            state_PD = bundle.model.states(batch.to(device)).flatten(0, 1)
            yield (
                np.concatenate(own),
                state_PD[torch.from_numpy(np.concatenate(places)).to(device)].float(),
            )


def score(bundle: BaseBundle, encoded: Encoded, events: Ints, state_PD: Tensor) -> Doubles:
    """Bits of events, each from the state before it: float64 [n, 4].

    Args:
        bundle: the model.
        encoded: the episode.
        events: int64 [n], numbers of events.
        state_PD: float32 [n, D], after as many events: of `states_after`.
    """
    model, types, device = bundle.model, bundle.vocabulary.types, state_PD.device
    out = np.zeros((len(events), len(PARTS)))
    kinds = encoded.types[events]
    with torch.inference_mode():
        of_type = model.log_p_type(state_PD, torch.from_numpy(kinds).to(device))
        nats = of_type.double().cpu().numpy()
        for kind in np.unique(kinds).tolist():
            own = np.flatnonzero(kinds == kind)
            tokens = encoded.tokens[kind][encoded.place[events[own]]].astype(np.int64)
            own_PD = state_PD[torch.from_numpy(own).to(device)]
            log_p = model.log_p(own_PD, kind, torch.from_numpy(tokens).to(device))
            out[own] = _bits(nats[own], log_p.double().cpu().numpy(), types[kind].times)
    return out


def _place(where: Ints, counts: Ints) -> Ints:
    """Where in a window the newest of so many events is."""
    there = where[where != PADDED]
    return np.searchsorted(there, counts - 1, side="right") - 1


def _bits(of_type: Doubles, of_tokens: Doubles, times: int) -> Doubles:
    """By part: float64 [n, 4]."""
    nats = np.stack(
        [of_type, of_tokens[:, 0], of_tokens[:, 1:times].sum(1), of_tokens[:, times:].sum(1)], 1
    )
    found: Doubles = -nats * BITS_PER_NAT + 0.0
    return found
