"""Events that the model says: tokens, their probability, and the samples they stand for.

Every imagined history has random numbers of its own, so that sample i of a seed is the same however
many are drawn beside it, up to rounding in the network.

Shapes: P histories, m of them in which the same type speaks, S slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viae.model import Context
from viae.model.base import choose
from viae.model.tokens import SILENT, Codec, TextCodec, TimeCodec, VectorCodec
from viae.model.tokens.codec import Tokens
from viae.model.tokens.grid import GridCodec
from viae.model.tokens.runs import PictureCodec

Ints: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

AT_ONCE = 1024
"""Numbers of each history that are drawn together."""
TRIES = 4
"""How often what would read back as other tokens is drawn again; then its bin's centre counts."""


class Noise:
    """Random numbers, of each history its own.

    Args:
        seed: of all.
        samples: int64 [P], number of the sample that each history is: equal numbers, equal noise.
    """

    def __init__(self, seed: int, samples: Ints) -> None:
        self._generators = [np.random.default_rng((seed, sample)) for sample in samples.tolist()]
        self._numbers = np.empty((len(samples), 0), np.float32)
        self._used = np.zeros(len(samples), np.int64)

    def take(self, rows: Ints, count: int) -> npt.NDArray[np.float32]:
        """The next numbers of some histories: float32 [m, count] in [0, 1)."""
        while (self._used[rows] + count > self._numbers.shape[1]).any():
            fresh = [generator.random(AT_ONCE, np.float32) for generator in self._generators]
            self._numbers = np.concatenate([self._numbers, np.stack(fresh)], axis=1)
        places = self._used[rows, None] + np.arange(count)
        self._used[rows] += count
        found: npt.NDArray[np.float32] = self._numbers[rows[:, None], places]
        return found

    def taken(self, rows: Ints) -> Noise:
        """Those of some histories, which go on where they are."""
        other = Noise(0, np.empty(0, np.int64))
        other._generators = [self._generators[row] for row in rows.tolist()]
        other._numbers, other._used = self._numbers[rows], self._used[rows]
        return other

    def within(self, rows: Ints) -> np.random.Generator:
        """What draws from bins: row i from the numbers of history ``rows[i]``."""
        return cast("np.random.Generator", _Within(self, rows))


class _Within:
    """As much of a generator as codecs use."""

    def __init__(self, noise: Noise, rows: Ints) -> None:
        self._noise, self._rows = noise, rows

    def uniform(self, low: Doubles, high: Doubles) -> Doubles:
        return low + self._noise.take(self._rows, 1)[:, 0] * (high - low)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spoken:
    """Events of one type, in some of P histories.

    Args:
        kind: the type.
        rows: int64 [m].
        tokens: int32 [m, S]; of content that was given, none.
        log_p: float64 [m, 3], nats, of gap, age and content; 0 of what was not said.
        arrival_ns: int64 [m].
        capture_ns: int64 [m].
        values: [m, *shape], or texts.
        after: see `viae.model.context.Part`.
    """

    kind: int
    rows: Ints
    tokens: Tokens
    log_p: Doubles
    arrival_ns: Ints
    capture_ns: Ints
    values: Any
    after: Any = None


def possible_types(context: Context) -> Flags:
    """Which types can come next: a stream's first sample where it had none: bool [P, K]."""
    types = context.vocabulary.types
    return np.stack([context.seen(kind.stream) != kind.first for kind in types], axis=1)


def say_type(
    context: Context, allowed: Flags, draws: npt.NDArray[np.float32], temperature: float
) -> tuple[Ints, Doubles]:
    """Which type comes next in every history.

    Args:
        context: of P histories.
        allowed: bool [P, K].
        draws: float32 [P] in [0, 1).
        temperature: 0 takes the most probable one.

    Returns:
        int64 [P], and the log probability of each among all types: float64 [P], nats.
    """
    with torch.inference_mode():
        logits = context.model.next_type(context.state()).float()
        log_p = logits.log_softmax(-1)
        masked = logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), -torch.inf)
        if temperature == 0:
            chosen = masked.argmax(-1)
        else:
            chosen = choose(masked, temperature, torch.from_numpy(draws).to(logits.device))
        of_chosen = log_p.gather(1, chosen[:, None])[:, 0]
    return chosen.cpu().numpy(), of_chosen.double().cpu().numpy()


