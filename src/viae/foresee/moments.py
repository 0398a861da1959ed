"""The moments of recorded episodes as vectors, so that a store can be searched by a base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.act.live import picture_sizes
from viae.errors import TokenError
from viae.foresee.embedding import OVER, embed_after
from viae.load.events import EventReader, known, shown_spec
from viae.model import BaseBundle
from viae.schema import Episode, Events, JsonValue, Kind, Role, StreamSpec
from viae.schema.names import PICTURES
from viae.store import Store
from viae.store.vectors import Embedded
from viae.video import AS_RECORDED, PictureView

Ints: TypeAlias = npt.NDArray[np.int64]
Specs: TypeAlias = Mapping[str, StreamSpec]


class MomentEmbedder:
    """A base model as a `viae.load.embedding.EpisodeEmbedder`.

    An episode is shown as it was, event by event. It need not have all streams of the model.

    A moment is an arrival of the episode's first action stream that the model knows, or else of its
    first vector; what a decision then may see is embedded, by `viae.foresee.embedding.embed_after`.

    Args:
        bundle: the model.
        over: newest events whose states are averaged.
    """

    def __init__(self, bundle: BaseBundle, *, over: int = OVER) -> None:
        self.bundle, self.over = bundle, over
        self.embedder_id = f"{bundle.bundle_id}-moments-{over}"
        """Equal ids give equal vectors."""

    def decision(self, specs: Specs, robot: str) -> str:
        """Whose arrivals are moments, as recorded; empty where the model knows no such stream.

        Args:
            specs: of an episode's streams, by name.
            robot: of the episode.
        """
        own = [specs[name] for name in self.known(specs, robot)]
        for role in (Role.ACTION, Role.OBSERVATION):
            for spec in own:
                if spec.kind is Kind.VECTOR and spec.role is role:
                    return spec.name
        return ""

    def known(self, specs: Specs, robot: str) -> list[str]:
        """The streams of an episode that the model sees, named as recorded."""
        sizes = picture_sizes(self.bundle, list(specs.values()), robot)
        names, wanted = self.bundle.names, {s.name: s for s in self.bundle.vocabulary.streams}
        found = []
        for name, spec in sorted(specs.items()):
            view = PictureView(sizes[name]) if name in sizes else AS_RECORDED
            shown = shown_spec(spec, view)
            own = wanted.get(names.name(robot, shown) if names else name)
            alike = own is not None and (
                own.shape == shown.shape
                and (own.kind is shown.kind or {own.kind, shown.kind} <= set(PICTURES))
            )
            if alike and spec.role is not Role.OUTCOME:
                found.append(name)
        return found

    def embed_episodes(
        self, store: Store, episodes: Sequence[Episode], specs: Mapping[str, Specs]
    ) -> tuple[list[Embedded], dict[str, int]]:
        """All moments of episodes.

        Args:
            store: that has them.
            episodes: each with a `decision` stream.
            specs: by episode and name, of their streams.

        Returns:
            An item for each episode that has a moment, and how many others there are, by reason.

        Cost: about two passes of the trunk over the events.
        """
        found: list[Embedded] = []
        left: dict[str, int] = {}
        for robot in dict.fromkeys(episode.robot for episode in episodes):
            own = [episode for episode in episodes if episode.robot == robot]
            every = {name: spec for e in own for name, spec in specs[e.episode_id].items()}
            streams = {name for e in own for name in self.known(specs[e.episode_id], robot)}
            sizes = picture_sizes(self.bundle, [every[name] for name in sorted(streams)], robot)
            reader = EventReader(
                store, own, streams=sorted(streams), picture_sizes=sizes, facts=(), stops=(),
                names=self.bundle.names,
            )  # fmt: skip
            for number, episode in enumerate(own):
                of_episode = specs[episode.episode_id]
                moment = of_episode[self.decision(of_episode, robot)]
                why = "nothing had arrived at any moment"
                try:
                    one = self._one(episode, reader.events(number), moment)
                except TokenError as error:
                    one, why = None, f"it has a value without a token: {error}"
                if one is None:
                    left[why] = left.get(why, 0) + 1
                else:
                    found.append(one)
        return found, left

    def config(self) -> dict[str, JsonValue]:
        """What made the vectors, as JSON-ready values."""
        return {"bundle": self.bundle.bundle_id, "over": self.over, "shown": "events"}

    def _one(self, episode: Episode, events: Events, moment: StreamSpec) -> Embedded | None:
        names = {spec.name for spec in self.bundle.vocabulary.streams}
        shown = events.of(
            [s.name for s in events.streams if s.name in names and s.role is not Role.OUTCOME]
        )
        called = self._called(moment, episode.robot)
        number = [spec.name for spec in shown.streams].index(called)
        at_ns = np.unique(shown.arrival_ns[shown.stream == number])
        counts = np.array([known(shown, at) for at in at_ns.tolist()], np.int64)
        at_ns, counts = at_ns[counts > 0], counts[counts > 0]
        if not len(counts):
            return None
        return Embedded(
            episode_id=episode.episode_id,
            start_ns=shown.arrival_ns[np.maximum(counts - self.over, 0)],
            end_ns=shown.arrival_ns[counts - 1],
            decision_ns=at_ns,
            vectors=embed_after(self.bundle, shown, counts, over=self.over),
        )

    def _called(self, spec: StreamSpec, robot: str) -> str:
        return self.bundle.names.name(robot, spec) if self.bundle.names else spec.name


__all__ = ["MomentEmbedder"]
