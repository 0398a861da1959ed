"""What a dataset will be: its features, its clock and its rate, decided before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from viae.errors import UsageError
from viae.export.exporter import GRID, IMAGES, ExportOptions
from viae.export.lerobot.origin import FORMATS, Origin, origin_of
from viae.export.naming import distinct_names, plain_name
from viae.export.resample import period_ns, shared_clock
from viae.export.source import EpisodeSource, Stamps, is_picture
from viae.schema import NS_PER_S, Kind, Loss, LossKind, Role, StreamSpec

BOOKKEEPING = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
    "task_index": "int64",
}  # fmt: skip
"""The columns that every dataset has, in order."""
TASK = "task"
"""A text stream of this name is the instruction of each row; LeRobot keeps the name for it."""

PATHS = "#path"
"""What the reader appends to an image feature's name, for names of files that are not LeRobot's."""

MOST_DIMENSIONS = 5


class Form(StrEnum):
    """How LeRobot holds a feature."""

    VECTOR = "vector"
    TEXT = "text"
    IMAGE = "image"
    """Coded pictures in the table."""
    VIDEO = "video"
    """A movie beside the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature.

    Args:
        key: its name in the dataset.
        spec: the stream it is made of.
        form: see `Form`.
        declared: its entry in ``info.json``; a movie's codec and rate are added when it is known.
    """

    key: str
    spec: StreamSpec
    form: Form
    declared: Mapping[str, Any]

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.spec.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row's value, as LeRobot has it: never empty."""
        return self.spec.shape or (1,)


@dataclass(slots=True, kw_only=True)
class Plan:
    """What will be written.

    Args:
        columns: the features beside `BOOKKEEPING`, in order.
        fps: rows per second.
        options: how.
        origin: the dataset that all of this came from and is written again; else None.
        chunks_size: files per folder.
        data_mb: bound of a table's file.
        video_mb: bound of a movie's file.
        losses: what is given up or changed.
    """

    columns: list[Column]
    fps: Fraction
    options: ExportOptions
    origin: Origin | None
    chunks_size: int = 1000
    data_mb: float = 100
    video_mb: float = 200
    losses: list[Loss] = field(default_factory=list)

    @property
    def streams(self) -> list[str]:
        """Streams that the rows are made of."""
        return [column.stream for column in self.columns]

    @property
    def book(self) -> dict[str, str]:
        """`BOOKKEEPING`, with the types that the dataset declared where it comes from one."""
        said = self.origin.features if self.origin else {}
        return {name: (said.get(name) or {}).get("dtype", own) for name, own in BOOKKEEPING.items()}

    @property
    def declared_fps(self) -> int | float:
        """The rate as ``info.json`` has it: whole if it is."""
        return int(self.fps) if self.fps.denominator == 1 else float(self.fps)


def make_plan(episodes: Sequence[EpisodeSource], options: ExportOptions) -> Plan:
    """Decide.

    Raises:
        UsageError: the episodes do not fit into one dataset, or no clock was named and they share
            none; the text says what to add.
    """
    origin = None if options.resamples else origin_of(episodes)
    losses: list[Loss] = []
    specs = _common_specs(episodes, losses)
    if not specs:
        raise UsageError("there is no stream that LeRobot can hold in these episodes")
    fps = _rate(episodes, specs, options, origin, losses)
    names, collisions = (
        ({name: name for name in specs}, [])
        if origin
        else distinct_names(specs, _namer(specs), taken=[*BOOKKEEPING, TASK])
    )
    losses += collisions
    columns = [_column(names[name], spec, options, origin) for name, spec in specs.items()]
    if origin:
        order = list(origin.features)
        columns.sort(key=lambda c: order.index(c.key) if c.key in order else len(order))
        losses += _missing_features(origin, columns)
    else:
        columns.sort(key=lambda column: (column.spec.role.rank, column.key))
    plan = Plan(columns=columns, fps=fps, options=options, origin=origin, losses=losses)
    said = origin.info if origin else {}
    plan.chunks_size = options.chunks_size or said.get("chunks_size") or plan.chunks_size
    plan.data_mb = options.data_mb or said.get("data_files_size_in_mb") or plan.data_mb
    plan.video_mb = options.video_mb or said.get("video_files_size_in_mb") or plan.video_mb
    return plan


