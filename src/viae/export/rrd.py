"""Rerun: one ``.rrd`` per episode, every stream at its own rate, on the timelines capture, arrival
and seq.
"""  # noqa: D205

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from viae.errors import ExportError, MissingExtraError
from viae.export.exporter import Exporter, ExportOptions, Note, Written
from viae.export.movie import MovieFile, clip_of
from viae.export.naming import distinct_names
from viae.export.pictures import CODED, as_png, row_frames
from viae.export.source import EpisodeSource, Stamps, join_stamps, stamps_of
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Samples, StreamSpec, TimesNs

SINCE_1970_NS = 10**17
"""Times below (March 1973) are durations: simulated time, or time since a start."""
TIMELINES = ("capture", "arrival", "seq")
ABOUT = "viae"
"""The entity that says what the episode is."""
BLOCK = 256
"""Pictures sent at once."""


class RerunExporter(Exporter):
    """Recordings that Rerun opens, for looking at.

    Vectors are scalars, one series per element; coded images stay as they are; video becomes an
    asset with a reference per picture; text is a log. The timeline ``capture`` is on the log's
    clock, so that streams can be compared on it. Memory: one stream of one episode.
    """

    name: ClassVar[str] = "rrd"

    def write(
        self, episodes: Sequence[EpisodeSource], folder: Path, options: ExportOptions, note: Note
    ) -> Written:
        """Write a recording per episode and read it back with Rerun.

        Raises:
            MissingExtraError: rerun-sdk is not installed.
            ExportError: what was read back is not what was meant.
        """
        try:
            import rerun as rr
        except ModuleNotFoundError as error:
            raise MissingExtraError("rerun-sdk", extra="export") from error
        streams = sorted({name for source in episodes for name in source.specs})
        names, losses = distinct_names(streams, _entity, taken=[ABOUT])
        written = Written(names=names, losses=losses)
        for index, source in enumerate(episodes):
            note(source.where, index)
            path = folder / f"episode_{index:06d}.rrd"
            recording = rr.RecordingStream("viae", recording_id=source.id, send_properties=False)
            recording.save(str(path))
            written.losses += source.corrected()
            counts = _send(recording, source, names, written.losses)
            recording.flush()
            recording.disconnect()
            written.rows += sum(counts.values())
            written.checked += _read_back(path, counts)
        return written


def _entity(name: str) -> str:
    import rerun as rr

    parts = [part for part in name.split("/") if part] or ["stream"]
    return str(rr.new_entity_path(parts)).strip("/")


def _send(
    recording: Any, source: EpisodeSource, names: Mapping[str, str], losses: list[Loss]
) -> dict[str, int]:
    """Send all streams; samples sent, per entity."""
    import rerun as rr

    episode = source.episode
    about = {
        name: getattr(episode, name)
        for name in ("episode_id", "log_uri", "log_range", "robot", "task", "agent", "outcome")
    }
    about |= {"conditions": dict(episode.conditions)}
    about |= {"facts": {fact.key: fact.value for fact in source.facts if fact.start_ns is None}}
    text = json.dumps(about, indent=1, default=str)
    recording.log(ABOUT, rr.TextDocument(text, media_type="application/json"), static=True)
    recording.send_recording_name(source.where)
    absolute = _since_1970(source.stamps())
    counts: dict[str, int] = {}
    for name, spec in source.specs.items():
        entity = names[name]
        if spec.kind is Kind.BYTES or (spec.kind is Kind.VECTOR and spec.size == 0):
            detail = "Rerun has no view for bytes without meaning; the stream is left out"
            losses.append(
                Loss(
                    kind=LossKind.SKIPPED, name="stream-not-held", path=source.where, stream=name,
                    count=source.counts[name], detail=detail,
                )
            )  # fmt: skip
        elif spec.kind is Kind.VIDEO:
            counts[entity] = _send_video(recording, source, spec, entity, absolute)
        else:
            samples = source.samples(name)
            stamps = source.on_log_clock(name, stamps_of(samples))
            if spec.kind is Kind.IMAGE:
                _send_images(recording, samples, stamps, entity, absolute)
            elif spec.kind is Kind.TEXT:
                columns = rr.TextLog.columns(text=list(samples.values))
                _send_columns(recording, entity, stamps, columns, absolute)
            else:
                _send_vectors(recording, samples, stamps, entity, absolute)
            counts[entity] = len(samples)
    return counts


