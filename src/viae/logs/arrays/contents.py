"""An episode as a format found it, to be read: its facts, its clock, its arrays one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viae.errors import DamagedLogError, LogError
from viae.logs.arrays.clock import Clock, to_times
from viae.logs.arrays.column import Column, Tally, read_column, read_slices, refusal_of
from viae.logs.arrays.forms import Array
from viae.logs.arrays.layout import is_stream, rows_of_episode
from viae.logs.arrays.names import (
    ROBOTS,
    TASKS,
    is_time,
    stated_outcome,
    stated_rate,
    stated_text,
)
from viae.logs.format import Item, Statement
from viae.schema import JsonValue, Loss, LossKind

FACT_VALUES = 256
"""An array of at most so many values that is no stream is a fact."""

MAX_VALUES = 1 << 16
"""Values of the longest array that is made a fact."""

MAX_TIMES = 1 << 26
"""Rows of the longest array of times that is held in memory."""


@dataclass(slots=True, kw_only=True)
class Contents:
    """What a format found of an episode.

    Args:
        path: the file or folder.
        where: the episode inside of it, for messages.
        prefix: what keys of statements begin with.
        columns: its arrays.
        facts: what it and the groups around it state, the nearest first.
        extra: statements of its own.
        losses: what could not be taken so far.
        rows: its length, where the log declares one.
        layout: what its layout is called.
        usual_hz: the rate that programs that write the layout use by default.
    """

    path: str
    where: str
    prefix: str
    layout: str
    usual_hz: float
    columns: list[Column] = field(default_factory=list)
    facts: dict[str, JsonValue] = field(default_factory=dict)
    extra: dict[str, JsonValue] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    rows: int | None = None


def read_contents(contents: Contents) -> Iterator[Item]:
    """Statements, then the streams one after another, as array files hold them.

    Raises:
        LogError: its arrays have no common length.
    """
    columns = sorted(contents.columns, key=lambda column: column.path)
    rows = contents.rows if contents.rows is not None else rows_of_episode(columns)
    if rows is None:
        raise _no_episode(contents)
    yield from _statements(contents)
    yield from contents.losses
    streams = [column for column in columns if is_stream(column, rows)]
    for column in columns:
        if not is_stream(column, rows):
            yield from _other(column, rows, contents)
    clocks, streams, losses = _stored_clocks(streams, contents)
    yield from losses
    derived = None
    if not clocks:
        _check_times_are_not_lost(contents)
        derived = _derived_clock(contents)
        if not stated_rate(contents.facts) and streams:
            yield Loss(
                kind=LossKind.REPAIRED,
                name="times-absent",
                path=contents.path,
                count=rows,
                detail=f"{contents.where}: {derived.said}",
            )
        yield Statement(key=f"{contents.prefix}.times", value=derived.said)
    else:
        said = "; ".join(dict.fromkeys(clock.said for clock in clocks.values()))
        yield Statement(key=f"{contents.prefix}.times", value=said)
    for column in streams:
        clock = derived or _nearest(clocks, column)
        if clock is None:
            detail = f"it has {column.rows} rows, and no array of times has as many; not taken"
            yield _skipped("length-differs", column, contents, detail)
        else:
            yield from read_column(column, clock, contents.path, contents.prefix)


def _check_times_are_not_lost(contents: Contents) -> None:
    """Times are never assumed where the log may hold true ones that cannot be read."""
    for loss in contents.losses:
        rate = loss.name == "attributes-damaged" and not stated_rate(contents.facts)
        lost = loss.kind is LossKind.LOST or loss.name == "codec-missing"
        if lost and (rate or is_time(loss.stream)):
            raise DamagedLogError(
                contents.path,
                stream=loss.stream,
                found=f"{contents.where}: its times cannot be known ({loss.detail})",
                expected="times, or a rate",
                todo="copy the log again; the other episodes are kept",
            )


def _statements(contents: Contents) -> Iterator[Statement]:
    facts = contents.facts
    if task := stated_text(facts, TASKS):
        yield Statement(key="task", value=task)
    if robot := stated_text(facts, ROBOTS):
        yield Statement(key="robot", value=robot)
    outcome = stated_outcome(facts)
    if outcome is not None:
        yield Statement(key="outcome", value=outcome)
    for key, value in {**facts, **contents.extra}.items():
        yield Statement(key=f"{contents.prefix}.{key}", value=value)


def _stored_clocks(
    streams: list[Column], contents: Contents
) -> tuple[dict[str, Clock], list[Column], list[Loss]]:
    """Clocks by the group that they are in, the streams that are no times, and losses."""
    losses: list[Loss] = []
    clocks: dict[str, Clock] = {}
    rest = []
    for column in streams:
        group = column.path.rpartition("/")[0]
        shape = tuple(size for size in column.shape if size != 1)
        named = is_time(column.path) and not shape and column.dtype.kind in "iufM"
        if not named or group in clocks or column.rows > MAX_TIMES or refusal_of(column):
            rest.append(column)
            continue
        rows = max(column.rows, contents.rows or 0)
        values = np.zeros(rows, column.dtype.newbyteorder("="))
        known = np.zeros(rows, bool)
        tally = Tally(path=contents.path)
        for start, part in read_slices(column, tally):
            values[start : start + len(part)] = part.reshape(len(part))
            known[start : start + len(part)] = True
        found = to_times(column.path, values, known)
        if not known.any():
            found = np.zeros(rows, np.int64), ""
        if found is None:
            rest.append(column)
            continue
        losses += tally.losses()
        times_ns, unit = found
        said = f"the times are those of {column.topic}, {column.dtype} in {unit or '?'}"
        clocks[group] = Clock(said=said, times_ns=times_ns, known=None if known.all() else known)
    return clocks, rest, losses


def _nearest(clocks: dict[str, Clock], column: Column) -> Clock | None:
    """The clock in the array's own group, or the nearest one around it, or the only other one."""
    group = column.path
    while group:
        group = group.rpartition("/")[0]
        clock = clocks.get(group)
        if clock is not None and clock.fits(column.rows, cut_short=column.cut_short):
            return clock
    return next(
        (clock for clock in clocks.values() if clock.fits(column.rows, cut_short=column.cut_short)),
        None,
    )


