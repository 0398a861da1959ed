"""MCAP: one file per episode, every stream at its own rate with both stamps, as viae records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from viae.errors import ExportError, SchemaError, UsageError
from viae.export.digest import Digest
from viae.export.exporter import Exporter, ExportOptions, Note, Written
from viae.export.movie import clip_of, encode_clip
from viae.export.packets import ANNEX_B, bare_packets
from viae.export.pictures import CODED, as_png, row_frames
from viae.export.source import EpisodeSource, Stamps, join_stamps, stamps_of
from viae.logs import open_log
from viae.record import Recorder
from viae.schema import Kind, Loss, LossKind, Samples, StreamSpec, VideoGroup

RECORDED = frozenset({"h264", "hevc", "av1", "vp9"})
"""Codecs of ``foxglove.CompressedVideo``."""
COLUMNS = frozenset({"robot", "task", "agent", "outcome", "conditions"})
NOMINAL_HZ = Fraction(30)
"""Frames per second told to a coder where times are kept beside the pictures."""


@dataclass(slots=True, kw_only=True)
class _Stream:
    """A stream on its way: its times and values in the order in which they are written."""

    spec: StreamSpec
    stamps: Stamps
    values: Any

    def order_ns(self) -> Any:
        """Where in the file each sample goes: by arrival, yet never before the one before it."""
        return np.maximum.accumulate(self.stamps.arrival_ns)


class McapExporter(Exporter):
    """MCAP by viae's own recorder: Foxglove and Rerun open it, and viae reads it back the same.

    Vectors, text, bytes and coded images come back bit for bit; raw images come back as PNG. Video
    is moved, in the form that streams carry (Annex B); where pictures are stored out of order
    (B-frames), which ``foxglove.CompressedVideo`` does not allow, it is coded anew. Captures are as
    they were stamped, since a recording is what was recorded; facts that correct a clock are in the
    recording, too, and viae applies them when it is ingested. Memory: an episode's samples,
    pictures coded.
    """

    name: ClassVar[str] = "mcap"

    def write(
        self, episodes: Sequence[EpisodeSource], folder: Path, options: ExportOptions, note: Note
    ) -> Written:
        """Write a file per episode and read each back.

        Raises:
            ExportError: what was read back is not what was meant.
        """
        written = Written()
        for index, source in enumerate(episodes):
            note(source.where, index)
            path = folder / f"episode_{index:06d}.mcap"
            streams = list(_streams(source, written.losses))
            written.names |= {stream.spec.name: stream.spec.name for stream in streams}
            meant = _record(path, source, streams, written.losses)
            written.rows += sum(checks.values.count for checks in meant.values())
            written.checked += _read_back(path, source, meant)
        return written


def _streams(source: EpisodeSource, losses: list[Loss]) -> Iterator[_Stream]:
    for name, spec in source.specs.items():
        if spec.kind is Kind.VIDEO:
            stream = _video(source, spec, losses)
        else:
            samples = source.samples(name)
            stream = _Stream(spec=spec, stamps=stamps_of(samples), values=samples.values)
            if spec.kind is Kind.IMAGE and spec.encoding not in CODED:
                stream = _as_png(source, stream, samples, losses)
            elif spec.kind is Kind.VECTOR and not _fits_doubles(spec, samples):
                detail = "its whole numbers are too large for doubles; the stream is left out"
                losses.append(
                    _loss(source, name, LossKind.SKIPPED, "number-too-large", len(samples), detail)
                )
                continue
        if not np.array_equal(stream.stamps.seq, np.arange(len(stream.stamps))):
            detail = "positions in the stream had gaps; they are counted anew"
            losses.append(
                _loss(source, name, LossKind.REPAIRED, "seq-renumbered", len(stream.stamps), detail)
            )
        yield stream


def _video(source: EpisodeSource, spec: StreamSpec, losses: list[Loss]) -> _Stream:
    groups = source.groups(spec.name)
    stamps = join_stamps(groups)
    clip = clip_of(groups)
    if clip.delay or clip.codec not in RECORDED:
        why = "has B-frames" if clip.delay else f"is {clip.codec}"
        detail = f"the video {why}, which CompressedVideo does not hold; it is coded anew as H.264"
        losses.append(
            _loss(source, spec.name, LossKind.REPAIRED, "video-coded-anew", len(stamps), detail)
        )
        index = np.arange(len(stamps), dtype=np.int64)
        clip = encode_clip(row_frames(groups, index), codec="h264", fps=NOMINAL_HZ)
        spec = replace(spec, encoding=clip.codec)
    elif clip.codec in ANNEX_B and groups[0].extradata[:1] == b"\x01":
        detail = "packets are rewritten with start codes (Annex B); the pictures are the same"
        losses.append(
            _loss(source, spec.name, LossKind.REPAIRED, "video-annex-b", len(stamps), detail)
        )
    return _Stream(spec=spec, stamps=stamps, values=bare_packets(clip))


def _as_png(
    source: EpisodeSource, stream: _Stream, samples: Samples, losses: list[Loss]
) -> _Stream:
    spec = stream.spec
    detail = f"pictures in '{spec.encoding}' are recorded as PNG, without loss but for RGB"
    losses.append(_loss(source, spec.name, LossKind.REPAIRED, "image-as-png", len(samples), detail))
    index = np.arange(len(samples), dtype=np.int64)
    pictures = [as_png(frame) for frame in row_frames(samples, index)]
    shape = (*spec.shape[:2], 3)
    return _Stream(
        spec=replace(spec, encoding="png", shape=shape, dtype="uint8"),
        stamps=stream.stamps,
        values=pictures,
    )


def _fits_doubles(spec: StreamSpec, samples: Samples) -> bool:
    if np.dtype(spec.dtype).itemsize < 8 or np.dtype(spec.dtype).kind == "f":
        return True
    parts = samples.values if spec.varies else [np.asarray(samples.values)]
    limit = 1 << 53
    return all(bool(((part >= -limit) & (part <= limit)).all()) for part in map(np.asarray, parts))


def _record(
    path: Path, source: EpisodeSource, streams: Sequence[_Stream], losses: list[Loss]
) -> dict[str, _Checks]:
    """Write all samples, in the order of arrival; what each stream should be, by name."""
    episode = source.episode
    facts = {
        fact.key: fact.value
        for fact in source.facts
        if fact.start_ns is None and fact.other_episode_id is None and fact.key not in COLUMNS
    }
    if spans := sum(f.start_ns is not None or f.other_episode_id is not None for f in source.facts):
        detail = "facts about spans and pairs have no place in a recording; they are left out"
        losses.append(_loss(source, "", LossKind.SKIPPED, "facts-of-spans", spans, detail))
    try:
        with Recorder(
            path, streams=[stream.spec for stream in streams], robot=episode.robot,
            task=episode.task, agent=episode.agent, conditions=episode.conditions, flush_s=None,
        ) as recorder:  # fmt: skip
            if facts:
                recorder.state(**facts)
            for number, place in _by_arrival(streams):
                stream = streams[number]
                recorder.write(
                    stream.spec.name,
                    stream.values[place],
                    capture_ns=int(stream.stamps.capture_ns[place]),
                    arrival_ns=int(stream.stamps.arrival_ns[place]),
                )
            recorder.finish(episode.outcome)
    except (SchemaError, UsageError) as error:
        raise ExportError(f"{source.where}: it cannot be recorded: {error}") from error
    meant = {}
    for stream in streams:
        meant[stream.spec.name] = checks = _Checks()
        checks.capture.numbers(stream.stamps.capture_ns)
        checks.arrival.numbers(stream.stamps.arrival_ns)
        if stream.spec.kind is Kind.VECTOR and not stream.spec.varies:
            checks.values.numbers(np.asarray(stream.values))
        else:
            checks.values.items(stream.values)
    return meant


@dataclass(slots=True)
class _Checks:
    """Digests of one stream: of both stamps, and of values or packets."""

    capture: Digest = field(default_factory=Digest)
    arrival: Digest = field(default_factory=Digest)
    values: Digest = field(default_factory=Digest)

    @property
    def said(self) -> tuple[tuple[int, str], ...]:
        return self.capture.said, self.arrival.said, self.values.said


def _by_arrival(streams: Sequence[_Stream]) -> Iterator[tuple[int, int]]:
    """Stream and sample, in the order in which samples arrived; a stream's own order is kept."""
    if not streams:
        return
    keys = np.concatenate([stream.order_ns() for stream in streams])
    counts = [len(stream.stamps) for stream in streams]
    number = np.repeat(np.arange(len(streams)), counts)
    place = np.concatenate([np.arange(count) for count in counts])
    for at in np.argsort(keys, kind="stable").tolist():
        yield int(number[at]), int(place[at])


def _read_back(path: Path, source: EpisodeSource, meant: dict[str, _Checks]) -> int:
    """Read a recording as any log is read, and compare; how many samples were equal."""
    found: dict[str, _Checks] = {}
    [episode] = open_log(path).episodes
    for item in episode.read():
        if isinstance(item, Loss) and item.kind is LossKind.LOST:
            raise ExportError(f"{path.name}: it reads back damaged: {item.detail}")
        if isinstance(item, Samples | VideoGroup):
            checks = found.setdefault(item.spec.name, _Checks())
            checks.capture.numbers(item.capture_ns)
            checks.arrival.numbers(item.arrival_ns)
            checks.values.block(item)
    for name, wanted in meant.items():
        own = found.get(name, _Checks())
        if own.said != wanted.said:
            raise ExportError(
                f"{path.name} ({source.where}), stream '{name}': it reads back otherwise than it "
                f"was meant: {own.values.count} samples, {wanted.values.count} meant. Please "
                "report this"
            )
    return sum(wanted.values.count for wanted in meant.values())


def _loss(
    source: EpisodeSource, stream: str, kind: LossKind, name: str, count: int, detail: str
) -> Loss:
    return Loss(kind=kind, name=name, path=source.where, stream=stream, count=count, detail=detail)
