"""That no window knows the future: checked on the loader's own windows, by other means.

`recheck` looks every sample of every window up in the rows of the store. `disturb` writes episodes
again with everything changed that arrived after a decision, and has the loader cut them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.load.clocks import CLOCK_KEY
from viae.load.windows import Windows
from viae.schema import (
    NS_PER_S,
    Batch,
    Episode,
    Fact,
    Kind,
    Role,
    Samples,
    StreamSpec,
    Take,
    TimesNs,
    WindowSpec,
)  # fmt: skip
from viae.sequence import decision_bound
from viae.store import Store, StoreWriter, query, times_from_rows

Subject: TypeAlias = tuple[str, str]
Ints = npt.NDArray[np.int64]

MOST_NAMED = 5
"""Leaks that are named; all are counted."""
MOST_DISTURBED = 2_000_000
"""Samples written again, in all."""


class Cut(Protocol):
    """What is proved of: windows that say which samples they have."""

    spec: WindowSpec
    episodes: tuple[Episode, ...]

    @property
    def episode_of(self) -> Ints:
        """int64 [W]."""

    @property
    def decisions_ns(self) -> Ints:
        """int64 [W]."""

    def __len__(self) -> int:
        """W."""

    def sample_indices(self, key: str) -> Ints:
        """int64 [W, T], positions in the episode's own stream; -1 where padded."""

    def batch(self, which: Ints) -> Batch:
        """Windows by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A sample in a window that it cannot have known.

    Args:
        episode_id: of the window.
        stream: of the sample.
        decision_ns: of the window, log clock.
        sample: its position in the stream.
        arrival_ns: when it arrived.
    """

    episode_id: str
    stream: str
    decision_ns: int
    sample: int
    arrival_ns: int

    def __str__(self) -> str:
        late_ms = (self.arrival_ns - self.decision_ns) / 1e6
        return (
            f"episode {self.episode_id}: the window of {self.decision_ns / NS_PER_S:.6f} s has "
            f"sample {self.sample} of '{self.stream}', which arrived {late_ms:.6f} ms later"
        )


@dataclass(slots=True, kw_only=True)
class Checked:
    """What was found of one input.

    Args:
        windows: windows with a sample of the stream.
        samples: samples looked up.
        leaks: those that the decision cannot have known.
        worst_ns: the greatest arrival less decision among all; None without samples.
        named: the first few leaks.
    """

    windows: int = 0
    samples: int = 0
    leaks: int = 0
    worst_ns: int | None = None
    named: list[Leak] = field(default_factory=list)


def recheck(windows: Cut, arrivals: Mapping[Subject, TimesNs], take: Take, role: Role) -> Checked:
    """Whether all samples of an input had arrived.

    Args:
        windows: as the loader cut them.
        arrivals: per (episode id, stream) int64 [N], as the store has them.
        take: an input.
        role: of its stream.
    """
    found = windows.sample_indices(f"inputs/{take.stream}")
    checked = Checked(windows=int((found >= 0).any(axis=1).sum()), samples=int((found >= 0).sum()))
    for number, episode in enumerate(windows.episodes):
        mine = np.flatnonzero(windows.episode_of == number)
        which, column = np.nonzero(found[mine] >= 0)
        if not len(which):
            continue
        samples, decisions = found[mine][which, column], windows.decisions_ns[mine][which]
        arrived = arrivals[episode.episode_id, take.stream][samples]
        late = arrived - decisions
        worst = int(late.max())
        checked.worst_ns = worst if checked.worst_ns is None else max(checked.worst_ns, worst)
        leaks = np.flatnonzero(arrived > decision_bound(role, decisions))
        checked.leaks += len(leaks)
        for at in leaks[: MOST_NAMED - len(checked.named)].tolist():
            checked.named.append(
                Leak(
                    episode_id=episode.episode_id, stream=take.stream,
                    decision_ns=int(decisions[at]), sample=int(samples[at]),
                    arrival_ns=int(arrived[at]),
                )
            )  # fmt: skip
    return checked


