"""How many bits a step of a held-out log takes, against persistence and against zstd.

``bits``              bits of the base model ÷ bits of the better peer, with a 95% interval over
                      episodes
``bits_model`` ``bits_persistence`` ``bits_zstd``   bits a step, all streams
``bits_STREAM``       one row a stream: model ÷ persistence, bits a step of both beside it

**Logs.** Demonstrations of the six tasks; the held-out ones start from seeds that nothing else
uses (`HELD_OUT` on), and were never trained on. A step is an action.

**What is counted.** Every token of every event: which stream comes next, when, and what it says,
of all streams: observations, actions, success, instruction and outcome. Tokens are those of the
bundle's vocabulary, the same for all.

**Persistence + Gaussian** foretells each number as the last one plus Gaussian noise, which is
discretised on the bins of the model. Its scales are fitted on the training logs, for each number.
It is given what a Gaussian cannot say: a weight for "exactly the same" and one for how often each
token is (`model_peers`). Where it needs not code, it is given for nothing or nearly: the type of
the next event is foretold by the last one's type, gap and age by how often they are, the first
sample of a stream by how often its tokens are, and a text that was in the training logs by how
often it was there.

**zstd** has the binned stream of all held-out logs at once, at the best level, event by event or
slot by slot; the smaller counts. A row of its own says what it needs with the binned training
logs as a dictionary.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from danger_zone import TASKS, WORLD
from model_peers import Column, Persistence, columns
from rows import Row
from viae.evaluate import InitialState
from viae.foresee.likelihood import bits as bits_of
from viae.load.events import EventReader
from viae.model import BaseBundle
from viae.model.tokens.codec import previous
from viae.model.tokens.vocabulary import Encoded, Vocabulary
from viae.schema import Events, Role
from viae.store import Store
from viae.verbs.ingest import ingest
from viae.verbs.record import record
from viae.verbs.rollouts import OPERATOR, RolloutJob, run_rollouts, workers
from viae.worlds import open_world

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

DEMONSTRATIONS, HELD_OUT_EACH = 25, 5
HELD_OUT = 3_000_000
"""First seed of held-out demonstrations."""
LEVEL = 22
WINDOW_LOG = 27
DRAWS = 2000


def bits(work: Path, *, bundle: Path | None = None, store: Path | None = None) -> Iterator[Row]:
    """All figures.

    Args:
        work: folder to write to.
        bundle: of a trained base model; default: ``base`` in the working folder.
        store: that it was trained on; default: ``store`` in the working folder, made if absent.
    """
    model = BaseBundle.load(bundle or work / "base")
    learned = _demonstrated(store or work / "store")
    held = _held_out(work / "held-out")
    known = set(model.provenance.episodes["trained_on"])
    trained = [episode for episode in learned.episodes() if episode.episode_id in known]
    if len(trained) < len(known):
        raise SystemExit(f"{learned.uri} has {len(trained)} of the {len(known)} episodes of it")
    episodes = held.episodes()
    reader = EventReader(learned, trained)
    train = [reader.events(i) for i in range(len(trained))]
    reader = EventReader(held, episodes, names=reader.names)
    test = [reader.events(i) for i in range(len(episodes))]
    names = [spec.name for spec in model.vocabulary.streams]
    ours = np.zeros((len(test), len(names)))
    for at, events in enumerate(test):
        for name, said in bits_of(model, events).per_stream().items():
            ours[at, names.index(name)] = said["bits"]
    theirs = _persistence(model.vocabulary, train, test)
    alone, after = _zstd(model.vocabulary, train, test)
    steps = np.array([_steps(events) for events in test], np.float64)
    yield from _rows(names, ours, theirs, alone, steps)
    yield Row(
        name="bits_zstd_dictionary", value=after / steps.sum(), unit="bits/step", n=len(steps),
        peer="zstd that knows the training logs: more than is asked",
    )  # fmt: skip


def _demonstrated(folder: Path) -> Store:
    if folder.exists():
        return Store.open(folder)
    store = Store.create(folder)
    with workers(1) as executor:
        logs = folder.with_name(f"{folder.name}-logs")
        record(WORLD, dict.fromkeys(TASKS, DEMONSTRATIONS), store, logs, executor)
    return store


def _held_out(folder: Path) -> Store:
    """Demonstrations from seeds that `record` leaves alone."""
    logs = folder.with_name(f"{folder.name}-logs")
    jobs = [
        RolloutJob(
            start=InitialState(world=WORLD, task=task, seed=HELD_OUT + at), bundle=OPERATOR,
            log=logs / f"{task}-{at}.mcap", horizon=open_world(WORLD).horizon,
        )
        for task in TASKS
        for at in range(HELD_OUT_EACH)
    ]  # fmt: skip
    with workers(1) as executor:
        run_rollouts(jobs, executor, phase="record")
    store = Store.open(folder) if folder.exists() else Store.create(folder)
    ingest([job.log for job in jobs], store)
    return store


def _steps(events: Events) -> int:
    [action] = [i for i, spec in enumerate(events.streams) if spec.role is Role.ACTION]
    return int((events.stream == action).sum())


def _rows(
    names: Sequence[str], ours_ES: Doubles, theirs_ES: Doubles, packed: float, steps_E: Doubles
) -> Iterator[Row]:
    steps = steps_E.sum()
    ours_E, theirs_E = ours_ES.sum(1), theirs_ES.sum(1)
    zstd_E = packed * theirs_E / theirs_E.sum()  # of an episode by itself, zstd has no size
    better_E = zstd_E if packed < theirs_E.sum() else theirs_E
    which = "zstd" if packed < theirs_E.sum() else "persistence + Gaussian"
    n = len(steps_E)
    low, high = _interval(ours_E, better_E)
    yield Row(
        name="bits", value=ours_E.sum() / better_E.sum(), target="<= 0.5", n=n, low=low, high=high,
        unit="ratio", peer=f"{which}: {better_E.sum() / steps:.1f} bits a step",
    )  # fmt: skip
    for name, each_E in (("model", ours_E), ("persistence", theirs_E)):
        low, high = _interval(each_E, steps_E)
        yield Row(
            name=f"bits_{name}", value=each_E.sum() / steps, unit="bits/step", n=n, low=low,
            high=high,
        )  # fmt: skip
    yield Row(name="bits_zstd", value=packed / steps, unit="bits/step", n=n)
    for at, name in enumerate(names):
        own_E, peer_E = ours_ES[:, at], theirs_ES[:, at]
        if peer_E.sum() > 0:
            low, high = _interval(own_E, peer_E)
            yield Row(
                name=f"bits_{name}", value=own_E.sum() / peer_E.sum(), unit="ratio", n=n, low=low,
                high=high,
                peer=f"{own_E.sum() / steps:.2f} against {peer_E.sum() / steps:.2f} bits a step",
            )  # fmt: skip


def _interval(a_E: Doubles, b_E: Doubles) -> tuple[float, float]:
    """95% of the ratio of sums, episodes drawn again."""
    drawn = np.random.default_rng(0).integers(0, len(a_E), (DRAWS, len(a_E)))
    low, high = np.quantile(a_E[drawn].sum(1) / b_E[drawn].sum(1), (0.025, 0.975)).tolist()
    return low, high


@dataclass(frozen=True, slots=True, eq=False)
class _Usual:
    """Tokens, or whole rows of tokens, as often as they were."""

    counts: dict[bytes, int]
    total: int

    @classmethod
    def of(cls, rows: Sequence[npt.NDArray[np.int64]]) -> _Usual:
        counts: dict[bytes, int] = {}
        for row in rows:
            counts[row.tobytes()] = counts.get(row.tobytes(), 0) + 1
        return cls(counts, len(rows))

    def bits(self, rows: Sequence[npt.NDArray[np.int64]], size: int) -> Doubles:
        """Krichevsky-Trofimov, of ``size`` values."""
        seen = np.array([self.counts.get(row.tobytes(), 0) for row in rows], np.float64)
        return np.asarray(-np.log2((seen + 0.5) / (self.total + 0.5 * size)))


def _persistence(
    vocabulary: Vocabulary, train: Sequence[Events], test: Sequence[Events]
) -> Doubles:
    """Bits by episode and stream: float64 [E, S]."""
    out = np.zeros((len(test), len(vocabulary.streams)))
    learned = [vocabulary.encode(events) for events in train]
    tested = [vocabulary.encode(events) for events in test]
    pairs = _Usual.of([pair for encoded in learned for pair in _pairs(encoded)])
    lasts = _Usual.of([pair[:1] for encoded in learned for pair in _pairs(encoded)])
    for at, encoded in enumerate(tested):
        after = _pairs(encoded)
        p = np.array([pairs.counts.get(pair.tobytes(), 0) + 0.5 for pair in after])
        total = np.array([lasts.counts.get(pair[:1].tobytes(), 0) for pair in after])
        cost = -np.log2(p / (total + 0.5 * len(vocabulary.types)))
        np.add.at(out[at], encoded.stream, cost)
    for number, kind in enumerate(vocabulary.types):
        stream = vocabulary.stream_of[number]
        own = [each.tokens[number].astype(np.int64) for each in learned if number in each.tokens]
        if not own:
            own = [np.empty((0, len(kind.slots)), np.int64)]
        rows = np.concatenate(own)
        whole = kind.first and vocabulary.streams[stream].role is not Role.ACTION
        texts = not hasattr(kind.content, "codings")
        kept = kind.times if not kind.first else len(kind.slots)
        usual = [_Usual.of(list(rows[:, slot : slot + 1])) for slot in range(kept)]
        said = _Usual.of(list(rows[:, kind.times :])) if whole and texts else None
        noise = None
        if not kind.first and len(kind.content.slots):
            noise = Persistence(kind.content, _columns(vocabulary, number, train), "gaussian")
        for at, each in enumerate(tested):
            if number not in each.tokens:
                continue
            tokens = each.tokens[number].astype(np.int64)
            until = kind.times if said is not None else kept
            for slot in range(until):
                own_tokens = tokens[:, slot : slot + 1]
                cost = usual[slot].bits(list(own_tokens), kind.slots[slot])
                out[at, stream] += (cost * (own_tokens[:, 0] >= 0)).sum()
            if said is not None:
                out[at, stream] += said.bits(list(tokens[:, kind.times :]), 2).sum()
            if noise is not None:
                out[at, stream] += noise.bits(_columns(vocabulary, number, test[at : at + 1])).sum()
    return out


def _pairs(encoded: Encoded) -> Ints:
    """Each event's type and the one before it: int64 [N, 2], the earlier one first."""
    return np.stack([np.concatenate([[-1], encoded.types[:-1]]), encoded.types], 1)


