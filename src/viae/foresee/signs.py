"""Signs of how an attempt will end, at fixed elapsed times: raw; `viae.trust` makes trust of them.

Three need no label: how surprising the observations were, how far apart samples of the next actions
are, how far the moment is from those of training. The outcome question is a fourth where the model
has learnt it. Beside them vectors, for a probe.

Shapes: K moments, D width of the trunk, P features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import QueryRefusedError
from viae.foresee.embedding import OVER, embed_moments, means
from viae.foresee.habits import Usual
from viae.foresee.history import without
from viae.foresee.likelihood import score, states_after
from viae.foresee.outcome import success_at
from viae.load.events import known, prefix
from viae.model import BaseBundle
from viae.model.tokens.vocabulary import Encoded, Vocabulary
from viae.schema import OUTCOME, Events, Kind, Role

Doubles: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

SURPRISE, SPREAD, FAR, ASKED = "surprise", "spread", "far", "outcome"
SAMPLES = 32
"""Answers that spread is measured on."""
EPISODES, MOMENTS = 200, 24
NEAREST = 5
"""Distance is to the so many-th nearest moment of training."""
LEAST = 1e-6
"""Of a probability whose log odds are taken, and of a size whose logarithm is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signs:
    """What a model makes of an attempt after some of its first steps.

    Args:
        steps: int64 [K], those of the steps asked for that the attempt reached.
        embedding: float64 [K, D], of `embed`.
        features: float64 [K, P], for a probe.
        sources: by name float64 [K]; higher speaks for success.
    """

    steps: Ints
    embedding: Doubles
    features: Doubles
    sources: Mapping[str, Doubles]


def stepping(vocabulary: Vocabulary) -> str:
    """The stream whose samples are steps: the first action, or else the first vector.

    Raises:
        QueryRefusedError: the model has neither.
    """
    vectors = [spec for spec in vocabulary.streams if spec.kind is Kind.VECTOR]
    for role in (Role.ACTION, Role.OBSERVATION):
        for spec in vectors:
            if spec.role is role and spec.name != OUTCOME:
                return spec.name
    raise QueryRefusedError(
        "the model has neither actions nor vectors: its steps cannot be counted"
    )


def steps_of(events: Events, vocabulary: Vocabulary) -> Ints:
    """When each step was decided, log clock: int64 [n]."""
    names = [spec.name for spec in events.streams]
    name = stepping(vocabulary)
    if name not in names:
        return np.empty(0, np.int64)
    own: Ints = events.arrival_ns[events.stream == names.index(name)]
    return own


def sources_of(vocabulary: Vocabulary, usual: Usual | None) -> tuple[str, ...]:
    """Names of the sources that there are."""
    found = [SURPRISE]
    if any(question.acts for question in vocabulary.questions):
        found.append(SPREAD)
    if usual is not None and len(usual.vectors) > NEAREST:
        found.append(FAR)
    if any(q.name == OUTCOME for q in vocabulary.questions) and OUTCOME not in vocabulary.certain:
        found.append(ASKED)
    return tuple(found)


def signs(
    bundle: BaseBundle,
    events: Events,
    steps: Sequence[int],
    *,
    usual: Usual | None = None,
    going: bool = False,
    seed: int = 0,
) -> Signs:
    """Signs after some numbers of steps, from what a decision then could see.

    Args:
        bundle: the model.
        events: of an attempt; what tells how it ended is left out.
        steps: asked for; those that the attempt did not go beyond are left out.
        usual: of the model's training, for the distance to it.
        going: whether the attempt goes on: then the next step is about to be decided, if something
            was observed since the last one.
        seed: of the samples.

    Raises:
        TokenError: a value that has no token, such as NaN.

    Cost: about four passes of the trunk over the events up to the last moment.
    """
    vocabulary = bundle.vocabulary
    there = {spec.name for spec in vocabulary.streams}
    hidden = [s.name for s in events.streams if s.role is Role.OUTCOME or s.name not in there]
    shown = without(events, hidden)
    decided = steps_of(shown, vocabulary)
    if going and len(shown) and shown.streams[int(shown.stream[-1])].role is Role.OBSERVATION:
        decided = np.append(decided, np.iinfo(np.int64).max)
    reached = np.array([s for s in steps if s < len(decided)], np.int64)
    names = sources_of(vocabulary, usual)
    if not len(reached):
        width = bundle.model.config.width
        return Signs(
            steps=reached, embedding=np.empty((0, width)),
            features=np.empty((0, 3 * width + len(names))),
            sources={name: np.empty(0) for name in names},
        )  # fmt: skip
    counts = np.array([known(shown, at) for at in decided[reached].tolist()], np.int64)
    shown = prefix(shown, int(counts.max()))
    encoded = vocabulary.encode(shown)
    every = np.arange(len(encoded) + 1)
    after = torch.cat([state for _, state in states_after(bundle, encoded, every)])
    states = after[1:].double().cpu().numpy()
    embedding, whole = (
        means(states, counts, over).astype(np.float64) for over in (OVER, len(encoded))
    )
    parts = states_after(bundle, encoded, counts, hide_actions=True)  # as it acts
    state_KD = torch.cat([state for _, state in parts])
    sources = {SURPRISE: -_surprise(bundle, encoded, counts, after)}
    if SPREAD in names:
        sources[SPREAD] = -_spread(bundle, state_KD, seed)
    if FAR in names and usual is not None:
        sources[FAR] = -np.log(LEAST + _far(embedding, usual))
    if ASKED in names:
        p = np.clip(success_at(bundle.model, vocabulary, state_KD), LEAST, 1 - LEAST)
        sources[ASKED] = np.log(p) - np.log1p(-p)
    scalars = np.stack([sources[name] for name in names], 1)
    state = state_KD.double().cpu().numpy()
    features = np.concatenate([embedding, whole, state, scalars], 1)
    return Signs(steps=reached, embedding=embedding, features=features, sources=sources)


