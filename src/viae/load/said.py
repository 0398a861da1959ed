"""What was said of an episode, as samples of streams: its task, its outcome, and spans of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.schema import Episode, Fact, JsonValue, Kind, StreamSpec
from viae.store import Store

Spans = npt.NDArray[np.int64]
WHOLE = ("task", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said of one episode.

    Args:
        task: in words; empty where nobody said.
        outcome: None where nobody said.
        spans: facts about a span of it, by key, in the order of their begin.
    """

    task: str
    outcome: bool | None
    spans: Mapping[str, Sequence[Fact]]


def read_said(store: Store, episodes: Sequence[Episode], keys: Collection[str]) -> list[Said]:
    """What was said of episodes, the newest fact first of all.

    Args:
        store: at a snapshot.
        episodes: in this order.
        keys: of facts about spans.
    """
    place = {episode.episode_id: i for i, episode in enumerate(episodes)}
    whole: list[dict[str, JsonValue]] = [{} for _ in episodes]
    spans: list[dict[str, list[Fact]]] = [{} for _ in episodes]
    for fact in store.facts():
        number = place.get(fact.episode_id)
        if number is None or fact.other_episode_id is not None:
            continue
        if fact.start_ns is None:
            if fact.key in WHOLE:
                whole[number][fact.key] = fact.value
        elif fact.key in keys and fact.value is not False:
            spans[number].setdefault(fact.key, []).append(fact)
    said = []
    for episode, stated, found in zip(episodes, whole, spans, strict=True):
        task, outcome = stated.get("task", episode.task), stated.get("outcome", episode.outcome)
        for facts in found.values():
            facts.sort(key=lambda fact: (fact.start_ns, fact.end_ns))
        said.append(
            Said(
                task=task if isinstance(task, str) else "",
                outcome=outcome if isinstance(outcome, bool) else None,
                spans=found,
            )
        )
    return said


def fact_specs(said: Sequence[Said]) -> dict[str, StreamSpec]:
    """What the facts of each key are as a stream, by all their values.

    True or null: bool [1], True where a span begins and False where it ends. Numbers: float64 [1],
    or [n] of lists of n. Text: text. Anything else, or several of these: text, as JSON.
    """
    values: dict[str, list[JsonValue]] = {}
    for one in said:
        for key, facts in one.spans.items():
            values.setdefault(key, []).extend(fact.value for fact in facts)
    return {key: _spec(key, found) for key, found in values.items()}


def samples_of(
    facts: Sequence[Fact], spec: StreamSpec, first_ns: int, last_ns: int
) -> tuple[Spans, Any]:
    """Facts of one key as samples of a stream.

    Of true or null facts, spans that overlap are one. A span that began before the episode begins
    with it; one that goes on beyond its last arrival has no end here. What lies outside gives none.

    Args:
        facts: about spans, in the order of their begin.
        spec: by `fact_specs`.
        first_ns: first arrival of the episode.
        last_ns: last one.

    Returns:
        Times int64 [n], never decreasing, and values: [n, *shape], or n texts.
    """
    if spec.dtype == "bool":
        times, values = [], []
        for start_ns, end_ns in joined(facts).tolist():
            if start_ns > last_ns or max(end_ns, start_ns + 1) <= first_ns:
                continue
            times.append(max(start_ns, first_ns))
            values.append(True)
            if end_ns <= last_ns:
                times.append(end_ns)
                values.append(False)
        return np.array(times, np.int64), np.array(values, np.bool_).reshape(-1, 1)
    inside = [f for f in facts if _start(f) <= last_ns and max(_end(f), _start(f) + 1) > first_ns]
    at_ns = np.array([max(_start(fact), first_ns) for fact in inside], np.int64)
    if spec.kind is Kind.TEXT:
        return at_ns, [_text(fact.value) for fact in inside]
    numbers = np.array([fact.value for fact in inside], np.float64)
    return at_ns, numbers.reshape(len(inside), *spec.shape)


def joined(facts: Sequence[Fact]) -> Spans:
    """Spans, those that overlap or touch as one: int64 [n, 2], begin and end (exclusive).

    Args:
        facts: about spans, any order.
    """
    spans: list[list[int]] = []
    for fact in sorted(facts, key=_start):
        if spans and _start(fact) <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], _end(fact))
        else:
            spans.append([_start(fact), _end(fact)])
    return np.array(spans, np.int64).reshape(-1, 2)


def _start(fact: Fact) -> int:
    assert fact.start_ns is not None
    return fact.start_ns


def _end(fact: Fact) -> int:
    assert fact.end_ns is not None
    return fact.end_ns


def _spec(key: str, values: Sequence[JsonValue]) -> StreamSpec:
    if all(value is True or value is None for value in values):
        return StreamSpec(name=key, dtype="bool", shape=(1,))
    sizes = {_size(value) for value in values}
    if len(sizes) == 1 and (size := sizes.pop()):
        return StreamSpec(name=key, shape=(size,))
    return StreamSpec(name=key, kind=Kind.TEXT, dtype="")


def _size(value: JsonValue) -> int:
    """How many numbers a value is; 0 where it is something else."""
    numbers = value if isinstance(value, list) else [value]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    return len(numbers) if plain else 0


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
