"""The frames that every contender loads: decoded once, kept as arrays, read by each one's Python.

Needs NumPy alone; what makes the frames is imported where it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
FRAMES = 2
"""Frames of each camera in a window: the one before the decision's, and its own."""
CHUNK = 16
"""Actions in a window."""
PUSHT_EPISODES = 40
PUSHT_SEED = 4


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Episodes of one robot, one after another.

    Args:
        folder: holds ``pictures.npy`` uint8 [F, H, W, 3], ``states.npy`` float32 [F, S] and
            ``actions.npy`` float32 [F, A].
        fps: frames a second; states and actions come at the same instants.
        cameras: names; the k-th sees the pictures moved by k sevenths of their height and width.
        lengths: frames per episode.
        task: what is being done.
    """

    folder: str
    fps: int
    cameras: tuple[str, ...]
    lengths: tuple[int, ...]
    task: str

    @property
    def states(self) -> np.ndarray:
        """float32 [F, S]."""
        return np.load(Path(self.folder) / "states.npy")

    @property
    def actions(self) -> np.ndarray:
        """float32 [F, A]."""
        return np.load(Path(self.folder) / "actions.npy")

    @property
    def pictures(self) -> np.ndarray:
        """Memory-mapped: uint8 [F, H, W, 3]."""
        return np.load(Path(self.folder) / "pictures.npy", mmap_mode="r")

    def seen_by(self, camera: str, picture: np.ndarray) -> np.ndarray:
        """What a camera sees: its own part of the move, contiguous."""
        k = self.cameras.index(camera)
        height, width = picture.shape[-3:-1]
        moved = np.roll(picture, (k * height // 7, k * width // 7), (-3, -2)) if k else picture
        return np.ascontiguousarray(moved)

    def episodes(self) -> Iterator[range]:
        """The frames of each episode."""
        start = 0
        for length in self.lengths:
            yield range(start, start + length)
            start += length

    def windows(self) -> Iterator[tuple[list[int], int, list[int]]]:
        """Frames, state and actions of each window, by number; the ends of episodes repeat."""
        for episode in self.episodes():
            for now in episode:
                before = [max(episode.start, now - k) for k in reversed(range(FRAMES))]
                yield before, now, [min(episode.stop - 1, now + k) for k in range(CHUNK)]

    def save(self) -> None:
        """Write what is not an array; a folder without it is not finished."""
        text = json.dumps(asdict(self) | {"folder": ""})
        (Path(self.folder) / "frames.json").write_text(text)

    @classmethod
    def open(cls, folder: str | Path) -> Frames:
        """Those kept in a folder."""
        fields: dict[str, Any] = json.loads((Path(folder) / "frames.json").read_text())
        return cls(
            folder=str(folder), fps=fields["fps"], cameras=tuple(fields["cameras"]),
            lengths=tuple(fields["lengths"]), task=fields["task"],
        )  # fmt: skip


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise of uint8 pictures, dB, over all their values."""
    error = np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def frames_96(work: Path) -> Frames:
    """Episodes of gym-pusht at 96x96, played here.

    Raises:
        RuntimeError: gym-pusht is nowhere.
    """
    folder = work / "frames-96"
    if not (folder / "frames.json").exists():
        from pusht_frames import RATE_HZ, pusht_frames

        played = pusht_frames(PUSHT_EPISODES, PUSHT_SEED)
        _keep(folder, played.pictures, played.states, played.actions, RATE_HZ, "push the T")
    return Frames.open(folder)


def frames_640(work: Path, data: Path) -> Frames:
    """The five episodes of a Unitree G1 at 640x480 whose video is there, decoded."""
    folder = work / "frames-640"
    if not (folder / "frames.json").exists():
        import av
        import pyarrow.parquet as pq

        root = data / "g1_inspire_lerobot_v21"
        pictures, states, actions = [], [], []
        for video in sorted(root.glob("videos/*/*/episode_*.mp4")):
            table = pq.read_table(next(root.glob(f"data/*/{video.stem}.parquet")))
            with av.open(str(video)) as movie:
                decoded = [frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]
            n = min(len(decoded), len(table))
            pictures.append(np.stack(decoded[:n]))
            states.append(np.stack(table["observation.state"][:n].to_numpy()).astype(np.float32))
            actions.append(np.stack(table["action"][:n].to_numpy()).astype(np.float32))
        _keep(folder, pictures, states, actions, 30, "pick up the bottle")
    return Frames.open(folder)


def three_cameras(work: Path, frames: Frames) -> Frames:
    """The same frames under three names, each moved differently."""
    folder = work / "frames-640x3"
    if not (folder / "frames.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("pictures", "states", "actions"):
            link = folder / f"{name}.npy"
            link.unlink(missing_ok=True)
            link.symlink_to((Path(frames.folder) / link.name).resolve())
        Frames(folder=str(folder), fps=frames.fps, cameras=("left", "middle", "right"),
               lengths=frames.lengths, task=frames.task).save()  # fmt: skip
    return Frames.open(folder)


def _keep(
    folder: Path,
    pictures: Sequence[np.ndarray],
    states: Sequence[np.ndarray],
    actions: Sequence[np.ndarray],
    fps: int,
    task: str,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("pictures", pictures), ("states", states), ("actions", actions)):
        np.save(folder / f"{name}.npy", np.concatenate(arrays))
    Frames(folder=str(folder), fps=fps, cameras=("top",), lengths=tuple(map(len, states)),
           task=task).save()  # fmt: skip