def stored_times(
    store: Store, episode_ids: Sequence[str], streams: Sequence[str]
) -> dict[Subject, tuple[TimesNs, TimesNs]]:
    """Captures as stamped and arrivals, int64 [N] each, per (episode id, stream); by SQL."""
    columns = "episode_id, stream, position, capture_ns, arrival_ns"
    rows = query(
        store,
        f"SELECT {columns} FROM (SELECT {columns} FROM chunks UNION ALL "
        f"SELECT {columns} FROM video) WHERE stream IN ({_quoted(streams)}) "
        f"AND episode_id IN ({_quoted(episode_ids)}) ORDER BY episode_id, stream, position",
    )
    subjects = zip(rows["episode_id"].to_pylist(), rows["stream"].to_pylist(), strict=True)
    times: dict[Subject, tuple[TimesNs, TimesNs]] = {}
    start = 0
    for subject, group in groupby(subjects):
        part = rows.slice(start, sum(1 for _ in group))
        start += part.num_rows
        times[subject] = times_from_rows(part["capture_ns"]), times_from_rows(part["arrival_ns"])
    return times


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """What became of windows when all that arrived after their decision was changed.

    Args:
        decisions: windows that were cut again.
        samples: samples with other times and values.
        differ: of each window that is not the same to the bit, what differs.
    """

    decisions: int
    samples: int
    differ: Sequence[str]