def _columns(vocabulary: Vocabulary, number: int, episodes: Sequence[Events]) -> list[Column]:
    """What each slot says of samples after the first, through episodes."""
    kind = vocabulary.types[number]
    there = [events.values[kind.stream] for events in episodes if kind.stream in events.values]
    each = [
        columns(kind.content, values[1:], previous(values)[1:])
        for values in there
        if len(values) > 1
    ]
    if not each:
        none = np.empty(0, np.int64)
        return [
            Column(token=none, stay=none, last=np.empty(0), x=np.empty(0))
            for _ in kind.content.slots
        ]
    return [Column.joined(own) for own in zip(*each, strict=True)]


def _zstd(
    vocabulary: Vocabulary, train: Sequence[Events], test: Sequence[Events]
) -> tuple[float, float]:
    """Bits of all held-out logs by themselves, and with the training logs as a dictionary."""
    learned = [vocabulary.encode(events) for events in train]
    tested = [vocabulary.encode(events) for events in test]
    alone, after = [], []
    for lay in (_by_event, _by_slot):
        data = lay(vocabulary, tested)
        alone.append(_compressed(data, b""))
        after.append(_compressed(data, lay(vocabulary, learned)))
    return 8.0 * min(alone), 8.0 * min(after)


def _compressed(data: bytes, before: bytes) -> int:
    import zstandard

    kept = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, write_content_size=False, write_checksum=False,
        write_dict_id=False,
    )  # fmt: skip
    with_dictionary = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=kept if before else None
    )
    return len(with_dictionary.compress(data))


