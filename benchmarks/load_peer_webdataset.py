"""Run by a Python that has WebDataset, without viae.

``python load_peer_webdataset.py make FRAMES OUT`` writes a sample a window, its frames as JPEG of
Pillow's default quality (WebDataset's own encoder would take 100, which is larger and slower).
``python load_peer_webdataset.py JOB`` is a contender (see ``load_timing``): ``root``, ``workers``.
A tar has no random access: shards are drawn, then windows mix in a buffer of 1000.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from load_frames import BATCH, Frames
from load_timing import run_peer, serve

BUFFER = 1000
SHARD = 200
"""Windows a shard: both workers need several."""


def make(frames_at: str, out: str) -> None:
    import webdataset
    from PIL import Image

    frames = Frames.open(frames_at)
    pictures, states, actions = frames.pictures, frames.states, frames.actions
    Path(out).mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(f"{out}/%05d.tar", maxcount=SHARD, verbose=0) as writer:
        for number, (seen, now, ahead) in enumerate(frames.windows()):
            sample = {"__key__": f"{number:08}", "state.npy": states[now],
                      "action.npy": actions[ahead]}  # fmt: skip
            for place, i in enumerate(seen):
                coded = io.BytesIO()
                Image.fromarray(pictures[i]).save(coded, format="JPEG")
                sample[f"{place}.jpg"] = coded.getvalue()
            writer.write(sample)


def load(job: dict) -> None:
    import torch
    import webdataset

    torch.set_num_threads(1)

    def windows(sample: dict) -> tuple:
        places = sorted(name for name in sample if name.endswith(".jpg"))
        pixels = np.stack([sample[place] for place in places])
        return pixels.transpose(0, 3, 1, 2), sample["state.npy"], sample["action.npy"]

    shards = sorted(map(str, Path(job["root"]).glob("*.tar")))
    dataset = (
        webdataset.WebDataset(shards, resampled=True, shardshuffle=False)
        .shuffle(BUFFER)
        .decode("rgb8")
        .map(windows)
        .batched(BATCH)
    )
    loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=job["workers"])
    sizes = (len(torch.as_tensor(pixels)) for pixels, _, _ in loader)
    serve(sizes, ahead=2 * job["workers"] + 1)


if __name__ == "__main__":
    run_peer(make, load)
