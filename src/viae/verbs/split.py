"""Split: which episodes are held out, so that nothing of them is in the others."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viae.doctor.digest import digest_of
from viae.doctor.placing import MESSAGE_LOGS
from viae.doctor.sketch import Sketch, near_duplicates
from viae.doctor.tracing import trace_episode
from viae.errors import UsageError
from viae.schema import Episode, Fact, Kind, Role
from viae.sequence import held_out, split_episodes
from viae.store import Store, query
from viae.verbs.choose import chosen
from viae.verbs.progress import Progress, Tell, quiet

SESSION_KEYS = ("session", "session_id", "operator", "operator_id")
"""Conditions of an episode, or facts about it, that say in which session it was recorded."""
ALONE = "unknown: alone"
SPLIT_KEY = "split"
TRAIN, HELD_OUT = "train", "held-out"
AUTHOR = "viae split"
AT_ONCE = 16
"""Episodes whose vectors are in memory together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Pairs of a training episode and one held out that belong together.

    Args:
        sessions: pairs of one session.
        near_duplicates: pairs that are nearly the same.
    """

    sessions: int
    near_duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """A split, and what it keeps together.

    Args:
        snapshot: id of the state that was read.
        where: the SQL condition on ``episodes``.
        fraction: that was asked for.
        seed: of the choice.
        rules: how sessions were told apart: how many episodes by each rule.
        tasks: per task its episodes, and how many are held out.
        sessions: how many there are, and how many have several episodes.
        near_duplicates: groups of episodes that are nearly the same.
        by_episode: what would have leaked, had episodes been drawn one by one.
        leak: what does leak: nothing.
        train: ids, sorted.
        held_out: ids, sorted.
    """

    snapshot: str
    where: str
    fraction: float
    seed: int
    rules: Mapping[str, int]
    tasks: Mapping[str, tuple[int, int]]
    sessions: tuple[int, int]
    near_duplicates: Sequence[Sequence[str]]
    by_episode: Leak
    leak: Leak
    train: Sequence[str]
    held_out: Sequence[str]

    @property
    def alone(self) -> int:
        """Episodes of which nobody says in which session they were recorded."""
        return self.rules.get(ALONE, 0)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "snapshot": self.snapshot, "where": self.where, "fraction": self.fraction,
            "seed": self.seed, "rules": dict(self.rules),
            "tasks": {
                task: {"episodes": every, "held_out": held}
                for task, (every, held) in self.tasks.items()
            },
            "sessions": {"count": self.sessions[0], "of_several_episodes": self.sessions[1]},
            "near_duplicates": [list(group) for group in self.near_duplicates],
            "leaked_pairs": {
                "by_episode": _leak_json(self.by_episode), "this_split": _leak_json(self.leak),
            },
            "train": list(self.train), "held_out": list(self.held_out),
        }  # fmt: skip


def split(
    store: Store,
    *,
    fraction: float = 0.1,
    seed: int = 0,
    session: str = "",
    where: str = "true",
    append: bool = False,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> SplitReport:
    """Hold out a share of the episodes of each task, together with all that belongs to them.

    Episodes of one session stay on one side, and so do near-duplicates (those that the doctor
    finds: the same samples, or the same movement in other numbers).

    Without ``session``, an episode's session is what its conditions or facts say (``session``,
    ``session_id``, ``operator``, ``operator_id``); else, for formats of which a file is one
    recording (MCAP, ROS bags, ULog), its file; else it is taken to be alone. The report says how
    many episodes each rule decided.

    Args:
        store: its newest snapshot is read.
        fraction: share to hold out.
        seed: of the choice.
        session: SQL expression over ``episodes``; equal values are one session, NULL is alone.
        where: SQL condition on the table ``episodes``.
        append: add the split to the store, as facts: ``fact(episode_id, 'split')`` is then
            ``train`` or ``held-out`` in SQL.
        tell: told of progress.
        now_ns: the clock, for the facts.

    Raises:
        UsageError: the fraction is no share, no episode fits, or all that fit belong together.
        QueryError: ``session`` or ``where`` is not SQL.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"the fraction to hold out lies between 0 and 1, not {fraction}")
    pinned = store.at(store.snapshot())
    episodes = chosen(pinned, where)
    of, rules = _sessions(pinned, episodes, session)
    sessions = _groups(of)
    sketches = _sketches(pinned, episodes, tell)
    ids = [episode.episode_id for episode in episodes]
    copies = [[ids[i] for i in group] for group in near_duplicates(sketches)]
    tasks = {episode.episode_id: episode.task for episode in episodes}
    held = split_episodes(tasks, fraction=fraction, seed=seed, tied=[*sessions, *copies])
    if not held:
        raise UsageError(
            f"{store.uri}: nothing can be held out of {len(ids)} episodes: "
            f"{_why(fraction, sessions, copies)}. Hold out a larger share with --fraction, choose "
            "others with --where, or say what a session is with --session"
        )
    by_task: dict[str, list[str]] = defaultdict(list)
    for episode_id, task in tasks.items():
        by_task[task].append(episode_id)
    drawn = held_out(by_task, fraction=fraction, seed=seed)
    report = SplitReport(
        snapshot=pinned.snapshot().snapshot_id, where=where, fraction=fraction, seed=seed,
        rules=rules,
        tasks={task: (len(own), len(held.intersection(own)))
               for task, own in sorted(by_task.items())},
        sessions=(len(set(of.values())), len(sessions)),
        near_duplicates=copies,
        by_episode=Leak(sessions=_pairs(sessions, drawn), near_duplicates=_pairs(copies, drawn)),
        leak=Leak(sessions=_pairs(sessions, held), near_duplicates=_pairs(copies, held)),
        train=sorted(set(ids) - held), held_out=sorted(held),
    )  # fmt: skip
    if append:
        at_ns = now_ns()
        sides = {**dict.fromkeys(report.train, TRAIN), **dict.fromkeys(report.held_out, HELD_OUT)}
        store.add_facts(
            [
                Fact(episode_id=i, key=SPLIT_KEY, value=side, author=AUTHOR, time_ns=at_ns)
                for i, side in sides.items()
            ]
        )
    return report


