"""The bare limit as a contender: decoder and colour conversion alone, as lean as PyAV allows.

The packets are those that viae needs for the same batches, in the same order, already `av.Packet`;
each frame that a window has is converted to planes of RGB and thrown away. No batch is made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from load_frames import BATCH
from load_ours import Job, loader_of
from load_timing import serve

BATCHES = 200
"""Planned beforehand, and then repeated."""

Step = tuple[Any, bool]


def plan(job: Job) -> tuple[bytes, list[list[Step]]]:
    """Decoder configuration; per batch its packets, and whether the frame of each is converted."""
    import av

    loader = loader_of(job)
    windows = loader.windows
    ids = [episode.episode_id for episode in windows.episodes]
    groups = windows.store.video(ids, job.cameras)
    extradata = {group.extradata for found in groups.values() for group in found}
    assert len(extradata) == 1, "one decoder reads all groups"
    held = {
        key: [[av.Packet(bytes(packet)) for packet in group.packets] for group in found]
        for key, found in groups.items()
    }
    starts = {
        key: np.cumsum([0, *(len(group.packets) for group in found)])
        for key, found in groups.items()
    }
    samples = {camera: windows.sample_indices(f"inputs/{camera}") for camera in job.cameras}
    batches = []
    for number in range(BATCHES):
        which = loader.order.take(0, number * BATCH, (number + 1) * BATCH)
        steps: list[Step] = []
        for camera in job.cameras:
            chosen = samples[camera][which]
            episodes = np.broadcast_to(windows.episode_of[which][:, None], chosen.shape)
            frames = sorted({*zip(episodes[chosen >= 0], chosen[chosen >= 0], strict=True)})
            wanted: dict[tuple[int, int], set[int]] = {}
            for episode, frame in frames:
                start = starts[ids[episode], camera]
                group = int(np.searchsorted(start, frame, side="right")) - 1
                wanted.setdefault((episode, group), set()).add(int(frame - start[group]))
            for (episode, group), places in wanted.items():
                packets = held[ids[episode], camera][group][: max(places) + 1]
                steps += [(packet, place in places) for place, packet in enumerate(packets)]
        batches.append(steps)
    return extradata.pop(), batches


def bare(extradata: bytes, planned: list[list[Step]]) -> Iterator[int]:
    """Decode and convert, batch after batch."""
    import av
    from av.video.reformatter import VideoReformatter

    context: Any = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.extradata = extradata
    context.options = {"flags": "low_delay"}
    decode, convert = context.decode, VideoReformatter().reformat
    while True:
        for steps in planned:
            for packet, wanted in steps:
                [frame] = decode(packet)
                if wanted:
                    convert(frame, format="gbrp", threads=1)
            yield BATCH


if __name__ == "__main__":
    serve(bare(*plan(Job(**json.loads(sys.argv[1])))), ahead=2)
