"""The next half second of real logs against persistence, stream by stream.

``real_streams``          share of the streams of a ship, a car and flights for which the base model
                          has the lower negative log-likelihood; the others are named on stderr
``real_streams_LOG``      the same of one log
``real_streams_hardest``  the same as ``real_streams`` against the hardest persistence there is
``real_streams_bits_LOG`` median over streams of bits of the model ÷ bits of persistence

**Logs.** ``keelson_maritime``: its messages are text in a protobuf envelope; each AIS report
becomes a vector of its numbers and its texts, by type, and each NMEA sentence a text (`ship`).
``comma2k19_example``: all arrays (`CAR`). ``px4_ulog``: all logs as they are.

**Split.** By time: model and persistence learn from the first `LEARNED` of a log's events; then
comes a gap up to `TESTED`, and what arrives after is the test, never seen. Nothing is chosen by
it: every model has the same number of updates. A share of events is a moment in time: these logs
have bursts and silences, and no share of their duration would do. One model a log: they have
hardly a stream in common, and flights of different firmware have streams of one name and
different shapes.

**What is measured.** From the beginning of the test on, time is cut into stretches of half a
second. The likelihood of what a stretch says, given all before it, is by the chain rule the
product over its samples, each given all before it, those of the same stretch among them; that
holds for model and persistence alike and is exact: nothing is taught that the likelihood of a
sequence does not contain. Each factor belongs to the stream of its sample, so the sum over
streams is the likelihood of the whole. Counted are the bits of values, on the same tokens for
both; when samples come and of which stream is not counted, and both are given it.

**Persistence** is `model_peers`: the last value plus Gaussian noise, mixed with "exactly the same"
and with how often each token is, fitted for each element of each stream: the peer of ``bits``, too.
The *hardest* takes in place of the Gaussian the best of it, a Laplace distribution and the
histogram of all differences, chosen for each stream *on the test*, as nobody could.

**Streams.** Apart, named, and neither won nor lost are those that cannot be compared: that never
change in the test; with fewer samples than `LEAST` to learn from or to test; that never changed
while learning (neither has anything to fit); and those that viae gives no tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from driver import DATA
from model_peers import Persistence, best_persistence, columns
from rows import Row
from viae import LoopConfig, Samples, Store
from viae.evaluate import success_rate
from viae.foresee.likelihood import PARTS, bits
from viae.load.events import EventReader
from viae.model.tokens.codec import previous
from viae.schema import Episode, Events, Kind
from viae.store import StoreWriter
from viae.train.base import BaseRecipe, Source, train_base
from viae.verbs.ingest import ingest

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

LEARNED, TESTED = 0.76, 0.78
STEPS = 400
STRETCH_NS = 500_000_000
LEAST = 20, 5
"""Samples to learn from, and to test."""

CAR: Mapping[str, tuple[str, str]] = {
    "pose/position": ("global_pose/frame_times", "global_pose/frame_positions"),
    "pose/orientation": ("global_pose/frame_times", "global_pose/frame_orientations"),
    "pose/velocity": ("global_pose/frame_times", "global_pose/frame_velocities"),
    "pose/gps_time": ("global_pose/frame_times", "global_pose/frame_gps_times"),
} | {
    f"can/{part}": ("processed_log/CAN/raw_can/t", f"processed_log/CAN/raw_can/{part}")
    for part in ("src", "address", "data")
} | {
    name: (f"processed_log/{group}/{name}/t", f"processed_log/{group}/{name}/value")
    for group, names in {
        "CAN": ("radar", "speed", "steering_angle", "wheel_speed"),
        "GNSS": ("live_gnss_qcom", "live_gnss_ublox", "raw_gnss_qcom", "raw_gnss_ublox"),
        "IMU": (
            "accelerometer", "gyro", "gyro_bias", "gyro_uncalibrated", "magnetometer",
            "magnetometer_uncalibrated",
        ),
    }.items()
    for name in names
}  # fmt: skip
"""Streams of the car: files of times and of values."""


def recipe(steps: int) -> BaseRecipe:
    """Of all models here."""
    return BaseRecipe(
        length=192, batch_size=8, bins=128, chunk=1, moments=0, hide_actions=0.0,
        held_out_share=0.0,
        width=128, depth=2, heads=4, depth_width=64, depth_layers=2, dropout=0.1, bf16=False,
        share={"": 0.1},
        loop=LoopConfig(
            steps=steps, lr=2e-3, warmup=50, weight_decay=0.05, ema=0.99, check_every=50, patience=0
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a log.

    Args:
        log: its name.
        model: bits of values in the test, by stream.
        peer: likewise, of persistence.
        hardest: likewise, of the hardest persistence.
        apart: streams that were not compared, and why.
        seconds: of training.
    """

    log: str
    model: Mapping[str, float]
    peer: Mapping[str, float]
    hardest: Mapping[str, float]
    samples: Mapping[str, int]
    apart: Mapping[str, str]
    seconds: float
    stretches: int
    won: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        own = frozenset(name for name, cost in self.model.items() if cost < self.peer[name])
        object.__setattr__(self, "won", own)


