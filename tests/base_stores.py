"""Stores of base_events' episodes."""

from base_events import KINDS, made
from builders import samples, write
from viae.store import Store
from viae.train.base import BaseRecipe, Source
from viae.train.guards import Guards
from viae.train.loop import LoopConfig


def store_of(path, *, episodes=6, first=0, streams=KINDS, good=None, **fields):
    """Episodes with instruction and outcome."""
    store = Store.create(path)
    for seed in range(first, first + episodes):
        events = made(seed, streams=streams, good=good)
        blocks = []
        for number, spec in enumerate(events.streams):
            if spec.name in ("instruction", "outcome"):
                continue
            own = events.stream == number
            times = events.arrival_ns[own], events.capture_ns[own]
            blocks.append(samples(spec, events.values[spec.name], *times))
        outcome = bool(events.values["outcome"][0, 0])
        given = {"task": "reach", "robot": "point", "outcome": outcome, "end_ns": 10**9} | fields
        write(store, f"e{seed}", blocks, **given)
    return store


def source(store, weight=1.0):
    return Source(store=store, episodes=tuple(store.episodes()), weight=weight)


def recipe(**changes):
    loop = {"steps": 6, "check_every": 2, "warmup": 2, "patience": 0, "lr": 3e-3, "ema": 0.9}
    given = {
        "chunk": 2, "bins": 16, "length": 16, "batch_size": 4, "width": 16, "depth": 1, "heads": 2,
        "depth_width": 16, "depth_layers": 1, "bf16": False, "held_out_share": 0.2,
        "guards": Guards(clip=1.0),
    }  # fmt: skip
    return BaseRecipe(**given | {"loop": LoopConfig(**loop | changes.pop("loop", {}))} | changes)
