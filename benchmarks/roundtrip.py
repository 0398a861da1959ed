"""LeRobot's own judgement: real LeRobot 0.4.4 opens what viae exported, and compares every frame.

``python benchmarks/roundtrip.py --json``. LeRobot lives in an environment of its own: name its
Python in ``VIAE_LEROBOT_PYTHON``, or one is made under the user's cache folder (1 GB, once).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rows import Row
from viae import Kind, Recorder, Role, Store, StreamSpec
from viae.logs import open_log
from viae.verbs.export import export
from viae.verbs.ingest import ingest

DATA = Path(os.environ.get("VIAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
LEROBOT = "lerobot==0.4.4"
PEER = Path(__file__).with_name("lerobot_peer.py")
MINUTES = 20


def lerobot_python() -> Path | None:
    """The Python of an environment with LeRobot; None, and the reason said, without one."""
    if named := os.environ.get("VIAE_LEROBOT_PYTHON"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "viae" / LEROBOT
    python = cache / "bin" / "python"
    if not python.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", cache], check=True)
            pip = [python, "-m", "pip", "install", "--quiet", LEROBOT]
            subprocess.run(pip, check=True, timeout=60 * MINUTES)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(cache, ignore_errors=True)
            print(f"lerobot_roundtrip: skipped, no LeRobot: {error}", file=sys.stderr)
            return None
    return python


class Peer:
    """LeRobot in its own environment."""

    def __init__(self, python: Path, work: Path) -> None:
        self.python, self.work = python, work
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *words: object) -> str:
        """What it printed last."""
        home = str(self.work / "home")
        environment = {
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": home, "HF_LEROBOT_HOME": home,
            "PYTHONPATH": "", "SVT_LOG": "1",
        }  # fmt: skip
        done = subprocess.run(
            [str(self.python), str(PEER), *map(str, words)],
            capture_output=True, text=True, timeout=60 * MINUTES, env=environment, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"LeRobot failed on {words}: {done.stderr[-2000:]}")
        return (done.stdout.strip().splitlines() or [""])[-1]

    def compare(self, **job: Any) -> dict[str, Any]:
        """Checks made, equal ones, and the first that failed."""
        path = self.work / "job.json"
        path.write_text(json.dumps(job, default=str))
        found = json.loads(self.run("compare", path))
        for failure in found["failures"]:
            print(f"  not equal: {failure}", file=sys.stderr)
        return dict(found)


def stored(source: Path, work: Path) -> Store:
    """A log in a store of its own."""
    store = Store.create(work / "store")
    ingest([source], store)
    return store


def arrays_of(store: Store, report: Any, work: Path) -> list[str]:
    """Every vector of every episode, straight from the store, a file an episode."""
    paths = []
    for number, episode in enumerate(report.episodes):
        rows = store.streams([episode])
        names = [r["stream"] for r in rows if r["kind"] == "vector" and r["stream"] in report.names]
        found = store.samples([episode], names)
        arrays = {name: np.asarray(found[episode, name].values) for name in names}
        times = next(iter(found.values())).arrival_ns
        arrays["timestamp"] = (times / 1e9).astype(np.float32)
        path = work / f"episode-{number}.npz"
        np.savez(path, **arrays)
        paths.append(str(path))
    return paths


def real_version_2(peer: Peer, work: Path) -> Iterator[dict[str, Any]]:
    """A real dataset of version 2.1 with video: values, and pixels by LeRobot's own decoder."""
    source = DATA / "g1_inspire_lerobot_v21"
    store = stored(source, work)
    report = export(store, "lerobot", work / "out")
    movies = [
        {"observation.images.cam_high": [str(path), 0.0]}
        for path in sorted(source.glob("videos/*/*/*.mp4"))
    ]
    yield peer.compare(root=work / "out", arrays=arrays_of(store, report, work), movies=movies)


def converted(peer: Peer, work: Path) -> Iterator[dict[str, Any]]:
    """The same, whole and numbered from 0, against LeRobot's own conversion."""
    source, whole = DATA / "g1_inspire_lerobot_v21", work / "whole"
    whole_of(source, whole)
    store = stored(whole, work)
    export(store, "lerobot", work / "out")
    peer.run("convert", whole)
    yield peer.compare(root=work / "out", like=whole, loose=True)


