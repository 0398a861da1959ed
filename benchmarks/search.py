"""Nearest windows among a million: how fast after load, and how many of the true ten are found.

``search_ms``             p95 of a search for the ten nearest of 1 M windows, milliseconds; the
                          slower of 128 and 256 dimensions
``search_recall``         share of the true ten that are among the ten found; the lower of the two

and of each kind of vectors (``_128`` and ``_256``: trajectories, ``_noise``: Gaussian noise in 128
dimensions, which has no neighbourhoods and is the worst case):

``search_ms_*`` ``search_recall_*``   as above
``search_wide_ms_*``      p95 of the 176 nearest, which is what ``viae search`` looks at for ten
                          moments that are apart in time
``search_where_ms_*``     p95 within a tenth of the episodes, and ``search_where_recall_*``
``search_load_s_*``       opening the table and reading its index into memory
``search_build_s_*`` ``search_index_mb_*`` ``search_vectors_mb_*``  what the index costs
``search_numpy_ms_*``     the exact answer by one product of matrices in NumPy, p95
``search_faiss_ms_*`` ``search_faiss_recall_*`` ``search_faiss_build_s_*``  faiss' IVF-Flat of as
                          many partitions and probes, where it is installed

A trajectory goes through latent points of its task, which differ a little from episode to episode,
and wanders on the way; a random network makes a vector of each of its states, with noise on it.
Queries are windows of other episodes of the same tasks.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rows import Row
from viae import Store
from viae.schema import Episode
from viae.store import StoreWriter
from viae.store.vectors import PROBES, Embedded, Vectors

Floats = npt.NDArray[np.float32]

WINDOWS = 1_000_000
STEPS = 500
QUERIES = 500
WARM = 50
K = 10
WIDE = 176
LATENT, HIDDEN, TASKS, POINTS = 12, 64, 40, 6


def search_ms(work: Path, *, windows: int = WINDOWS) -> Iterator[Row]:
    """All figures.

    Args:
        work: folder to write to.
        windows: how many to search.
    """
    slowest: Row | None = None
    lowest: Row | None = None
    for name, dimension in (("128", 128), ("256", 256), ("noise", 128)):
        make = noise if name == "noise" else trajectories
        vectors, asked = make(windows, dimension)
        for row in _measured(work / name, name, vectors, asked):
            yield row
            if name != "noise" and row.name == f"search_ms_{name}":
                slowest = max((row, slowest or row), key=lambda each: each.value)
            if name != "noise" and row.name == f"search_recall_{name}":
                lowest = min((row, lowest or row), key=lambda each: each.value)
    assert slowest is not None
    assert lowest is not None
    yield Row(
        name="search_ms", value=slowest.value, unit="ms", target="<= 20", n=slowest.n,
        low=slowest.low, high=slowest.high, peer=f"{windows:,} windows; recall {lowest.value:.3f}",
    )  # fmt: skip
    yield Row(
        name="search_recall", value=lowest.value, unit="share", n=lowest.n, low=lowest.low,
        high=lowest.high, peer="exact search by NumPy",
    )  # fmt: skip


def trajectories(windows: int, dimension: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Vectors of episodes of some tasks, one episode after another, and queries of others.

    Returns:
        float32 [windows, D] and [QUERIES, D].
    """
    rng = np.random.default_rng(seed)
    into = rng.standard_normal((LATENT, HIDDEN)) / math.sqrt(LATENT)
    out = rng.standard_normal((HIDDEN, dimension)) / math.sqrt(HIDDEN)
    paths = 1.5 * rng.standard_normal((TASKS, POINTS, LATENT))
    at = np.linspace(0, POINTS - 1, STEPS)
    before = np.minimum(at.astype(np.int64), POINTS - 2)
    part = (at - before)[:, None]

    def episode() -> Floats:
        points = paths[rng.integers(TASKS)] + 0.3 * rng.standard_normal((POINTS, LATENT))
        states = points[before] * (1 - part) + points[before + 1] * part
        states += np.cumsum(0.02 * rng.standard_normal((STEPS, LATENT)), axis=0)
        made = np.tanh(states @ into) @ out + 0.02 * rng.standard_normal((STEPS, dimension))
        return made.astype(np.float32)

    vectors = np.concatenate([episode() for _ in range(windows // STEPS)])
    others = np.concatenate([episode() for _ in range(QUERIES // 10)])
    return vectors, others[rng.choice(len(others), QUERIES, replace=False)]


def noise(windows: int, dimension: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Gaussian noise, as `trajectories`."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((windows // STEPS * STEPS, dimension), np.float32)
    return vectors, rng.standard_normal((QUERIES, dimension), np.float32)


def _measured(folder: Path, name: str, vectors: Floats, asked: Floats) -> Iterator[Row]:
    store = _stored(folder, vectors)
    made = Vectors(store, "bench")
    before = _megabytes(folder)
    begin = time.perf_counter()
    made.index()
    built = time.perf_counter() - begin
    del made
    begin = time.perf_counter()
    opened = Vectors(store, "bench")
    opened.load()
    loaded = time.perf_counter() - begin

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, numpy_ms = _timed(asked, lambda query: _exact(unit, query))
    found, ours_ms = _timed(asked, lambda query: _rows(opened, query, K, None))
    n = len(asked)
    yield _p95(f"search_ms_{name}", ours_ms)
    yield _recall(f"search_recall_{name}", found, exact)
    wide_ms = _timed(asked, lambda query: _rows(opened, query, WIDE, None))[1]
    yield _p95(f"search_wide_ms_{name}", wide_ms)
    some = np.arange(0, len(vectors) // STEPS, 10)
    inside = (some[:, None] * STEPS + np.arange(STEPS)).reshape(-1)
    within = dict.fromkeys(map(_id, some.tolist()))
    part = unit[inside]
    exact_part = _timed(asked, lambda query: inside[_exact(part, query)])[0]
    found_part, part_ms = _timed(asked, lambda query: _rows(opened, query, K, within))
    yield _p95(f"search_where_ms_{name}", part_ms)
    yield _recall(f"search_where_recall_{name}", found_part, exact_part)
    yield Row(name=f"search_load_s_{name}", value=loaded, unit="s")
    yield Row(name=f"search_build_s_{name}", value=built, unit="s")
    yield Row(name=f"search_index_mb_{name}", value=_megabytes(folder) - before, unit="MB")
    yield Row(name=f"search_vectors_mb_{name}", value=before, unit="MB")
    yield _p95(f"search_numpy_ms_{name}", numpy_ms, peer="exact")
    yield from _faiss(name, unit, asked, exact)
    assert n == QUERIES


def _stored(folder: Path, vectors: Floats) -> Store:
    """A store of episodes without samples, and their vectors."""
    store = Store.create(folder)
    writer = StoreWriter(store, now_ns=time.time_ns)
    count = len(vectors) // STEPS
    for number in range(count):
        writer.begin(_id(number)).finish(
            Episode(
                episode_id=_id(number), log_uri="made", log_hash="", log_range="",
                log_format="made", end_ns=STEPS * 10**8,
            )
        )  # fmt: skip
    writer.commit()
    made = Vectors.create(store, "bench", dimension=vectors.shape[1])
    at = np.arange(STEPS, dtype=np.int64) * 10**8
    for start in range(0, count, 64):
        made.append(
            [
                Embedded(
                    episode_id=_id(number), start_ns=at, end_ns=at, decision_ns=at,
                    vectors=vectors[number * STEPS : (number + 1) * STEPS],
                )
                for number in range(start, min(start + 64, count))
            ]
        )  # fmt: skip
    return store


def _id(number: int) -> str:
    return f"{number:016x}"


def _rows(
    vectors: Vectors, query: Floats, k: int, within: dict[str, None] | None
) -> npt.NDArray[np.int64]:
    """The numbers of the rows found."""
    rows = vectors.nearest(query, k, within=within)
    episodes = np.array([int(each, 16) for each in rows["episode_id"].to_pylist()], np.int64)
    return episodes * STEPS + rows["decision_ns"].to_numpy() // 10**8


def _exact(unit: Floats, query: Floats) -> npt.NDArray[np.int64]:
    cosine = unit @ (query / np.linalg.norm(query))
    best = np.argpartition(cosine, -K)[-K:]
    return np.asarray(best[np.argsort(-cosine[best])], np.int64)


def _faiss(
    name: str, unit: Floats, asked: Floats, exact: list[npt.NDArray[np.int64]]
) -> Iterator[Row]:
    try:
        import faiss
    except ModuleNotFoundError:
        print("no faiss: pip install faiss-cpu", file=sys.stderr)
        return
    faiss.omp_set_num_threads(2)
    begin = time.perf_counter()
    flat = faiss.IndexFlatIP(unit.shape[1])
    index = faiss.IndexIVFFlat(
        flat, unit.shape[1], round(math.sqrt(len(unit))), faiss.METRIC_INNER_PRODUCT
    )
    index.train(unit)
    index.add(unit)
    built = time.perf_counter() - begin
    index.nprobe = PROBES
    found, faiss_ms = _timed(asked, lambda query: index.search(query[None], K)[1][0])
    yield _p95(f"search_faiss_ms_{name}", faiss_ms, peer=f"faiss {faiss.__version__} IVF-Flat")
    yield _recall(f"search_faiss_recall_{name}", found, exact)
    yield Row(name=f"search_faiss_build_s_{name}", value=built, unit="s")


def _timed(
    asked: Floats, find: Callable[[Floats], npt.NDArray[np.int64]]
) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """What was found for each query, and how long each took after some that do not count, ms."""
    for query in asked[:WARM]:
        find(query)
    found, seconds = [], []
    for query in asked:
        begin = time.perf_counter()
        found.append(find(query))
        seconds.append(time.perf_counter() - begin)
    return found, np.array(seconds) * 1e3


def _p95(name: str, ms: npt.NDArray[np.float64], *, peer: str = "") -> Row:
    draws = np.random.default_rng(0).choice(ms, (2000, len(ms)))
    low, high = np.quantile(np.quantile(draws, 0.95, axis=1), (0.025, 0.975))
    said = "; ".join(filter(None, (peer, f"median {np.median(ms):.1f}")))
    return Row(
        name=name, value=float(np.quantile(ms, 0.95)), unit="ms", n=len(ms), low=float(low),
        high=float(high), peer=said,
    )  # fmt: skip


def _recall(
    name: str, found: list[npt.NDArray[np.int64]], exact: list[npt.NDArray[np.int64]]
) -> Row:
    shares = np.array(
        [len({*a.tolist()} & {*b.tolist()}) / K for a, b in zip(found, exact, strict=True)]
    )
    means = np.random.default_rng(0).choice(shares, (2000, len(shares))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Row(
        name=name, value=float(shares.mean()), unit="share", n=len(shares), low=float(low),
        high=float(high),
    )  # fmt: skip


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    from driver import main

    main({"search_ms": search_ms}, description=__doc__)
