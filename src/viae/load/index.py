"""Which samples each window has: index arithmetic over times, for all windows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.timelines import StreamRows
from viae.schema import Kind, Take, TimesNs, WindowSpec
from viae.sequence import (
    Timeline,
    ages_s,
    decision_times,
    input_indices,
    target_indices,
    until_stop,
)
from viae.store import Store

Ints = npt.NDArray[np.int64]

PICTURES = (Kind.IMAGE, Kind.VIDEO)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """W windows as sample numbers.

    Args:
        samples: per ``"inputs/STREAM"`` and ``"targets/STREAM"`` int32 or int64 [W, T], number of
            the sample through all episodes; -1 where there is none.
        ages: float32 [W, T] per input that asks for them, seconds.
        episode_of: int64 [W].
        decisions_ns: int64 [W], log clock.
        skipped: windows left out because they lacked an input or every target.
        undecided: episodes left out because they lack the decision stream.
    """

    samples: Mapping[str, npt.NDArray[Any]]
    ages: Mapping[str, npt.NDArray[np.float32]]
    episode_of: Ints
    decisions_ns: TimesNs
    skipped: int
    undecided: int

    def __len__(self) -> int:
        return len(self.episode_of)


def takes(spec: WindowSpec) -> dict[str, Take]:
    """What a window takes, by ``"inputs/STREAM"`` and ``"targets/STREAM"``."""
    inputs = {f"inputs/{take.stream}": take for take in spec.inputs}
    return inputs | {f"targets/{take.stream}": take for take in spec.targets}


def boundaries(store: Store, keys: Sequence[str], episode_ids: Sequence[str]) -> dict[str, TimesNs]:
    """Where spans begin and end that targets must not cross, per episode: int64, log clock."""
    wanted, found = set(episode_ids), dict[str, list[int]]()
    for key in keys:
        for fact in store.facts(key=key):
            if fact.episode_id in wanted and fact.start_ns is not None and fact.value is not False:
                assert fact.end_ns is not None
                found.setdefault(fact.episode_id, []).extend((fact.start_ns, fact.end_ns))
    return {episode_id: np.array(sorted(times), np.int64) for episode_id, times in found.items()}


def kept(spec: WindowSpec, samples: Mapping[str, Ints], count: int) -> npt.NDArray[np.bool_]:
    """Which windows are whole enough: bool [Q]."""
    keep = np.ones(count, np.bool_)
    if spec.missing == "skip":
        for take in spec.inputs:
            keep &= (samples[f"inputs/{take.stream}"] >= 0).all(axis=1)
    for take in spec.targets:
        keep &= (samples[f"targets/{take.stream}"] >= 0).any(axis=1)
    return keep


def cut(
    store: Store,
    spec: WindowSpec,
    episode_ids: Sequence[str],
    streams: Mapping[str, StreamRows],
) -> Index:
    """Cut all windows.

    Args:
        store: for the facts at which targets stop.
        spec: what a window is.
        episode_ids: in the order of the streams' episodes.
        streams: times of every stream in the spec.

    Raises:
        WindowError: no episode has the decision stream.
    """
    stops = boundaries(store, spec.stops, episode_ids) if spec.stops else {}
    samples: dict[str, list[npt.NDArray[Any]]] = {key: [] for key in takes(spec)}
    ages: dict[str, list[npt.NDArray[np.float32]]] = {t.stream: [] for t in spec.inputs if t.age}
    episode_of, decisions = [], []
    skipped = undecided = 0
    for number, episode_id in enumerate(episode_ids):
        at_ns = decision_times(streams[spec.decision].timeline(number), spec.rate_hz)
        if not len(at_ns):
            undecided += 1
            continue
        timelines = {name: stream.timeline(number) for name, stream in streams.items()}
        found = _samples(spec, timelines, at_ns, stops.get(episode_id, np.empty(0, np.int64)))
        keep = kept(spec, found, len(at_ns))
        skipped += int((~keep).sum())
        for key, own in found.items():
            stream = streams[key.split("/", 1)[1]]
            dtype = np.int32 if len(stream) < 2**31 else np.int64
            through = np.where(own >= 0, own + stream.starts[number], -1)
            samples[key].append(through[keep].astype(dtype))
        for name, parts in ages.items():
            found_ages = ages_s(found[f"inputs/{name}"], timelines[name], at_ns)
            parts.append(found_ages[keep])
        episode_of.append(np.full(int(keep.sum()), number, np.int64))
        decisions.append(at_ns[keep])
    if not episode_of:
        raise WindowError(
            f"none of {len(episode_ids)} episodes has the decision stream '{spec.decision}'; "
            "list the streams of one with  viae show EPISODE"
        )
    return Index(
        samples={key: np.concatenate(parts) for key, parts in samples.items()},
        ages={name: np.concatenate(parts) for name, parts in ages.items()},
        episode_of=np.concatenate(episode_of),
        decisions_ns=np.concatenate(decisions),
        skipped=skipped,
        undecided=undecided,
    )


def _samples(
    spec: WindowSpec,
    timelines: Mapping[str, Timeline],
    at_ns: TimesNs,
    boundaries_ns: TimesNs,
) -> dict[str, Ints]:
    """Sample positions per take of one episode: int64 [Q, T]."""
    found = {}
    for key, take in takes(spec).items():
        timeline = timelines[take.stream]
        if key.startswith("inputs/"):
            found[key] = input_indices(timeline, take, at_ns)
        else:
            wanted = target_indices(timeline, take, at_ns)
            found[key] = until_stop(wanted, timeline, at_ns, boundaries_ns)
    return found
