"""Windows to vectors: what an embedder provides, and the windows of an episode through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from viae.load.index import PICTURES
from viae.load.windows import Windows
from viae.schema import Batch, Episode, JsonValue, StreamSpec, TimesNs, WindowSpec
from viae.store import Store
from viae.store.vectors import Embedded

Floats32: TypeAlias = npt.NDArray[np.float32]

BATCH = 256


class Embedder(Protocol):
    """Anything that makes a vector of a window: near vectors, like windows."""

    @property
    def embedder_id(self) -> str:
        """Letters, digits, ``_`` and ``-``; equal ids give equal vectors for equal windows."""
        ...

    @property
    def window(self) -> WindowSpec:
        """What it is shown; targets do not count."""
        ...

    @property
    def picture_sizes(self) -> Mapping[str, tuple[int, int]]:
        """(height, width) per picture stream."""
        ...

    @property
    def streams(self) -> Sequence[StreamSpec]:
        """The streams that an episode must have, as it must have them."""
        ...

    def refuses(self, episode: Episode) -> str:
        """Why it cannot embed an episode, in a few words; empty where it can."""
        ...

    def embed(self, windows: Batch) -> Floats32:
        """Vectors of windows.

        Args:
            windows: B of them.

        Returns:
            float32 [B, D]; D is the same at every call.
        """
        ...


@runtime_checkable
class EpisodeEmbedder(Protocol):
    """Anything that makes vectors of the moments of whole episodes."""

    @property
    def embedder_id(self) -> str:
        """As `Embedder.embedder_id`."""
        ...

    def decision(self, specs: Mapping[str, StreamSpec], robot: str) -> str:
        """The stream whose arrivals are the moments of an episode; empty where it cannot embed it.

        Args:
            specs: of the episode's streams, by name.
            robot: of the episode.
        """
        ...

    def embed_episodes(
        self,
        store: Store,
        episodes: Sequence[Episode],
        specs: Mapping[str, Mapping[str, StreamSpec]],
    ) -> tuple[list[Embedded], dict[str, int]]:
        """Episodes with their vectors; and how many have none, by reason.

        Args:
            store: that has them.
            episodes: each with a `decision` stream.
            specs: by episode and name, of their streams.
        """
        ...

    def config(self) -> dict[str, JsonValue]:
        """What made the vectors, for the run's row."""
        ...


def shown(window: WindowSpec) -> WindowSpec:
    """The same windows without what is asked of them, so that an episode's last ones count."""
    return replace(window, targets=(), stops=())


def misfit(embedder: Embedder, episode: Episode, streams: Mapping[str, StreamSpec]) -> str:
    """Why an episode cannot be embedded, in a few words; empty where it can.

    Args:
        embedder: that is to embed it.
        episode: the episode.
        streams: its streams, by name.
    """
    wanted = {spec.name: spec for spec in embedder.streams}
    for name in shown(embedder.window).streams:
        own, spec = streams.get(name), wanted.get(name)
        if own is None:
            return f"it has no stream '{name}'"
        if spec is None:
            continue
        if spec.kind in PICTURES and own.kind in PICTURES:
            continue
        if (own.kind, own.shape) != (spec.kind, spec.shape):
            return (
                f"its stream '{name}' is {own.kind}{list(own.shape)}, not "
                f"{spec.kind}{list(spec.shape)}"
            )
    return embedder.refuses(episode)


def embed_windows(
    windows: Windows, embedder: Embedder, *, batch: int = BATCH
) -> Iterator[Embedded]:
    """Embed windows, episode after episode; an episode without any gives nothing.

    Args:
        windows: of the embedder's spec, as `shown` has it.
        embedder: makes the vectors.
        batch: windows at a time.

    Raises:
        SchemaError: a vector is zero or not finite.
    """
    bounds = np.searchsorted(windows.episode_of, np.arange(len(windows.episodes) + 1))
    start_ns, end_ns = spans(windows)
    for number, episode in enumerate(windows.episodes):
        first, last = int(bounds[number]), int(bounds[number + 1])
        if first == last:
            continue
        parts = [
            embedder.embed(windows.batch(np.arange(start, min(start + batch, last))))
            for start in range(first, last, batch)
        ]
        yield Embedded(
            episode_id=episode.episode_id,
            start_ns=start_ns[first:last],
            end_ns=end_ns[first:last],
            decision_ns=windows.decisions_ns[first:last],
            vectors=np.concatenate(parts),
        )


def spans(windows: Windows) -> tuple[TimesNs, TimesNs]:
    """First and last arrival of what each window shows: int64 [W], log clock.

    The decision itself, where all is padded.
    """
    none = len(windows)
    start = np.full(none, np.iinfo(np.int64).max)
    end = np.full(none, np.iinfo(np.int64).min)
    for key, samples in windows.index.samples.items():
        arrival = windows.streams[key.split("/", 1)[1]].arrival_ns
        if not key.startswith("inputs/") or not len(arrival):
            continue
        there = samples >= 0
        at = arrival[np.where(there, samples, 0)]
        start = np.minimum(start, np.where(there, at, np.iinfo(np.int64).max).min(axis=1))
        end = np.maximum(end, np.where(there, at, np.iinfo(np.int64).min).max(axis=1))
    padded = start > end
    decisions = windows.decisions_ns
    return np.where(padded, decisions, start), np.where(padded, decisions, end)
