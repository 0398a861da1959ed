"""Embed: a vector for every window of a store, or every moment, so that like ones can be found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from viae.errors import UsageError
from viae.load import Windows
from viae.load.embedding import (
    Embedder,
    EpisodeEmbedder,
    Floats32,
    embed_windows,
    misfit,
    shown,
)
from viae.schema import Batch, Episode, JsonValue, StreamSpec, WindowSpec
from viae.schema.tables import VECTORS_PREFIX
from viae.store import Store
from viae.store.vectors import Embedded, Vectors
from viae.verbs.choose import chosen
from viae.verbs.progress import Progress, Tell, quiet

if TYPE_CHECKING:
    from viae.model import Bundle

Specs: TypeAlias = Mapping[str, Mapping[str, StreamSpec]]

AT_ONCE = 32_768
"""Decisions of the episodes that are in memory at the same time and become visible together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What was embedded.

    Args:
        store: its address.
        embedder: the embedder's id.
        episodes: how many were embedded now.
        known: how many were before.
        windows: how many were embedded now.
        rows: windows of this embedder in the store, all in all.
        dimension: of a vector; None where nothing was ever embedded.
        indexed: whether the index was built or brought up to date.
        index_s: how long that took.
        left_out: how many episodes were not embedded, by reason.
    """

    store: str
    embedder: str
    episodes: int
    known: int
    windows: int
    rows: int
    dimension: int | None
    indexed: bool
    index_s: float
    left_out: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"left_out": dict(self.left_out)}


class BundleEmbedder:
    """A cloned policy's last activations as vectors."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.embedder_id: str = bundle.bundle_id

    @property
    def window(self) -> WindowSpec:
        """The bundle's."""
        return self._bundle.window

    @property
    def picture_sizes(self) -> Mapping[str, tuple[int, int]]:
        """The bundle's."""
        return self._bundle.picture_sizes

    @property
    def streams(self) -> Sequence[StreamSpec]:
        """The bundle's."""
        return self._bundle.streams

    def refuses(self, episode: Episode) -> str:
        """A task that it was never trained on has no place in its input."""
        known = not self._bundle.tasks or episode.task in self._bundle.tasks
        return "" if known else f"the bundle does not know its task {episode.task!r}"

    def embed(self, windows: Batch) -> Floats32:
        """The features of the network."""
        return self._bundle.features(windows)


