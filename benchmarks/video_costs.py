"""What pictures of ``--video fast`` cost to decode, by size: the constants of ``viae.load.cost``.

``python benchmarks/video_costs.py`` codes pictures of a real robot (G1, 640x480), scaled to several
sizes, by the defaults of `FastVideo`, and times what `viae.load.plan.calibrate` times: the first
packet of a group, a packet after it, and the conversion of a picture to RGB. Processor time of one
thread, the median over many groups, since the machine may be busy. A line, fixed + slope * pixels,
is fitted to each, by least squares of the relative errors, since 96x96 counts as much as 1280x720.
Without ``--json`` it prints a table; with it, one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from encode import DATA, coded, movie_pictures
from viae.schema import VideoGroup
from viae.video import Canvas, Converter, PictureView
from viae.video.decoder import Coding, GroupDecoder
from viae.video.encode import FastVideo

SIZES = ((96, 96), (144, 192), (224, 224), (240, 320), (480, 640), (720, 1280))
"""Height and width."""
PICTURES = 96
"""Of one episode, spread over it in pairs."""
REPEATS = 7
PARTS = ("first_s", "next_s", "convert_s")
Floats = npt.NDArray[np.float64]


def pictures(path: Path) -> npt.NDArray[np.uint8]:
    """Pairs of neighbours, spread over an episode: uint8 [N, H, W, 3]."""
    every = movie_pictures(path)
    starts = np.linspace(0, len(every) - 2, PICTURES // 2).astype(np.int64)
    pairs: npt.NDArray[np.uint8] = every[np.repeat(starts, 2) + np.tile([0, 1], len(starts))]
    return pairs


def scaled(every: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The same in another size."""
    import av

    reformatter = av.video.reformatter.VideoReformatter()
    shrunk = [
        reformatter.reformat(
            av.VideoFrame.from_ndarray(each, format="rgb24"), size[1], size[0]
        ).to_ndarray()
        for each in every
    ]
    return np.stack(shrunk).astype(np.uint8)


def timed(work: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds that this thread was at work, and the result."""
    begun = time.thread_time()
    found = work(*args)
    return time.thread_time() - begun, found


def costs(groups: Sequence[VideoGroup], size: tuple[int, int]) -> dict[str, float]:
    """Seconds of each part, medians over groups."""
    decoder, converter, view = GroupDecoder(), Converter(), PictureView()
    coding = Coding("h264", groups[0].extradata, in_order=True)
    canvas = Canvas(np.empty((1, 3, *size), np.uint8))
    taken: dict[int, list[float]] = {0: [], 1: []}
    conversions: list[float] = []
    random = np.random.default_rng(0)
    for repeat in range(REPEATS):
        for last in (0, 1):  # apart, since a group decoded twice in a row is warm the second time
            for number in random.permutation(len(groups)).tolist():
                decode = partial(_last, decoder, coding, groups[number].packets, last)
                seconds, frame = timed(decode)
                converting, _ = timed(converter.into, frame, view, canvas, 0)
                if repeat:
                    taken[last].append(seconds)
                    conversions.append(converting)
    first, both = median(taken[0]), median(taken[1])
    return {"first_s": first, "next_s": both - first, "convert_s": median(conversions)}


def _last(decoder: GroupDecoder, coding: Coding, packets: Sequence[bytes], last: int) -> Any:
    """The picture of a packet, those before it decoded for it."""
    [(_, frame)] = decoder.frames(coding, packets, (last,))
    return frame


def line(pixels: Floats, seconds: Floats) -> tuple[float, float]:
    """Fixed part and slope, neither below 0, that leave the least squares of relative errors."""
    from scipy.optimize import nnls

    found, _ = nnls(np.stack([1 / seconds, pixels / seconds], axis=1), np.ones(len(pixels)))
    return float(found[0]), float(found[1])


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    movie = sorted((DATA / "g1_inspire_lerobot_v21").glob("videos/*/*/*.mp4"))[0]
    every = pictures(movie)
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        groups = coded(scaled(every, size), FastVideo())
        nbytes = sum(len(p) for group in groups for p in group.packets) / len(every)
        rows.append({"height": size[0], "width": size[1], "bytes": nbytes, **costs(groups, size)})
    pixels = np.array([row["height"] * row["width"] for row in rows], np.float64)
    for row in rows:
        us = {part: round(row[part] * 1e6, 1) for part in PARTS}
        size_text = f"{row['width']}x{row['height']}"
        print(
            json.dumps(row)
            if arguments.json
            else f"{size_text:>9} {row['bytes']:8.0f} B  "
            + "  ".join(f"{k} {v}" for k, v in us.items())
        )
    for part in PARTS:
        seconds = np.array([row[part] for row in rows])
        fixed, slope = line(pixels, seconds)
        off = (fixed + slope * pixels) / seconds
        fit = {"part": part, "fixed_s": fixed, "slope_s": slope, "off": off.round(2).tolist()}
        print(
            json.dumps(fit)
            if arguments.json
            else f"{part}: {fixed * 1e6:.1f} us + {slope * 1e9:.2f} ns a pixel; line / measured "
            + " ".join(f"{each:.2f}" for each in off)
        )


if __name__ == "__main__":
    main()