def real_version_3(peer: Peer, work: Path) -> Iterator[dict[str, Any]]:
    """A real dataset of version 3.0, whose videos are not there."""
    store = stored(DATA / "rerun_lerobot_v30_apple_storage", work)
    report = export(store, "lerobot", work / "out")
    yield peer.compare(root=work / "out", arrays=arrays_of(store, report, work))


def made_by_lerobot(peer: Peer, work: Path) -> Iterator[dict[str, Any]]:
    """Datasets that LeRobot recorded itself: every item, and all metadata."""
    for codec in ("libsvtav1", "h264"):
        peer.run("make", work / codec, codec)
        store = stored(work / codec, work / f"of-{codec}")
        export(store, "lerobot", work / f"out-{codec}")
        yield peer.compare(root=work / f"out-{codec}", like=work / codec)


def mixed_rates(peer: Peer, work: Path) -> Iterator[dict[str, Any]]:
    """A recording at mixed rates, on a grid: rows by a plain loop, pixels by our own decoder."""
    store = stored(record(work / "mixed.mcap"), work)
    rate_hz = 20
    for codec in ("libsvtav1", "h264", "images"):
        out = work / f"out-{codec}"
        report = export(store, "lerobot", out, rate_hz=rate_hz, codec=codec)
        path = work / f"{codec}.npz"
        np.savez(path, **expected_rows(store, report, rate_hz, out, coded=codec == "images"))
        yield peer.compare(root=out, arrays=[str(path)], renamed={})


def record(path: Path) -> Path:
    """Two seconds of an arm: state 100 Hz, command 20 Hz, camera 25 Hz, each with its delay."""
    from PIL import Image

    specs = [
        StreamSpec(name="state", shape=(4,)),
        StreamSpec(name="command", dtype="float32", shape=(2,), role=Role.ACTION),
        StreamSpec(name="cam", kind=Kind.IMAGE, dtype="uint8", shape=(64, 96, 3), encoding="png"),
    ]
    random = np.random.default_rng(0)
    start_ns = 1_700_000_000_000_000_000
    moments = []
    for name, period_ms, delay_ms in (("state", 10, 1), ("command", 50, 2), ("cam", 40, 8)):
        for step in range(2000 // period_ms):
            capture_ns = start_ns + step * period_ms * 1_000_000
            moments.append((capture_ns + delay_ms * 1_000_000, capture_ns, name, step))
    with Recorder(path, streams=specs, robot="arm", task="wave") as recorder:
        for arrival_ns, capture_ns, name, step in sorted(moments):
            if name == "state":
                value: Any = random.standard_normal(4)
            elif name == "command":
                value = random.standard_normal(2).astype(np.float32)
            else:
                pixels = np.full((64, 96, 3), 30, np.uint8)
                pixels[:, step : step + 20] = (200, 40, 90)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, format="png")
                value = buffer.getvalue()
            recorder.write(name, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
        recorder.finish(True)
    return path


def expected_rows(
    store: Store, report: Any, rate_hz: int, out: Path, *, coded: bool
) -> dict[str, Any]:
    """The rows, by a loop that anyone can read."""
    [episode] = report.episodes
    found = {name: store.samples([episode], [name])[episode, name] for name in report.names}
    start = max(found[name].arrival_ns.min() for name in ("state", "cam"))
    end = max(each.arrival_ns.max() for each in found.values())
    rows: dict[str, list[Any]] = {name: [] for name in found}
    ticks = []
    while (tick := int(start) + len(ticks) * 1_000_000_000 // rate_hz) <= end:
        ticks.append(tick)
        for name, each in found.items():
            is_action = each.spec.role is Role.ACTION
            until = tick + 1_000_000_000 // rate_hz - 1 if is_action else tick
            known = [i for i in range(len(each)) if each.arrival_ns[i] <= until]
            newest = max(known, key=lambda i: each.capture_ns[i])
            rows[name].append(each.values[newest])
    made = {report.names[name]: np.stack(rows[name]) for name in ("state", "command")}
    made["timestamp"] = (np.arange(len(ticks)) / rate_hz).astype(np.float32)
    camera = report.names["cam"]
    if coded:
        from PIL import Image

        made[camera] = np.stack([np.array(Image.open(io.BytesIO(b))) for b in rows["cam"]])
    else:
        made[camera] = decoded(out, camera)
    return made


def decoded(out: Path, camera: str) -> Any:
    """The pictures of an export, read by viae as any log is."""
    from viae.video.pictures import decode_frames

    [episode] = open_log(out).episodes
    groups = [item for item in episode.read() if getattr(item, "packets", None)]
    assert {group.spec.name for group in groups} == {camera}
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decode_frames(groups)])


