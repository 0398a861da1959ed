"""Kill `viae ingest` and `viae improve` at random moments, and see what is left.

Each trial starts from nothing, kills the command and all its processes (SIGKILL), looks at the
store, runs the command again to its end, and compares the result with that of a run nobody killed::

    python benchmarks/kill.py --kills 20

`road.py` calls `kill_ingest` and `kill_improve`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from viae import Kind, Recorder, Role, Samples, Store, StreamSpec
from viae.errors import StoreNotFoundError

REAL_LOGS = (
    "rerun_mcap", "keelson_maritime/test.mcap", "depthai_oak_recording/recording.mcap",
    "g1_inspire_lerobot_v21",
)  # fmt: skip
PLAN = (
    "--task", "button-press", "--task", "drawer-open",
    "--demonstrations", "2", "--rounds", "1", "--budget", "2", "--attempts", "4",
    "--steps", "60", "--horizon", "90",
)  # fmt: skip
DATA = Path(os.environ.get("VIAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
LATEST = 0.98
"""Share of an undisturbed run after which a kill would come too late too often."""

Episodes = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Kills:
    """What became of the kills.

    Args:
        kills: commands that were running when they were killed.
        opened: stores that opened afterwards, or had not been made yet.
        whole: stores in which every episode was one of the undisturbed run's, bit for bit.
        recovered: reruns that ended with the undisturbed run's result; counted only if the store
            had opened and was whole.
        same_ids: of these, results equal even in the ids of bundles and rollouts, which hold the
            versions of the store that was trained on.
        partly_done: kills that found some episodes in the store, but not yet all.
        undisturbed_s: how long the command takes.
        moments_s: when the kills came.
        failures: what was wrong, in words.
    """

    kills: int = 0
    opened: int = 0
    whole: int = 0
    recovered: int = 0
    same_ids: int = 0
    partly_done: int = 0
    undisturbed_s: float = 0.0
    moments_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def kill_ingest(
    n: int,
    seed: int = 0,
    *,
    work: Path,
    small: int = 80,
    big_mb: int = 48,
    data: Path | None = DATA,
) -> Kills:
    """Kill ``viae ingest`` n times.

    Args:
        n: kills.
        seed: of their moments.
        work: a new folder to do it in.
        small: small recordings made to be ingested.
        big_mb: size of one big recording.
        data: folder of real logs, ingested too where it has them.
    """
    logs = work / "logs"
    make_logs(logs, small=small, big_mb=big_mb, seed=seed)
    paths = [logs, *(data / name for name in REAL_LOGS if data and (data / name).exists())]
    command = ("ingest", *(str(path.absolute()) for path in paths), "--store", "store")
    return _trials(work, command, n, seed, same=_ingested)


def kill_improve(n: int, seed: int = 0, *, work: Path, plan: Sequence[str] = PLAN) -> Kills:
    """Kill ``viae improve`` n times.

    Args:
        n: kills.
        seed: of their moments.
        work: a new folder to do it in.
        plan: options of the command; the default takes some seconds.
    """
    command = ("improve", *plan, "--store", "store", "--work", "work")
    return _trials(work, command, n, seed, same=_improved)


def make_logs(folder: Path, *, small: int, big_mb: int, seed: int = 0) -> None:
    """Recordings to ingest: many small rollouts, and one big file in the middle of them."""
    rng = np.random.default_rng(seed)
    joints = StreamSpec(name="joints", shape=(7,), unit="rad")
    said = StreamSpec(name="said", kind=Kind.TEXT, dtype="", shape=())
    success = StreamSpec(name="success", dtype="bool", shape=(1,), role=Role.OUTCOME)
    raw = StreamSpec(name="raw", kind=Kind.BYTES, dtype="", shape=())
    for number in range(small):
        path = folder / f"rollout-{number:03d}.mcap"
        with Recorder(path, streams=[joints, said, success], task="wave", agent="human") as log:
            for i, value in enumerate(rng.standard_normal((30, 7))):
                log.write("joints", value, capture_ns=i * 10**7, arrival_ns=i * 10**7 + 5)
            log.write("said", f"rollout {number}", capture_ns=1, arrival_ns=1)
            log.write("success", [number % 3 > 0], capture_ns=10**9, arrival_ns=10**9)
            log.finish(number % 3 > 0)
    with Recorder(folder / f"rollout-{small // 2:03d}-big.mcap", streams=[raw, joints]) as log:
        for i in range(big_mb * 16):
            log.write("raw", rng.bytes(1 << 16), capture_ns=i, arrival_ns=i)
            log.write("joints", rng.standard_normal(7), capture_ns=i, arrival_ns=i)


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """``viae …`` in a folder, as the leader of its own group of processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "viae", *command], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """``viae …`` to its end: exit status, and what it said on standard error."""
    process = start(command, folder)
    said = process.communicate()[1].decode()
    return process.returncode, said


