"""Run by LeRobot's own Python, with viae on its path: LeRobot's items against viae's.

``python lerobot_items_peer.py make ROOT CODEC`` records a dataset with features of every kind.
``python lerobot_items_peer.py compare JOB.json`` prints ``{"checks", "equal", "failures"}``. Job:

    root      the dataset, opened by LeRobot
    store     a store with the same dataset
    cases     a list of {"delta_timestamps", "episodes", "transforms", "memory_gb"}
    backends  of LeRobot: "torchcodec", "pyav"
    items     how many items of each case, drawn without order; all where 0
    loose     whether ``info.json`` may differ where only files are described

``python lerobot_items_peer.py rate JOB.json`` prints items per second of a DataLoader. Job:

    which     "lerobot" or "viae"
    root, store, delta_timestamps, batch_size, workers, batches
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lerobot_peer import Tally

FILES = {
    "data_files_size_in_mb", "video_files_size_in_mb", "splits", "total_chunks", "total_videos",
}  # fmt: skip
"""Entries of ``info.json`` about files."""


def same(ours: Any, theirs: Any) -> bool:
    """Equal in type, dtype, shape and every bit."""
    if type(ours) is not type(theirs):
        return False
    if not isinstance(theirs, torch.Tensor):
        return ours == theirs
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False
    return ours.contiguous().numpy().tobytes() == theirs.contiguous().numpy().tobytes()


def theirs_of(job: dict, case: dict, backend: str | None) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(
        "viae/peer", root=job["root"], delta_timestamps=case.get("delta_timestamps"),
        episodes=case.get("episodes"), image_transforms=transforms(case), video_backend=backend,
    )  # fmt: skip


def ours_of(job: dict, case: dict) -> Any:
    from viae.load import lerobot

    return lerobot(
        job["store"], delta_timestamps=case.get("delta_timestamps"),
        episodes=case.get("episodes"), image_transforms=transforms(case),
        memory_gb=case.get("memory_gb", 4.0),
    )  # fmt: skip


def transforms(case: dict) -> Any:
    if not case.get("transforms"):
        return None
    from lerobot.datasets.transforms import ImageTransforms, ImageTransformsConfig

    return ImageTransforms(ImageTransformsConfig(enable=True))


def compare(job: dict) -> dict:
    tally = Tally()
    for number, case in enumerate(job["cases"]):
        ours = ours_of(job, case)
        for backend in job["backends"]:
            theirs = theirs_of(job, case, backend)
            compare_items(tally, f"case {number}, {backend}", ours, theirs, job.get("items", 0))
        if number == 0 or case.get("episodes"):
            compare_meta(tally, f"case {number}", ours, theirs, job.get("loose", False))
    return {"checks": tally.checks, "equal": tally.equal, "failures": tally.failures}


def compare_items(tally: Tally, where: str, ours: Any, theirs: Any, items: int) -> None:
    tally.check(f"{where}: length", len(ours) == len(theirs))
    order = np.random.default_rng(0).permutation(len(theirs)).tolist()
    order = order[: items or None]
    edges = [*theirs.meta.episodes["dataset_from_index"], *theirs.meta.episodes["dataset_to_index"]]
    edges = [at for edge in edges for at in (edge - 1, edge, edge + 1) if 0 <= at < len(theirs)]
    order += [at for at in dict.fromkeys(edges) if at not in set(order)] + [-1]
    for start in range(0, len(order), 16):
        rows = order[start : start + 16]
        torch.manual_seed(start)
        batch = ours.__getitems__(rows)
        torch.manual_seed(start)
        for row, found in zip(rows, batch, strict=True):
            compare_item(tally, f"{where}, row {row}", found, theirs[row])
    torch.manual_seed(0)
    alone = ours[order[0]]
    torch.manual_seed(0)
    compare_item(tally, f"{where}, alone", alone, theirs[order[0]])


def compare_item(tally: Tally, where: str, ours: dict, theirs: dict) -> None:
    tally.check(f"{where}: keys {list(ours)}, not {list(theirs)}", list(ours) == list(theirs))
    for key, value in theirs.items():
        tally.check(f"{where}: {key}", key in ours and same(ours[key], value))


def compare_meta(tally: Tally, where: str, ours: Any, theirs: Any, loose: bool) -> None:
    for name in ("num_frames", "num_episodes", "features", "fps", "episodes", "delta_timestamps"):
        tally.check(f"{where}: {name}", getattr(ours, name) == getattr(theirs, name))
    tally.check(f"{where}: delta_indices", ours.delta_indices == theirs.delta_indices)
    for name in (
        "fps", "robot_type", "features", "camera_keys", "image_keys", "video_keys", "names",
        "shapes", "total_episodes", "total_frames", "total_tasks", "chunks_size",
    ):  # fmt: skip
        mine, other = getattr(ours.meta, name), getattr(theirs.meta, name)
        tally.check(f"{where}: meta.{name}", json.dumps(mine) == json.dumps(other))
    mine, other = (
        {key: value for key, value in meta.info.items() if not (loose and key in FILES)}
        for meta in (ours.meta, theirs.meta)
    )
    tally.check(f"{where}: meta.info {mine} {other}", mine == other)
    for name in ("tasks", "subtasks"):
        mine, other = getattr(ours.meta, name), getattr(theirs.meta, name)
        alike = (mine is None and other is None) or bool(mine.equals(other))
        tally.check(f"{where}: meta.{name}", alike)
    one, two = ours.meta.stats, theirs.meta.stats
    tally.check(f"{where}: stats keys", set(one) == set(two))
    for key, stats in two.items():
        tally.check(f"{where}: stats {key}", set(one[key]) == set(stats))
        for name, value in stats.items():
            mine = one[key].get(name, np.empty(0))
            alike = mine.dtype == value.dtype and mine.shape == value.shape
            tally.check(f"{where}: stats {key}/{name}", alike and mine.tobytes() == value.tobytes())
    tally.check(f"{where}: episodes", len(ours.meta.episodes) == len(theirs.meta.episodes))
    for name in ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"):
        alike = list(ours.meta.episodes[name]) == list(theirs.meta.episodes[name])
        tally.check(f"{where}: episodes {name}", alike)


def rate(job: dict) -> dict:
    """Items per second of a DataLoader, from the second batch on."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    found = ours_of(job, job) if job["which"] == "viae" else theirs_of(job, job, None)
    order = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(
        found, batch_size=job["batch_size"], num_workers=job["workers"], shuffle=True,
        generator=order, drop_last=True,
    )  # fmt: skip
    items = began = 0
    for number, batch in enumerate(loader):
        if number == 0:
            began = time.perf_counter()
        else:
            items += len(batch["index"])
        if number == job["batches"]:
            break
    return {"items_per_s": items / (time.perf_counter() - began), "items": items}


