"""Run by a Python that has lerobot-lancedb, without viae: a contender (see ``load_timing``).

The job names ``workers`` and ``root``, converted by ``lerobot-lance-convert`` from what LeRobot
recorded: its video files as blobs, with an index of their key frames. The loader is its README's.
"""

from __future__ import annotations

import json
import sys

from load_frames import BATCH
from load_peer_lerobot import Endless, deltas
from load_timing import serve


def load(job: dict) -> None:
    import torch
    from lerobot_lancedb import LanceDBDataset, lance_mp_context

    torch.set_num_threads(1)
    meta = LanceDBDataset(root=job["root"]).meta
    dataset = LanceDBDataset(
        root=job["root"], delta_timestamps=deltas(meta.fps, meta.camera_keys), return_uint8=True
    )
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, sampler=Endless(len(dataset)), num_workers=job["workers"],
        multiprocessing_context=lance_mp_context(),
    )  # fmt: skip
    serve((len(batch["index"]) for batch in loader), ahead=2 * job["workers"] + 1)


if __name__ == "__main__":
    load(json.loads(sys.argv[1]))
