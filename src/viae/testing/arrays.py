"""Small HDF5 and Zarr logs made on the spot."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image


def write_robomimic(
    path: Path,
    *,
    episodes: int = 2,
    rows: int = 12,
    rate_hz: float | None = 20,
    images: bool = True,
    masks: bool = True,
    options: dict[str, Any] | None = None,
) -> Path:
    """Write a robomimic file: states, actions, obs, next_obs, rewards, dones, filter keys.

    Args:
        path: the file.
        episodes: how many.
        rows: samples of each.
        rate_hz: the ``control_freq`` that ``env_args`` states; None to leave it out.
        images: whether there is a camera, 8 by 6 pixels.
        masks: whether there are filter keys ``train`` (all but the last) and ``valid``.
        options: of each dataset, e.g. ``{"compression": "gzip"}``.
    """
    import h5py

    kwargs: dict[str, Any] = {"robots": ["Panda"]}
    if rate_hz is not None:
        kwargs["control_freq"] = rate_hz
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = episodes * rows
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})
        for episode in range(episodes):
            rng = np.random.default_rng(episode)
            demo = data.create_group(f"demo_{episode}")
            demo.attrs["num_samples"] = rows
            demo.attrs["model_file"] = f"<mujoco model='{episode}'/>"
            arrays: dict[str, npt.NDArray[Any]] = {
                "states": rng.standard_normal((rows, 5)),
                "actions": rng.uniform(-1, 1, (rows, 7)),
                "rewards": np.eye(rows)[-1],
                "dones": np.eye(rows, dtype=np.int64)[-1],
            }
            eef = rng.standard_normal((rows + 1, 3))
            arrays["obs/eef_pos"], arrays["next_obs/eef_pos"] = eef[:-1], eef[1:]
            if images:
                arrays["obs/agentview_image"] = rng.integers(0, 256, (rows, 6, 8, 3), np.uint8)
            for key, values in arrays.items():
                demo.create_dataset(key, data=values, **(options or {}))
        if masks:
            names = np.array([f"demo_{episode}" for episode in range(episodes)], "S")
            file["mask/train"], file["mask/valid"] = names[:-1], names[-1:]
    return path


def write_aloha(
    path: Path,
    *,
    rows: int = 12,
    cameras: Sequence[str] = ("cam_high", "cam_left_wrist"),
    compress: bool = False,
    fps: float | None = 50,
    seed: int = 0,
) -> Path:
    """Write an episode in ALOHA's layout.

    Args:
        path: the file.
        rows: samples.
        cameras: their names; pictures are 32 wide and 24 high.
        compress: whether pictures are JPEG, in rows padded with zeros.
        fps: an attribute, which the original lacks; None to leave it out.
        seed: of the values.
    """
    import h5py

    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        file.attrs["compress"] = compress
        if fps is not None:
            file.attrs["fps"] = fps
        file["action"] = rng.standard_normal((rows, 14))
        file["observations/qpos"] = rng.standard_normal((rows, 14))
        file["observations/qvel"] = rng.standard_normal((rows, 14))
        lengths = []
        for camera in cameras:
            pixels = rng.integers(0, 256, (rows, 24, 32, 3), np.uint8)
            key = f"observations/images/{camera}"
            if not compress:
                file.create_dataset(key, data=pixels, chunks=(1, 24, 32, 3))
                continue
            coded = [jpeg(picture) for picture in pixels]
            lengths.append([float(len(data)) for data in coded])
            padded = np.zeros((rows, max(map(len, coded))), np.uint8)
            for row, data in zip(padded, coded, strict=True):
                row[: len(data)] = np.frombuffer(data, np.uint8)
            file.create_dataset(key, data=padded, chunks=(1, padded.shape[1]))
        if compress:
            file["compress_len"] = np.array(lengths)
    return path


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A picture [H, W, 3] as JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_replay_buffer(
    path: Path,
    *,
    lengths: Sequence[int] = (7, 5),
    zarr_format: Literal[2, 3] = 2,
    chunk_rows: int = 4,
    fps: float | None = 10,
    timestamps: bool = False,
    images: bool = True,
) -> Path:
    """Write a replay buffer of Diffusion Policy: a folder, or a zip if the path ends in ``.zip``.

    Args:
        path: the folder or file.
        lengths: samples of each episode.
        zarr_format: 2 or 3.
        chunk_rows: rows of a chunk; of a picture it is one.
        fps: an attribute of the root, which the original lacks; None to leave it out.
        timestamps: whether there is an array of times, not quite even.
        images: whether there is a camera, 8 by 6 pixels.
    """
    import zarr

    rows = sum(lengths)
    rng = np.random.default_rng(rows)
    arrays: dict[str, npt.NDArray[Any]] = {
        "action": rng.standard_normal((rows, 2)).astype(np.float32),
        "state": rng.standard_normal((rows, 5)).astype(np.float32),
    }
    if images:
        arrays["img"] = rng.integers(1, 256, (rows, 6, 8, 3), np.uint8)
    if timestamps:
        arrays["timestamp"] = np.arange(rows) / 10 + rng.uniform(0, 0.01, rows)
    store: Any = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else path
    stated = {} if fps is None else {"fps": fps}  # a zip cannot be told later
    root = zarr.create_group(store, zarr_format=zarr_format, attributes=stated)
    ends = np.cumsum(np.array(lengths, np.int64))
    data, meta = root.create_group("data"), root.create_group("meta")
    meta.create_array("episode_ends", data=ends, chunks=(len(ends),))
    for key, values in arrays.items():
        size = 1 if values.ndim == 4 else chunk_rows
        data.create_array(key, data=values, chunks=(size, *values.shape[1:]))
    if path.suffix == ".zip":
        store.close()
    return path
