"""Foresee: what a base model expects after a moment of a recorded episode, beside what came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import QueryRefusedError, UsageError
from viae.schema import NS_PER_S, OUTCOME, Episode, Events, Kind, Role, StreamSpec, to_s
from viae.store import Store
from viae.verbs.search import Moment

if TYPE_CHECKING:
    from viae.foresee import Foreseen, History, Imagined

Doubles: TypeAlias = npt.NDArray[np.float64]

RECORDED, OWN = "recorded", "own"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """A vector stream in all futures, and as it came.

    Args:
        spec: the stream.
        at_s: float64 [m], mean arrival of the k-th sample, seconds after the moment.
        count: int64 [m], futures that have it.
        mean: float64 [m, D], over futures.
        quantiles: float64 [5, m, D], at `QUANTILES`.
        came_s: float64 [r], when the recorded samples arrived.
        came: float64 [r, D].
    """

    spec: StreamSpec
    at_s: Doubles
    count: npt.NDArray[np.int64]
    mean: Doubles
    quantiles: Doubles
    came_s: Doubles
    came: Doubles

    @property
    def covered(self) -> float | None:
        """The share of recorded numbers inside the 90% band; None where none were recorded."""
        both = min(len(self.at_s), len(self.came_s))
        if not both:
            return None
        low, high, came = self.quantiles[0, :both], self.quantiles[-1, :both], self.came[:both]
        return float(((came >= low) & (came <= high)).mean())

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "at_s": self.at_s.tolist(), "futures": self.count.tolist(), "mean": self.mean.tolist(),
            "quantiles": {
                f"{q:g}": each.tolist() for q, each in zip(QUANTILES, self.quantiles, strict=True)
            },
            "came_s": self.came_s.tolist(), "came": _finite(self.came),
            "covered_90": self.covered,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForeseeReport:
    """What was foreseen.

    Args:
        store: its address.
        snapshot: id of the state that was read.
        bundle: the model's id.
        episode: whose history.
        at_s: the moment, seconds from the episode's start.
        actions: where they came from.
        foreseen: the futures.
        bands: per vector stream that was foreseen.
        success: probability of success at the moment, not calibrated; None where the model cannot
            be asked.
        outcome: how the episode ended; None where nobody said.
        certain: questions that had one answer in all of training, and which: the model was taught
            nothing about them, so what it says of them is left out.
    """

    store: str
    snapshot: str
    bundle: str
    episode: Episode
    at_s: float
    actions: str
    foreseen: Foreseen
    bands: Mapping[str, Band]
    success: float | None
    outcome: bool | None
    certain: Mapping[str, str]

    @property
    def foreseen_success(self) -> float | None:
        """Share of the futures that ended that succeed; None where none did, or it is certain."""
        [share] = self.foreseen.success().tolist()
        return share if np.isfinite(share) and OUTCOME not in self.certain else None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        futures = self.foreseen
        ended = {why: futures.ended.count(why) for why in sorted(set(futures.ended))}
        return {
            "store": self.store, "snapshot": self.snapshot, "bundle": self.bundle,
            "episode_id": self.episode.episode_id, "at_s": self.at_s, "actions": self.actions,
            "n": futures.n, "seed": futures.seed, "temperature": futures.temperature,
            "by": futures.by, "ended": ended, "success": self.success,
            "foreseen_success": self.foreseen_success, "outcome": self.outcome,
            "certain": dict(self.certain),
            "log_p": futures.log_p.tolist(),
            "streams": {name: band.to_json() for name, band in self.bands.items()},
            "blame": [blame.to_json() for blame in futures.blame],
        }  # fmt: skip


def foresee(
    bundle: Path,
    store: Store,
    at: str | Moment,
    *,
    actions: str = RECORDED,
    horizon: int = 40,
    n: int = 16,
    seed: int = 0,
    temperature: float = 1.0,
) -> ForeseeReport:
    """Foresee what comes after a moment of an episode.

    Args:
        bundle: folder of a base model.
        store: that has the episode.
        at: the moment, ``"EPISODE@12.3s"``; what had arrived by then is the history.
        actions: ``"recorded"``: those that were done then; ``"own"``: the model's; else a file,
            .npy or .json, of [steps, A].
        horizon: steps: actions, or where the model has none, samples of its first vector.
        n: futures.
        seed: of the futures.
        temperature: 1 samples from the model.

    Raises:
        UsageError: no such moment or file.
        NoSuchEpisodeError: the episode's id is not that of one episode.
        BundleError: the folder has no base model.
        QueryRefusedError: the history gives no ground to answer, or there are fewer recorded
            actions than the horizon.
    """
    from viae.foresee import Usual, of_store, success_of
    from viae.foresee import foresee as query
    from viae.model import BaseBundle

    moment = Moment.parse(at) if isinstance(at, str) else at
    model = BaseBundle.load(bundle)
    pinned = store.at(store.snapshot())
    episode, at_ns = located(pinned, moment)
    history, every = of_store(model, pinned, episode, at_ns, usual=Usual.load(bundle))
    plan = _plan(actions, history, every, horizon)
    futures = query(history, plan, n=n, seed=seed, temperature=temperature, horizon=horizon)
    try:
        success = float(success_of(history.context)[0])
    except QueryRefusedError:
        success = None
    return ForeseeReport(
        store=store.uri, snapshot=pinned.snapshot().snapshot_id, bundle=model.bundle_id,
        episode=episode, at_s=moment.at_s, actions=actions, foreseen=futures, success=success,
        bands=_bands(futures, history, every), outcome=_outcome(every),
        certain=model.vocabulary.certain,
    )  # fmt: skip


def located(store: Store, moment: Moment) -> tuple[Episode, int]:
    """The episode of a moment, and the moment on the log clock, ns.

    Raises:
        NoSuchEpisodeError: the episode's id is not that of one episode.
        UsageError: the episode is not as long.
    """
    episode = store.episode(moment.episode)
    length_s = to_s(episode.end_ns - episode.start_ns)
    if not 0 <= moment.at_s <= length_s:
        raise UsageError(
            f"{store.uri}: episode {episode.episode_id} is {length_s:.3f} s long, and "
            f"{moment.at_s:g} s is outside of it"
        )
    return episode, episode.start_ns + round(moment.at_s * NS_PER_S)


def _plan(
    actions: str, history: History, every: Events, horizon: int
) -> dict[str, npt.NDArray[Any]] | npt.NDArray[Any] | None:
    if actions == OWN:
        return None
    if actions == RECORDED:
        known = {spec.name for spec in history.bundle.vocabulary.streams}
        found = {}
        for spec in every.streams:
            if spec.role is Role.ACTION and spec.name in known:
                done = _arrived(history, spec.name)
                found[spec.name] = np.asarray(every.values[spec.name])[done : done + horizon]
        return found or None
    path = Path(actions)
    try:
        if path.suffix == ".json":
            return np.asarray(json.loads(path.read_text()), np.float64)
        plan: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{actions}: no actions can be read from this: {error}. Give 'recorded', 'own', or a "
            ".npy or .json file of [steps, A]"
        ) from error
    return plan


def _arrived(history: History, name: str) -> int:
    """How many samples of a stream the history has."""
    return len(history.events.values[name]) if name in history.events.values else 0


def _outcome(every: Events) -> bool | None:
    said = every.values.get(OUTCOME)
    return None if said is None or not len(said) else bool(np.asarray(said)[-1].ravel()[0])


def _bands(futures: Foreseen, history: History, every: Events) -> dict[str, Band]:
    found = {}
    for name, stream in futures.streams.items():
        if stream.spec.kind is Kind.VECTOR and stream.spec.role is not Role.OUTCOME:
            found[name] = _band(stream, history, every)
    return found


def _band(stream: Imagined, history: History, every: Events) -> Band:
    spec, there = stream.spec, stream.there
    values = stream.values.reshape(*there.shape, -1).astype(np.float64)
    count = there.sum(0)
    kept = int((count > 0).sum())
    quantiles = np.empty((len(QUANTILES), kept, values.shape[2]))
    mean = np.empty((kept, values.shape[2]))
    at_s = np.empty(kept)
    for k in range(kept):
        own = values[there[:, k], k]
        quantiles[:, k], mean[k] = np.quantile(own, QUANTILES, axis=0), own.mean(0)
        at_s[k] = (stream.arrival_ns[there[:, k], k] - history.at_ns).mean() / NS_PER_S
    first = _arrived(history, spec.name)
    number = [s.name for s in every.streams].index(spec.name) if spec.name in every.values else -1
    arrived = every.arrival_ns[every.stream == number][first : first + kept]
    came = np.empty((0, values.shape[2]))
    if len(arrived):
        recorded = np.asarray(every.values[spec.name])[first : first + kept]
        came = recorded.reshape(len(recorded), -1).astype(np.float64)
    return Band(
        spec=spec, at_s=at_s, count=count[:kept], mean=mean, quantiles=quantiles,
        came_s=(arrived - history.at_ns) / NS_PER_S, came=came,
    )  # fmt: skip


def _finite(values: Doubles) -> list[list[float | None]]:
    rows: Sequence[Sequence[float]] = values.tolist()
    return [[x if np.isfinite(x) else None for x in row] for row in rows]
