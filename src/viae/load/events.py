"""Episodes as events: every sample of every stream, and what was said, in causal order.

`viae.load.live` makes the same events while an episode goes on: those of an episode's beginning are
equal, whether they are cut from a store or arrived one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError, WindowError
from viae.load.access import Access
from viae.load.frames import OnDemand
from viae.load.packets import PacketSource, TakenPackets, coded_bytes, hold
from viae.load.said import fact_specs, joined, read_said, samples_of
from viae.load.timelines import StreamRows, read_timelines
from viae.load.vectors import read_vectors
from viae.schema import INSTRUCTION, OUTCOME, Episode, Events, Kind, Role, StreamSpec, TimesNs
from viae.schema.names import PICTURES, StreamNames
from viae.sequence import causal_order, decision_bound
from viae.store import Store
from viae.video import AS_RECORDED, PictureView
from viae.video.pictures import RAW_FORMATS

Ints: TypeAlias = npt.NDArray[np.int64]
PictureSize: TypeAlias = tuple[int, int]

INSTRUCTION_SPEC = StreamSpec(name=INSTRUCTION, kind=Kind.TEXT, dtype="")
OUTCOME_SPEC = StreamSpec(name=OUTCOME, dtype="bool", shape=(1,), role=Role.OUTCOME)


class Pictures:
    """Pictures of one stream of one episode, decoded when they are asked for.

    Args:
        frames: of the stream through all episodes.
        which: int64 [n], numbers among them.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, frames: OnDemand, which: Ints) -> None:
        self._frames, self._which = frames, which

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, 3, H, W)."""
        return (len(self), *self._frames.shape)

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, at: int | slice | Ints) -> npt.NDArray[np.uint8]:
        """One uint8 [3, H, W], or several uint8 [k, 3, H, W].

        Raises:
            WindowError: a picture cannot be decoded; the text names stream, episode and time.
        """
        which = np.atleast_1d(self._which[at])
        out = np.empty((len(which), *self._frames.shape), np.uint8)
        self._frames.read(which, out)
        return out[0] if np.ndim(self._which[at]) == 0 else out

    def taken(self, rows: Ints | slice) -> Pictures:
        """Some of them, still not decoded."""
        return Pictures(self._frames, self._which[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        decoded = self[:]
        return decoded if dtype is None else decoded.astype(dtype)

    def __repr__(self) -> str:
        return f"Pictures({self._frames.spec.name!r}, {list(self.shape)})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """The samples of one stream of one episode, in recorded order.

    Args:
        spec: under the name that the stream is called by.
        name: as recorded: decides ties.
        capture_ns: int64 [n], log clock.
        arrival_ns: int64 [n], any order.
        values: see `Events`.
    """

    spec: StreamSpec
    name: str
    capture_ns: TimesNs
    arrival_ns: TimesNs
    values: Any


class EventReader:
    """Episodes as events.

    Vectors and texts are kept in memory, pictures are decoded on demand. Streams need not be alike
    in all episodes: each episode has its own, under the names of `viae.schema.names`.

    Beside the streams of its log an episode has, where somebody said so,

    - ``instruction``, text: its task, once, first of all, at its first arrival;
    - ``outcome``, bool [1]: once, last of all, at its last arrival;
    - per key of ``facts`` a stream of that name, see `viae.load.said`: ``intervention`` is True
      where one begins and False where it ends. What was said later stands here at the time it is
      about. Live, nobody has said it yet: a model that is shown such events in training and not
      while it acts sees something else than it was trained on. They are targets without harm;
      ``facts=()`` leaves them out.

    The newest fact counts. Clock corrections are applied.

    Args:
        store: at the snapshot to read.
        episodes: in this order.
        streams: names as recorded; None takes all.
        picture_sizes: how pictures are looked at, per stream as recorded: (height, width), or a
            `PictureView`; others keep their recorded size.
        access: what loading pictures may use: ``memory_bytes`` for coded packets. They are decoded
            on demand, other paths are refused.
        facts: keys of facts about spans that become streams.
        stops: keys of facts about spans in which `Events.asked` is False, as `WindowSpec.stops`:
            of what arrives from the begin on and before the end.
        names: of the streams, for episodes of several readers; None makes them of these episodes.

    Raises:
        WindowError: an episode is named twice, no episode has a stream that is named, a stream that
            is named cannot be events, two streams of an episode would have one name, or a size or
            crop fits no picture stream.
        UsageError: an access path that is not on demand, or a fact with the name of another stream.
    """

    def __init__(
        self,
        store: Store,
        episodes: Sequence[Episode],
        *,
        streams: Collection[str] | None = None,
        picture_sizes: Mapping[str, PictureSize | PictureView] | None = None,
        access: Access | None = None,
        facts: Collection[str] = ("intervention",),
        stops: Collection[str] = ("intervention",),
        names: StreamNames | None = None,
    ) -> None:
        access = access or Access()
        if access.path not in ("auto", "decode") or access.decoder != "pyav":
            raise UsageError(
                f"events take pictures on demand, by PyAV; the path {access.path!r} by "
                f"{access.decoder!r} is of windows only"
            )
        if taken := {INSTRUCTION, OUTCOME} & set(facts):
            raise UsageError(f"facts {sorted(taken)} would have the name of another stream")
        self.store = store.at(store.snapshot())
        self.episodes = tuple(episodes)
        self._ids = [episode.episode_id for episode in episodes]
        self._views = {
            name: view if isinstance(view, PictureView) else PictureView((view[0], view[1]))
            for name, view in (picture_sizes or {}).items()
        }
        self._keys, self._stops = frozenset(facts), frozenset(stops)
        self._said = read_said(self.store, self.episodes, self._keys | self._stops)
        self._fact_specs = fact_specs(self._said)
        recorded = self._recorded(streams)
        found = [(self.episodes[each.episode].robot, each.shown) for each in recorded]
        self.names = names or StreamNames.of(found, self._keys)
        """What the streams are called; give them to readers of other episodes, and live."""
        self.left: dict[str, str] = {}
        """Streams that cannot be events, by the names they would have, and why."""
        self._parts: list[list[_Part]] = [[] for _ in episodes]
        self._open(recorded, streams is not None, access.memory_bytes)

    def __len__(self) -> int:
        return len(self.episodes)

    def events(self, number: int) -> Events:
        """The events of an episode.

        Args:
            number: in [0, len(self)).

        Returns:
            The events. Vectors are parts of the reader's memory: not to be written to.
        """
        own = [part.column(number) for part in self._parts[number]]
        said = self._said[number]
        arrivals = [column.arrival_ns for column in own]
        episode = self.episodes[number]
        first_ns = min((int(a.min()) for a in arrivals), default=episode.start_ns)
        last_ns = max((int(a.max()) for a in arrivals), default=episode.end_ns)
        for key in sorted(self._keys & said.spans.keys()):
            spec = self._fact_specs[key]
            at_ns, values = samples_of(said.spans[key], spec, first_ns, last_ns)
            if len(at_ns):
                own.append(replace(_column(spec, at_ns, values), name=f"said:{key}"))
        return assemble(
            own,
            first=_column(INSTRUCTION_SPEC, first_ns, [said.task]) if said.task else None,
            last=None
            if said.outcome is None
            else _column(OUTCOME_SPEC, last_ns, np.array([[said.outcome]])),
            stops=joined([fact for key in self._stops for fact in said.spans.get(key, ())]),
        )

    def _recorded(self, streams: Collection[str] | None) -> list[_Recorded]:
        """Every stream of every episode."""
        place = {episode_id: i for i, episode_id in enumerate(self._ids)}
        if len(place) < len(self._ids):
            raise WindowError("an episode is named twice; name each once")
        rows = [row for row in self.store.streams(self._ids) if row["samples"]]
        specs = {row["stream"]: row["spec"] for row in rows}
        if missing := sorted(set(streams or ()) - specs.keys()):
            raise WindowError(
                f"none of {len(self._ids)} episodes has the streams {missing}; list the streams of "
                "one with  viae show EPISODE"
            )
        pictures = {name for name, spec in specs.items() if spec.kind in PICTURES}
        if unknown := sorted(self._views.keys() - pictures):
            raise WindowError(
                f"a size or crop is given for {unknown}; the pictures of these episodes are "
                f"{sorted(pictures)}"
            )
        return [
            _Recorded(place[row["episode_id"]], row["spec"], self._view(row["stream"]))
            for row in rows
            if streams is None or row["stream"] in streams
        ]

    def _view(self, stream: str) -> PictureView:
        return self._views.get(stream, AS_RECORDED)

    def _open(self, recorded: Sequence[_Recorded], named: bool, memory_bytes: int) -> None:
        """Read times and values, streams that are alike in the same episodes together."""
        alike: dict[tuple[Any, ...], dict[int, StreamSpec]] = {}
        for each in recorded:
            spec = self.names.renamed(self.episodes[each.episode].robot, each.shown)
            if why := why_left(spec):
                if named:
                    raise WindowError(f"stream '{each.spec.name}' cannot be events: {why}")
                self.left[spec.name] = why
            elif spec.name in self._keys:
                raise UsageError(
                    f"the fact '{spec.name}' would have the name of a stream of episode "
                    f"{self._ids[each.episode]}; make the names by a reader of the same facts"
                )
            else:
                alike.setdefault(each.alike, {})[each.episode] = spec
        forms: dict[str, int] = {}
        for key in alike:
            forms[key[0]] = forms.get(key[0], 0) + 1
        together: dict[tuple[int, ...], dict[str, dict[int, StreamSpec]]] = {}
        for key, specs in alike.items():
            everywhere = forms[key[0]] == 1
            numbers = tuple(range(len(self._ids)) if everywhere else sorted(specs))
            together.setdefault(numbers, {})[key[0]] = specs
        for numbers, streams in together.items():
            memory_bytes = self._read(numbers, streams, memory_bytes)

    def _read(
        self, numbers: tuple[int, ...], streams: Mapping[str, Mapping[int, StreamSpec]], left: int
    ) -> int:
        """Read streams over the episodes in which they are alike; memory that is left then."""
        ids = [self._ids[number] for number in numbers]
        scaled = {name for name in streams if self._view(name).size}
        rows = read_timelines(self.store, ids, list(streams), scaled=scaled)
        kinds = {name: stream.spec.kind for name, stream in rows.items()}
        vectors = [name for name in streams if kinds[name] is Kind.VECTOR]
        texts = self.store.samples(ids, [name for name in streams if kinds[name] is Kind.TEXT])
        values: dict[str, Any] = {}
        values |= read_vectors(self.store, ids, {name: rows[name] for name in vectors})
        place = {episode_id: i for i, episode_id in enumerate(ids)}
        for (episode_id, name), samples in texts.items():
            values.setdefault(name, {})[place[episode_id]] = list(samples.values)
        for name in sorted(streams):
            if kinds[name] in PICTURES:
                coded = coded_bytes(self.store, rows[name])
                packets: PacketSource = TakenPackets(self.store, rows[name])
                if coded <= left:
                    packets = hold(self.store, rows[name], ids)
                    left -= coded
                values[name] = OnDemand(rows[name], packets, self._view(name), tuple(ids))
        local = dict(zip(numbers, range(len(numbers)), strict=True))
        for name, specs in streams.items():
            part = _Part(rows[name], values[name], specs, local)
            for number, spec in specs.items():
                if any(spec.name == other.specs[number].name for other in self._parts[number]):
                    raise WindowError(
                        f"two streams of episode {self._ids[number]} would both be called "
                        f"'{spec.name}'; rename one in a mapping and ingest again"
                    )
                self._parts[number].append(part)
        return left


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """A stream of an episode."""

    episode: int
    spec: StreamSpec
    view: PictureView

    @property
    def shown(self) -> StreamSpec:
        """What its values are: of pictures, after they are looked at."""
        return shown_spec(self.spec, self.view)

    @property
    def alike(self) -> tuple[Any, ...]:
        """What must be equal for streams of several episodes to be read together."""
        spec, raw = self.spec, self.spec.encoding in RAW_FORMATS
        shape = spec.shape if raw or not self.view.size else ()
        return spec.name, spec.kind, spec.dtype, spec.role, spec.encoding if raw else "", shape


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A stream through some episodes: times, values, and what it is called in each."""

    rows: StreamRows
    values: Any
    specs: Mapping[int, StreamSpec]
    local: Mapping[int, int]

    def column(self, number: int) -> Column:
        """Of one episode."""
        local = self.local[number]
        part = slice(int(self.rows.starts[local]), int(self.rows.starts[local + 1]))
        if isinstance(self.values, OnDemand):
            values: Any = Pictures(self.values, np.arange(part.start, part.stop))
        else:
            values = self.values[local if isinstance(self.values, dict) else part]
        return Column(
            spec=self.specs[number], name=self.rows.spec.name, values=values,
            capture_ns=self.rows.capture_ns[part], arrival_ns=self.rows.arrival_ns[part],
        )  # fmt: skip


