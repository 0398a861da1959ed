"""Small things that tests of several rooms are made of: stores, episodes, a robot, a policy."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from viae.act import Reading, SteppedClock
from viae.schema import Block, Episode, Fact, Kind, Role, Samples, StreamSpec
from viae.store import Store, StoreWriter

STATE = StreamSpec(name="observation.state", shape=(2,))
ACTION = StreamSpec(name="action", dtype="float32", shape=(2,), role=Role.ACTION)
SUCCESS = StreamSpec(name="success", dtype="bool", shape=(1,), role=Role.OUTCOME)
CAMERA = StreamSpec(name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(8, 12, 3), encoding="png")
FORCE = StreamSpec(name="force", dtype="float32", shape=(3,), clock="sensor")


def ns(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), np.int64)


def samples(
    spec: StreamSpec,
    values: Sequence,
    arrival_ns: Iterable[int] | None = None,
    capture_ns: Iterable[int] | None = None,
) -> Samples:
    """Samples at 0, 1, 2, … ns unless told otherwise; vectors take the spec's dtype and shape."""
    arrival = ns(range(len(values)) if arrival_ns is None else arrival_ns)
    capture = arrival if capture_ns is None else ns(capture_ns)
    if spec.kind is Kind.VECTOR and not spec.varies:
        values = np.asarray(values, spec.dtype).reshape(len(values), *spec.shape)
    return Samples(
        spec=spec, capture_ns=capture, arrival_ns=arrival, seq=ns(range(len(values))), values=values
    )


def episode(episode_id: str, **fields: object) -> Episode:
    given = {"log_uri": "made", "log_hash": "h", "log_range": "", "log_format": "made"} | fields
    return Episode(episode_id=episode_id, **given)


def write(
    store: Store,
    episode_id: str,
    blocks: Iterable[Block] = (),
    *,
    facts: Sequence[Fact] = (),
    **fields: object,
) -> int:
    """Write and commit one episode; how many were new."""
    writer = StoreWriter(store, now_ns=lambda: 1)
    draft = writer.begin(episode_id)
    for block in blocks:
        draft.add(block)
    draft.finish(episode(episode_id, **fields), facts)
    return writer.commit()


def png(pixels: np.ndarray, coding: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=coding)
    return buffer.getvalue()


def reaching_store(path: Path, *, episodes: int = 4, steps: int = 12, task: str = "reach") -> Store:
    """Demonstrations of moving a point to the origin: the action is minus half the state."""
    store = Store.create(path)
    for number in range(episodes):
        rng = np.random.default_rng(number)
        state = rng.uniform(-1, 1, 2)
        states, actions = [], []
        for _ in range(steps):
            states.append(state)
            actions.append((-0.5 * state).astype(np.float32))
            state = state + actions[-1]
        times = range(10, 10 * (steps + 1), 10)
        write(
            store, f"e{number}",
            [samples(STATE, states, times), samples(ACTION, actions, times)],
            task=task, outcome=True, agent="scripted:test",
        )  # fmt: skip
    return store


class PointRobot:
    """A point to move to the origin, with a camera every other step and a force that comes late.

    The force's readings are of one, two or three steps ago, so their captures go back and forth.
    """

    name = "point"
    task = "reach"
    streams = (STATE, ACTION, SUCCESS, CAMERA, FORCE)
    period_ns = 10_000_000

    def __init__(self) -> None:
        self.clock = SteppedClock()

    def reset(self, conditions) -> None:
        self.clock = SteppedClock()
        self._rng = np.random.default_rng(conditions["seed"])
        self._state = self._rng.uniform(-1, 1, 2)
        self._step = 0
        self._forces: list[Reading] = []

    def observe(self):
        now = self.clock.now_ns()
        found = {"observation.state": Reading(value=self._state.copy(), capture_ns=now)}
        if self._step % 2 == 0:
            pixels = self._rng.integers(0, 256, CAMERA.shape, np.uint8)
            found["camera"] = Reading(value=pixels, capture_ns=now - 1_000_000)
        force = self._rng.standard_normal(3).astype(np.float32)
        self._forces.append(Reading(value=force, capture_ns=now))
        late = (1, 3, 2)[self._step % 3]
        if len(self._forces) > late:
            found["force"] = self._forces[-1 - late]
        return found

    def act(self, action) -> None:
        self._state = self._state + action["action"]
        self._step += 1
        self.clock.wait_until(self.clock.now_ns() + self.period_ns)

    def outcome(self):
        near = np.array([bool(np.abs(self._state).max() < 1e-2)])
        return {"success": Reading(value=near, capture_ns=self.clock.now_ns())}

    def close(self) -> None:
        pass


class Scripted:
    """Halves the state every step."""

    agent = "scripted:halve"

    def reset(self, task, streams) -> None:
        self.state = None

    def add(self, stream, value, *, capture_ns, arrival_ns) -> None:
        if stream == "observation.state":
            self.state = value

    def act(self, at_ns):
        return {"action": (-0.5 * self.state).astype(np.float32)}