# -- sessions -------------------------------------------------------------------------------------


def _sessions(
    store: Store, episodes: Sequence[Episode], expression: str
) -> tuple[dict[str, str], dict[str, int]]:
    """Per episode the name of its session, and how many episodes each rule decided."""
    of: dict[str, str] = {}
    rules: Counter[str] = Counter()
    if expression:
        sql = f"SELECT episode_id, CAST(({expression}) AS VARCHAR) AS session FROM episodes"
        rows = query(store, sql)
        said = dict(zip(rows["episode_id"].to_pylist(), rows["session"].to_pylist(), strict=True))
        for episode in episodes:
            value = said[episode.episode_id]
            rules["--session" if value is not None else "--session gives NULL: alone"] += 1
            of[episode.episode_id] = f"alone {episode.episode_id}" if value is None else value
        return of, dict(rules)
    facts = {
        (fact.episode_id, fact.key): fact.value
        for key in SESSION_KEYS
        for fact in store.facts(key=key)
        if fact.start_ns is None and fact.other_episode_id is None
    }
    for episode in episodes:
        rule, name = _session_of(episode, facts)
        rules[rule] += 1
        of[episode.episode_id] = f"{rule}: {name}"
    return of, dict(rules)


def _session_of(episode: Episode, facts: Mapping[tuple[str, str], object]) -> tuple[str, str]:
    for key in SESSION_KEYS:
        value = facts.get((episode.episode_id, key), episode.conditions.get(key))
        if value not in (None, ""):
            return f"'{key}' of the episode", str(value)
    if episode.log_format in MESSAGE_LOGS:
        return "same log file", episode.log_uri
    return ALONE, episode.episode_id


def _groups(of: Mapping[str, str]) -> list[list[str]]:
    """Sessions of several episodes."""
    groups: dict[str, list[str]] = defaultdict(list)
    for episode_id, session in of.items():
        groups[session].append(episode_id)
    return [group for group in groups.values() if len(group) > 1]


# -- near-duplicates ------------------------------------------------------------------------------


def _sketches(store: Store, episodes: Sequence[Episode], tell: Tell) -> list[Sketch | None]:
    """What the doctor compares episodes by, of their vectors only: no picture is read."""
    found: list[Sketch | None] = []
    for start in range(0, len(episodes), AT_ONCE):
        tell(Progress(phase="near-duplicates", done=start, total=len(episodes)))
        ids = [episode.episode_id for episode in episodes[start : start + AT_ONCE]]
        moving = {
            row["stream"]
            for row in store.streams(ids)
            if row["spec"].kind is Kind.VECTOR and row["spec"].role is not Role.OUTCOME
        }
        blocks: dict[str, list[Any]] = {episode_id: [] for episode_id in ids}
        for (episode_id, _), samples in store.samples(ids, moving).items():
            blocks[episode_id].append(samples)
        for episode_id, own in blocks.items():
            items = [samples for samples in own if len(samples)]
            trace = trace_episode(
                items, path=store.uri, episode=episode_id, format="store", pictures=False
            )
            found.append(digest_of(trace).sketch)
    tell(Progress(phase="near-duplicates", done=len(episodes), total=len(episodes)))
    return found


def _pairs(groups: Iterable[Sequence[str]], held: Iterable[str]) -> int:
    """Pairs of one group, one held out and one not."""
    out = frozenset(held)
    inside = [(sum(i in out for i in group), len(group)) for group in groups]
    return sum(count * (size - count) for count, size in inside)


def _why(
    fraction: float, sessions: Sequence[Sequence[str]], copies: Sequence[Sequence[str]]
) -> str:
    largest = max((len(group) for group in sessions), default=1)
    alike = max((len(group) for group in copies), default=1)
    return (
        f"the largest session has {largest} of them, and up to {alike} are nearly the same"
        if max(largest, alike) > 1
        else f"a share of {fraction:g} rounds to none in each task"
    )


def _leak_json(leak: Leak) -> dict[str, int]:
    return {"sessions": leak.sessions, "near_duplicates": leak.near_duplicates}
