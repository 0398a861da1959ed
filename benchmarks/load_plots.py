"""Windows a second against resolution, group length and window length, with the bare limit.

``python benchmarks/load_plots.py --out docs`` takes about twelve minutes on two cores. It writes
``load-resolution.svg``, ``load-group.svg``, ``load-window.svg``, and their points in
``load-plots.jsonl``; ``--points FILE`` draws those of a file again, without measuring. Frames are
those of the G1, two episodes, scaled where another size is asked for; the limit is that of
``load_bare``, one thread on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from driver import DATA
from load_frames import FRAMES, Frames, frames_640
from load_peers import CORES, ONE_CORE
from load_rates import ours_only
from load_store import make_store
from viae.video.encode import FastVideo

WIDTHS = (96, 224, 320, 640)
GROUPS = (1, 2, 5, 10, 30)
WINDOWS = (1, 2, 4, 8, 16)
MIDDLE = 320
"""Width at which group and window length are varied."""
GROUP = FastVideo().group
EPISODES = 2
WARM_S = 3.0
"""Not timed: the compiled loop begins after some seconds."""
SECONDS = 1.0
REPEATS = 3
CACHE = {"path": "cache", "memory_bytes": 4 << 30}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bare": ("bare limit, one core", {"color": "0.35", "linestyle": "--", "marker": "x"}),
    "one": ("on demand, one core", {"color": "C0", "marker": "o"}),
    "two": ("on demand, two cores", {"color": "C2", "marker": "s"}),
    "cache": ("decoded cache, one core", {"color": "C1", "marker": "^"}),
}
AXES = {
    "resolution": ("width", "width of the picture, pixels (4:3)", "two frames, groups of {group}"),
    "group": ("group", "frames a group", "two frames, 320x240"),
    "window": ("frames", "frames a window", "320x240, groups of {group}"),
}

Point = dict[str, Any]


def points(work: Path) -> Iterator[Point]:
    """Measure each point of each axis."""
    frames = frames_640(work, DATA)
    for axis, width, group, length in [
        *(("resolution", width, GROUP, FRAMES) for width in WIDTHS),
        *(("group", MIDDLE, group, FRAMES) for group in GROUPS),
        *(("window", MIDDLE, GROUP, length) for length in WINDOWS),
    ]:
        small = scaled(work, frames, width)
        store = work / f"plot-{width}-{group}"
        make_store(small, store, FastVideo(group=group))
        job = {"store": str(store), "frames": length, "threads": 1}
        jobs: dict[str, tuple[dict[str, object], list[int]]] = {
            "bare": (job, ONE_CORE), "one": (job, ONE_CORE), "two": ({**job, "threads": 2}, CORES),
            "cache": ({**job, "access": CACHE, "epochs_before": 1}, ONE_CORE),
        }  # fmt: skip
        rates = ours_only(
            jobs,
            work,
            seconds=SECONDS,
            repeats=REPEATS,
            warm_s=WARM_S,
            scripts={"bare": "load_bare.py"},
        )
        for kind, found in rates.items():
            yield {
                "axis": axis, "kind": kind, "width": width, "group": group, "frames": length,
                "rate": median(found), "low": min(found), "high": max(found), "n": len(found),
            }  # fmt: skip


def scaled(work: Path, frames: Frames, width: int) -> Frames:
    """The first episodes, scaled to a width by area."""
    from PIL import Image

    folder = work / f"frames-plot-{width}"
    if not (folder / "frames.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        lengths = frames.lengths[:EPISODES]
        n, (height, full) = sum(lengths), frames.pictures.shape[1:3]
        size = (width, height * width // full)
        pictures = [
            np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
            for picture in frames.pictures[:n]
        ]
        for name, values in (
            ("pictures", np.stack(pictures)), ("states", frames.states[:n]),
            ("actions", frames.actions[:n]),
        ):  # fmt: skip
            np.save(folder / f"{name}.npy", values)
        Frames(folder=str(folder), fps=frames.fps, cameras=frames.cameras, lengths=lengths,
               task=frames.task).save()  # fmt: skip
    return Frames.open(folder)


def draw(found: list[Point], out: Path) -> None:
    """A picture an axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "viae"
    from matplotlib import pyplot

    for axis, (field, label, fixed) in AXES.items():
        figure, panel = pyplot.subplots(figsize=(5.2, 3.6), layout="constrained")
        for kind, (said, style) in KINDS.items():
            line = [p for p in found if p["axis"] == axis and p["kind"] == kind]
            if not line:
                continue
            at, rate = ([p[key] for p in line] for key in (field, "rate"))
            below = [p["rate"] - p["low"] for p in line]
            above = [p["high"] - p["rate"] for p in line]
            panel.errorbar(
                at, rate, yerr=(below, above), label=said, markersize=4, capsize=3, elinewidth=0.8,
                **style,
            )  # fmt: skip
        panel.set(xscale="log", yscale="log", xlabel=label, ylabel="windows a second")
        ticks = sorted({p[field] for p in found if p["axis"] == axis})
        panel.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.set_title(fixed.format(group=GROUP), fontsize=9)
        panel.legend(fontsize=8)
        figure.savefig(out / f"load-{axis}.svg", metadata={"Date": None})
        pyplot.close(figure)


def main() -> None:
    """Measure or read, then draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    parser.add_argument("--work", type=Path, help="folder to keep; default: a temporary one")
    parser.add_argument("--points", type=Path, help="draw these again")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.points:
        found = [json.loads(line) for line in arguments.points.read_text().splitlines()]
    else:
        found = []
        with tempfile.TemporaryDirectory() as temporary:
            work = (arguments.work or Path(temporary)) / "load"
            with (arguments.out / "load-plots.jsonl").open("w") as lines:
                for point in points(work):
                    found.append(point)
                    print(json.dumps(point), file=lines, flush=True)
    draw(found, arguments.out)


if __name__ == "__main__":
    main()