def disturb(
    windows: Cut,
    store: Store,
    times: Mapping[Subject, tuple[TimesNs, TimesNs]],
    *,
    decisions: int = 16,
    seed: int = 0,
    loader: Callable[[Store, WindowSpec, Sequence[Episode]], Cut] = Windows,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> Disturbed:
    """Cut windows again from episodes in which everything is changed that came after a decision.

    Each episode is written twice to a store that is thrown away: as it is, and with other arrivals,
    captures and values for every sample that arrived after the decision. The windows of the
    decision must be equal to the bit; and as it is, its samples must be those of ``windows``.
    Pictures are stood in for by their numbers, so that none is decoded. Corrections of clocks are
    taken along as they are.

    Args:
        windows: as the loader cut them.
        store: at their snapshot.
        times: `stored_times` of every stream of their spec.
        decisions: how many windows, drawn at random; fewer where episodes are long; 0 for none.
        seed: of what is drawn.
        loader: cuts windows; what is tested.
        seen: told how many windows are done, of how many: each is written, then compared.
    """
    if not len(windows) or not decisions:
        return Disturbed(decisions=0, samples=0, differ=())
    rng = np.random.default_rng(seed)
    spec = replace(windows.spec, targets=(), missing="pad")
    drawn = rng.permutation(len(windows))
    ids = [episode.episode_id for episode in windows.episodes]
    chosen: list[int] = []
    total = 0
    for number in drawn.tolist():
        id_ = ids[int(windows.episode_of[number])]
        size = sum(len(times[id_, name][1]) for name in spec.streams if (id_, name) in times)
        if len(chosen) >= decisions or (chosen and total + size > MOST_DISTURBED):
            break
        chosen.append(number)
        total += size
    wanted = sorted({ids[int(windows.episode_of[number])] for number in chosen})
    present = {name for id_, name in times if id_ in wanted}
    spec = replace(spec, inputs=tuple(take for take in spec.inputs if take.stream in present))
    sources = _Sources(store, spec, wanted, times)
    with tempfile.TemporaryDirectory(prefix="viae-leak-") as folder:
        copy = Store.create(folder)
        writer = StoreWriter(copy, now_ns=lambda: 0)
        changed = 0
        for at, number in enumerate(chosen):
            seen(at, 2 * len(chosen))
            episode = windows.episodes[int(windows.episode_of[number])]
            at_ns = int(windows.decisions_ns[number])
            sources.write(writer, episode, f"{number}.0", None, rng)
            changed += sources.write(writer, episode, f"{number}.1", at_ns, rng)
        writer.commit()
        by_id = {episode.episode_id: episode for episode in copy.episodes()}
        each = [by_id[f"{number}.{twin}"] for number in chosen for twin in (0, 1)]
        again = loader(copy, spec, each)
        samples = {
            take.stream: (windows.sample_indices(key), again.sample_indices(key))
            for take in spec.inputs
            for key in (f"inputs/{take.stream}",)
        }
        differ = []
        for at, number in enumerate(chosen):
            seen(len(chosen) + at, 2 * len(chosen))
            said = _difference(windows, number, again, at, samples)
            if said:
                id_ = ids[int(windows.episode_of[number])]
                when = windows.decisions_ns[number] / NS_PER_S
                differ.append(f"episode {id_}, the window of {when:.6f} s: {said}")
    return Disturbed(decisions=len(chosen), samples=changed, differ=differ)


def _difference(
    windows: Cut, number: int, again: Cut, at: int, samples: Mapping[str, tuple[Ints, Ints]]
) -> str:
    """What differs between a window, the same cut from a copy, and from a disturbed copy."""
    at_ns = int(windows.decisions_ns[number])
    rows = []
    for twin in (0, 1):
        found = np.flatnonzero((again.episode_of == 2 * at + twin) & (again.decisions_ns == at_ns))
        if len(found) != 1:
            return "the decision itself depends on what came after it"
        rows.append(int(found[0]))
    batch = again.batch(np.array(rows))
    for take in again.spec.inputs:
        mine, copied = samples[take.stream]
        original, (first, second) = mine[number], copied[rows]
        if not np.array_equal(first, original):
            return f"'{take.stream}' has samples {original}, and {first} when cut from a copy"
        if not np.array_equal(first, second):
            return f"'{take.stream}' has samples {first}, and {second} after a change of the future"
        values = batch.inputs[take.stream]
        if values[0].tobytes() != values[1].tobytes():
            return f"values of '{take.stream}' change with the future"
        ages = batch.ages.get(take.stream)
        if ages is not None and ages[0].tobytes() != ages[1].tobytes():
            return f"ages of '{take.stream}' change with the future"
    return ""


class _Sources:
    """Episodes as they are stored, to be written again."""

    def __init__(
        self,
        store: Store,
        spec: WindowSpec,
        ids: Sequence[str],
        times: Mapping[Subject, tuple[TimesNs, TimesNs]],
    ) -> None:
        self._spec = spec
        self._times = times
        self._specs: dict[Subject, StreamSpec] = {
            (row["episode_id"], row["stream"]): row["spec"] for row in store.streams(ids)
        }
        taken = {take.stream for take in spec.inputs}
        vectors = {
            name
            for (_, name), each in self._specs.items()
            if name in taken and each.kind is Kind.VECTOR
        }
        self._values = store.samples(ids, vectors) if vectors else {}
        self._facts: dict[str, list[Fact]] = {id_: [] for id_ in ids}
        for fact in store.facts():
            if fact.episode_id in self._facts and fact.key.startswith(CLOCK_KEY):
                self._facts[fact.episode_id].append(fact)

    def write(
        self,
        writer: StoreWriter,
        episode: Episode,
        episode_id: str,
        after_ns: int | None,
        rng: np.random.Generator,
    ) -> int:
        """Write a copy in which all is changed that a decision cannot have known; how much was."""
        draft = writer.begin(episode_id)
        changed = 0
        for name in self._spec.streams:
            if (episode.episode_id, name) not in self._times:
                continue
            samples = self._samples(episode.episode_id, name)
            if after_ns is not None:
                [bound] = decision_bound(samples.spec.role, np.array([after_ns]))
                later = samples.arrival_ns > bound
                changed += int(later.sum())
                samples = _disturbed(samples, later, after_ns, rng)
            draft.add(samples)
        facts = [replace(fact, episode_id=episode_id) for fact in self._facts[episode.episode_id]]
        draft.finish(replace(episode, episode_id=episode_id), facts)
        return changed

    def _samples(self, episode_id: str, name: str) -> Samples:
        """A stream; one that is no vector by the numbers of its samples."""
        if (episode_id, name) in self._values:
            return self._values[episode_id, name]
        capture_ns, arrival_ns = self._times[episode_id, name]
        number = np.arange(len(arrival_ns))
        role = self._specs[episode_id, name].role
        return Samples(
            spec=StreamSpec(name=name, dtype="int64", shape=(1,), role=role),
            capture_ns=capture_ns, arrival_ns=arrival_ns, seq=number, values=number[:, None],
        )  # fmt: skip


def _disturbed(
    samples: Samples, later: npt.NDArray[np.bool_], after_ns: int, rng: np.random.Generator
) -> Samples:
    count = int(later.sum())
    arrival_ns, capture_ns = samples.arrival_ns.copy(), samples.capture_ns.copy()
    # A sample that arrives with the decision may be what calls for it: it has to stay there.
    moved = np.where(
        arrival_ns[later] == after_ns, after_ns, after_ns + rng.integers(1, 10 * NS_PER_S, count)
    )
    arrival_ns[later] = moved
    capture_ns[later] = after_ns + rng.integers(-1000 * NS_PER_S, 1000 * NS_PER_S, count)
    values = np.asarray(samples.values).copy()
    if values.dtype.kind == "f":
        values[later] = rng.standard_normal(values[later].shape) * 1e3
    else:
        values[later] = rng.integers(0, 2, values[later].shape).astype(values.dtype)
    return replace(samples, arrival_ns=arrival_ns, capture_ns=capture_ns, values=values)


def _quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values) or "NULL"
