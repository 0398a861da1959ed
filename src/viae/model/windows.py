"""Windows of encoded episodes as tensors: what the base model is shown, and what it is asked.

A window begins with the beginning of its episode, or with its instruction and then somewhere in the
middle. Shapes as in `viae.model.base`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viae.model.base import PADDED, EventBatch
from viae.model.tokens.vocabulary import Encoded

Ints: TypeAlias = npt.NDArray[np.int64]

START = -2
"""In place of an event: the beginning of the episode, before anything has arrived."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a batch of windows is asked.

    Args:
        types: places int64 [n] in B·T, and the type of the event that came next there [n].
        groups: by group, places int64 [n] in B·T, and the right tokens int64 [n, S].
    """

    types: tuple[Tensor, Tensor]
    groups: Mapping[int, tuple[Tensor, Tensor]]


def first_shown(total: Ints | int, length: int, pinned: int) -> Ints:
    """With which event the window begins that is read once so many events have arrived: int64.

    All that has arrived, as long as it fits after `START`. Then the window moves on in steps of
    half its length, so that keys and values stay good for long, and what the model knows is a
    function of the history, however it was read.

    Args:
        total: events that have arrived, any shape.
        length: places of a window.
        pinned: events that every window begins with.
    """
    beyond = np.maximum(np.asarray(total, np.int64) - (length - pinned), 1)
    step = max(length // 2, 1)
    return np.where(np.asarray(total) < length, 0, -(-beyond // step) * step)


def newest(encoded: Encoded, streams: int) -> Ints:
    """The present: the newest event of each stream after each event, int64 [N, streams].

    Actions are left out, who acts by it cannot repeat itself. -1 where a stream has had none.
    """
    own = np.flatnonzero(~encoded.action)
    found = np.full((len(encoded), streams), -1, np.int64)
    found[own, encoded.stream[own]] = own
    return np.maximum.accumulate(found, axis=0) if len(encoded) else found


def lay(encoded: Encoded, start: int, length: int, pinned: Ints) -> Ints:
    """Which events a window has: int64 [length]; `START`, and `PADDED` at the end.

    Args:
        encoded: an episode.
        start: its first event; 0 begins with `START`.
        length: T.
        pinned: events that every window of the episode begins with: its instruction.
    """
    head = np.array([START], np.int64) if start == 0 else pinned[pinned < start]
    rest = np.arange(start, min(len(encoded), start + length - len(head)))
    where = np.full(length, PADDED, np.int64)
    where[: len(head) + len(rest)] = np.concatenate([head, rest])
    return where


def event_batch(
    episodes: Sequence[Encoded], where_BT: Ints, hidden_BT: npt.NDArray[np.bool_], types: int
) -> EventBatch:
    """Events as tensors.

    Args:
        episodes: B, the episode of each window.
        where_BT: which events, from `lay`.
        hidden_BT: which of them are hidden.
        types: how many there are; the next number is that of `START`.
    """
    kinds = np.full(where_BT.shape, PADDED, np.int64)
    times = np.zeros((*where_BT.shape, 2), np.float32)
    looks: dict[int, tuple[list[Ints], list[npt.NDArray[np.float32]]]] = {}
    length = where_BT.shape[1]
    for b, (episode, where) in enumerate(zip(episodes, where_BT, strict=True)):
        kinds[b, where == START] = types
        at = np.flatnonzero(where >= 0)
        events = where[at]
        kinds[b, at], times[b, at] = episode.types[events], episode.times[events]
        streams, rows = episode.stream[events], episode.row[events]
        for stream in np.unique(streams).tolist():
            own = streams == stream
            places, features = looks.setdefault(stream, ([], []))
            places.append(b * length + at[own])
            features.append(episode.features[stream][rows[own]])
    return EventBatch(
        types=torch.from_numpy(kinds),
        times=torch.from_numpy(times),
        hidden=torch.from_numpy(hidden_BT),
        features={
            stream: (
                torch.from_numpy(np.concatenate(places)),
                torch.from_numpy(np.concatenate(features)),
            )
            for stream, (places, features) in looks.items()
        },
    )


def asked_of(episodes: Sequence[Encoded], where_BT: Ints) -> Asked:
    """What comes next at every place of windows, and the answers to all questions there.

    After the instruction that a window in the middle begins with, nothing is asked: what came in
    between is not shown.
    """
    length = where_BT.shape[1]
    next_at: list[Ints] = []
    next_types: list[Ints] = []
    groups: dict[int, tuple[list[Ints], list[npt.NDArray[np.int32]]]] = {}

    def ask(group: int, places: Ints, tokens: npt.NDArray[np.int32]) -> None:
        if len(places):
            held = groups.setdefault(group, ([], []))
            held[0].append(places)
            held[1].append(tokens)

    for b, (episode, where) in enumerate(zip(episodes, where_BT, strict=True)):
        follows = np.where(where[:-1] == START, -1, where[:-1]) + 1 == where[1:]
        at = np.flatnonzero(follows & (where[1:] >= 0))
        events = where[at + 1]
        kinds, places = episode.types[events], episode.place[events]
        next_at.append(b * length + at)
        next_types.append(kinds)
        for kind in np.unique(kinds).tolist():
            own = kinds == kind
            ask(kind, b * length + at[own], episode.tokens[kind][places[own]])
        for group, (after, answers) in episode.asked.items():
            if not len(after):
                continue
            row = np.minimum(np.searchsorted(after, where), len(after) - 1)
            shown = where >= 0
            shown[0] &= bool(follows[0])
            here = np.flatnonzero(shown & (after[row] == where))
            ask(group, b * length + here, answers[row[here]])
    return Asked(
        types=(
            torch.from_numpy(np.concatenate(next_at)),
            torch.from_numpy(np.concatenate(next_types)),
        ),
        groups={
            group: (
                torch.from_numpy(np.concatenate(places)),
                torch.from_numpy(np.concatenate(tokens).astype(np.int64)),
            )
            for group, (places, tokens) in sorted(groups.items())
        },
    )  # fmt: skip