def make(root: str, codec: str) -> None:
    """Three episodes with numbers of every type and shape, texts, movies and pictures."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    picture = {"shape": (64, 80, 3), "names": ["height", "width", "channels"]}
    small = {"shape": (50, 70, 3), "names": ["height", "width", "channels"]}
    dtypes = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool")
    shapes = {"one": (1,), "vector": (4,), "matrix": (2, 3), "cube": (2, 2, 3)}
    features: dict[str, Any] = {
        f"observation.{shape}.{dtype}": {"dtype": dtype, "shape": size, "names": None}
        for dtype in dtypes
        for shape, size in shapes.items()
    }
    features |= {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["x", "y"]}},
        "observation.images.top": {"dtype": "video", **picture},
        "observation.images.side": {"dtype": "video", **small},
        "observation.images.still": {"dtype": "image", **small},
        "note": {"dtype": "string", "shape": (1,), "names": None},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    made = LeRobotDataset.create(
        "viae/peer", fps=10, features=features, root=root, robot_type="toy", vcodec=codec
    )
    random = np.random.default_rng(0)

    def numbers(dtype: str, shape: tuple[int, ...]) -> Any:
        if dtype == "bool":
            return random.integers(0, 2, shape).astype(bool)
        if dtype.startswith("float"):
            return random.normal(size=shape).astype(dtype)
        return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype)

    for episode in range(3):
        for step in range(12 + episode):
            frame: dict[str, Any] = {
                name: numbers(feature["dtype"], feature["shape"])
                for name, feature in features.items()
                if feature["dtype"] in dtypes
            }
            for name, feature in features.items():
                if feature["dtype"] in ("video", "image"):
                    pixels = random.integers(0, 60, feature["shape"], np.uint8)
                    pixels[:, step * 3 : step * 3 + 9] = (200, 90, 30)
                    frame[name] = pixels
            frame |= {"note": f"step {step}", "task": "pick" if episode < 2 or step < 5 else "put"}
            made.add_frame(frame)
        made.save_episode(parallel_encoding=False)
    made.finalize()


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(*rest)
    else:
        job = json.loads(Path(rest[0]).read_text())
        print(json.dumps(compare(job) if verb == "compare" else rate(job)))
