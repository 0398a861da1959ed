"""A store of one robot's episodes at mixed rates, in every kind that streams have."""

from pathlib import Path

import numpy as np
import pytest

from builders import png, samples, write
from viae import Store
from viae.schema import Fact, Kind, Role, StreamSpec

MS = 1_000_000
POSE = StreamSpec(name="/arm/pose", shape=(3,), names=("x", "y", "z"), unit="m")
FORCE = StreamSpec(name="force", dtype="float32", shape=(2, 2))
COMMAND = StreamSpec(name="command", dtype="float32", shape=(2,), role=Role.ACTION)
REWARD = StreamSpec(name="reward", role=Role.OUTCOME)
CAMERA = StreamSpec(name="cam", kind=Kind.IMAGE, dtype="uint8", shape=(32, 48, 3), encoding="png")
SAID = StreamSpec(name="said", kind=Kind.TEXT, dtype="")
RAW = StreamSpec(name="raw", kind=Kind.BYTES, dtype="")
POINTS = StreamSpec(name="points", dtype="int16", shape=(-1,))


def picture(step: int) -> bytes:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, step % 40 : step % 40 + 8] = 200
    return png(pixels)


def fill(store: Store, number: int, *, start_ns: int = 1_700_000_000_000_000_000) -> str:
    """One second: pose 100 Hz, force 50 Hz, command and camera 20 Hz, reward 10 Hz, text twice."""
    rng = np.random.default_rng(number)

    def times(period_ms: float, count: int, delay_ms: float = 0.0) -> tuple[list[int], list[int]]:
        capture = [start_ns + round(i * period_ms * MS) for i in range(count)]
        return [at + round(delay_ms * MS) for at in capture], capture

    blocks = [
        samples(POSE, rng.standard_normal((100, 3)), *times(10, 100, 1)),
        samples(FORCE, rng.standard_normal((50, 2, 2)), *times(20, 50, 2)),
        samples(COMMAND, rng.standard_normal((20, 2)), *times(50, 20, 4)),
        samples(REWARD, rng.standard_normal(10), *times(100, 10, 5)),
        samples(CAMERA, [picture(i) for i in range(20)], *times(50, 20, 3)),
        samples(SAID, ["go", "stop"], *times(400, 2, 300)),
        samples(RAW, [b"\0\1", b""], *times(400, 2)),
        samples(POINTS, [np.arange(i % 3, dtype=np.int16) for i in range(5)], *times(200, 5)),
    ]
    name = f"e{number}"
    facts = [
        Fact(episode_id=name, key="note", value={"by": "me"}, author="me", time_ns=5),
        Fact(episode_id=name, key="grip", value=1, author="me", time_ns=5, start_ns=1, end_ns=2),
    ]
    write(
        store, name, blocks, facts=facts, robot="arm", task="wave", agent="human", outcome=True,
        conditions={"seed": number}, start_ns=start_ns, end_ns=start_ns + 10**9,
        log_range=f"part {number}",
    )  # fmt: skip
    return name


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two episodes; only read it."""
    store = Store.create(tmp_path_factory.mktemp("mixed") / "store")
    for number in range(2):
        fill(store, number)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an export goes."""
    return tmp_path / "out"