def say_event(
    context: Context, kind: int, rows: Ints, noise: Noise, temperature: float, given: Any = None
) -> Spoken:
    """An event of a type in some histories; nothing is added to the context.

    Args:
        context: of P histories.
        kind: the type.
        rows: int64 [m], which of them.
        noise: random numbers of all P.
        temperature: of all that is said.
        given: what the events say, [m, *shape]; None to let the model say it.
    """
    of = context.vocabulary.types[kind]
    count = None if given is None else of.times
    tokens, log_p = say_tokens(context, kind, rows, noise, temperature, count)
    gaps = drawn(of.gap, tokens[:, :1], None, noise, rows, temperature)
    if (back := np.flatnonzero(gaps < 0)).size:  # nothing arrives before what has arrived
        now = of.gap.encode(np.zeros(len(back), np.int64))
        tokens[back], log_p[back] = say_tokens(
            context, kind, rows[back], noise, temperature, count, first=now
        )
        gaps[back] = 0
    ages = context.ages(of.stream)[rows]
    if of.age is not None:
        ages = drawn(of.age, tokens[:, 1:2], None, noise, rows, temperature)
    last = context.last_ns
    arrival = (0 if last is None else last[rows]) + np.maximum(gaps, 0)
    values, after = given, None
    if given is None:
        before = None if of.first else context.before(of.stream, rows)
        if isinstance(of.content, TextCodec) and before is None:
            before = [""] * len(rows)  # a first text that repeats the one before is empty
        content = tokens[:, of.times :]
        if isinstance(of.content, PictureCodec | GridCodec):
            after = content if of.first else of.content.after(content, before)
            values = _painter(of.content).decode(after, None)
        else:
            values = drawn(of.content, content, before, noise, rows, temperature)
    parts = np.zeros((len(rows), 3))
    parts[:, 0] = log_p[:, 0]
    parts[:, 1] = log_p[:, 1 : of.times].sum(1)
    parts[:, 2] = log_p[:, of.times :].sum(1)
    return Spoken(
        kind=kind, rows=rows, tokens=tokens, log_p=parts, arrival_ns=arrival,
        capture_ns=arrival - ages, values=values, after=after,
    )  # fmt: skip


def say_tokens(
    context: Context, group: int, rows: Ints, noise: Noise, temperature: float,
    count: int | None = None, first: Tokens | None = None,
) -> tuple[Tokens, Doubles]:  # fmt: skip
    """Tokens int32 [m, S] of an event or an answer, and the log probability of each, nats.

    Args:
        context: of P histories.
        group: what is asked.
        rows: int64 [m], of which histories.
        noise: random numbers of all P.
        temperature: of the tokens.
        count: only the first so many slots.
        first: int32 [m, j], the first tokens, where they are known.
    """
    slots = context.vocabulary.slots[group][:count]
    state_PD = context.state()
    device = state_PD.device
    said = context.model.say(
        _some(state_PD, rows), group, count=count, temperature=temperature,
        draws_PS=torch.from_numpy(noise.take(rows, len(slots))).to(device),
        given_PS=None if first is None else torch.from_numpy(first.astype(np.int64)).to(device),
    )  # fmt: skip
    tokens = said.tokens.cpu().numpy().astype(np.int32)
    log_p = said.log_p.double().cpu().numpy()
    if count is None and group < len(context.vocabulary.types):
        of = context.vocabulary.types[group]
        beyond = np.zeros(tokens.shape, np.bool_)
        beyond[:, of.times :] = _beyond(of.content, tokens[:, of.times :])
        tokens[beyond], log_p[beyond] = SILENT, 0.0
    return tokens, log_p


def drawn(
    codec: Codec, tokens: Tokens, before: Any, noise: Noise, rows: Ints, temperature: float
) -> Any:
    """Samples that tokens stand for, anywhere in their bins: such as read back as these tokens.

    At temperature 0, and for what has no bins, what the codec decodes to.
    """
    if not isinstance(codec, VectorCodec | TimeCodec) or temperature == 0:
        return codec.decode(tokens, before)
    found = codec.decode(tokens, before, noise.within(rows))
    wrong = np.arange(len(rows))
    for attempt in range(TRIES + 1):
        own = None if before is None else before[wrong]
        again = (codec.encode(found[wrong], own) != tokens[wrong]).any(axis=1)
        wrong = wrong[again]
        if not len(wrong):
            break
        own = None if before is None else before[wrong]
        within = noise.within(rows[wrong]) if attempt < TRIES else None
        found[wrong] = codec.decode(tokens[wrong], own, within)
    return found


def _some(state_PD: Tensor, rows: Ints) -> Tensor:
    if len(rows) == len(state_PD):
        return state_PD
    return state_PD[torch.from_numpy(rows).to(state_PD.device)]


def _painter(codec: PictureCodec | GridCodec) -> GridCodec:
    return codec.first if isinstance(codec, PictureCodec) else codec


def _beyond(codec: Codec, tokens: Tokens) -> Flags:
    """Which slots lie behind the token that ends a sample: bool [m, S]."""
    if isinstance(codec, TextCodec):
        ends = (tokens == codec.end) | (tokens == codec.same)
    elif isinstance(codec, PictureCodec):
        alphabet = codec.alphabet
        walked = np.where(tokens < alphabet.codes, 1, tokens - alphabet.codes + 1)
        ends = (tokens == alphabet.end) | (np.cumsum(walked, axis=1) >= alphabet.patches)
    else:
        return np.zeros(tokens.shape, np.bool_)
    ended = np.logical_or.accumulate(ends, axis=1)
    return np.concatenate([np.zeros((len(tokens), 1), np.bool_), ended[:, :-1]], axis=1)