def shown_spec(spec: StreamSpec, view: PictureView = AS_RECORDED) -> StreamSpec:
    """What the values of a stream are: pictures as they are looked at, uint8 (H, W, 3)."""
    if spec.kind not in PICTURES or len(spec.shape) < 2:
        return spec
    height, width = view.shape(*spec.shape[:2])
    return replace(spec, dtype="uint8", shape=(height, width, 3), names=())


def why_left(spec: StreamSpec) -> str:
    """Why a stream, as it is shown, cannot be events; empty if it can."""
    if spec.kind is Kind.BYTES:
        return "its bytes mean nothing to viae"
    if spec.kind is Kind.VECTOR and spec.varies:
        return "its samples vary in length"
    if spec.kind in PICTURES and (len(spec.shape) < 2 or min(spec.shape[:2]) < 1):
        return "the log does not say how large its pictures are: give a size"
    return ""


def assemble(
    columns: Sequence[Column], *, first: Column | None, last: Column | None, stops: Ints
) -> Events:
    """Samples of streams as events.

    Args:
        columns: of streams with distinct names.
        first: one sample before all others.
        last: one after them.
        stops: int64 [k, 2], spans in which nothing is asked.
    """
    order = causal_order(
        [replace(column.spec, name=column.name) for column in columns],
        [column.arrival_ns for column in columns],
        [np.arange(len(column.arrival_ns)) for column in columns],
    )
    every = [*columns, *([first] if first else []), *([last] if last else [])]
    ends = [np.array([[every.index(end), 0]]) if end else np.empty((0, 2), np.int64)
            for end in (first, last)]  # fmt: skip
    order = np.concatenate([ends[0], order, ends[1]])
    ranked = sorted(range(len(every)), key=lambda i: every[i].spec.name)
    place = np.empty(len(every), np.int64)
    place[ranked] = np.arange(len(every))
    row, capture_ns, arrival_ns = (np.empty(len(order), np.int64) for _ in range(3))
    values: dict[str, Any] = {}
    by_stream = np.argsort(order[:, 0], kind="stable")
    bounds = np.searchsorted(order[by_stream, 0], np.arange(len(every) + 1))
    for number, column in enumerate(every):
        at = by_stream[bounds[number] : bounds[number + 1]]
        own = order[at, 1]
        row[at] = np.arange(len(at))
        capture_ns[at], arrival_ns[at] = column.capture_ns[own], column.arrival_ns[own]
        in_order = bool((own == row[at]).all())
        values[column.spec.name] = column.values if in_order else _taken(column.values, own)
    asked = np.ones(len(order), np.bool_)
    for start_ns, end_ns in stops.tolist():
        asked &= (arrival_ns < start_ns) | (arrival_ns >= end_ns)
    return Events(
        streams=tuple(every[i].spec for i in ranked), stream=place[order[:, 0]], row=row,
        capture_ns=capture_ns, arrival_ns=arrival_ns, values=values, asked=asked,
    )  # fmt: skip