def _derived_clock(contents: Contents) -> Clock:
    if stated := stated_rate(contents.facts):
        rate_hz, where = stated
        by = f"by the rate that {where} states"
        said = f"the log holds no times; row i is at i / {rate_hz:g} s, {by}"
        return Clock(said=said, rate_hz=rate_hz)
    rate_hz = contents.usual_hz
    said = (
        f"the log holds no times and no rate; row i is stamped i x {1000 / rate_hz:g} ms "
        f"({rate_hz:g} Hz, the default of {contents.layout}); state the true rate as an attribute "
        "named fps to have it used"
    )
    return Clock(said=said, rate_hz=rate_hz)


def _other(column: Column, rows: int, contents: Contents) -> Iterator[Item]:
    """An array that is no stream: a fact where it is small, else a loss."""
    size = column.rows * math.prod(column.shape)
    if 0 < size <= FACT_VALUES and column.dtype.kind in "biufSUOT" and not refusal_of(column):
        try:
            value = to_json(column.read(0, column.rows))
        except Exception as error:  # see read_slices
            detail = f"it cannot be read ({type(error).__name__}: {error!s:.160})"
            yield Loss(
                kind=LossKind.LOST, name="rows-damaged", path=contents.path, stream=column.path,
                count=column.rows, detail=detail,
            )  # fmt: skip
            return
        if value is not None:
            yield Statement(key=f"{contents.prefix}.{column.path.replace('/', '.')}", value=value)
            return
    detail = (
        f"{contents.where} has {rows} rows, and this array {column.rows} of shape "
        f"{list(column.shape)}; not taken"
    )
    yield _skipped("length-differs", column, contents, detail)


def _skipped(name: str, column: Column, contents: Contents, detail: str) -> Loss:
    return Loss(
        kind=LossKind.SKIPPED, name=name, path=contents.path, stream=column.path,
        count=column.rows, detail=detail,
    )  # fmt: skip


def _no_episode(contents: Contents) -> LogError:
    shapes = [f"{c.path} {[c.rows, *c.shape]}" for c in contents.columns]
    many = f", … ({len(shapes)} arrays)" if len(shapes) > 6 else ""
    found = f"{', '.join(shapes[:6])}{many}" if shapes else "no arrays"
    lost = [loss for loss in contents.losses if loss.kind is LossKind.LOST]
    if lost:
        return DamagedLogError(
            contents.path,
            found=f"{contents.where} holds {found}; {lost[0].stream}: {lost[0].detail}",
            expected="arrays that share their first dimension, one row for each sample",
            todo="copy the log again from where it was recorded",
        )
    return LogError(
        contents.path,
        found=f"{contents.where} holds {found}",
        expected="arrays that share their first dimension, one row for each sample",
        todo="if these are demonstrations in another layout, convert them to robomimic's",
    )


def to_json(value: Any) -> JsonValue:
    """An attribute or a small array as JSON; None where it is nothing that JSON has.

    Text that is JSON of an object or a list is taken as that. Numbers that are not finite become
    text.
    """
    match value:
        case np.ndarray() | np.generic():
            return _array_to_json(np.asarray(value))
        case bytes() | str():
            return _parsed(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(key): to_json(inner) for key, inner in value.items()}
        case list():
            return [to_json(inner) for inner in value]
    return value if isinstance(value, int) else None


def _array_to_json(values: Array) -> JsonValue:
    if values.dtype.kind not in "biufSUOT" or values.size > MAX_VALUES:
        return None
    parts = [to_json(part) for part in values.reshape(-1).tolist()]
    if any(part is None for part in parts):
        return None
    return parts[0] if values.ndim == 0 else _reshaped(parts, values.shape)


def _parsed(value: str | bytes) -> JsonValue:
    data = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    text = data.decode(errors="backslashreplace")
    if text.lstrip()[:1] in ("{", "["):
        try:
            return to_json(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return text


def _reshaped(parts: list[JsonValue], shape: tuple[int, ...]) -> JsonValue:
    for size in reversed(shape[1:]):
        parts = [parts[i : i + size] for i in range(0, len(parts), size)] if size else parts
    return list(parts)
