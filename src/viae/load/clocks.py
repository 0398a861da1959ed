"""Clock corrections: facts that say how a stream's clock maps to the log's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from viae.schema import Fact, TimesNs
from viae.sequence.clock import ArrivalClock, Clock, ClockUse, clock_from_json
from viae.store import Store

CLOCK_KEY = "clock."
"""Followed by the stream's name. The value is a clock as JSON, or null for "as stamped"."""

Clocks: TypeAlias = Mapping[tuple[str, str], Clock]
"""Per (episode id, stream); streams without an entry are stamped by the log's clock."""


def read_clocks(store: Store, episode_ids: Iterable[str]) -> Clocks:
    """The newest clock said of each stream, where one is said.

    Raises:
        SchemaError: a fact's value is no clock.
    """
    facts = read_clock_facts(store, episode_ids)
    return {
        subject: clock for subject, fact in facts.items() if (clock := clock_of(fact)) is not None
    }


def read_clock_facts(store: Store, episode_ids: Iterable[str]) -> dict[tuple[str, str], Fact]:
    """The newest fact about the clock of each stream: per (episode id, stream)."""
    wanted = set(episode_ids)
    return {
        (fact.episode_id, fact.key.removeprefix(CLOCK_KEY)): fact
        for fact in store.facts()
        if fact.key.startswith(CLOCK_KEY)
        and fact.episode_id in wanted
        and fact.start_ns is None
        and fact.other_episode_id is None
    }


def clock_of(fact: Fact) -> Clock | None:
    """The clock that a fact says; None for the log's."""
    return clock_from_json(fact.value) if isinstance(fact.value, dict) else None


def clock_fact(
    episode_id: str, stream: str, clock: Clock | None, *, author: str, time_ns: int
) -> Fact:
    """The fact that a stream of an episode is stamped by a clock; None says by the log's."""
    return Fact(
        episode_id=episode_id, key=f"{CLOCK_KEY}{stream}", value=clock.to_json() if clock else None,
        author=author, time_ns=time_ns,
    )  # fmt: skip


def on_log_clock(
    clocks: Clocks, episode_id: str, stream: str, capture_ns: TimesNs, arrival_ns: TimesNs
) -> TimesNs:
    """Capture times by the log's clock: int64 [N], ns."""
    clock = clocks.get((episode_id, stream))
    return clock.apply(capture_ns, arrival_ns) if clock else capture_ns


def clock_uses(
    store: Store, episode_ids: Collection[str], streams: Collection[str]
) -> dict[str, ClockUse]:
    """How captures are dated in windows of some episodes, of the streams that are corrected in any.

    Args:
        store: at the snapshot that the windows are cut from.
        episode_ids: of the windows.
        streams: that they read.

    Raises:
        SchemaError: a fact's value is no clock.
    """
    clocks = read_clocks(store, episode_ids)
    found: dict[str, list[Clock | None]] = {}
    for row in store.streams(list(episode_ids)):
        if row["stream"] in streams:
            clock = clocks.get((row["episode_id"], row["stream"]))
            found.setdefault(row["stream"], []).append(clock)
    uses = {}
    for name, said in sorted(found.items()):
        by_arrival = sum(isinstance(clock, ArrivalClock) for clock in said)
        stamped = sum(clock is None for clock in said)
        if stamped < len(said):
            modelled = len(said) - stamped - by_arrival
            uses[name] = ClockUse(stamped=stamped, modelled=modelled, by_arrival=by_arrival)
    return uses
