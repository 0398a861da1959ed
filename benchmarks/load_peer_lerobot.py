"""Run by LeRobot's own Python, without viae.

``python load_peer_lerobot.py make FRAMES ROOT`` records frames with LeRobot, in its default coding.
``python load_peer_lerobot.py pictures ROOT FILE.npy N`` decodes N frames spread over the dataset.
``python load_peer_lerobot.py JOB`` is a contender (see ``load_timing``): ``root``, ``workers``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import numpy as np

from load_frames import BATCH, CHUNK, FRAMES, Frames
from load_timing import serve


def make(frames_at: str, root: str) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    frames = Frames.open(frames_at)
    pictures, states, actions = frames.pictures, frames.states, frames.actions
    shape = pictures.shape[1:]
    features = {
        "observation.state": {"dtype": "float32", "shape": states.shape[1:], "names": None},
        "action": {"dtype": "float32", "shape": actions.shape[1:], "names": None},
        **{
            f"observation.images.{camera}": {
                "dtype": "video", "shape": shape, "names": ["height", "width", "channels"]
            }
            for camera in frames.cameras
        },
    }  # fmt: skip
    made = LeRobotDataset.create(
        "viae/peer", fps=frames.fps, features=features, root=root, robot_type="bench",
        # straight to the encoder, with the options of the default way by PNG; nothing is dropped
        streaming_encoding=True, encoder_queue_maxsize=100_000,
    )  # fmt: skip
    for episode in frames.episodes():
        for now in episode:
            made.add_frame(
                {
                    "observation.state": states[now], "action": actions[now], "task": frames.task,
                    **{
                        f"observation.images.{camera}": frames.seen_by(camera, pictures[now])
                        for camera in frames.cameras
                    },
                }
            )  # fmt: skip
        made.save_episode()
    made.finalize()


def pictures(root: str, path: str, count: str) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("viae/peer", root=root, video_backend="torchcodec")
    camera = dataset.meta.camera_keys[0]
    some = np.linspace(0, len(dataset) - 1, int(count)).astype(int)
    found = [np.rint(dataset[int(i)][camera].numpy() * 255).astype(np.uint8) for i in some]
    np.save(path, np.stack(found).transpose(0, 2, 3, 1))


class Endless:
    """A random order without end: epochs follow one another with no pause for anyone."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng(0)
        while True:
            yield from random.permutation(self.count).tolist()


def deltas(fps: int, cameras: list[str]) -> dict[str, list[float]]:
    """LeRobot's words for the window."""
    frames = [-k / fps for k in reversed(range(FRAMES))]
    return {**dict.fromkeys(cameras, frames), "action": [k / fps for k in range(CHUNK)]}


def load(job: dict) -> None:
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from torchcodec.decoders import VideoDecoder

    assert VideoDecoder  # the backend that LeRobot prefers is there
    torch.set_num_threads(1)
    meta = LeRobotDatasetMetadata("viae/peer", root=job["root"])
    dataset = LeRobotDataset(
        "viae/peer", root=job["root"], delta_timestamps=deltas(meta.fps, meta.camera_keys)
    )
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, sampler=Endless(len(dataset)), num_workers=job["workers"],
    )  # fmt: skip
    sizes = (len(batch["index"]) for batch in loader)
    serve(sizes, ahead=2 * job["workers"] + 1, facts={"backend": dataset.video_backend})


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(*rest)
    elif verb == "pictures":
        pictures(*rest)
    else:
        load(json.loads(verb))