def real_streams(work: Path, *, steps: int = STEPS, only: str = "") -> Iterator[Row]:
    """All figures.

    Args:
        work: folder to write to.
        steps: updates of each model, at most.
        only: part of the names of the logs to look at.
    """
    work.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for name, source in logs(work).items():
        if only not in name:
            continue
        verdict = judged(name, source(), work / name, steps)
        verdicts.append(verdict)
        _tell(verdict)
        if verdict.model:
            yield _share(f"real_streams_{name}", [verdict], f"trained {verdict.seconds:.0f} s")
            ratio = [verdict.model[s] / max(verdict.peer[s], 1e-9) for s in verdict.model]
            yield Row(
                name=f"real_streams_bits_{name}", value=float(np.median(ratio)), n=len(ratio),
                unit="ratio", peer=f"{verdict.stretches} stretches of 0.5 s",
            )  # fmt: skip
    if verdicts:
        lost = [f"{v.log}: {s}" for v in verdicts for s in sorted(v.model.keys() - v.won)]
        said = "lost: " + (", ".join(lost) or "none")
        yield _share("real_streams", verdicts, said, target=">= 0.9")
        against = [replace(verdict, peer=verdict.hardest) for verdict in verdicts]
        yield _share("real_streams_hardest", against, "the best noise of each stream on the test")


def logs(work: Path) -> Mapping[str, Callable[[], Path]]:
    """Names of logs, and what makes for each what to ingest."""
    flights: dict[str, Callable[[], Path]] = {
        f"flight-{path.stem.removeprefix('sample').strip('_') or 'sample'}": partial(Path, path)
        for path in sorted((DATA / "px4_ulog").glob("*.ulg"))
    }
    return {
        "ship": partial(ship, work / "ship-log"), "car": partial(car, work / "car-log"), **flights,
    }  # fmt: skip


def car(folder: Path) -> Path:
    """A description of the car's arrays."""
    tables = [
        {"time": {"file": time}, "streams": {name: {"file": values}}}
        for name, (time, values) in CAR.items()
    ]
    return _described(folder, DATA / "comma2k19_example" / "Example_1", tables, "*/*")


