"""One RLDS episode: a record with the values of all steps, leaf by leaf."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from viae.errors import DamagedLogError
from viae.logs.chop import chop
from viae.logs.format import Item, LogEpisode, Statement
from viae.logs.images import look_at_image
from viae.logs.rlds.example import Values, example_class, features_of
from viae.logs.rlds.features import Feature, Leaf
from viae.logs.rlds.info import Info, Shard, stated_rate
from viae.logs.rlds.steps import UnfitError, stored_names, take_bytes, take_numbers, take_texts
from viae.logs.rlds.tfrecord import Record, read_record, record_chunks
from viae.schema import (
    NS_PER_S,
    JsonValue,
    Kind,
    Loss,
    LossKind,
    StreamSpec,
    TimesNs,
    to_ns,
)  # fmt: skip

NOMINAL_STEP_NS = NS_PER_S // 10
INSTRUCTION = "instruction"
"""A text whose name holds this word says what is to be done."""
LONGEST_STATEMENT = 1024
"""Numbers of one episode-level feature that a statement holds."""


class RldsEpisode(LogEpisode):
    """One record of a shard.

    Args:
        root: the dataset's folder.
        info: the dataset's metadata.
        features: its leaves.
        shard: the shard.
        record: where the record is.
    """

    def __init__(
        self, root: str, info: Info, features: tuple[Feature, ...], shard: Shard, record: Record
    ) -> None:
        self.uri = root
        self.range = f"{shard.name}[{record.number}]"
        self.info, self.features, self.shard, self.record = info, features, shard, record

    def fingerprint(self) -> str:
        """Of the record's bytes, and of what decides how they are read."""
        said = [self.info.name, self.info.stated_hz, [repr(feature) for feature in self.features]]
        digest = hashlib.blake2b(json.dumps(said).encode(), digest_size=16)
        for chunk in record_chunks(self.record):
            digest.update(chunk)
        return digest.hexdigest()

    def read(self) -> Iterator[Item]:
        """Statements, then the streams. Holds one record at a time.

        Raises:
            DamagedLogError: the record is damaged.
        """
        stored = self._stored()
        if self.record.inferred:
            detail = (
                f"the length of record {self.record.number} is damaged; the record was found whole "
                "by where the next one begins, and its checksum agrees"
            )
            yield self._loss(LossKind.REPAIRED, "record-length-damaged", 1, detail)
        said, unsaid = self._said(stored)
        yield Statement(key="rlds.dataset", value=self.info.name)
        yield Statement(key="rlds.split", value=self.shard.split)
        for key, value in said.items():
            yield Statement(key="rlds." + key.replace("/", "."), value=value)
        yield from unsaid
        steps = self._count(stored)
        times_ns, items = self._times(said, steps)
        yield from items
        yield from self._instructions(stored, times_ns)
        for feature in self.features:
            if feature.in_steps:
                yield from self._leaf(feature, stored, times_ns)
        yield from self._undeclared(stored)

    def _stored(self) -> dict[str, Values]:
        try:
            return features_of(example_class().FromString(read_record(self.record)))
        except DecodeError as error:
            raise DamagedLogError(
                self.record.path,
                found=f"record {self.record.number} at byte {self.record.offset} is no "
                f"tf.train.Example ({error})",
                todo="write the dataset again; the other episodes are kept",
            ) from error

    def _said(self, stored: Mapping[str, Values]) -> tuple[dict[str, JsonValue], list[Loss]]:
        """What the episode says of itself outside its steps, and what could not be said."""
        said: dict[str, JsonValue] = {}
        losses = []
        for feature in self.features:
            if feature.in_steps or feature.key not in stored:
                continue
            values = stored[feature.key]
            if feature.leaf in (Leaf.IMAGE, Leaf.OTHER) or len(values) > LONGEST_STATEMENT:
                detail = (
                    "an episode-level image, large array or unknown kind has no place; left out"
                )
                losses.append(
                    self._loss(LossKind.SKIPPED, "feature-skipped", 1, detail, feature.key)
                )
                continue
            plain = [_plain(value, feature) for value in values]
            scalar = not feature.shape and not feature.depth and len(plain) == 1
            said[feature.key] = plain[0] if scalar else plain
        return said, losses

    def _count(self, stored: Mapping[str, Values]) -> int:
        """How many steps there are: what most leaves hold."""
        counts: Counter[int] = Counter()
        for feature in self.features:
            values = stored.get(feature.key)
            if values is None or not feature.in_steps or feature.depth != 1:
                continue
            bytes_ = isinstance(values, list)
            size = 1 if bytes_ else math.prod(feature.shape)
            if size > 0 and not len(values) % size:
                counts[len(values) // size] += 1
        return max(counts, key=lambda n: (counts[n], n)) if counts else 0

    def _times(
        self, said: Mapping[str, JsonValue], steps: int
    ) -> tuple[TimesNs, list[Statement | Loss]]:
        """Nominal times, and what is to be said of them."""
        hz = stated_rate(said) or self.info.stated_hz
        step_ns = to_ns(1 / hz) if hz else NOMINAL_STEP_NS
        times_ns = np.arange(steps, dtype=np.int64) * step_ns
        source = "stated control frequency" if hz else "assumed"
        times = Statement(key="times", value={"source": source, "step_s": step_ns / NS_PER_S})
        if hz or not steps:
            return times_ns, [times]
        detail = (
            "RLDS holds no times and this dataset states no control frequency; steps were placed "
            f"{step_ns / NS_PER_S} s apart. State the true one as 'control_hz' in metadata.json"
        )
        return times_ns, [times, self._loss(LossKind.REPAIRED, "times-absent", steps, detail)]

    def _instructions(self, stored: Mapping[str, Values], times_ns: TimesNs) -> Iterator[Item]:
        """The task, which is the first instruction; where it changes, a stream of it."""
        task = ""
        for feature in self.features:
            if not _instructs(feature) or not isinstance(stored.get(feature.key), list):
                continue
            texts = take_texts(feature, stored)
            task = task or next(filter(None, texts), "")
            if feature.in_steps and len(set(texts)) > 1:
                yield from self._stream(feature, texts, times_ns, kind=Kind.TEXT)
        if task:
            yield Statement(key="task", value=task)

    def _leaf(
        self, feature: Feature, stored: Mapping[str, Values], times_ns: TimesNs
    ) -> Iterator[Item]:
        if any(name not in stored for name in stored_names(feature)):
            if len(times_ns):
                detail = "features.json declares it, the record does not hold it"
                yield self._lost("feature-missing", len(times_ns), detail, feature)
            return
        try:
            if feature.leaf is Leaf.IMAGE and feature.depth == 1:
                yield from self._images(feature, take_bytes(feature, stored), times_ns)
            elif feature.leaf is Leaf.TEXT and feature.depth == 1:
                texts = take_texts(feature, stored)
                if not _instructs(feature):
                    yield from self._stream(feature, texts, times_ns, kind=Kind.TEXT)
            else:
                numbers, shape = take_numbers(feature, stored, len(times_ns))
                yield from self._stream(
                    feature, numbers, times_ns, dtype=feature.dtype, shape=shape
                )
        except UnfitError as error:
            yield self._loss(
                LossKind.SKIPPED, "feature-skipped", len(times_ns), str(error), feature.name
            )

    def _stream(
        self, feature: Feature, values: Any, times_ns: TimesNs, *, kind: Kind = Kind.VECTOR,
        dtype: str = "", shape: tuple[int, ...] = (),
    ) -> Iterator[Item]:  # fmt: skip
        if len(values) != len(times_ns):
            detail = f"it has {len(values)} values, the episode {len(times_ns)} steps"
            yield self._lost("length-differs", len(times_ns), detail, feature)
            return
        spec = StreamSpec(
            name=feature.name, kind=kind, dtype=dtype, shape=shape,
            role=feature.role, topic=feature.key,
        )  # fmt: skip
        yield from chop(spec, capture_ns=times_ns, arrival_ns=times_ns, values=values)

    def _images(self, feature: Feature, images: list[bytes], times_ns: TimesNs) -> Iterator[Item]:
        """The images as they are coded; ones that are not like the first are left out, and said."""
        if len(images) != len(times_ns):
            detail = f"it has {len(images)} images, the episode {len(times_ns)} steps"
            yield self._lost("length-differs", len(times_ns), detail, feature)
            return
        looks = [look_at_image(image) if image else None for image in images]
        first = next(filter(None, looks), None)
        kept = np.array([i for i, look in enumerate(looks) if look == first is not None], np.int64)
        empty = sum(not image for image in images)
        unreadable = sum(look is None for look in looks) - empty
        other = len(images) - len(kept) - empty - unreadable
        if first:
            encoding, dtype, shape = first
            spec = StreamSpec(
                name=feature.name, kind=Kind.IMAGE, dtype=dtype, shape=shape,
                role=feature.role, topic=feature.key, encoding=encoding,
            )  # fmt: skip
            times = times_ns[kept]
            values = [images[i] for i in kept.tolist()]
            yield from chop(spec, capture_ns=times, arrival_ns=times, values=values, seq=kept)
        if empty:
            yield self._lost("image-empty", empty, "the dataset holds no bytes for them", feature)
        if unreadable:
            yield self._lost("image-unreadable", unreadable, "they are no JPEG or PNG", feature)
        if other:
            detail = f"their size or encoding is not that of the first, {first}"
            yield self._loss(LossKind.SKIPPED, "image-differs", other, detail, feature.name)

    def _undeclared(self, stored: Mapping[str, Values]) -> Iterator[Loss]:
        known = {
            name for feature in self.features for name in (*stored_names(feature), feature.key)
        }
        for name in sorted(stored.keys() - known):
            detail = "the record holds it, features.json does not declare it; left out"
            yield self._loss(LossKind.SKIPPED, "feature-undeclared", 1, detail, name)

    def _lost(self, name: str, count: int, detail: str, feature: Feature) -> Loss:
        return self._loss(LossKind.LOST, name, count, detail, feature.name)

    def _loss(self, kind: LossKind, name: str, count: int, detail: str, stream: str = "") -> Loss:
        where = f"{detail} (record {self.record.number} at byte {self.record.offset})"
        return Loss(
            kind=kind, name=name, path=str(self.record.path), stream=stream, count=count,
            detail=where,
        )  # fmt: skip


def _instructs(feature: Feature) -> bool:
    return feature.leaf is Leaf.TEXT and feature.depth < 2 and INSTRUCTION in feature.path[-1]


def _plain(value: Any, feature: Feature) -> JsonValue:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if feature.dtype == "bool":
        return bool(value)
    number: int | float = value.item()
    return str(number) if isinstance(number, float) and not math.isfinite(number) else number
