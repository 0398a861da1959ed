"""What was usual in a base model's training, fitted and kept in its bundle's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from viae.schema import Episode, Events
from viae.store import Store
from viae.verbs.progress import Progress, Tell, quiet

if TYPE_CHECKING:
    from viae.foresee import Usual
    from viae.model import BaseBundle

MOST = 100
"""Episodes whose bits are counted; a model is surprised alike by those beyond."""


def fit_usual(
    folder: Path,
    bundle: BaseBundle,
    episodes: Mapping[Store, Sequence[Episode]],
    *,
    tell: Tell = quiet,
) -> Usual:
    """Learn what is usual, and write it into a bundle's folder.

    How surprising logs are is learnt from the episodes that were held out from training, if there
    are any, else from those trained on: `Usual.of` says which. How streams behave is learnt from
    all.

    Args:
        folder: the bundle's.
        bundle: the model.
        episodes: of its training and held out, by store.
        tell: told of progress.
    """
    from viae.foresee import Usual, usual_moments

    out = set(bundle.provenance.episodes.get("held_out", ()))
    of = "held_out" if out else "trained_on"
    counted: list[Events] = []
    others: list[Events] = []
    total = sum(len(own) for own in episodes.values())
    for store, own in episodes.items():
        for episode, events in zip(own, _read(bundle, store, own), strict=True):
            (counted if not out or episode.episode_id in out else others).append(events)
    chosen = [counted[i * len(counted) // MOST] for i in range(MOST)]
    if len(counted) <= MOST:
        chosen = counted
    others += [events for events in counted if not any(events is each for each in chosen)]
    tell(Progress(phase="usual", done=0, total=total))
    robots = {episode.robot for own in episodes.values() for episode in own}
    fitted = Usual.fit(bundle, chosen, sorted(robots - {""}), also=others, of=of)
    usual = replace(fitted, vectors=usual_moments(bundle, [*chosen, *others]))
    usual.save(folder)
    tell(Progress(phase="usual", done=total, total=total))
    return usual


def _read(bundle: BaseBundle, store: Store, episodes: Sequence[Episode]) -> list[Events]:
    """Episodes as the model was trained on them; only streams that it knows."""
    from viae.act.live import picture_sizes
    from viae.load.events import EventReader, shown_spec
    from viae.train.base import FACTS
    from viae.video import PictureView

    known = {spec.name for spec in bundle.vocabulary.streams}
    robots = {episode.episode_id: episode.robot for episode in episodes}
    sizes: dict[str, tuple[int, int]] = {}
    wanted = set()
    for row in store.streams(list(robots)):
        spec, robot = row["spec"], robots[row["episode_id"]]
        own = picture_sizes(bundle, [spec], robot)
        sizes |= own
        shown = shown_spec(spec, PictureView(own[spec.name])) if own else spec
        called = bundle.names.name(robot, shown) if bundle.names else spec.name
        if row["samples"] and called in known:
            wanted.add(spec.name)
    reader = EventReader(
        store, episodes, streams=sorted(wanted), picture_sizes=sizes, names=bundle.names,
        facts=[key for key in FACTS if key in known],
    )  # fmt: skip
    return [reader.events(number) for number in range(len(episodes))]
