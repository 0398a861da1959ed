"""Run by a Python that has mosaicml-streaming, without viae.

``python load_peer_mosaic.py make FRAMES OUT`` writes a sample a window, since MDS has no notion of
one, its frames as a list of JPEG in the library's own coding (Pillow's default quality).
``python load_peer_mosaic.py JOB`` is a contender (see ``load_timing``): ``root``, ``workers``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import numpy as np

from load_frames import BATCH, CHUNK, Frames
from load_timing import serve


def make(frames_at: str, out: str) -> None:
    from PIL import Image
    from streaming import MDSWriter

    frames = Frames.open(frames_at)
    pictures, states, actions = frames.pictures, frames.states, frames.actions
    columns = {
        "frames": "list[jpeg]", "state": f"ndarray:float32:{states.shape[1]}",
        "action": f"ndarray:float32:{CHUNK},{actions.shape[1]}",
    }  # fmt: skip
    with MDSWriter(out=out, columns=columns) as writer:
        for seen, now, ahead in frames.windows():
            images = [Image.fromarray(pictures[i]) for i in seen]
            writer.write({"frames": images, "state": states[now], "action": actions[ahead]})


def load(job: dict) -> None:
    import torch
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    torch.set_num_threads(1)
    clean_stale_shared_memory()

    class Windows(StreamingDataset):
        def __getitem__(self, at: int) -> dict:
            item = super().__getitem__(at)
            pixels = np.stack([np.asarray(image) for image in item["frames"]])
            return {
                "frames": torch.from_numpy(pixels.transpose(0, 3, 1, 2)),
                "state": torch.from_numpy(item["state"]),
                "action": torch.from_numpy(item["action"]),
            }

    dataset = Windows(local=job["root"], shuffle=True, batch_size=BATCH)
    loader = StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=job["workers"], persistent_workers=True
    )
    shapes: dict[str, list] = {}

    def batches() -> Iterator[int]:
        while True:
            for batch in loader:
                shapes.update({k: [*v.shape, str(v.dtype)] for k, v in batch.items()})
                yield len(batch["state"])

    serve(batches(), ahead=2 * job["workers"] + 1, facts={"shapes": shapes})


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(*rest)
    else:
        load(json.loads(verb))
