"""Run by LeRobot's own Python, without viae: open a dataset with LeRobot, and compare every frame.

``python lerobot_peer.py make ROOT CODEC`` records a small dataset of version 3.0 with LeRobot.
``python lerobot_peer.py convert ROOT`` converts one of version 2.1 in place, by LeRobot's script.
``python lerobot_peer.py compare JOB.json`` opens ``root``, compares it with what a job expects and
prints ``{"checks": n, "equal": n, "failures": [...]}``. The job names

    root      the dataset to open
    arrays    .npz files, one an episode: an array for each feature, pictures as uint8 [N, H, W, 3]
    movies    per episode, per camera: a file and the time at which the episode begins in it
    like      a dataset of version 3.0, opened by LeRobot too: every item and all metadata are equal
    renamed   per feature of ``root``, its name in ``arrays``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

AT_ONCE = 32
"""Pictures decoded at once."""


class Tally:
    """Checks made, and those that failed."""

    def __init__(self) -> None:
        self.checks = self.equal = 0
        self.failures: list[str] = []

    def check(self, what: str, ok: bool) -> None:
        """Count one."""
        self.checks += 1
        self.equal += bool(ok)
        if not ok and len(self.failures) < 20:
            self.failures.append(what)


def open_dataset(root: str):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    try:
        import torchcodec  # noqa: F401 (where it is installed without its FFmpeg it raises)

        backend = "torchcodec"
    except (ImportError, OSError, RuntimeError):
        backend = "pyav"
    return LeRobotDataset("viae/peer", root=root, video_backend=backend)


def plain(value):
    """A tensor as an array, a picture as uint8 [H, W, 3]."""
    if isinstance(value, str):
        return value
    array = value.numpy()
    if array.ndim == 3 and array.shape[0] == 3 and array.dtype == np.float32:
        return np.rint(array * 255).astype(np.uint8).transpose(1, 2, 0)
    return array


def same(one, other) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    one, other = np.asarray(one), np.asarray(other)
    if one.size == other.size == 1:
        one, other = one.reshape(()), other.reshape(())
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tobytes() == other.tobytes()


def compare(job: dict) -> dict:
    tally = Tally()
    found = open_dataset(job["root"])
    if job.get("arrays"):
        with_arrays(tally, found, job)
    if job.get("movies"):
        with_movies(tally, found, job)
    if job.get("like"):
        with_dataset(tally, found, open_dataset(job["like"]), job)
    return {"checks": tally.checks, "equal": tally.equal, "failures": tally.failures}


def with_arrays(tally: Tally, found, job: dict) -> None:
    """Every value of every frame against arrays."""
    row = 0
    table = found.hf_dataset.with_format("arrow")[:]
    for number, path in enumerate(job["arrays"]):
        expected = np.load(path, allow_pickle=False)
        length = len(expected["timestamp"])
        tally.check(f"episode {number}: length", found.meta.episodes[number]["length"] == length)
        for step in range(length):
            item = found[row]
            tally.check(f"row {row}: episode", int(item["episode_index"]) == number)
            tally.check(f"row {row}: frame", int(item["frame_index"]) == step)
            for key in expected.files:
                ours = job.get("renamed", {}).get(key, key)
                wanted = expected[key][step]
                if wanted.dtype == np.float64:  # LeRobot hands doubles out as float32
                    stored = np.array(table[ours][row].as_py(), np.float64)
                    tally.check(f"row {row}: {ours} as stored", same(stored, wanted))
                    wanted = wanted.astype(np.float32)
                tally.check(f"row {row}: {ours}", same(plain(item[ours]), wanted))
            row += 1
    tally.check("rows in all", row == len(found))


def with_movies(tally: Tally, found, job: dict) -> None:
    """Every picture against the same decoder on the file that it came from."""
    from lerobot.datasets.video_utils import decode_video_frames

    row = 0
    for number, movies in enumerate(job["movies"]):
        length = found.meta.episodes[number]["length"]
        for start in range(0, length, AT_ONCE):
            items = [found[row + step] for step in range(start, min(start + AT_ONCE, length))]
            for key, (path, begin_s) in movies.items():
                times_s = [begin_s + float(item["timestamp"]) for item in items]
                source = decode_video_frames(path, times_s, 1e-4, found.video_backend)
                for step, item in enumerate(items):
                    ok = bool((item[key] == source[step]).all())
                    tally.check(f"row {row + start + step}: {key}", ok)
        row += length


def with_dataset(tally: Tally, found, like, job: dict) -> None:
    """Every item and all metadata against another dataset."""
    tally.check("length", len(found) == len(like))
    for row in range(len(like)):
        ours, theirs = found[row], like[row]
        tally.check(f"row {row}: keys", set(ours) == set(theirs))
        for key, value in theirs.items():
            tally.check(f"row {row}: {key}", key in ours and same(plain(ours[key]), plain(value)))
    for key in ("fps", "robot_type", "features", "total_episodes", "total_frames", "chunks_size"):
        one, other = (getattr(d.meta, key) for d in (found, like))
        tally.check(f"info: {key}", json.dumps(one, default=str) == json.dumps(other, default=str))
    tally.check("info", job.get("loose", False) or found.meta.info == like.meta.info)
    tally.check("tasks", found.meta.tasks.equals(like.meta.tasks))
    tally.check("task order", list(found.meta.tasks.index) == list(like.meta.tasks.index))
    stats = [json.dumps(listed(d.meta.stats), sort_keys=True) for d in (found, like)]
    tally.check("stats", stats[0] == stats[1])
    import pandas as pd

    rows = [
        pd.concat(
            [
                pd.read_parquet(p)
                for p in sorted((Path(d.root) / "meta/episodes").rglob("*.parquet"))
            ]
        )
        for d in (found, like)
    ]
    tally.check("episodes: columns", set(rows[0].columns) == set(rows[1].columns))
    for name in rows[1].columns:
        values = [json.dumps([listed(v) for v in r.get(name, [])]) for r in rows]
        tally.check(f"episodes: {name}", values[0] == values[1])


def listed(value):
    if isinstance(value, dict):
        return {key: listed(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list):
        return [listed(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def make(root: str, codec: str) -> None:
    """Three episodes with every kind of feature that LeRobot has, two tasks, two cameras."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    picture = {"shape": (64, 96, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["x", "y"]}},
        "observation.images.top": {"dtype": "video", **picture},
        "observation.images.side": {"dtype": "video", **picture},
        "observation.images.still": {"dtype": "image", **picture},
        "observation.grid": {"dtype": "int64", "shape": (2, 3), "names": None},
        "observation.one": {"dtype": "float64", "shape": (1,), "names": None},
        "note": {"dtype": "string", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    made = LeRobotDataset.create(
        "viae/peer", fps=10, features=features, root=root, robot_type="toy", vcodec=codec
    )
    random = np.random.default_rng(0)
    for episode in range(3):
        for step in range(12 + episode):
            pixels = np.zeros((64, 96, 3), np.uint8)
            pixels[:, step * 3 : step * 3 + 9] = 200
            pixels[episode * 8 : episode * 8 + 8, ..., 0] = 90
            made.add_frame(
                {
                    "observation.state": random.normal(size=3).astype(np.float32),
                    "action": random.normal(size=2).astype(np.float32),
                    "observation.images.top": pixels,
                    "observation.images.side": pixels[::-1].copy(),
                    "observation.images.still": pixels[:, ::-1].copy(),
                    "observation.grid": random.integers(0, 9, (2, 3)),
                    "observation.one": random.normal(size=1),
                    "note": f"step {step}",
                    "next.done": np.array([step == 11 + episode]),
                    "task": "pick" if episode < 2 or step < 5 else "place",
                }
            )
        made.save_episode(parallel_encoding=False)
    made.finalize()


def convert(root: str) -> None:
    """LeRobot's own conversion from version 2.1, in place."""
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

    path = Path(root)
    convert_dataset(repo_id=path.name, root=str(path.parent), push_to_hub=False)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(*rest)
    elif verb == "convert":
        convert(*rest)
    else:
        print(json.dumps(compare(json.loads(Path(rest[0]).read_text()))))