def prefix(events: Events, n: int) -> Events:
    """The first n events: all streams, fewer samples."""
    counts = np.bincount(events.stream[:n], minlength=len(events.streams)).tolist()
    return Events(
        streams=events.streams,
        stream=events.stream[:n],
        row=events.row[:n],
        capture_ns=events.capture_ns[:n],
        arrival_ns=events.arrival_ns[:n],
        values={
            spec.name: _first(events.values[spec.name], count)
            for spec, count in zip(events.streams, counts, strict=True)
        },
        asked=events.asked[:n],
    )


def known(events: Events, decision_ns: int) -> int:
    """How many events a decision may see: observations up to it, others before it.

    Equal to `viae.sequence.input_indices`: what is known is a beginning of the causal order.
    """
    at_ns = np.array([decision_ns], np.int64)
    bounds = np.array([decision_bound(s.role, at_ns)[0] for s in events.streams], np.int64)
    return int((events.arrival_ns <= bounds[events.stream]).sum()) if len(events) else 0


def _column(spec: StreamSpec, at_ns: int | Ints, values: Any) -> Column:
    """Samples that were captured when they arrived."""
    times = np.atleast_1d(np.asarray(at_ns, np.int64))
    return Column(spec=spec, name=spec.name, capture_ns=times, arrival_ns=times, values=values)


def _first(values: Any, count: int) -> Any:
    rows = slice(count)
    return values.taken(rows) if isinstance(values, Pictures) else values[rows]


def _taken(values: Any, rows: Ints) -> Any:
    if isinstance(values, list):
        return [values[row] for row in rows.tolist()]
    return values.taken(rows) if isinstance(values, Pictures) else values[rows]