def _by_event(vocabulary: Vocabulary, episodes: Sequence[Encoded]) -> bytes:
    """Type and tokens of one event after another; as bytes, or in pairs of them where needed."""
    said = []
    for encoded in episodes:
        parts = {
            kind: _narrow(tokens, vocabulary.types[kind].slots)
            for kind, tokens in encoded.tokens.items()
        }
        for kind, place in zip(encoded.types.tolist(), encoded.place.tolist(), strict=True):
            said += [bytes([kind]), parts[kind][place].tobytes()]
    return b"".join(said)


def _by_slot(vocabulary: Vocabulary, episodes: Sequence[Encoded]) -> bytes:
    """All types, then slot by slot all tokens."""
    said = [np.concatenate([e.types for e in episodes]).astype(np.uint8).tobytes()]
    for number in range(len(vocabulary.types)):
        tokens = [e.tokens[number] for e in episodes if number in e.tokens]
        if tokens:
            said += [_narrow(np.concatenate(tokens), vocabulary.types[number].slots).T.tobytes()]
    return b"".join(said)


def _narrow(tokens: npt.NDArray[np.int32], slots: Sequence[int]) -> npt.NDArray[Any]:
    return tokens.astype(np.uint8 if max(slots, default=0) <= 256 else np.uint16)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep")
    parser.add_argument("--bundle", type=Path, help="a trained base model; default: WORK/base")
    parser.add_argument("--store", type=Path, help="that it learnt from; default: WORK/store")
    arguments = parser.parse_args()
    for row in bits(arguments.work, bundle=arguments.bundle, store=arguments.store):
        row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()
