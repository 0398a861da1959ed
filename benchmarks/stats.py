"""Normalisation statistics: how fast, how exact, and how exact LeRobot's are on the same values.

``stats_mvalues_s``        values a second through two passes, exact quantiles, one core
``stats_store_s``          seconds of ``viae stats`` over a store of 14 M values in 200 episodes
``stats_thumbnail_ms``     milliseconds a key frame of real video, 640x480 (about 2000 are looked at
                           of a stream, however long it is)
``stats_quantile_error``   largest error of a quantile against all values at once, in standard
                           deviations of its element, on the real G1 actions and states
``stats_quantile_error_lerobot``  the same of LeRobot 0.4.4, which averages episodes' quantiles
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from driver import DATA
from rows import Row
from viae import Store, StreamSpec
from viae.load.stats import QUANTILES, Statistics, picture_statistics, quantile_name
from viae.schema import Episode, Samples
from viae.store import StoreWriter
from viae.verbs.ingest import ingest
from viae.verbs.stats import stats

SIZE = 14
CHUNK = 4096
CAMERA = "observation.images.cam_high"
VECTORS = ("action", "observation.state")
TIMES = 3


def stats_seconds(work: Path, *, rows: int = 4_000_000) -> Iterator[Row]:
    """All figures.

    Args:
        work: folder to write to.
        rows: of 14 float32 values each, of the figure in memory.
    """
    yield _in_memory(rows)
    yield _of_a_store(work / "made")
    if DATA.is_dir():
        store = Store.create(work / "g1")
        ingest([DATA / "g1_inspire_lerobot_v21"], store)
        yield _thumbnails(store)
        yield from _errors(store, work)


def _in_memory(rows: int) -> Row:
    values = np.random.default_rng(0).standard_normal((rows, SIZE), np.float32)
    before = _peak_mb()
    fastest = np.inf
    for _ in range(TIMES):
        begin = time.perf_counter()
        statistics = Statistics((SIZE,), np.float32)
        done = False
        while not done:
            for start in range(0, rows, CHUNK):
                statistics.add(values[start : start + CHUNK])
            done = statistics.finish_pass()
        fastest = min(fastest, time.perf_counter() - begin)
    return Row(
        name="stats_mvalues_s", value=values.size / fastest / 1e6, unit="M values/s", n=TIMES,
        peer=f"float32, {statistics.passes} passes, {_peak_mb() - before:.0f} MB",
    )  # fmt: skip


def _of_a_store(folder: Path, *, episodes: int = 200, rows: int = 5000) -> Row:
    store = _made(folder, episodes, rows)
    begin = time.perf_counter()
    report = stats(store)
    seconds = time.perf_counter() - begin
    [found] = report.streams.values()
    return Row(
        name="stats_store_s", value=seconds, unit="s", n=1,
        peer=f"{episodes * rows * SIZE / 1e6:.0f} M values, {found.passes} passes",
    )  # fmt: skip


def _made(folder: Path, episodes: int, rows: int) -> Store:
    """A store of one stream of noise."""
    store = Store.create(folder)
    writer = StoreWriter(store, now_ns=time.time_ns)
    spec = StreamSpec(name="state", dtype="float32", shape=(SIZE,))
    rng = np.random.default_rng(0)
    for number in range(episodes):
        draft = writer.begin(f"{number:08x}")
        for start in range(0, rows, CHUNK):
            at = np.arange(start, min(start + CHUNK, rows), dtype=np.int64)
            values = rng.standard_normal((len(at), SIZE), np.float32)
            draft.add(Samples(spec=spec, capture_ns=at, arrival_ns=at, seq=at, values=values))
        draft.finish(
            Episode(
                episode_id=f"{number:08x}", log_uri="made", log_hash="", log_range="",
                log_format="made",
            )
        )  # fmt: skip
    writer.commit()
    return store


def _thumbnails(store: Store) -> Row:
    ids = [episode.episode_id for episode in store.episodes()]
    begin = time.perf_counter()
    found = picture_statistics(store, CAMERA, ids)
    seconds = time.perf_counter() - begin
    return Row(
        name="stats_thumbnail_ms", value=1000 * seconds / found.looked_at, unit="ms",
        n=found.looked_at, peer=found.how,
    )  # fmt: skip


def _errors(store: Store, work: Path) -> Iterator[Row]:
    ids = [episode.episode_id for episode in store.episodes()]
    read = store.samples(ids, VECTORS)
    ours: list[npt.NDArray[np.float64]] = []
    theirs: list[npt.NDArray[np.float64]] = []
    for stream in VECTORS:
        episodes = [np.asarray(read[episode, stream].values) for episode in ids]
        values = np.concatenate(episodes).astype(np.float64)
        wanted = np.quantile(values, QUANTILES, axis=0)
        spread = values.std(axis=0)
        statistics = Statistics(episodes[0].shape[1:], episodes[0].dtype)
        done = False
        while not done:
            for episode in episodes:
                statistics.add(episode)
            done = statistics.finish_pass()
        found = np.stack([statistics.summary().quantiles[q] for q in QUANTILES])
        ours.append(np.abs(found - wanted) / spread)
        peer = _lerobot(episodes, work / f"{stream}.npz")
        if peer is not None:
            averaged = np.array([peer[quantile_name(q)] for q in QUANTILES])
            theirs.append(np.abs(averaged - wanted) / spread)
    errors = np.concatenate([each.ravel() for each in ours])
    yield Row(
        name="stats_quantile_error", value=float(errors.max()), unit="std", target="<= 0",
        n=len(errors), peer="np.quantile of all values at once",
    )  # fmt: skip
    if theirs:
        errors = np.concatenate([each.ravel() for each in theirs])
        yield Row(
            name="stats_quantile_error_lerobot", value=float(errors.max()), unit="std",
            n=len(errors),
            peer=f"LeRobot 0.4.4 averages episodes' quantiles; median {np.median(errors):.3f}",
        )  # fmt: skip


def _lerobot(episodes: list[npt.NDArray[Any]], path: Path) -> dict[str, Any] | None:
    """What LeRobot makes of the same values; None without LeRobot."""
    from roundtrip import lerobot_python

    python = lerobot_python()
    if python is None:
        return None
    np.savez(path, *episodes)
    script = Path(__file__).with_name("stats_peer.py")
    done = subprocess.run([python, script, path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        for row in stats_seconds(Path(temporary)):
            row.print(as_json="--json" in sys.argv)
