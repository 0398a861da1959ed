"""Windows of many episodes as indices into pooled arrays: the reference loader.

Short and obvious on purpose: everything is read once, pictures are decoded once, and a batch is a
gather. Faster paths must give the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.clocks import on_log_clock, read_clocks
from viae.load.timelines import check_unit
from viae.schema import Batch, Episode, Kind, Samples, StreamSpec, Take, VideoGroup, WindowSpec
from viae.sequence import (
    Timeline,
    ages_s,
    decision_times,
    input_indices,
    target_indices,
    until_stop,
)
from viae.store import Store
from viae.video.pictures import decode_pictures

PictureSize = tuple[int, int]
MAX_POOL_BYTES = 8 << 30


@dataclass(slots=True)
class _Pool:
    """All samples of one stream, episode after episode."""

    spec: StreamSpec
    values: npt.NDArray[Any]


def gather(
    values: npt.NDArray[Any], indices: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Values at indices, zeros where an index is -1.

    Args:
        values: [N, *shape].
        indices: int64 [B, T].

    Returns:
        [B, T, *shape] and its mask, bool [B, T].
    """
    mask = indices >= 0
    if not len(values):
        return np.zeros((*indices.shape, *values.shape[1:]), values.dtype), mask
    taken = values[np.where(mask, indices, 0)]
    taken[~mask] = 0
    return taken, mask