def embed(
    store: Store,
    embedder: Embedder | EpisodeEmbedder | Path,
    *,
    where: str = "true",
    dtype: Literal["float32", "float16"] = "float32",
    at_once: int = AT_ONCE,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> EmbedReport:
    """Embed every window of the episodes that are not embedded yet, and index the vectors.

    Safe to kill and repeat: the windows of some episodes become visible together, and what is there
    is left alone. Another embedder adds its own vectors beside those that are there.

    Args:
        store: whose episodes; the vectors are kept in it.
        embedder: what makes the vectors, or the folder of a bundle: of a cloned policy, which has a
            vector of every window, or of a base model, which has one of every moment.
        where: SQL condition on the table ``episodes``.
        dtype: of the vectors as stored.
        at_once: decisions a commit, in whole episodes, at least one.
        tell: told of progress.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: no episode fits, or none of those that fit can be embedded.
        QueryError: ``where`` is not SQL.
        BundleError: there is no bundle in the folder.
        SchemaError: a vector is zero or not finite.
        StoreError: the store cannot be written.
    """
    made = opened(embedder) if isinstance(embedder, Path) else embedder
    pinned = store.at(store.snapshot())
    episodes = chosen(pinned, where)
    specs, samples = _streams(pinned, episodes)
    fitting, decisions, left_out = _fitting(made, episodes, specs, samples)
    if not fitting:
        reasons = "; ".join(f"{why} ({count})" for why, count in left_out.items())
        raise UsageError(
            f"{store.uri}: embedder {made.embedder_id} fits none of {len(episodes)} episodes: "
            f"{reasons}"
        )
    vectors = found_vectors(store, made.embedder_id)
    there = vectors.episode_ids() if vectors else set()
    todo = [episode for episode in fitting if episode.episode_id not in there]
    windows = embedded = done = 0
    for group in _groups(todo, decisions, at_once):
        note = f"{windows:,} windows"
        tell(Progress(phase="embed", done=done, total=len(todo), note=note))
        done += len(group)
        parts, empty = _embed(pinned, made, group, specs)
        if parts and vectors is None:
            vectors = Vectors.create(
                store, made.embedder_id, dimension=parts[0].vectors.shape[1], dtype=dtype,
                config={**_config(made), "where": where}, now_ns=now_ns,
            )  # fmt: skip
        if parts and vectors is not None:
            vectors.append(parts)
        windows += sum(map(len, parts))
        embedded += len(parts)
        for why, count in empty.items():
            left_out[why] = left_out.get(why, 0) + count
    tell(Progress(phase="embed", done=len(todo), total=len(todo), note=f"{windows:,} windows"))
    tell(Progress(phase="index", done=0, total=1))
    begin = time.perf_counter()
    indexed = vectors.index() if vectors else False
    index_s = time.perf_counter() - begin
    tell(Progress(phase="index", done=1, total=1))
    return EmbedReport(
        store=store.uri, embedder=made.embedder_id, episodes=embedded,
        known=len(fitting) - len(todo), windows=windows, rows=len(vectors) if vectors else 0,
        dimension=vectors.dimension if vectors else None, indexed=indexed,
        index_s=index_s if indexed else 0.0, left_out=left_out,
    )  # fmt: skip


def opened(bundle: Path) -> Embedder | EpisodeEmbedder:
    """A bundle as an embedder.

    Raises:
        BundleError: there is none in the folder.
    """
    from viae.model import BaseBundle, Bundle
    from viae.model.base_bundle import is_base

    if not is_base(bundle):
        return BundleEmbedder(Bundle.load(bundle))
    from viae.foresee.moments import MomentEmbedder

    return MomentEmbedder(BaseBundle.load(bundle))


def found_vectors(store: Store, embedder: str) -> Vectors | None:
    """The vectors of an embedder; None where there are none yet."""
    there = f"{VECTORS_PREFIX}{embedder}" in store.vector_tables()
    return Vectors(store, embedder) if there else None


def _embed(
    store: Store, embedder: Embedder | EpisodeEmbedder, episodes: Sequence[Episode], specs: Specs
) -> tuple[list[Embedded], dict[str, int]]:
    """Episodes embedded, and how many have nothing to embed, by reason."""
    if isinstance(embedder, EpisodeEmbedder):
        return embedder.embed_episodes(store, episodes, specs)
    windows = Windows(store, shown(embedder.window), episodes, picture_sizes=embedder.picture_sizes)
    parts = list(embed_windows(windows, embedder))
    empty = len(episodes) - len(parts)
    return parts, {"it has no whole window": empty} if empty else {}


def _config(embedder: Embedder | EpisodeEmbedder) -> dict[str, JsonValue]:
    if isinstance(embedder, EpisodeEmbedder):
        return embedder.config()
    return {"window": shown(embedder.window).to_json()}


def _streams(
    store: Store, episodes: Sequence[Episode]
) -> tuple[dict[str, dict[str, StreamSpec]], dict[str, dict[str, int]]]:
    """Of each episode its streams, and how many samples each has."""
    specs: dict[str, dict[str, StreamSpec]] = {}
    samples: dict[str, dict[str, int]] = {}
    for row in store.streams([episode.episode_id for episode in episodes]):
        specs.setdefault(row["episode_id"], {})[row["stream"]] = row["spec"]
        samples.setdefault(row["episode_id"], {})[row["stream"]] = row["samples"]
    return specs, samples


def _fitting(
    embedder: Embedder | EpisodeEmbedder,
    episodes: Sequence[Episode],
    specs: Specs,
    samples: Mapping[str, Mapping[str, int]],
) -> tuple[list[Episode], dict[str, int], dict[str, int]]:
    """The episodes that can be embedded; decisions per episode; why others cannot."""
    fitting, decisions, left_out = [], dict[str, int](), dict[str, int]()
    for episode in episodes:
        own = specs.get(episode.episode_id, {})
        if isinstance(embedder, EpisodeEmbedder):
            decision = embedder.decision(own, episode.robot)
            why = "" if decision else "it has no vectors that the model knows"
        else:
            decision, why = embedder.window.decision, misfit(embedder, episode, own)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            fitting.append(episode)
            decisions[episode.episode_id] = samples[episode.episode_id].get(decision, 0)
    return fitting, decisions, left_out


def _groups(
    episodes: Sequence[Episode], decisions: Mapping[str, int], most: int
) -> Iterator[list[Episode]]:
    """Episodes in their order, together as long as their decisions are few enough."""
    group: list[Episode] = []
    count = 0
    for episode in episodes:
        own = decisions[episode.episode_id]
        if group and count + own > most:
            yield group
            group, count = [], 0
        group.append(episode)
        count += own
    if group:
        yield group
