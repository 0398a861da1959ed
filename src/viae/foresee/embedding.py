"""Embed: a moment as a vector; near vectors, like moments.

The vector of a moment is the mean of the trunk's states after the newest events, of length 1.
All moments of an episode cost about two passes of the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import QueryRefusedError
from viae.foresee.history import History, without
from viae.foresee.likelihood import states_after
from viae.load.events import Column, assemble, known
from viae.model import BaseBundle
from viae.schema import (
    INSTRUCTION,
    NS_PER_S,
    OUTCOME,
    Batch,
    Episode,
    Events,
    Kind,
    Role,
    StreamSpec,
    Take,
    WindowSpec,
)

Floats32: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

OVER = 16
"""Newest events whose states are averaged."""


def embed(history: History, *, over: int = OVER) -> Floats32:
    """The vector of a history: float32 [D].

    Args:
        history: up to a moment.
        over: newest events whose states are averaged.
    """
    vectors = embed_after(
        history.bundle, history.events, np.array([len(history.context)]), over=over,
        hide_actions=history.context.hides_actions,
    )  # fmt: skip
    found: Floats32 = vectors[0]
    return found


def embed_moments(bundle: BaseBundle, events: Events, at_ns: Ints, *, over: int = OVER) -> Floats32:
    """Vectors of moments of one episode: float32 [Q, D].

    Args:
        bundle: the model.
        events: of the episode; outcomes are left out.
        at_ns: int64 [Q], decision times: what a decision then may see counts.
        over: see `embed`.

    Raises:
        QueryRefusedError: at a moment nothing had arrived.
    """
    shown = without(events, [s.name for s in events.streams if s.role is Role.OUTCOME])
    there = {spec.name for spec in bundle.vocabulary.streams}
    shown = without(shown, [s.name for s in shown.streams if s.name not in there])
    counts = np.array([known(shown, at) for at in at_ns.tolist()], np.int64)
    return embed_after(bundle, shown, counts, over=over)


def embed_after(
    bundle: BaseBundle,
    events: Events,
    counts: Ints,
    *,
    over: int = OVER,
    hide_actions: bool = False,
) -> Floats32:
    """Vectors after so many events that have tokens: float32 [Q, D].

    Raises:
        QueryRefusedError: after none there is nothing to embed.
    """
    if not len(counts) or counts.min() < 1:
        raise QueryRefusedError("nothing had arrived: there is nothing to embed")
    encoded = bundle.vocabulary.encode(events)
    least = max(1, int(counts.min()) - over + 1)
    wanted = np.arange(least, int(counts.max()) + 1)
    parts = states_after(bundle, encoded, wanted, hide_actions=hide_actions)
    states = torch.cat([state_PD for _, state_PD in parts]).double().cpu().numpy()
    return means(states, counts - least + 1, over)


def means(states: npt.NDArray[np.float64], end: Ints, over: int) -> Floats32:
    """Means of the newest of states, of length 1: float32 [Q, D].

    Args:
        states: float64 [T, D], of events one after another.
        end: int64 [Q], how many of them there are at each moment; at least one.
        over: newest states that are averaged.
    """
    passed = np.concatenate([np.zeros((1, states.shape[1])), np.cumsum(states, axis=0)])
    begin = np.maximum(end - over, 0)
    mean = (passed[end] - passed[begin]) / (end - begin)[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    unit: Floats32 = (mean / np.where(length > 0, length, 1.0)).astype(np.float32)
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class BaseEmbedder:
    """A base model as an embedder of windows (`viae.load.embedding.Embedder`).

    A window has no arrivals, so its samples count as having arrived when they were captured;
    `embed_moments` sees an episode as it was.

    Args:
        bundle: the model.
        decision: the stream whose arrivals are moments.
        steps: newest samples of each stream that a window shows.
        over: see `embed`.

    Raises:
        QueryRefusedError: the model has no such stream.
    """

    bundle: BaseBundle
    decision: str
    steps: int = 8
    over: int = OVER

    def __post_init__(self) -> None:
        self.bundle.vocabulary.type_of(self.decision, first=False)

    @property
    def embedder_id(self) -> str:
        """Of the bundle, and how it is shown windows."""
        return f"{self.bundle.bundle_id}-{self.steps}-{self.over}"

    @property
    def streams(self) -> Sequence[StreamSpec]:
        """Vectors and actions of the model."""
        return [
            spec
            for spec in self.bundle.vocabulary.streams
            if spec.kind is Kind.VECTOR and spec.role is not Role.OUTCOME and spec.name != OUTCOME
        ]

    @property
    def window(self) -> WindowSpec:
        """The newest samples of every stream, with their ages."""
        steps = tuple(range(1 - self.steps, 1))
        return WindowSpec(
            decision=self.decision, stops=(),
            inputs=tuple(Take(stream=s.name, steps=steps, age=True) for s in self.streams),
        )  # fmt: skip

    @property
    def picture_sizes(self) -> Mapping[str, tuple[int, int]]:
        """None: pictures are not shown."""
        return {}

    def refuses(self, episode: Episode) -> str:
        """It refuses no episode."""
        del episode
        return ""

    def embed(self, windows: Batch) -> Floats32:
        """Vectors of windows: float32 [B, D]."""
        return np.concatenate([self._one(windows, row) for row in range(len(windows))])

    def _one(self, windows: Batch, row: int) -> Floats32:
        columns = []
        at_ns = int(windows.decisions_ns[row])
        for spec in self.streams:
            there = windows.masks[f"inputs/{spec.name}"][row]
            age = windows.ages[spec.name][row].astype(np.float64)
            times = at_ns - np.rint(age * NS_PER_S).astype(np.int64)
            columns.append(
                Column(
                    spec=spec, name=spec.name, capture_ns=times[there], arrival_ns=times[there],
                    values=windows.inputs[spec.name][row][there],
                )
            )  # fmt: skip
        task = windows.tasks[row]
        first = min((int(c.arrival_ns.min()) for c in columns if len(c.arrival_ns)), default=at_ns)
        known_names = {spec.name: spec for spec in self.bundle.vocabulary.streams}
        said = None
        if task and INSTRUCTION in known_names:
            when = np.array([first], np.int64)
            said = Column(
                spec=known_names[INSTRUCTION], name=INSTRUCTION, capture_ns=when, arrival_ns=when,
                values=[task],
            )  # fmt: skip
        events = assemble(columns, first=said, last=None, stops=np.empty((0, 2), np.int64))
        return embed_after(self.bundle, events, np.array([len(events)]), over=self.over)