def ship(folder: Path) -> Path:
    """The ship's messages as tables: one of sentences, one of each type of report."""
    store = _opened(folder / "bytes")
    ingest([DATA / "keelson_maritime" / "test.mcap"], store)
    [episode] = store.episodes()
    found: dict[str, list[dict[str, Any]]] = {}
    ids = [episode.episode_id]
    every = [row["stream"] for row in store.streams(ids)]
    for (_, stream), samples in store.samples(ids, every).items():
        for at, value in zip(samples.arrival_ns.tolist(), samples.values, strict=True):
            text = bytes(value).decode()
            if stream.endswith("nmea0183"):
                found.setdefault("nmea", []).append({"t": at, "sentence": text})
            else:
                said = json.loads(text)
                found.setdefault(f"ais{said['msg_type']}", []).append({"t": at, **said})
    tables = []
    for name, rows in sorted(found.items()):
        rows.sort(key=lambda row: row["t"])
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
        everywhere = set.intersection(*(set(row) for row in rows)) - {"t"}
        kinds = {key: {type(row[key]) for row in rows} for key in everywhere}
        numbers = sorted(key for key, of in kinds.items() if of <= {int, float, bool})
        texts = sorted(key for key, of in kinds.items() if of == {str})
        streams: dict[str, Any] = {f"{name}.{key}": {"columns": [key]} for key in texts}
        if numbers:
            for row in rows:
                row.update({key: float(row[key]) for key in numbers})
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(lines)
            streams[name] = {"columns": numbers, "dtype": "float64"}
        time = {"column": "t", "unit": "ns"}
        tables.append({"file": f"{name}.jsonl", "time": time, "streams": streams, "ignore": "all"})
    return _described(folder, folder, tables)