def _send_vectors(
    recording: Any, samples: Samples, stamps: Stamps, entity: str, absolute: Mapping[str, bool]
) -> None:
    import rerun as rr

    spec = samples.spec
    if spec.names:
        series = rr.SeriesLines(names=list(spec.names))
        recording.log(entity, series, static=True)
    if spec.varies:
        lengths = [len(value) for value in samples.values]
        flat = np.concatenate([np.empty(0), *samples.values]).astype(np.float64)
    else:
        lengths = [spec.size] * len(samples)
        flat = np.asarray(samples.values).reshape(-1).astype(np.float64)
    columns = rr.Scalars.columns(scalars=flat).partition(lengths=lengths)
    _send_columns(recording, entity, stamps, columns, absolute)


def _send_images(
    recording: Any, samples: Samples, stamps: Stamps, entity: str, absolute: Mapping[str, bool]
) -> None:
    import rerun as rr

    coded = samples.spec.encoding in CODED
    values: Any = samples.values
    kind = f"image/{samples.spec.encoding}" if coded else "image/png"
    for start in range(0, len(samples), BLOCK):
        index = np.arange(start, min(start + BLOCK, len(samples)), dtype=np.int64)
        if coded:
            blobs = [values[i] for i in index.tolist()]
        else:
            blobs = [as_png(frame) for frame in row_frames(samples, index)]
        columns = rr.EncodedImage.columns(blob=blobs, media_type=[kind] * len(blobs))
        part = Stamps(
            capture_ns=stamps.capture_ns[index],
            arrival_ns=stamps.arrival_ns[index],
            seq=stamps.seq[index],
        )
        _send_columns(recording, entity, part, columns, absolute)


def _send_video(
    recording: Any, source: EpisodeSource, spec: StreamSpec, entity: str,
    absolute: Mapping[str, bool],
) -> int:  # fmt: skip
    """The packets as one MP4 inside the recording; picture i is at i times a thirtieth in it."""
    import rerun as rr

    groups = source.groups(spec.name)
    stamps, clip = source.on_log_clock(spec.name, join_stamps(groups)), clip_of(groups)
    fps = Fraction(30)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        file = MovieFile(path, fps, clip)
        file.append(clip)
        file.close()
        asset = rr.AssetVideo(path=path)
    recording.log(entity, asset, static=True)
    at_ns = np.array(asset.read_frame_timestamps_nanos(), np.int64)
    if len(at_ns) != len(stamps):
        steps = np.arange(len(stamps), dtype=np.int64)
        at_ns = steps * NS_PER_S * fps.denominator // fps.numerator
    columns = rr.VideoFrameReference.columns_nanos(at_ns)
    _send_columns(recording, entity, stamps, columns, absolute)
    return len(stamps)


def _send_columns(
    recording: Any, entity: str, stamps: Stamps, columns: Any, absolute: Mapping[str, bool]
) -> None:
    import rerun as rr

    indexes = [rr.TimeColumn("seq", sequence=stamps.seq)]
    for name in ("capture", "arrival"):
        times: TimesNs = getattr(stamps, f"{name}_ns")
        if absolute[name]:
            indexes.append(rr.TimeColumn(name, timestamp=times.astype("datetime64[ns]")))
        else:
            indexes.append(rr.TimeColumn(name, duration=times.astype("timedelta64[ns]")))
    rr.send_columns(entity, indexes=indexes, columns=columns, recording=recording)


def _since_1970(stamps: Mapping[str, Stamps]) -> dict[str, bool]:
    """Per timeline, whether all its times are times of the calendar."""
    return {
        name: all(
            len(own) == 0 or int(getattr(own, f"{name}_ns").min()) > SINCE_1970_NS
            for own in stamps.values()
        )
        for name in ("capture", "arrival")
    }


def _read_back(path: Path, counts: Mapping[str, int]) -> int:
    """Rows per entity, as Rerun finds them in the file."""
    from rerun.chunk import RrdReader

    found: dict[str, int] = {}
    for chunk in RrdReader(str(path)).stream():
        if not chunk.is_static:
            entity = chunk.entity_path.strip("/")
            found[entity] = found.get(entity, 0) + chunk.num_rows
    for entity, count in counts.items():
        if found.get(entity, 0) != count:
            raise ExportError(
                f"{path.name}: Rerun finds {found.get(entity, 0)} samples at "
                f"'{entity}', not {count}"
            )
    return sum(counts.values())
