"""Episodes as events, with every kind of stream, for tests of the base model."""

import numpy as np
import torch

from viae.load.events import INSTRUCTION_SPEC, OUTCOME_SPEC, Column, assemble
from viae.model import BaseConfig, BaseModel
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import Events, Kind, Role, StreamSpec

STATE = StreamSpec(name="state", shape=(2,))
ACTION = StreamSpec(name="action", dtype="float32", shape=(2,), role=Role.ACTION)
MODE = StreamSpec(name="mode", dtype="int64", shape=(1,))
WIDE = StreamSpec(name="wide", dtype="float32", shape=(70,))
SAID = StreamSpec(name="said", kind=Kind.TEXT, dtype="")
FORCE = StreamSpec(name="force", dtype="float32", shape=(1,))
STEP = 10_000_000
KINDS = (STATE, ACTION, MODE, SAID, FORCE)


def column(spec, times, values, age=0):
    times = np.asarray(times, np.int64)
    return Column(
        spec=spec, name=spec.name, capture_ns=times - np.asarray(age, np.int64), arrival_ns=times,
        values=values,
    )  # fmt: skip


def made(
    seed: int, *, steps: int = 12, good: bool | None = None, streams=KINDS, instruction=True
) -> Events:
    """An episode: forces come late and with a varying age, texts and modes now and then."""
    rng = np.random.default_rng(seed)
    when = np.arange(1, steps + 1) * STEP
    state = np.cumsum(rng.normal(0, 0.3, (steps, 2)), 0)
    every = {
        "state": column(STATE, when, state),
        "action": column(
            ACTION, when, (-0.5 * state + rng.normal(0, 0.1, (steps, 2))).astype("f4")
        ),
        "mode": column(MODE, when[::3] + 5, rng.integers(0, 3, (len(when[::3]), 1))),
        "wide": column(WIDE, when[::2] + 7, rng.normal(0, 1, (len(when[::2]), 70)).astype("f4")),
        "said": column(SAID, when[1::5] + 9, [f"turn {rng.integers(9)} é" for _ in when[1::5]]),
        "force": column(
            FORCE, when + 3, rng.normal(0, 1, (steps, 1)).astype("f4"),
            rng.integers(1, 4, steps) * 1000,
        ),
    }  # fmt: skip
    last = bool(rng.random() < 0.5) if good is None else good
    return assemble(
        [every[spec.name] for spec in streams],
        first=column(INSTRUCTION_SPEC, when[:1], ["reach the goal"]) if instruction else None,
        last=column(OUTCOME_SPEC, when[-1:] + 9, np.array([[last]])),
        stops=np.empty((0, 2), np.int64),
    )


def network(vocabulary: Vocabulary, *, longest: int = 64, seed: int = 0) -> BaseModel:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return BaseModel(
        BaseConfig(
            features=vocabulary.features, stream_of=vocabulary.stream_of, slots=vocabulary.slots,
            width=16, depth=2, heads=2, depth_width=16, depth_layers=1, depth_heads=2,
            longest=longest,
        )
    ).eval()  # fmt: skip