def _described(folder: Path, root: Path, tables: list[dict[str, Any]], each: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {"viae_tabular": 1, "root": str(root.resolve()), "tables": tables}
    if each:
        said |= {"episodes": {"folders": each}, "time": {"unit": "s"}}
    path = folder / "log.viae.yaml"
    path.write_text(yaml.safe_dump(said))
    return path


def judged(name: str, log: Path, work: Path, steps: int) -> Verdict:
    """Train on the first part of a log, test on the last."""
    torch.manual_seed(0)
    store = _opened(work / "store")
    ingest([log], store)
    [episode] = store.episodes()
    reader = EventReader(store, [episode])
    events = reader.events(0)
    at_ns = np.sort(events.arrival_ns)
    learned_ns, tested_ns = (int(at_ns[int(len(at_ns) * share)]) for share in (LEARNED, TESTED))
    apart = dict(reader.left)
    kept = _kept(events, learned_ns, tested_ns, apart)
    learned = _opened(work / "learned")
    if not learned.episodes():
        writer = StoreWriter(learned, now_ns=time.time_ns)
        _write(writer, name, events, kept, learned_ns)
        writer.commit()
    begin = time.perf_counter()
    source = Source(store=learned, episodes=tuple(learned.episodes()))
    bundle = train_base(
        [source], recipe(steps), work=work / "training",
        progress=lambda p: print(name, p.step, round(p.train, 3), file=sys.stderr),
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    bundle.save(work / "bundle")
    apart |= bundle.vocabulary.left
    newest = int((events.arrival_ns >= tested_ns).sum())
    known = {spec.name for spec in bundle.vocabulary.streams}
    ours = np.isin(events.stream, [i for i, s in enumerate(events.streams) if s.name in known])
    said = bits(bundle, events, newest=int(ours[len(events) - newest :].sum()))
    model, peer, hardest, samples = {}, {}, {}, {}
    for stream in sorted(known):
        values = events.values[stream]
        own = events.stream == [s.name for s in events.streams].index(stream)
        at = events.arrival_ns[own]
        codec = bundle.vocabulary.codec(stream)
        before = previous(values)
        learnt = slice(1, int((at < learned_ns).sum()))
        tested = slice(int((at < tested_ns).sum()), len(at))
        if not len(codec.slots):
            apart[stream] = "it never changed while learning"
            continue
        model[stream] = float(said.of(stream)[:, PARTS.index("content")].sum())
        train = columns(codec, values[learnt], before[learnt])
        test = columns(codec, values[tested], before[tested])
        peer_bits = Persistence(codec, train, "gaussian").bits(test)
        peer[stream], samples[stream] = float(peer_bits.sum()), len(peer_bits)
        hardest[stream] = float(best_persistence(codec, train, test).sum())
    since = events.arrival_ns[events.arrival_ns >= tested_ns] - tested_ns
    return Verdict(
        log=name, model=model, peer=peer, hardest=hardest, samples=samples, apart=apart,
        seconds=seconds,
        stretches=len(np.unique(since // STRETCH_NS)),
    )  # fmt: skip


def _opened(folder: Path) -> Store:
    return Store.open(folder) if folder.exists() else Store.create(folder)


def _kept(events: Events, learned_ns: int, tested_ns: int, apart: dict[str, str]) -> list[str]:
    """Streams to learn and to compare; why others are not goes to ``apart``."""
    found = []
    for number, spec in enumerate(events.streams):
        at = events.arrival_ns[events.stream == number]
        learnt, tested = int((at < learned_ns).sum()), int((at < tested_ns).sum())
        values = events.values[spec.name]
        if learnt < LEAST[0] or len(at) - tested < LEAST[1]:
            apart[spec.name] = f"rare: {learnt} samples to learn from, {len(at) - tested} to test"
        elif not _changes(values[tested - 1 :]):
            apart[spec.name] = "it never changes in the test"
        elif not _changes(values[:learnt]):
            apart[spec.name] = "it never changed while learning"
        else:
            found.append(spec.name)
    return found


def _changes(values: Any) -> bool:
    if not isinstance(values, np.ndarray):
        return len(set(values)) > 1
    same = values == values[:1]
    if values.dtype.kind == "f":
        same |= np.isnan(values) & np.isnan(values[:1])
    return not bool(same.all())


def _write(
    writer: StoreWriter, name: str, events: Events, kept: Sequence[str], end_ns: int
) -> None:
    """The beginning of an episode as one of its own."""
    draft = writer.begin(name)
    for number, spec in enumerate(events.streams):
        own = events.stream == number
        at = np.flatnonzero(events.arrival_ns[own] < end_ns)
        if spec.name not in kept or not len(at):
            continue
        values = events.values[spec.name]
        draft.add(
            Samples(
                spec=spec, capture_ns=events.capture_ns[own][at],
                arrival_ns=events.arrival_ns[own][at], seq=np.arange(len(at)),
                values=[values[i] for i in at] if spec.kind is Kind.TEXT else values[at],
            )
        )  # fmt: skip
    draft.finish(
        Episode(episode_id=name, log_uri=name, log_hash=name, log_range="", log_format="piece")
    )


def _share(name: str, verdicts: Sequence[Verdict], said: str, target: str = "") -> Row:
    rate = success_rate([stream in v.won for v in verdicts for stream in v.model])
    return Row(
        name=name, value=rate.mean, unit="share", target=target, n=rate.n, low=rate.low,
        high=rate.high, peer=said,
    )  # fmt: skip


def _tell(verdict: Verdict) -> None:
    """On stderr, stream by stream: bits a sample of the model and of both kinds of persistence."""
    for stream in sorted(verdict.model, key=lambda s: verdict.model[s] / (verdict.peer[s] + 1e-9)):
        n = max(verdict.samples[stream], 1)
        sign = "won " if stream in verdict.won else "LOST"
        costs = [verdict.model, verdict.peer, verdict.hardest]
        said = f"{' '.join(f'{of[stream] / n:8.3f}' for of in costs)} n={n}"
        print(f"{verdict.log} {sign} {said} {stream}", file=sys.stderr)
    why: dict[str, list[str]] = {}
    for stream, reason in sorted(verdict.apart.items()):
        why.setdefault(reason.partition(":")[0], []).append(stream)
    for reason, streams in why.items():
        said = f"{len(streams)} {reason}: {', '.join(streams)}"
        print(f"{verdict.log} apart, {said}", file=sys.stderr)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep")
    parser.add_argument("--log", default="", help="only logs with this in their names")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of each model, at most")
    arguments = parser.parse_args()
    for row in real_streams(arguments.work, steps=arguments.steps, only=arguments.log):
        row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()
