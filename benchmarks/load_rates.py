"""Windows a second against other loaders: same frames, same windows, same cores, turn about.

A window is two frames of each camera, the state and the next 16 actions; 64 make a batch. Every
contender runs in a process of its own, decodes in an endless random order, and is timed once its
workers run. A figure is the middle of the ratios of the turns, and its range all of them.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from driver import DATA
from load_frames import Frames, frames_96, frames_640, psnr, three_cameras
from load_peers import CORES, HERE, ONE_CORE, environment, prepared, python_of, running
from load_store import disk_bytes, make_store
from load_timing import race
from rows import Row

SECONDS = {"96": 3.0, "640": 6.0, "640x3": 10.0}
REPEATS = {"96": 5, "640": 3, "640x3": 3}
SAMPLED = 48
"""Frames that PSNR is measured on."""
LEROBOT = "LeRobot 0.4.4 (AV1, torchcodec, float32)"
CACHE_BYTES = 4 << 30


def frames_of(size: str, work: Path) -> Frames:
    """The shared frames of a size: ``"96"``, ``"640"``, ``"640x3"``."""
    if size == "96":
        return frames_96(work)
    frames = frames_640(work, DATA)
    return three_cameras(work, frames) if size == "640x3" else frames


def lerobot_96_w1(work: Path) -> Iterator[Row]:
    """One worker or thread, on one core."""
    yield from against_lerobot("lerobot_96_w1", "96", 1, work)


def lerobot_96_w2(work: Path) -> Iterator[Row]:
    """Two, on two cores."""
    yield from against_lerobot("lerobot_96_w2", "96", 2, work)


def lerobot_640_w1(work: Path) -> Iterator[Row]:
    """One, on one core."""
    yield from against_lerobot("lerobot_640_w1", "640", 1, work)


def lerobot_640_w2(work: Path) -> Iterator[Row]:
    """Two, on two cores."""
    yield from against_lerobot("lerobot_640_w2", "640", 2, work)


def three_cameras_640(work: Path) -> Iterator[Row]:
    """Two frames of each of three cameras; two workers or threads."""
    yield from against_lerobot("three_cameras_640", "640x3", 2, work, target=">= 8")


def against_lerobot(
    name: str, size: str, workers: int, work: Path, *, target: str = ">= 10"
) -> Iterator[Row]:
    """On demand, with threads and with processes; the better one is the figure."""
    python = _lerobot(name)
    if python is None:
        return
    frames = frames_of(size, work)
    root = str(prepared("lerobot", python, frames, work))
    store = str(make_store_of(size, work))
    cores = ONE_CORE if workers == 1 else CORES
    ours = {"store": store, "cameras": frames.cameras}
    peer_job = {"root": root, "workers": workers}
    contenders = {
        "lerobot": (python, "load_peer_lerobot.py", peer_job, cores),
        "threads": (sys.executable, "load_ours.py", {**ours, "threads": workers}, cores),
        "processes": (sys.executable, "load_ours.py", {**ours, "workers": workers}, cores),
        "floats": (
            sys.executable, "load_ours.py", {**ours, "threads": workers, "floats": True}, cores
        ),
    }  # fmt: skip
    if workers == 1:  # its one worker beside its main process, our thread beside ours
        contenders |= {
            "lerobot_two": (python, "load_peer_lerobot.py", peer_job, CORES),
            "threads_two": (sys.executable, "load_ours.py", {**ours, "threads": 1}, CORES),
        }
    with running(contenders, work) as started:
        assert started["lerobot"].facts["backend"] == "torchcodec", "LeRobot did not use torchcodec"
        rates = race(started, seconds=SECONDS[size], repeats=REPEATS[size])
    best, other = sorted(("threads", "processes"), key=lambda kind: -median(rates[kind]))
    where = "one core" if workers == 1 else "two cores"
    yield _ratio(name, rates[best], rates["lerobot"], target, f"{LEROBOT}; {best}, {where}")
    yield _ratio(f"{name}_{other}", rates[other], rates["lerobot"], "", f"{LEROBOT}; {other}")
    yield _ratio(
        f"{name}_floats", rates["floats"], rates["lerobot"], "",
        "threads, and each batch made float32 in [0, 1] as LeRobot's is",
    )  # fmt: skip
    if workers == 1:
        yield _ratio(
            f"{name}_two_cores", rates["threads_two"], rates["lerobot_two"], "",
            "one thread, one worker, on two cores",
        )  # fmt: skip
    yield _rate(f"{name}_rate", rates[best])
    yield _rate(f"{name}_peer_rate", rates["lerobot"])


def cache_96(work: Path) -> Iterator[Row]:
    """Decoded cache at 96x96, from the second epoch on, against LeRobot with two workers."""
    python = _lerobot("cache_96")
    if python is None:
        return
    frames = frames_of("96", work)
    root = str(prepared("lerobot", python, frames, work))
    job = {
        "store": str(make_store_of("96", work)), "cameras": frames.cameras, "threads": 2,
        "access": {"path": "cache", "memory_bytes": CACHE_BYTES}, "epochs_before": 1,
    }  # fmt: skip
    with running(
        {
            "lerobot": (python, "load_peer_lerobot.py", {"root": root, "workers": 2}, CORES),
            "cache": (sys.executable, "load_ours.py", job, CORES),
        },
        work,
    ) as started:
        rates = race(started, seconds=SECONDS["96"], repeats=REPEATS["96"])
    yield _ratio("cache_96", rates["cache"], rates["lerobot"], ">= 30", f"{LEROBOT}; two threads")
    yield _rate("cache_96_rate", rates["cache"])
    yield _rate("cache_96_peer_rate", rates["lerobot"])


def peers(work: Path) -> Iterator[Row]:
    """lerobot-lancedb, mosaicml-streaming, WebDataset; of two sizes the smaller ratio counts."""
    pythons = {peer: python_of(peer) for peer in ("lance", "mosaic", "webdataset")}
    found: dict[str, list[Row]] = {}
    for size in ("96", "640"):
        frames = frames_of(size, work)
        store = make_store_of(size, work)
        contenders: dict[str, tuple[str | Path, str, dict[str, object], list[int]]] = {
            "viae": (
                sys.executable, "load_ours.py",
                {"store": str(store), "cameras": frames.cameras, "threads": 2}, CORES,
            )
        }  # fmt: skip
        roots = {}
        for peer, python in pythons.items():
            if python is None:
                continue
            roots[peer] = prepared(peer, python, frames, work)
            job = {"root": str(roots[peer]), "workers": 2}
            contenders[peer] = (python, f"load_peer_{peer}.py", job, CORES)
        if not roots:
            return
        with running(contenders, work) as started:
            rates = race(started, seconds=SECONDS[size], repeats=REPEATS[size])
        for peer, root in roots.items():
            row = _ratio(f"{peer}_{size}", rates["viae"], rates[peer], "", "two threads, 2 workers")
            found.setdefault(peer, []).append(row)
            yield row
            yield _rate(f"{peer}_{size}_peer_rate", rates[peer])
            yield Row(name=f"{peer}_{size}_mb", value=disk_bytes(root) / 1e6, unit="MB")
        yield _rate(f"viae_{size}_rate", rates["viae"])
        yield Row(name=f"viae_{size}_mb", value=disk_bytes(store) / 1e6, unit="MB")
        yield from _quality(size, frames, work)
    for peer, rows in found.items():
        worst = min(rows, key=lambda row: row.value)
        yield Row(
            name=peer, value=worst.value, unit="ratio", target="> 1", n=worst.n, low=worst.low,
            high=worst.high, peer=f"the smaller of two sizes: {worst.name}",
        )  # fmt: skip


def _quality(size: str, frames: Frames, work: Path) -> Iterator[Row]:
    """PSNR of each form against the frames, over some of them."""
    some = np.linspace(0, sum(frames.lengths) - 1, SAMPLED).astype(int)
    original = np.asarray(frames.pictures[some])
    found = {"viae": _viae_pictures(make_store_of(size, work), frames, some)}
    found["jpeg"] = np.stack([_jpeg(picture) for picture in original])
    python = python_of("lerobot")
    if python is not None:
        root = prepared("lerobot", python, frames, work)
        yield Row(name=f"lerobot_{size}_mb", value=disk_bytes(root) / 1e6, unit="MB")
        path = work / "pictures.npy"
        subprocess.run(
            [str(python), str(HERE / "load_peer_lerobot.py"), "pictures", str(root), str(path),
             str(SAMPLED)],
            env=environment(work), check=True, capture_output=True,
        )  # fmt: skip
        found["lerobot"] = np.load(path)
    for name, pictures in found.items():
        said = "mosaic and webdataset: JPEG, quality 75" if name == "jpeg" else ""
        value = psnr(original, pictures)
        yield Row(name=f"{name}_{size}_psnr", value=value, unit="dB", n=SAMPLED, peer=said)


def _viae_pictures(uri: Path, frames: Frames, which: np.ndarray) -> np.ndarray:
    from load_store import window
    from viae.load import Windows
    from viae.store import Store

    store = Store.open(uri)
    windows = Windows(store, window(frames.cameras), store.episodes())
    camera = windows.frames[frames.cameras[0]]
    out = np.empty((len(which), *camera.shape), np.uint8)
    camera.read(which.astype(np.int64), out)
    return out.transpose(0, 2, 3, 1)


def _jpeg(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    coded = io.BytesIO()
    Image.fromarray(picture).save(coded, format="JPEG")
    return np.asarray(Image.open(coded))


def make_store_of(size: str, work: Path) -> Path:
    """Where the store of a size is, made if it is not."""
    uri = work / f"viae-{size}"
    make_store(frames_of(size, work), uri)
    return uri


def _lerobot(name: str) -> Path | None:
    python = python_of("lerobot")
    if python is not None and not python.exists():
        print(f"{name}: skipped, no Python at {python}", file=sys.stderr)
        return None
    return python


def _ratio(
    name: str, ours: Sequence[float], theirs: Sequence[float], target: str, peer: str
) -> Row:
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Row(
        name=name, value=median(ratios), unit="ratio", target=target, n=len(ratios),
        low=min(ratios), high=max(ratios), peer=peer,
    )  # fmt: skip


def _rate(name: str, rates: Sequence[float]) -> Row:
    return Row(
        name=name, value=median(rates), unit="windows/s", n=len(rates), low=min(rates),
        high=max(rates),
    )  # fmt: skip


def core_scaling(work: Path) -> Iterator[Row]:
    """Two threads on two cores against one on one, on demand."""
    for size in ("96", "640"):
        rates = ours_only(
            {
                "two": ({"store": str(make_store_of(size, work)), "threads": 2}, CORES),
                "one": ({"store": str(make_store_of(size, work)), "threads": 1}, ONE_CORE),
            },
            work, seconds=SECONDS["96"], repeats=5,
        )  # fmt: skip
        name, target = ("core_scaling_96", "") if size == "96" else ("core_scaling", ">= 1.8")
        yield _ratio(name, rates["two"], rates["one"], target, f"on demand, {size}")
        yield _rate(f"{name}_one", rates["one"])


def ours_only(
    jobs: Mapping[str, tuple[dict[str, object], list[int]]], work: Path, *, seconds: float,
    repeats: int, scripts: Mapping[str, str] | None = None, warm_s: float = 0,
) -> dict[str, list[float]]:  # fmt: skip
    """Rates of contenders that need no other Python: job and cores by name."""
    contenders = {
        name: (sys.executable, (scripts or {}).get(name, "load_ours.py"), job, cores)
        for name, (job, cores) in jobs.items()
    }
    with running(contenders, work) as started:
        return race(started, seconds=seconds, repeats=repeats, warm_s=warm_s)


def decode_limit_96(work: Path) -> Iterator[Row]:
    """Share of the bare limit, 96x96."""
    yield from _limit("decode_limit_96", "96", work)


def decode_limit_640(work: Path) -> Iterator[Row]:
    """Share of the bare limit, 640x480."""
    yield from _limit("decode_limit_640", "640", work)


def _limit(name: str, size: str, work: Path) -> Iterator[Row]:
    job = {"store": str(make_store_of(size, work)), "threads": 1}
    rates = ours_only(
        {"viae": (job, ONE_CORE), "bare": (job, ONE_CORE)}, work,
        seconds=SECONDS["96"], repeats=7, scripts={"bare": "load_bare.py"},
    )  # fmt: skip
    said = "same packets and order, decoder and conversion to RGB alone, PyAV; one thread, one core"
    yield _ratio(name, rates["viae"], rates["bare"], ">= 0.80", said)
    yield _rate(f"{name}_rate", rates["viae"])
    yield _rate(f"{name}_bare_rate", rates["bare"])