class ReferenceWindows:
    """Every window of a spec over some episodes.

    Args:
        store: at the snapshot to read.
        spec: what a window is.
        episodes: in this order; their indices are those in `Batch.episodes`.
        picture_sizes: (height, width) per picture stream; others keep their recorded size.

    Raises:
        WindowError: no episode has the decision stream, a stream differs in shape or unit between
            episodes or is text, or the pools would exceed 8 GiB.
    """

    def __init__(
        self,
        store: Store,
        spec: WindowSpec,
        episodes: Sequence[Episode],
        *,
        picture_sizes: Mapping[str, PictureSize] | None = None,
    ) -> None:
        self.spec = spec
        self.episodes = tuple(episodes)
        ids = [episode.episode_id for episode in episodes]
        recorded: dict[tuple[str, str], Samples | list[VideoGroup]] = {}
        recorded |= store.samples(ids, spec.streams)
        recorded |= store.video(ids, spec.streams)
        self._clocks = read_clocks(store, ids)
        starts, self._pools = _pool(ids, spec.streams, recorded, dict(picture_sizes or {}))
        self.skipped = 0
        """Windows left out because they lacked an input (``missing="skip"``) or every target."""
        self.undecided = 0
        """Episodes left out because they lack the decision stream."""
        self._stops = [fact for fact in store.facts() if fact.key in spec.stops]
        indices: dict[str, list[npt.NDArray[np.int64]]] = {key: [] for key in self._takes()}
        ages: dict[str, list[npt.NDArray[np.float32]]] = {
            t.stream: [] for t in spec.inputs if t.age
        }
        episode_of: list[npt.NDArray[np.int64]] = []
        decisions: list[npt.NDArray[np.int64]] = []
        for number, episode_id in enumerate(ids):
            found = self._episode_indices(episode_id, recorded, starts)
            if found is None:
                self.undecided += 1
                continue
            at_ns, per_take, per_age = found
            keep = self._kept(per_take)
            self.skipped += int((~keep).sum())
            for key, array in per_take.items():
                indices[key].append(array[keep])
            for name, age in per_age.items():
                ages[name].append(age[keep])
            episode_of.append(np.full(int(keep.sum()), number, np.int64))
            decisions.append(at_ns[keep])
        if not episode_of:
            raise WindowError(
                f"none of {len(ids)} episodes has the decision stream '{spec.decision}'; "
                "list the streams of one with  viae show EPISODE"
            )
        self._indices = {key: np.concatenate(arrays) for key, arrays in indices.items()}
        self._ages = {name: np.concatenate(arrays) for name, arrays in ages.items()}
        self._starts = starts
        self.episode_of = np.concatenate(episode_of)
        """int64 [W], index into `episodes`."""
        self.decisions_ns = np.concatenate(decisions)
        """int64 [W], log clock."""

    def __len__(self) -> int:
        return len(self.episode_of)

    def stream_spec(self, stream: str) -> StreamSpec:
        """The spec of a stream, as its first episode has it."""
        return self._pools[stream].spec

    def values(self, stream: str) -> npt.NDArray[Any]:
        """All samples of a stream, episode after episode: [N, *shape]."""
        return self._pools[stream].values

    def sample_indices(self, key: str) -> npt.NDArray[np.int64]:
        """Which samples the windows have, by their position in their own episode's stream.

        Args:
            key: ``"inputs/STREAM"`` or ``"targets/STREAM"``.

        Returns:
            int64 [W, T]; -1 where padded.
        """
        found, stream = self._indices[key], key.split("/", 1)[1]
        starts = [self._starts.get((each.episode_id, stream), 0) for each in self.episodes]
        return np.where(found >= 0, found - np.array(starts)[self.episode_of][:, None], -1)

    def batch(self, which: npt.NDArray[np.int64]) -> Batch:
        """Windows by number.

        Args:
            which: int64 [B], each in [0, len(self)).
        """
        inputs: dict[str, npt.NDArray[Any]] = {}
        targets: dict[str, npt.NDArray[Any]] = {}
        masks: dict[str, npt.NDArray[np.bool_]] = {}
        for key, take in self._takes().items():
            values, mask = gather(self._pools[take.stream].values, self._indices[key][which])
            (inputs if key.startswith("inputs/") else targets)[take.stream] = values
            masks[key] = mask
        episodes = self.episode_of[which]
        return Batch(
            inputs=inputs,
            targets=targets,
            masks=masks,
            tasks=tuple(self.episodes[i].task for i in episodes),
            episodes=episodes,
            decisions_ns=self.decisions_ns[which],
            ages={name: ages[which] for name, ages in self._ages.items()},
        )

    def _takes(self) -> dict[str, Take]:
        inputs = {f"inputs/{take.stream}": take for take in self.spec.inputs}
        return inputs | {f"targets/{take.stream}": take for take in self.spec.targets}

    def _timeline(
        self, episode_id: str, stream: str, samples: Samples | list[VideoGroup]
    ) -> Timeline:
        """The times of a stream, captures on the log's clock."""
        raw = Timeline.of(samples)
        capture_ns = on_log_clock(self._clocks, episode_id, stream, raw.capture_ns, raw.arrival_ns)
        return replace(raw, capture_ns=capture_ns)

    def _episode_indices(
        self,
        episode_id: str,
        recorded: Mapping[tuple[str, str], Samples | list[VideoGroup]],
        starts: Mapping[tuple[str, str], int],
    ) -> tuple[npt.NDArray[np.int64], dict[str, Any], dict[str, Any]] | None:
        """Of one episode: decision times, pool indices per take, ages; None without decisions."""
        if (episode_id, self.spec.decision) not in recorded:
            return None
        decision = Timeline.of(recorded[episode_id, self.spec.decision])
        at_ns = decision_times(decision, self.spec.rate_hz)
        stops_ns = np.array(
            [
                time_ns
                for fact in self._stops
                if fact.episode_id == episode_id and fact.value is not False
                for time_ns in (fact.start_ns, fact.end_ns)
                if time_ns is not None
            ],
            np.int64,
        )
        per_take, per_age = {}, {}
        for key, take in self._takes().items():
            samples = recorded.get((episode_id, take.stream))
            if samples is None:
                found = np.full((len(at_ns), len(take)), -1, np.int64)
                ages = np.zeros(found.shape, np.float32)
            else:
                times = self._timeline(episode_id, take.stream, samples)
                if key.startswith("inputs/"):
                    found = input_indices(times, take, at_ns)
                else:
                    found = until_stop(target_indices(times, take, at_ns), times, at_ns, stops_ns)
                ages = ages_s(found, times, at_ns)
                found = np.where(found >= 0, found + starts[episode_id, take.stream], -1)
            per_take[key] = found
            if take.age:
                per_age[take.stream] = ages
        return at_ns, per_take, per_age

    def _kept(self, per_take: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
        n = len(next(iter(per_take.values())))
        keep = np.ones(n, np.bool_)
        if self.spec.missing == "skip":
            for take in self.spec.inputs:
                keep &= (per_take[f"inputs/{take.stream}"] >= 0).all(axis=1)
        for take in self.spec.targets:
            keep &= (per_take[f"targets/{take.stream}"] >= 0).any(axis=1)
        return keep


def _pool(
    ids: Sequence[str],
    streams: Sequence[str],
    recorded: Mapping[tuple[str, str], Samples | list[VideoGroup]],
    sizes: Mapping[str, PictureSize],
) -> tuple[dict[tuple[str, str], int], dict[str, _Pool]]:
    """Pool each stream over the episodes; where each episode's part starts, and the pools."""
    starts: dict[tuple[str, str], int] = {}
    pools: dict[str, _Pool] = {}
    total_bytes = 0
    units: dict[str, tuple[str, str]] = {}
    for stream in streams:
        parts: list[npt.NDArray[Any]] = []
        spec: StreamSpec | None = None
        count = 0
        for episode_id in ids:
            samples = recorded.get((episode_id, stream))
            if samples is None:
                continue
            part_spec = samples.spec if isinstance(samples, Samples) else samples[0].spec
            check_unit(units, part_spec, episode_id)
            part = _values(samples, part_spec, sizes.get(stream))
            if parts and part.shape[1:] != parts[0].shape[1:]:
                raise WindowError(
                    f"stream '{stream}' has shape {part.shape[1:]} in episode {episode_id} and "
                    f"{parts[0].shape[1:]} in others; choose episodes of one robot, or a "
                    "picture size"
                )
            total_bytes += part.nbytes
            if total_bytes > MAX_POOL_BYTES:
                raise WindowError(
                    f"the windows need more than {MAX_POOL_BYTES >> 30} GiB of memory, reached at "
                    f"stream '{stream}'; choose fewer episodes or a smaller picture size"
                )
            starts[episode_id, stream] = count
            count += len(part)
            parts.append(part)
            spec = spec or part_spec
        if spec is None:
            raise WindowError(
                f"none of {len(ids)} episodes has the stream '{stream}'; list the streams of one "
                "with  viae show EPISODE"
            )
        pools[stream] = _Pool(spec, np.concatenate(parts))
    return starts, pools


def _values(
    samples: Samples | list[VideoGroup], spec: StreamSpec, size: PictureSize | None
) -> npt.NDArray[Any]:
    if spec.kind in (Kind.IMAGE, Kind.VIDEO):
        return decode_pictures(samples, size)
    if spec.kind is not Kind.VECTOR or spec.varies or not isinstance(samples, Samples):
        raise WindowError(
            f"stream '{spec.name}' is {spec.kind}{' of varying length' if spec.varies else ''}: "
            "a window takes pictures and vectors of fixed shape"
        )
    return np.asarray(samples.values)