def usual_moments(bundle: BaseBundle, episodes: Sequence[Events]) -> Floats32:
    """Vectors of moments of training: float32 [M, D].

    Of at most `EPISODES` episodes at most `MOMENTS` decisions each, evenly over both.
    """
    every = max(1, -(-len(episodes) // EPISODES))
    found = [np.empty((0, bundle.model.config.width), np.float32)]
    for events in episodes[::every]:
        decided = steps_of(events, bundle.vocabulary)
        at = np.linspace(0, len(decided) - 1, MOMENTS).round().astype(np.int64)
        known_ns = decided[np.unique(at[at > 0])]  # at first nothing may have arrived
        if len(known_ns):
            found.append(embed_moments(bundle, events, known_ns))
    return np.concatenate(found)


def _surprise(bundle: BaseBundle, encoded: Encoded, counts: Ints, after: torch.Tensor) -> Doubles:
    """Mean bits of what was observed so far, of each moment: float64 [K], logarithms."""
    seen = [
        spec.role is Role.OBSERVATION and spec.kind is not Kind.TEXT
        for spec in bundle.vocabulary.streams
    ]
    own = np.array(seen, np.bool_)[encoded.stream]
    events = np.flatnonzero(own)
    cost = np.zeros(len(encoded))
    before = after[torch.from_numpy(events).to(after.device)]
    cost[events] = score(bundle, encoded, events, before)[:, 3]
    passed, number = (np.concatenate([[0.0], np.cumsum(each)]) for each in (cost, own))
    found: Doubles = np.log(LEAST + passed[counts] / np.maximum(number[counts], 1))
    return found


def _spread(bundle: BaseBundle, state_KD: torch.Tensor, seed: int) -> Doubles:
    """Logarithm of how far samples of the next actions are apart: float64 [K].

    Mean over steps and elements of the standard deviation over samples; actions are of one unit.
    """
    vocabulary = bundle.vocabulary
    question = next(q for q in vocabulary.questions if q.acts)
    count, slots = len(state_KD), len(question.codec.slots)
    draws = torch.rand((SAMPLES, slots), generator=torch.Generator().manual_seed(seed))
    given = torch.full((count * SAMPLES, slots), -1)
    given[:, 0] = question.steps - 1
    said = bundle.model.say(
        state_KD.repeat_interleave(SAMPLES, 0), vocabulary.question(question.name),
        draws_PS=draws.repeat(count, 1).to(state_KD.device), given_PS=given.to(state_KD.device),
    )  # fmt: skip
    chunks = question.codec.decode(said.tokens.cpu().numpy().astype(np.int32), None)
    each = np.asarray(chunks, np.float64).reshape(count, SAMPLES, -1)
    found: Doubles = np.log(LEAST + np.nanmean(each.std(1), 1))
    return found


def _far(embedding: Doubles, usual: Usual) -> Doubles:
    square = 2 - 2 * embedding @ usual.vectors.T.astype(np.float64)  # both of length 1
    nearest = np.sort(square, axis=1)[:, NEAREST - 1]
    found: Doubles = np.sqrt(np.maximum(nearest, 0))
    return found