def _common_specs(episodes: Sequence[EpisodeSource], losses: list[Loss]) -> dict[str, StreamSpec]:
    """Streams that all episodes have alike and LeRobot can hold."""
    specs: dict[str, StreamSpec] = {}
    for source in episodes:
        for name, spec in source.specs.items():
            if not is_bookkeeping(source, spec):
                specs.setdefault(name, spec)
    held: dict[str, StreamSpec] = {}
    for name, spec in sorted(specs.items()):
        have = [source for source in episodes if name in source.specs]
        if why := _cannot_hold(spec):
            count = sum(source.counts[name] for source in have)
            losses.append(
                Loss(
                    kind=LossKind.SKIPPED, name="stream-not-held", path=have[0].where, stream=name,
                    count=count, detail=f"LeRobot holds no {why}; the stream is left out",
                )
            )  # fmt: skip
            continue
        if lacking := [source for source in episodes if name not in source.specs]:
            raise UsageError(
                f"{lacking[0].where} has no stream '{name}', which {len(have)} of {len(episodes)} "
                "episodes have; a LeRobot dataset has the same features everywhere. Choose streams "
                "with  --stream  or episodes with  --episode"
            )
        for source in have:
            if _form_key(source.specs[name]) != _form_key(spec):
                raise UsageError(
                    f"stream '{name}' is {_form_key(spec)} in {have[0].where} and "
                    f"{_form_key(source.specs[name])} in {source.where}; a LeRobot dataset has one "
                    "shape for each. Choose streams with  --stream  or episodes with  --episode"
                )
        held[name] = spec
    return held


def is_bookkeeping(source: EpisodeSource, spec: StreamSpec) -> bool:
    """Whether a stream says when, where or what for a row is, rather than what is in it."""
    if spec.name == TASK and spec.kind is Kind.TEXT:
        return True
    if source.episode.log_format not in FORMATS:
        return False
    image, _, tail = spec.name.rpartition(PATHS)
    return spec.name in BOOKKEEPING or (not tail and image in source.specs)


def _cannot_hold(spec: StreamSpec) -> str:
    if spec.kind is Kind.BYTES:
        return "bytes without meaning"
    if spec.kind is Kind.VECTOR:
        if spec.varies:
            return "vectors whose length varies"
        if len(spec.shape) > MOST_DIMENSIONS:
            return f"arrays of more than {MOST_DIMENSIONS} dimensions"
        if spec.size == 0:
            return "vectors without elements"
    return ""


def _form_key(spec: StreamSpec) -> tuple[str, str, tuple[int, ...]]:
    kind = "picture" if is_picture(spec) else str(spec.kind)
    return kind, spec.dtype, spec.shape[:2] if is_picture(spec) else spec.shape


def _rate(
    episodes: Sequence[EpisodeSource],
    specs: Mapping[str, StreamSpec],
    options: ExportOptions,
    origin: Origin | None,
    losses: list[Loss],
) -> Fraction:
    if options.rate_hz is not None:
        return Fraction(options.rate_hz).limit_denominator(1001)
    if origin and isinstance(origin.info.get("fps"), int | float) and origin.info["fps"] > 0:
        for source in episodes:
            _shared(source, specs)
        return Fraction(origin.info["fps"]).limit_denominator(1001)
    periods = []
    for source in episodes:
        stamps = source.stamps()
        clock = options.clock or _shared(source, specs, stamps)
        if clock not in stamps:
            raise UsageError(f"{source.where}: the clock '{clock}' is no stream of it")
        if period := period_ns(stamps[clock]):
            periods.append(period)
    if not periods and options.fps is None:
        raise UsageError("no episode has two moments: say the rate with  --fps")
    return Fraction(options.fps or max(round(NS_PER_S / float(np.median(periods))), 1))