def kill_at(command: Sequence[str], folder: Path, moment_s: float) -> bool:
    """Start ``viae …`` and kill its whole group; False if it had ended by then."""
    process = start(command, folder)
    try:
        process.communicate(timeout=moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def episodes_of(store: Store) -> Episodes:
    """All that a store holds of every visible episode, by id, but for when it was ingested."""
    ids = sorted(store.episode_ids())
    rows = {row["episode_id"]: row for row in store.table("episodes").to_table().to_pylist()}
    streams: dict[str, dict[str, Any]] = {episode: {} for episode in ids}
    for row in store.streams(ids):
        del row["write_id"]
        streams[row["episode_id"]][row["stream"]] = repr(row)
    digests: dict[str, dict[str, Any]] = {episode: {} for episode in ids}
    names = {name for known in streams.values() for name in known}
    for (episode, name), samples in store.samples(ids, names).items():
        digests[episode][name] = _digest_of_samples(samples)
    for (episode, name), groups in store.video(ids, names).items():
        digests[episode][name] = hashlib.blake2b(repr(groups).encode()).hexdigest()
    facts: dict[str, list[str]] = {episode: [] for episode in ids}
    for fact in store.facts():
        facts[fact.episode_id].append(f"{fact.key}={json.dumps(fact.value)} by {fact.author}")
    private = ("write_id", "ingested_ns")
    return {
        episode: {
            "row": {k: v for k, v in rows[episode].items() if k not in private},
            "streams": streams[episode],
            "samples": digests[episode],
            "facts": sorted(facts[episode]),
        }
        for episode in ids
    }


def _trials(
    folder: Path,
    command: Sequence[str],
    n: int,
    seed: int,
    *,
    same: Callable[[Path, Path], tuple[list[str], bool]],
) -> Kills:
    """Kill n times, the moments spread over the run: one in each n-th of it, at random."""
    reference = folder / "reference"
    reference.mkdir(parents=True)
    began = time.perf_counter()
    status, said = run(command, reference)
    result = Kills(undisturbed_s=time.perf_counter() - began)
    if status not in (0, 1):
        raise RuntimeError(f"viae {' '.join(command)} ended with {status}: {said}")
    expected = episodes_of(Store.open(reference / "store"))
    rng = np.random.default_rng(seed)
    for number in range(n):
        moment_s = result.undisturbed_s * LATEST * (number + rng.random()) / n
        trial = folder / "trial"
        trial.mkdir()
        while not kill_at(command, trial, moment_s):  # it was faster than the undisturbed run
            shutil.rmtree(trial)
            trial.mkdir()
            moment_s *= 0.9
        result.kills += 1
        result.moments_s.append(round(moment_s, 3))
        wrong = list(_look(trial / "store", expected, result))
        again, said = run(command, trial)
        if again != status:
            wrong.append(f"the rerun ended with {again}, not {status}: {said[-500:]}")
        else:
            differences, ids = same(reference, trial)
            wrong += differences
            result.same_ids += ids and not wrong
        result.recovered += not wrong
        result.failures += [f"killed at {moment_s:.3f} s: {text}" for text in wrong]
        shutil.rmtree(trial)
    return result


def _look(uri: Path, expected: Episodes, result: Kills) -> Iterator[str]:
    """What a kill left: does it open, and is every episode in it whole?"""
    try:
        found = episodes_of(Store.open(uri))
    except StoreNotFoundError:
        found = {}  # it was killed before there was a store
    except Exception as error:
        yield f"the store does not open: {error!r}"
        return
    result.opened += 1
    result.partly_done += 0 < len(found) < len(expected)
    broken = [
        episode
        for episode, held in found.items()
        if episode not in expected
        or any(held[part] != expected[episode][part] for part in ("row", "streams", "samples"))
    ]
    if broken:
        yield f"{len(broken)} of {len(found)} episodes are not whole, the first {broken[0]}"
    else:
        result.whole += 1


def _ingested(reference: Path, trial: Path) -> tuple[list[str], bool]:
    """Whether two ingests gave the same store."""
    a, b = (episodes_of(Store.open(folder / "store")) for folder in (reference, trial))
    differ = sorted(e for e in a.keys() | b.keys() if a.get(e) != b.get(e))
    return [f"episodes differ: {differ[:3]}"] if differ else [], not differ


def _improved(reference: Path, trial: Path) -> tuple[list[str], bool]:
    """Whether two improvements came to the same end, and even to the same ids."""
    a, b = (_improvement(folder) for folder in (reference, trial))
    wrong = [f"{name} differ" for name in a if a[name] != b[name]]
    if not (trial / "work" / "report.html").exists():
        wrong.append("there is no report")
    left = [path.name for path in trial.rglob("*.partial")] + [
        path.name for path in (trial / "work" / "bundles").glob("*.training")
    ]
    if left:
        wrong.append(f"left behind: {left}")
    stores = (Store.open(folder / "store").episode_ids() for folder in (reference, trial))
    return wrong, len(set(map(frozenset, stores))) == 1


def _improvement(folder: Path) -> dict[str, Any]:
    """What an improvement came to; bundles go by their round, since their ids hold versions."""
    store = Store.open(folder / "store")
    rounds = {run["bundle"]: run["config"]["number"] for run in store.runs("round")}
    held = {}
    for content in episodes_of(store).values():
        row = content["row"]
        agent, _, bundle = row["agent"].partition(":")
        who = f"round {rounds.get(bundle)}" if agent == "bundle" else row["agent"]
        seed = json.loads(row["conditions"])["seed"]
        held[who, row["task"], seed] = (row["outcome"], content["samples"])
    weights = {
        path.parent.name: hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in (folder / "work" / "bundles").glob("*/weights.safetensors")
    }
    return {
        "episodes and outcomes": held,
        "weights": weights,
        "queues": [run["metrics"]["queue"] for run in store.runs("round")],
        "demonstrations": [run["metrics"]["demonstrations"] for run in store.runs("round")],
        "rates": [run["metrics"]["tasks"] for run in store.runs("evaluate")],
        "trust": [json.dumps(run["metrics"]["auroc"]) for run in store.runs("trust")],  # NaN = NaN
        "runs": sorted(run["kind"] for run in store.runs()),
    }


def _digest_of_samples(samples: Samples) -> str:
    digest = hashlib.blake2b()
    for times in (samples.capture_ns, samples.arrival_ns, samples.seq):
        digest.update(times.tobytes())
    for value in samples.values:
        if isinstance(value, str):
            digest.update(value.encode())
        else:
            digest.update(value if isinstance(value, bytes) else np.asarray(value).tobytes())
        digest.update(b"\0")
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viae-kill-") as folder:
        for kill in (kill_ingest, kill_improve):
            kills = kill(asked.kills, asked.seed, work=Path(folder) / kill.__name__)
            print(json.dumps({"name": kill.__name__} | asdict(kills)))


if __name__ == "__main__":
    main()
