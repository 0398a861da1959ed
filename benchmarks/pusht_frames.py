"""Pictures of gym-pusht at 96x96, 10 Hz, with states and actions: a disc that pushes a T about.

gym-pusht is in the extra ``bench``. Where it is not installed beside viae, name a Python that has
it in ``VIAE_PUSHT_PYTHON``; this file is then run by it, and needs NumPy and gym-pusht alone:
``python pusht_frames.py EPISODES SEED FILE.npz``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIZE = 96
RATE_HZ = 10
STEPS = (90, 160)
"""Frames of an episode: at least, and fewer than. LeRobot's dataset has 125 on average."""
REACH = 45.0
"""How far before the disc it is told to go, in a field of 512."""
NEAR = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PushT:
    """Episodes of gym-pusht.

    Args:
        pictures: an array an episode, uint8 [N, 96, 96, 3], RGB, of the moment of each state.
        states: float32 [N, 2], where the disc is, in a field of 512.
        actions: float32 [N, 2], where it is told to go.
    """

    pictures: list[npt.NDArray[np.uint8]]
    states: list[npt.NDArray[np.float32]]
    actions: list[npt.NDArray[np.float32]]

    @property
    def frames(self) -> int:
        """Pictures in all."""
        return sum(map(len, self.pictures))


def pusht_frames(episodes: int, seed: int) -> PushT:
    """Play; equal arguments give equal episodes.

    The player walks round the T, through it, and off again, with noise.

    Raises:
        RuntimeError: gym-pusht is nowhere.
    """
    python = os.environ.get("VIAE_PUSHT_PYTHON")
    if not python and importlib.util.find_spec("gym_pusht"):
        python = sys.executable
    if not python:
        raise RuntimeError(
            "no gym-pusht here: pip install 'viae[bench]', or name a Python that has it in "
            "VIAE_PUSHT_PYTHON"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pusht.npz"
        # a process of its own: OpenCV, which gym-pusht draws with, brings another FFmpeg
        subprocess.run([python, __file__, str(episodes), str(seed), str(path)], check=True)
        with np.load(path) as found:
            lists = {
                name: [found[f"{name}{number}"] for number in range(episodes)]
                for name in ("pictures", "states", "actions")
            }
    return PushT(**lists)


def play(seed: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """One episode: pictures, states, actions."""
    from gym_pusht.envs import PushTEnv

    random = np.random.default_rng(seed)
    world = PushTEnv(obs_type="pixels_agent_pos", observation_width=SIZE, observation_height=SIZE)
    seen, _ = world.reset(seed=seed)
    pictures, states, actions = [], [], []
    aim = _aim(world, random)
    for _ in range(int(random.integers(*STEPS))):
        place = np.asarray(seen["agent_pos"], np.float64)
        if np.linalg.norm(aim[0] - place) < NEAR:
            aim = aim[1:] or _aim(world, random)
        way = aim[0] - place
        step = way * min(1.0, REACH / max(float(np.linalg.norm(way)), 1e-9))
        action = np.clip(place + step + random.normal(0, 4, 2), 0, 512).astype(np.float32)
        pictures.append(seen["pixels"])
        states.append(place.astype(np.float32))
        actions.append(action)
        seen, *_ = world.step(action)
    world.close()
    return np.stack(pictures), np.stack(states), np.stack(actions)


def _aim(world: object, random: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Where to go next: behind the T, through it, off."""
    block = np.array(world.block.position)  # type: ignore[attr-defined]
    angle = random.uniform(0, 2 * np.pi)
    way = np.array([np.cos(angle), np.sin(angle)])
    points = (block - 130 * way, block + 40 * way, random.uniform(60, 450, 2))
    return [np.clip(point, 20, 492) for point in points]


def main(episodes: int, seed: int, path: str) -> None:
    """Play episodes into a file."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    arrays = {}
    for number in range(episodes):
        pictures, states, actions = play(seed * 100_000 + number)
        arrays |= {
            f"pictures{number}": pictures, f"states{number}": states, f"actions{number}": actions,
        }  # fmt: skip
    np.savez(path, **arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
