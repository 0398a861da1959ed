"""Behaviour cloning: from episodes in a store to a bundle.

The baseline that later models must beat: one policy for all tasks, conditioned on the task, that
predicts a chunk of actions by the mean absolute error (Zhao et al. 2023, arXiv:2304.13705).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viae.errors import UsageError, WindowError
from viae.load import Windows
from viae.load.clocks import clock_uses
from viae.model import (
    Bound,
    Bundle,
    Clone,
    CloneConfig,
    Pipeline,
    Pixels,
    Provenance,
    Relative,
    Standardise,
    TaskOneHot,
    Transform,
)
from viae.model.pipeline import Flat
from viae.schema import Batch, Episode, Kind, Role, StreamSpec, Take, WindowSpec
from viae.sequence import held_out, iid_order
from viae.store import Store
from viae.train.loop import LoopConfig, Point, fit

PICTURES = (Kind.IMAGE, Kind.VIDEO)
MIN_STD_SHARE = 0.1

Limits: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRecipe:
    """What to train.

    Args:
        inputs: streams shown to the policy; empty takes every vector observation of fixed shape,
            and every picture stream unless ``images`` is False.
        action: the stream predicted; empty takes the only one whose role is action.
        images: whether picture streams enter when ``inputs`` is empty.
        picture_size: (height, width) that pictures are scaled to.
        past: native samples of each vector input, the latest included.
        chunk: actions predicted at once.
        relative_to: predict the action as a difference from this input (of the action's shape);
            the action stream itself means its last value. Empty predicts it as it is.
        width: of the network.
        depth: of the network.
        batch_size: windows per update.
        balance: how far tasks are drawn alike: 0 draws windows uniformly, 1 tasks; between, the
            share of a task goes with its windows to the power of ``1 - balance``.
        held_out_share: of each task's episodes, for early stopping.
        loop: how to descend.
    """

    inputs: tuple[str, ...] = ()
    action: str = ""
    images: bool = True
    picture_size: tuple[int, int] = (96, 96)
    past: int = 1
    chunk: int = 8
    relative_to: str = ""
    width: int = 256
    depth: int = 2
    batch_size: int = 128
    balance: float = 1.0
    held_out_share: float = 0.1
    loop: LoopConfig = field(default_factory=LoopConfig)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A recipe made definite by the streams that are there."""

    window: WindowSpec
    streams: Mapping[str, StreamSpec]
    action: StreamSpec
    picture_sizes: Mapping[str, tuple[int, int]]


def train_clone(
    store: Store,
    episodes: Sequence[Episode],
    recipe: CloneRecipe,
    *,
    work: Path,
    initial_states: Sequence[str] = (),
    progress: Callable[[Point], None] = lambda point: None,
) -> Bundle:
    """Train a policy.

    Args:
        store: at the snapshot to read.
        episodes: to learn from; some of them are held out.
        recipe: what to train.
        work: folder for the checkpoint, to resume after a kill.
        initial_states: what the episodes started from, for the bundle's provenance.
        progress: called at every point of the loss curve.

    Returns:
        The bundle, not yet saved. A function of its arguments: equal snapshot, episodes and recipe
        give equal weights on one machine and one thread.

    Raises:
        UsageError: no episodes, or the recipe leaves a choice open or names what is not there.
        WindowError: the episodes cannot be cut into windows.
    """
    if not episodes:
        raise UsageError("there are no episodes to learn from; widen --where, or ingest some")
    episodes = sorted(episodes, key=lambda episode: episode.episode_id)
    plan = _definite(store, episodes, recipe)
    by_task: dict[str, list[str]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task, []).append(episode.episode_id)
    kept_out = held_out(by_task, fraction=recipe.held_out_share, seed=recipe.loop.seed)
    split = {
        "trained_on": [e for e in episodes if e.episode_id not in kept_out],
        "held_out": [e for e in episodes if e.episode_id in kept_out],
    }
    windows = Windows(store, plan.window, split["trained_on"], picture_sizes=plan.picture_sizes)
    pipeline = _pipeline(windows, plan, recipe, tuple(sorted(by_task)))
    torch.manual_seed(recipe.loop.seed)
    model = Clone(_network(windows, plan, recipe, pipeline))
    target = model.config.target
    limits = _limits(pipeline, target)
    weights = _weights(windows, recipe.balance)

    def loss(network: nn.Module, step: int) -> Tensor:
        which = iid_order(
            len(windows), seed=recipe.loop.seed, draw=step, size=recipe.batch_size, weights=weights
        )
        return _loss(network, pipeline.forward(windows.batch(which)), target, limits)

    measure = None
    if split["held_out"]:
        others = Windows(store, plan.window, split["held_out"], picture_sizes=plan.picture_sizes)
        measure = _held_out_loss(others, pipeline, target, limits, seed=recipe.loop.seed)
    ids = {name: tuple(e.episode_id for e in part) for name, part in split.items()}
    identity = json.dumps([recipe.to_json(), store.snapshot().to_json(), ids], sort_keys=True)
    curve = fit(
        model, loss, measure, recipe.loop,
        checkpoint=work / "checkpoint.safetensors",
        identity=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        progress=progress,
    )  # fmt: skip
    return Bundle(
        model=model.eval(),
        pipeline=pipeline,
        window=plan.window,
        picture_sizes=plan.picture_sizes,
        streams=tuple(plan.streams[name] for name in plan.window.streams),
        tasks=tuple(sorted(by_task)),
        provenance=Provenance(
            store=store.uri,
            snapshot=store.snapshot().versions,
            episodes=ids,
            initial_states=tuple(sorted(initial_states)),
            training=recipe.to_json(),
            metrics={
                "windows": len(windows),
                "windows_skipped": windows.skipped,
                "episodes_skipped": windows.undecided,
                "parameters": sum(p.numel() for p in model.parameters()),
                "curve": [[p.step, p.train, p.held_out] for p in curve],
            },
        ),
        clocks=clock_uses(store, ids["trained_on"], {take.stream for take in plan.window.inputs}),
    )


def _definite(store: Store, episodes: Sequence[Episode], recipe: CloneRecipe) -> _Plan:
    """Choose streams by the recipe and the rules in its docstring."""
    rows = store.streams([episode.episode_id for episode in episodes])
    streams: dict[str, StreamSpec] = {row["stream"]: row["spec"] for row in rows}
    for name in (*recipe.inputs, recipe.action, recipe.relative_to):
        if name and name not in streams:
            raise UsageError(f"there is no stream '{name}'; the episodes have {sorted(streams)}")
    actions = [n for n, s in sorted(streams.items()) if s.role is Role.ACTION and _fits(s)]
    if not recipe.action and len(actions) != 1:
        raise UsageError(
            f"name the stream to predict with --action: the episodes have {actions} as actions"
            if actions
            else f"no stream has the role action; name one of {sorted(streams)} with --action"
        )
    action = recipe.action or actions[0]
    inputs = recipe.inputs or tuple(
        name
        for name, spec in sorted(streams.items())
        if spec.role is Role.OBSERVATION
        and (_fits(spec) or (recipe.images and spec.kind in PICTURES))
    )
    states = [name for name in inputs if streams[name].kind is Kind.VECTOR and name != action]
    if not states:
        raise UsageError(
            f"a policy needs a vector among its inputs; the episodes have {sorted(streams)}"
        )
    decision = "observation.state" if "observation.state" in states else states[0]
    past = tuple(range(1 - recipe.past, 1))
    takes = [
        Take(stream=name, steps=(0,) if streams[name].kind in PICTURES else past) for name in inputs
    ]
    if recipe.relative_to and recipe.relative_to not in inputs:
        takes.append(Take(stream=recipe.relative_to, steps=(0,)))
    if recipe.relative_to and streams[recipe.relative_to].shape != streams[action].shape:
        raise UsageError(
            f"'{action}' of shape {streams[action].shape} cannot be relative to "
            f"'{recipe.relative_to}' of shape {streams[recipe.relative_to].shape}"
        )
    return _Plan(
        window=WindowSpec(
            decision=decision,
            inputs=tuple(takes),
            targets=(Take(stream=action, steps=tuple(range(recipe.chunk))),),
            missing="skip" if action in [take.stream for take in takes] else "pad",
        ),
        streams=streams,
        action=streams[action],
        picture_sizes={n: recipe.picture_size for n in inputs if streams[n].kind in PICTURES},
    )


def _fits(spec: StreamSpec) -> bool:
    return spec.kind is Kind.VECTOR and not spec.varies


def _pipeline(
    windows: Windows, plan: _Plan, recipe: CloneRecipe, tasks: tuple[str, ...]
) -> Pipeline:
    """Statistics come from the episodes trained on, and from nothing else."""
    target = f"targets/{plan.action.name}"
    transforms: list[Transform] = [TaskOneHot(tasks)]
    actions = windows.values(plan.action.name)
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    low, high = flat.min(axis=0).tolist(), flat.max(axis=0).tolist()
    transforms.append(Bound(target, tuple(low), tuple(high)))
    if recipe.relative_to:
        transforms.append(Relative(target, f"inputs/{recipe.relative_to}"))
        every = Pipeline(tuple(transforms)).forward(windows.batch(np.arange(len(windows))))
        mask = every[f"masks/{target}"]
        if not mask.any(axis=0).all():
            raise UsageError(
                f"no episode is long enough for a chunk of {recipe.chunk} actions; "
                f"choose --chunk {int(mask.any(axis=0).sum())} or less"
            )
        differences = every[target].reshape(*mask.shape, -1).astype(np.float64)
        # Per step of the chunk, since what is near differs less from the base than what is far.
        steps = [_moments(differences[mask[:, k], k]) for k in range(recipe.chunk)]
        mean, std = (tuple(chain.from_iterable(part)) for part in zip(*steps, strict=True))
    else:
        mean, std = _moments(flat)
    transforms.append(Standardise(target, mean, std))
    for take in plan.window.inputs:
        key = f"inputs/{take.stream}"
        if plan.streams[take.stream].kind in PICTURES:
            transforms.append(Pixels(key))
        else:
            values = windows.values(take.stream)
            flat = values.reshape(len(values), -1).astype(np.float64)
            if not np.isfinite(flat).all():
                raise WindowError(
                    f"stream '{take.stream}' holds NaN or infinity in an episode to train on; "
                    "exclude the episode with --where, or the stream with --input"
                )
            transforms.append(Standardise(key, *_moments(flat), limit=5.0))
    return Pipeline(tuple(transforms))


def _moments(flat: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per column, the latter at least a share of the typical one.

    A dimension that hardly moves in the data would otherwise be blown up when it does.
    """
    std = flat.std(axis=0)
    moving = std[std > 1e-9]
    least = MIN_STD_SHARE * float(np.median(moving)) if len(moving) else 1.0
    return tuple(flat.mean(axis=0).tolist()), tuple(np.maximum(std, least).tolist())


def _network(windows: Windows, plan: _Plan, recipe: CloneRecipe, pipeline: Pipeline) -> CloneConfig:
    shown = pipeline.forward(windows.batch(np.zeros(1, np.int64)))
    vectors = {"inputs/task": shown["inputs/task"].shape[1]}
    pictures = {}
    for take in plan.window.inputs:
        key = f"inputs/{take.stream}"
        if plan.streams[take.stream].kind in PICTURES:
            pictures[key] = shown[key].shape[1] * 3
        else:
            vectors[key] = int(np.prod(shown[key].shape[1:]))
    return CloneConfig(
        vectors=vectors, pictures=pictures, target=f"targets/{plan.action.name}",
        chunk=recipe.chunk, action=plan.action.size, width=recipe.width, depth=recipe.depth,
    )  # fmt: skip


def _weights(windows: Windows, balance: float) -> npt.NDArray[np.float64]:
    """Relative chance of each window to be drawn, float64 [W]."""
    tasks = np.array([episode.task for episode in windows.episodes])[windows.episode_of]
    _, which, counts = np.unique(tasks, return_inverse=True, return_counts=True)
    chances: npt.NDArray[np.float64] = counts[which].astype(np.float64) ** -balance
    return chances


def _limits(pipeline: Pipeline, target: str) -> Limits:
    """The range of the target in standard deviations; infinite where it is predicted relatively."""
    by_type = {(type(t), getattr(t, "key", "")): t for t in pipeline.transforms}
    bound, scale = by_type[Bound, target], by_type[Standardise, target]
    if not isinstance(bound, Bound) or not isinstance(scale, Standardise):
        raise TypeError(f"the pipeline of '{target}' lost its bounds")
    if any(isinstance(t, Relative) for t in pipeline.transforms):
        return torch.tensor(-torch.inf), torch.tensor(torch.inf)
    mean, std = torch.tensor(scale.mean), torch.tensor(scale.std)
    return (torch.tensor(bound.low) - mean) / std, (torch.tensor(bound.high) - mean) / std


def _loss(network: nn.Module, flat: Flat, target: str, limits: Limits) -> Tensor:
    """Mean absolute error over the actions that exist, in standard deviations.

    Where a demonstration sits at the end of its range, going further is no error: the pipeline
    clips it back (`Bound`), and the network need not spend itself on hitting the end exactly.
    """
    inputs = {k: torch.from_numpy(v) for k, v in flat.items() if k.startswith("inputs/")}
    wanted = torch.from_numpy(flat[target]).flatten(2)
    mask = torch.from_numpy(flat[f"masks/{target}"])
    said = network(inputs)
    low, high = limits
    beyond = ((wanted <= low + 1e-5) & (said < wanted)) | (
        (wanted >= high - 1e-5) & (said > wanted)
    )
    error: Tensor = ((said - wanted).abs() * ~beyond).mean(2)
    return (error * mask).sum() / mask.sum()


def _held_out_loss(
    windows: Windows,
    pipeline: Pipeline,
    target: str,
    limits: Limits,
    *,
    seed: int,
    most: int = 2048,
) -> Callable[[nn.Module], float]:
    """Loss on a fixed choice of held-out windows, at most ``most`` of them."""
    order = np.random.default_rng(seed).permutation(len(windows))[:most]
    batches: list[Batch] = [
        windows.batch(part) for part in np.array_split(order, -(-len(order) // 256))
    ]

    def measure(network: nn.Module) -> float:
        with torch.inference_mode():
            flats = map(pipeline.forward, batches)
            losses = [_loss(network, flat, target, limits).item() for flat in flats]
        return float(np.average(losses, weights=[len(batch) for batch in batches]))

    return measure


__all__ = ["CloneRecipe", "train_clone"]
