"""Training the base model: the likelihood of everything in the log.

Source of the objective: docs/design/0004-model.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from viae.errors import UsageError
from viae.load.events import EventReader, shown_spec
from viae.model import BaseBundle, BaseConfig, BaseModel, Provenance
from viae.model.tokens import Codec
from viae.model.tokens.vocabulary import Encoded, Vocabulary
from viae.schema import Episode, Events
from viae.schema.names import StreamNames
from viae.sequence import held_out
from viae.store import Store
from viae.train.draws import Draws
from viae.train.loop import Point, fit, gathered
from viae.train.moments import Moments
from viae.train.objective import Objective, losses, measured
from viae.train.processes import shard
from viae.train.recipe import TYPE, BaseRecipe
from viae.train.usual import begin_usual
from viae.video import AS_RECORDED, PictureView

FACTS = ("intervention",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Episodes of one store that a base model learns from.

    Args:
        store: at the snapshot to read.
        episodes: of it.
        weight: how often they are drawn, against their number of events.
    """

    store: Store
    episodes: tuple[Episode, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise UsageError(f"{self.store.uri}: the weight of a store is not {self.weight}")


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """An episode as events; whether it is held out, and how often it is drawn."""

    episode: Episode
    events: Events
    out: bool
    weight: float


def train_base(
    sources: Sequence[Source],
    recipe: BaseRecipe,
    *,
    work: Path,
    pictures: Mapping[str, Codec] | None = None,
    start: BaseBundle | None = None,
    initial_states: Sequence[str] = (),
    accelerator: Any = None,
    divide: bool = False,
    progress: Callable[[Point], None] = lambda point: None,
) -> BaseBundle:
    """Train a base model.

    Args:
        sources: stores and their episodes; robots and streams may differ.
        recipe: what to train.
        work: folder for the checkpoint, to resume after a kill; several processes share it.
        pictures: tokenizers of picture streams, by stream.
        start: go on from these weights, with their vocabulary and the network's size; streams that
            it does not know are left out. None begins from nothing.
        initial_states: what the episodes started from, for the bundle's provenance.
        accelerator: an `accelerate.Accelerator`, if several processes train, or a GPU does; see
            `viae.train.processes.accelerator`. Every process calls this with equal arguments.
        divide: whether the model is divided among the processes (FSDP2), not whole in each (DDP).
        progress: called at every point of the loss curve, by the main process.

    Returns:
        The bundle, not yet saved. A function of its arguments, on one machine and one thread.

    Raises:
        UsageError: no episodes, a weight for what the model does not say, nothing that ``start``
            knows, or a wish that cannot be granted here (`compile`, `trunk`).
        TokenError: the episodes have nothing that has tokens.
        TrainingError: the numbers went wrong again and again.
    """
    if not any(source.episodes for source in sources):
        raise UsageError("there are no episodes to learn from; widen --where, or ingest some")
    if divide and accelerator is None:
        raise UsageError("a model is divided among processes: give an accelerator")
    names = _names(sources, recipe, pictures or {})
    parts = [_read(source, recipe, names, pictures or {}) for source in sources]
    read = [each for some, _ in parts for each in some]
    learned = [each.events for each in read if not each.out]
    begun = start.bundle_id if start else None
    vocabulary = start.vocabulary if start else Vocabulary.fit(
        learned, chunk=recipe.chunk, bins=recipe.bins, pictures=pictures,
        left={name: why for _, left in parts for name, why in left.items()},
    )  # fmt: skip
    encoded = [(each, vocabulary.encode(each.events)) for each in read]
    if start and not any(len(events) for _, events in encoded):
        known = [spec.name for spec in vocabulary.streams]
        raise UsageError(
            f"bundle {begun} knows the streams {known}: the episodes have none of them"
        )
    objective = Objective(vocabulary, recipe)
    model = _network(vocabulary, recipe, accelerator, start)
    if start is None:
        begin_usual(model, vocabulary, [events for each, events in encoded if not each.out])
    if divide:
        shard(model, accelerator)
    apart = [(each, events) for each, events in encoded if each.out and len(events)]
    measure = measured(_draws(apart, vocabulary, recipe), objective, recipe) if apart else None
    draws = _draws([pair for pair in encoded if not pair[0].out], vocabulary, recipe)
    snapshots = {source.store.uri: source.store.snapshot().versions for source in sources}
    ids = {
        "trained_on": tuple(each.episode.episode_id for each in read if not each.out),
        "held_out": tuple(each.episode.episode_id for each in read if each.out),
    }
    weights = [source.weight for source in sources]
    identity = json.dumps([recipe.to_json(), snapshots, ids, weights, begun], sort_keys=True)
    loss = losses(draws, objective, recipe, accelerator, Moments(draws, vocabulary))
    curve = fit(
        model, loss, measure, recipe.loop,
        checkpoint=work / "checkpoint.safetensors",
        identity=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        guards=recipe.guards, accelerator=accelerator, progress=progress,
    )  # fmt: skip
    final = BaseModel(model.config)
    final.load_state_dict({name: value.cpu() for name, value in gathered(model).items()})
    return BaseBundle(
        model=final.eval(),
        vocabulary=vocabulary,
        length=recipe.length,
        names=names,
        provenance=Provenance(
            store=sources[0].store.uri,
            snapshot=sources[0].store.snapshot().versions,
            episodes=ids,
            initial_states=tuple(sorted(initial_states)),
            training=recipe.to_json()
            | {"snapshots": snapshots, "weights": weights, "start": begun},
            metrics={
                "parameters": sum(p.numel() for p in final.parameters()),
                "left": dict(vocabulary.left),
                "certain": vocabulary.certain,
                "skipped": [number for point in curve for number in point.skipped],
                "curve": [[p.step, p.train, p.held_out] for p in curve],
                "bits": [dict(p.parts) for p in curve],
            },
        ),
    )


def _network(
    vocabulary: Vocabulary, recipe: BaseRecipe, accelerator: Any, start: BaseBundle | None
) -> BaseModel:
    if recipe.trunk and start is None:
        _check_trunk(recipe)
    torch.manual_seed(recipe.loop.seed)
    config = BaseConfig(
        features=vocabulary.features, stream_of=vocabulary.stream_of, slots=vocabulary.slots,
        width=recipe.width, depth=recipe.depth, heads=recipe.heads,
        depth_width=recipe.depth_width, depth_layers=recipe.depth_layers,
        mixed=tuple(
            (group, recipe.event_components if group < len(vocabulary.types) else recipe.components)
            for group in vocabulary.mixed
        ),
        dropout=recipe.dropout, trunk=recipe.trunk, longest=recipe.length + 1,
    )  # fmt: skip
    if start is not None:
        longest = max(recipe.length + 1, start.model.config.longest)
        config = replace(start.model.config, dropout=recipe.dropout, longest=longest)
    model = BaseModel(config)
    if start is not None:
        model.load_state_dict(start.model.state_dict())
    on_cpu = accelerator is None or accelerator.device.type == "cpu"
    if on_cpu and recipe.bf16:
        quicker: Any = model.trunk
        quicker.set_attn_implementation("eager")  # a fifth of the trunk's time in bfloat16
    if recipe.compile:
        _compile(model)
    return model


def _compile(model: BaseModel) -> None:
    try:
        for part in (model.trunk, *model.depth.layers):
            part.compile(dynamic=True)
        model.trunk(inputs_embeds=torch.zeros(2, 3, model.config.width), use_cache=False)
    except Exception as error:  # the compiler has errors of many kinds
        what = str(error).strip().partition("\n")[0]
        raise UsageError(f"compile: this machine cannot: {what}. Leave it out") from error


def _check_trunk(recipe: BaseRecipe) -> None:
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(recipe.trunk)
    except (OSError, ValueError) as error:
        raise UsageError(f"trunk: there is none at {recipe.trunk}: {error}") from error
    if found.hidden_size != recipe.width:
        raise UsageError(
            f"trunk: {recipe.trunk} has width {found.hidden_size}, the recipe {recipe.width}; "
            f"write  width: {found.hidden_size}"
        )


def _draws(
    pairs: Sequence[tuple[_Read, Encoded]], vocabulary: Vocabulary, recipe: BaseRecipe
) -> Draws:
    kept = [(each, encoded) for each, encoded in pairs if len(encoded)]
    return Draws(
        [encoded for _, encoded in kept], [each.episode.task for each, _ in kept],
        vocabulary, recipe, [each.weight for each, _ in kept],
    )  # fmt: skip


def _names(
    sources: Sequence[Source], recipe: BaseRecipe, pictures: Mapping[str, Codec]
) -> StreamNames:
    """What streams are called, over all stores."""
    found, known = [], set()
    for source in sources:
        robots = {episode.episode_id: episode.robot for episode in source.episodes}
        for row in source.store.streams(list(robots)):
            known.add(row["stream"])
            if row["samples"] and (not recipe.streams or row["stream"] in recipe.streams):
                size = _size(pictures.get(row["stream"]))
                view = PictureView(size) if size else AS_RECORDED
                found.append((robots[row["episode_id"]], shown_spec(row["spec"], view)))
    if missing := sorted({*recipe.streams, *pictures} - known):
        raise UsageError(f"there are no streams {missing}; the episodes have {sorted(known)}")
    return StreamNames.of(found, FACTS)


def _read(
    source: Source, recipe: BaseRecipe, names: StreamNames, pictures: Mapping[str, Codec]
) -> tuple[list[_Read], Mapping[str, str]]:
    """The episodes of a store, and its streams that cannot be events, and why."""
    own = {row["stream"] for row in source.store.streams([e.episode_id for e in source.episodes])}
    sizes = {name: size for name in sorted(own) if (size := _size(pictures.get(name)))}
    reader = EventReader(
        source.store, source.episodes, facts=FACTS, names=names, picture_sizes=sizes,
        streams=[name for name in recipe.streams if name in own] if recipe.streams else None,
    )  # fmt: skip
    by_task: dict[str, list[str]] = {}
    for episode in source.episodes:
        by_task.setdefault(episode.task, []).append(episode.episode_id)
    kept_out = held_out(by_task, fraction=recipe.held_out_share, seed=recipe.loop.seed)
    read = [
        _Read(episode, reader.events(i), episode.episode_id in kept_out, source.weight)
        for i, episode in enumerate(source.episodes)
    ]
    return read, reader.left


def _size(codec: Codec | None) -> tuple[int, int] | None:
    """Height and width that a tokenizer of pictures looks at."""
    painter: Any = getattr(codec, "painter", None)
    if painter is None:
        return None
    height, width = painter.config.size
    return height, width


__all__ = ["TYPE", "BaseRecipe", "Draws", "Objective", "Source", "losses", "measured", "train_base"]
