"""A history: what had arrived by a moment, as the model has it, and what is wrong with it.

What gives no ground to answer is refused. What lets the model answer, though on less than it was
trained on, is blamed: every query hands that on with its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from viae.act.live import picture_sizes
from viae.errors import QueryRefusedError, TokenError
from viae.foresee.following import Following
from viae.foresee.habits import Usual
from viae.load import Access
from viae.load.events import EventReader, known, prefix
from viae.load.live import LiveEvents
from viae.model import BaseBundle, Context
from viae.model.tokens import ResidualCodec, VectorCodec
from viae.schema import INSTRUCTION, OUTCOME, Episode, Events, Kind, Role
from viae.schema.names import PICTURES
from viae.store import Store

Fault: TypeAlias = Literal[
    "unknown", "missing", "robot", "outside", "clock", "late", "silent", "frozen", "not judged"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """An input that the model cannot trust.

    Args:
        fault: which kind.
        what: in words, with figures.
        stream: its name; empty where it is the episode.
        element: of its samples; empty where it is all.
        at_ns: when it shows, log clock; None for all the time.
    """

    fault: Fault
    what: str
    stream: str = ""
    element: str = ""
    at_ns: int | None = None

    def __str__(self) -> str:
        where = f"stream '{self.stream}'" if self.stream else "the episode"
        where += f", element '{self.element}'" if self.element else ""
        return f"{where}: {self.what}"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """What had arrived by a moment.

    Args:
        bundle: the model.
        events: that had arrived, of all streams.
        context: the same, as the model has it.
        at_ns: the moment, log clock.
        blame: what is wrong with it.
    """

    bundle: BaseBundle
    events: Events
    context: Context
    at_ns: int
    blame: tuple[Blame, ...] = ()


def of_events(
    bundle: BaseBundle,
    events: Events,
    *,
    at_ns: int | None = None,
    robot: str = "",
    usual: Usual | None = None,
    hide_actions: bool = False,
    following: Following | None = None,
) -> History:
    """A history from events.

    Args:
        bundle: the model.
        events: the beginning of an episode.
        at_ns: the moment; only what a decision then may see is taken. None takes all.
        robot: its name.
        usual: what was usual in training, from the bundle's folder; without, what needs it is not
            judged, and that is said.
        hide_actions: whether the model sees what was done.
        following: of the same bundle, which has read the beginning of this history before and
            decides about ``hide_actions``; its context goes on with the next history it reads.

    Raises:
        QueryRefusedError: nothing has arrived that the model knows, a stream is another one than in
            training, or has a value that has no token, such as NaN.
    """
    if at_ns is not None:
        events = prefix(events, known(events, at_ns))
    now_ns = at_ns if at_ns is not None else int(events.arrival_ns[-1]) if len(events) else 0
    _refuse_other(bundle, events)
    try:
        context = (following or Following(bundle, hide_actions=hide_actions)).context(events)
    except TokenError as error:
        raise QueryRefusedError(f"the history cannot be read: {error}") from error
    if not len(context):
        raise QueryRefusedError(
            f"nothing has arrived by {now_ns / 1e9:.3f} s that the model knows; it knows "
            f"{sorted(spec.name for spec in bundle.vocabulary.streams)}"
        )
    blame = [
        *_strangers(bundle, events), *_robot(robot, usual), *_absent(bundle, events),
        *_outside(bundle, events), *_misbehaved(events, usual, now_ns),
    ]  # fmt: skip
    return History(bundle=bundle, events=events, context=context, at_ns=now_ns, blame=tuple(blame))


def of_store(
    bundle: BaseBundle,
    store: Store,
    episode: Episode,
    at_ns: int | None = None,
    *,
    usual: Usual | None = None,
    access: Access | None = None,
) -> tuple[History, Events]:
    """The history of a recorded episode at a moment, and all of the episode's events.

    How the episode ended is in the second only; interventions, which nobody knows live, are in
    neither.

    Args:
        bundle: the model.
        store: that has the episode.
        episode: of it.
        at_ns: the moment, log clock; None for the end.
        usual: see `of_events`.
        access: see `viae.load.events.EventReader`.

    Raises:
        QueryRefusedError: see `of_events`.
    """
    own = [row["spec"] for row in store.streams([episode.episode_id]) if row["samples"]]
    sizes = picture_sizes(bundle, own, episode.robot)
    reader = EventReader(
        store, [episode], picture_sizes=sizes, access=access, facts=(), names=bundle.names
    )
    every = reader.events(0)
    history = of_events(bundle, without(every, (OUTCOME,)), at_ns=at_ns, robot=episode.robot,
                        usual=usual)  # fmt: skip
    return history, every


def of_live(bundle: BaseBundle, live: LiveEvents, at_ns: int, *, robot: str = "",
            usual: Usual | None = None) -> History:  # fmt: skip
    """The history of an episode that goes on.

    Args:
        bundle: the model.
        live: the episode, of `listen`.
        at_ns: the moment, log clock.
        robot: its name.
        usual: see `of_events`.

    Raises:
        QueryRefusedError: see `of_events`.
    """
    return of_events(bundle, live.events(at_ns), at_ns=at_ns, robot=robot, usual=usual)


def without(events: Events, names: Sequence[str]) -> Events:
    """Events with some streams left out."""
    return events.of([spec.name for spec in events.streams if spec.name not in names])


def _refuse_other(bundle: BaseBundle, events: Events) -> None:
    known_specs = {spec.name: spec for spec in bundle.vocabulary.streams}
    for spec in events.streams:
        own = known_specs.get(spec.name)
        if own is None or (own.kind in PICTURES and spec.kind in PICTURES):
            continue
        if (own.kind, own.shape) != (spec.kind, spec.shape):
            raise QueryRefusedError(
                f"stream '{spec.name}' is {spec.kind}{list(spec.shape)}; the model was trained "
                f"with {own.kind}{list(own.shape)}. Rename it in a mapping if it is another stream"
            )


def _strangers(bundle: BaseBundle, events: Events) -> list[Blame]:
    """Streams that the model does not know, and so does not see."""
    found = []
    known_names = {spec.name for spec in bundle.vocabulary.streams}
    for spec in events.streams:
        if spec.name in known_names or spec.name in (INSTRUCTION, OUTCOME):
            continue
        if spec.name not in bundle.vocabulary.left:  # those it was trained without, as here
            what = "no episode of training had it, so the model does not see it"
            found.append(Blame(fault="unknown", what=what, stream=spec.name))
    return found


def _robot(robot: str, usual: Usual | None) -> list[Blame]:
    if not robot or usual is None or not usual.robots or robot in usual.robots:
        return []
    what = f"robot '{robot}' was never seen in training; seen were {list(usual.robots)}"
    return [Blame(fault="robot", what=what)]


def _absent(bundle: BaseBundle, events: Events) -> list[Blame]:
    """Observations of the model of which nothing has arrived."""
    count = {s.name: len(events.values[s.name]) for s in events.streams}
    return [
        Blame(fault="missing", what="nothing has arrived, and training had it", stream=spec.name)
        for spec in bundle.vocabulary.streams
        if spec.role is Role.OBSERVATION
        and spec.name not in (INSTRUCTION, OUTCOME)
        and not count.get(spec.name)
    ]


def _outside(bundle: BaseBundle, events: Events) -> list[Blame]:
    """Values outside the fitted range, among those that the model still sees."""
    found = []
    for spec in events.streams:
        if spec.name not in {own.name for own in bundle.vocabulary.streams}:
            continue
        codec = bundle.vocabulary.codec(spec.name)
        if spec.kind is not Kind.VECTOR or not isinstance(codec, VectorCodec | ResidualCodec):
            continue
        values = np.asarray(events.values[spec.name])[-bundle.length - 1 :]
        if len(values) > 1:
            checked = codec.check(values[1:], values[:-1].astype(np.float64))
        else:
            first = bundle.vocabulary.type_of(spec.name, first=True)
            content = bundle.vocabulary.types[first].content
            assert isinstance(content, VectorCodec | ResidualCodec)
            checked = content.check(values, None) if len(values) else []
        found += [
            Blame(fault="outside", what=what, stream=spec.name, element=element)
            for element, what in checked
        ]
    return found


def _misbehaved(events: Events, usual: Usual | None, now_ns: int) -> list[Blame]:
    """Clocks that jump, streams that are frozen, late or silent."""
    if usual is None:
        what = (
            "whether clocks jump or cameras froze is not judged: the bundle's folder does not say "
            "what is usual (viae train base writes it; viae.foresee.Usual.fit)"
        )
        return [Blame(fault="not judged", what=what)]
    return [
        Blame(fault=each.fault, what=each.what, stream=each.stream, at_ns=each.at_ns)
        for each in usual.habits.blame(events, now_ns)
        if each.fault != "not finite"  # refused before
    ]