def _shared(
    source: EpisodeSource,
    specs: Mapping[str, StreamSpec],
    stamps: Mapping[str, Stamps] | None = None,
) -> str:
    """The clock that an episode's streams share.

    Raises:
        UsageError: they share none.
    """
    found = {name: own for name, own in (stamps or source.stamps()).items() if name in specs}
    clock = shared_clock(source.specs, found)
    if not clock:
        rates = {
            name: f"{NS_PER_S / period:.4g} Hz"
            for name, own in sorted(found.items())
            if (period := period_ns(own))
        }
        said = ", ".join(f"'{name}' {rate}" for name, rate in rates.items())
        raise UsageError(
            f"{source.where}: its streams have no clock in common, and a LeRobot dataset has one. "
            f"Name a stream whose samples shall be the rows (--clock STREAM) or a rate of even "
            f"ticks (--rate HZ). The streams: {said or 'none has two samples'}"
        )
    return clock


def _namer(specs: Mapping[str, StreamSpec]) -> Callable[[str], str]:
    """LeRobot's conventions: ``observation.`` before what is seen, ``action`` for what is done."""
    vectors = [s for s in specs.values() if s.kind is Kind.VECTOR]
    only = {
        role: [s.name for s in vectors if s.role is role]
        for role in (Role.OBSERVATION, Role.ACTION)
    }

    def rename(name: str) -> str:
        spec, plain = specs[name], plain_name(name)
        if spec.kind is Kind.TEXT:
            return plain
        prefix = {Role.ACTION: "action", Role.OUTCOME: "next.", Role.OBSERVATION: "observation."}
        if plain.startswith(prefix[spec.role]):
            return plain
        if only.get(spec.role) == [name]:
            return "action" if spec.role is Role.ACTION else "observation.state"
        if is_picture(spec):
            return f"observation.images.{plain}"
        return f"{prefix[spec.role].rstrip('.')}.{plain}"

    return rename


def _column(key: str, spec: StreamSpec, options: ExportOptions, origin: Origin | None) -> Column:
    declared = origin.features.get(key) if origin else None
    if spec.kind is Kind.TEXT:
        form = Form.TEXT
    elif spec.kind is Kind.VECTOR:
        form = Form.VECTOR
    elif spec.kind is Kind.IMAGE and (origin or options.codec == IMAGES):
        form = Form.IMAGE
    else:
        form = Form.VIDEO if options.codec != IMAGES or origin else Form.IMAGE
    if isinstance(declared, dict):
        entry = dict(declared)
        if form is Form.VECTOR:  # the table is believed, as the reader believed it
            entry |= {"dtype": spec.dtype, "shape": list(spec.shape or (1,))}
        if form is not Form.VIDEO and "v3" not in str(origin and origin.info["codebase_version"]):
            entry["fps"] = origin.info.get("fps") if origin else None  # as LeRobot's converter does
        return Column(key=key, spec=spec, form=form, declared=entry)
    names: list[str] | None = list(spec.names) or None
    shape = list(spec.shape) or [1]
    if form in (Form.IMAGE, Form.VIDEO):
        names, shape = ["height", "width", "channels"], [*spec.shape[:2], 3]
    dtype = {Form.TEXT: "string", Form.VECTOR: spec.dtype}.get(form, str(form))
    if form is Form.TEXT:
        shape = [1]
    entry = {"dtype": dtype, "shape": shape, "names": names}
    return Column(key=key, spec=replace(spec), form=form, declared=entry)


def _missing_features(origin: Origin, columns: Sequence[Column]) -> list[Loss]:
    here = {column.key for column in columns}
    return [
        Loss(
            kind=LossKind.LOST, name="feature-missing", path="", stream=key, count=1,
            detail=f"the dataset declared '{key}', of which the store has nothing; it is left out",
        )
        for key in origin.features
        if key not in here and key not in BOOKKEEPING
    ]  # fmt: skip


def clock_words(plan: Plan) -> str:
    """How rows were chosen, for people and for the record."""
    options = plan.options
    if not options.resamples:
        return "the clock that all streams share; nothing is resampled"
    if options.clock and options.clock != GRID:
        return f"the samples of '{options.clock}'"
    return f"even ticks at {float(plan.fps):g} Hz"
