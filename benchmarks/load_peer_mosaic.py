"""Run by a Python that has mosaicml-streaming, without viae.

``python load_peer_mosaic.py make FRAMES OUT`` writes a sample a window, since MDS has no notion of
one, its frames as a list of JPEG in the library's own coding (Pillow's default quality).
``python load_peer_mosaic.py JOB`` is a contender (see ``load_timing``): ``root``, ``workers``.
"""

from __future__ import annotations

import itertools

import numpy as np

from load_frames import BATCH, CHUNK, Frames
from load_timing import run_peer, serve


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
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    serve((len(batch["state"]) for batch in epochs), ahead=2 * job["workers"] + 1)


if __name__ == "__main__":
    run_peer(make, load)