def whole_of(source: Path, root: Path) -> None:
    """The episodes that are here, as a whole dataset of version 2.1 numbered from 0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    info = json.loads((source / "meta/info.json").read_text())
    tables = sorted(source.glob("data/*/*.parquet"))
    indices = [int(path.stem.split("_")[1]) for path in tables]
    said = {
        name: {
            line["episode_index"]: line
            for line in map(json.loads, (source / f"meta/{name}.jsonl").read_text().splitlines())
        }
        for name in ("episodes", "episodes_stats")
    }
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta").mkdir()
    frames, lines = 0, {"episodes": [], "episodes_stats": []}
    for number, (old, path) in enumerate(zip(indices, tables, strict=True)):
        rows = pq.read_table(path)
        for name, values in (
            ("episode_index", np.full(len(rows), number)),
            ("index", np.arange(frames, frames + len(rows))),
        ):
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pa.array(values, pa.int64()))
        pq.write_table(rows, root / f"data/chunk-000/episode_{number:06d}.parquet")
        frames += len(rows)
        for key in info["features"]:
            for movie in source.glob(f"videos/*/{key}/episode_{old:06d}.mp4"):
                folder = root / "videos/chunk-000" / key
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(movie, folder / f"episode_{number:06d}.mp4")
        for name, kept in lines.items():
            kept.append(json.dumps({**said[name][old], "episode_index": number}))
    info |= {
        "total_episodes": len(tables), "total_frames": frames, "total_videos": len(tables),
        "splits": {"train": f"0:{len(tables)}"},
    }  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info))
    shutil.copyfile(source / "meta/tasks.jsonl", root / "meta/tasks.jsonl")
    for name, kept in lines.items():
        (root / f"meta/{name}.jsonl").write_text("\n".join(kept) + "\n")


CASES: dict[str, Callable[[Peer, Path], Iterator[dict[str, Any]]]] = {
    "v21_video": real_version_2,
    "v21_converted": converted,
    "v30_real": real_version_3,
    "v30_made": made_by_lerobot,
    "mixed_rates": mixed_rates,
}
NEED_DATA = {"v21_video", "v21_converted", "v30_real"}


def lerobot_roundtrip(work: Path, only: list[str] | None = None) -> Iterator[Row]:
    """The share of checks that are equal: pixels, values, times, indices, tasks, metadata."""
    python = lerobot_python()
    if python is None:
        return
    checks = equal = 0
    for name, case in CASES.items():
        if only and name not in only:
            continue
        if name in NEED_DATA and not DATA.is_dir():
            print(f"{name}: skipped, no real logs at {DATA}; set VIAE_DATA", file=sys.stderr)
            continue
        peer = Peer(python, work / name)
        found = list(case(peer, work / name))
        own, good = sum(f["checks"] for f in found), sum(f["equal"] for f in found)
        checks, equal = checks + own, equal + good
        yield Row(
            name=f"lerobot_roundtrip_{name}", value=good / own, unit="share", target=">= 1", n=own,
            peer=LEROBOT,
        )  # fmt: skip
    if checks:
        yield Row(
            name="lerobot_roundtrip", value=equal / checks, unit="share", target=">= 1", n=checks,
            peer=LEROBOT,
        )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", action="append", choices=sorted(CASES), help="repeatable")
    parser.add_argument("--work", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for row in lerobot_roundtrip(work, arguments.only):
            row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()
