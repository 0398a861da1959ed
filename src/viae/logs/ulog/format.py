"""The ULog format: one file, one episode, a topic's fields as streams."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from viae.errors import EmptyLogError
from viae.logs.chop import chop
from viae.logs.format import Item, Log, LogEpisode, LogFormat, Statement, fingerprint_files
from viae.logs.ulog.framing import MAGIC
from viae.logs.ulog.layout import columns_of
from viae.logs.ulog.parse import check_magic, parse
from viae.schema import JsonValue, Kind, Loss, LossKind, StreamSpec, TimesNs

NS_PER_US = 1000
LATEST_US = np.uint64((1 << 63) // NS_PER_US - 1)
LOG, CHANGED = "log", "ulog.changed_parameters"
DEFAULTS = {0: "system", 1: "current_setup"}
LONGEST_LISTED = 5


class UlogFormat(LogFormat):
    """PX4 ULog files, with data appended after a crash or without."""

    name: ClassVar[str] = "ulog"

    def recognises(self, path: Path) -> bool:
        """Named ``.ulg`` or ``.ulog``, or beginning as a ULog does."""
        if not path.is_file():
            return False
        if path.suffix.lower() in (".ulg", ".ulog"):
            return True
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC

    def open(self, path: Path) -> Log:
        """One episode. The file is read when the episode is.

        Raises:
            EmptyLogError: no bytes.
            DamagedLogError: it does not begin as a ULog does.
        """
        if not path.stat().st_size:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        check_magic(path)
        return Log(path=path, format=self.name, episodes=(UlogEpisode(path),))


class UlogEpisode(LogEpisode):
    """All of a ULog."""

    def __init__(self, path: Path) -> None:
        self.path, self.uri, self.range = path, str(path), ""

    def fingerprint(self) -> str:
        """Of the file."""
        return fingerprint_files([self.path])

    def read(self) -> Iterator[Item]:
        """Statements, then the topics, the messages of the log, the changes of parameters.

        Holds the whole file.

        Raises:
            DamagedLogError: nothing can be had from it.
        """
        ulog, losses = parse(self.path)
        yield from losses
        yield from self._dropouts(ulog)
        yield from _statements(ulog)
        self.names: Counter[str] = Counter()
        topics: defaultdict[str, list[Any]] = defaultdict(list)
        for topic in ulog.data_list:  # one per topic, and per piece of appended data
            if "timestamp" in topic.data:
                base = topic.name or "unnamed"
                name = f"{base}#{topic.multi_id}" if topic.multi_id else base
                topics[name].append(topic)
        for name, pieces in topics.items():
            for number, same in enumerate(_alike(pieces)):
                yield from self._topic(f"{name}.v{number + 1}" if number else name, same)
        yield from self._texts(LOG, ulog.logged_messages)
        for tag, messages in sorted(ulog.logged_messages_tagged.items()):
            yield from self._texts(f"{LOG}.{tag}", messages)
        yield from self._changes(ulog.changed_parameters)

    def _topic(self, name: str, pieces: list[Any]) -> Iterator[Item]:
        topic = pieces[0]
        fields = [(field.field_name, field.type_str) for field in topic.field_data]
        data = {
            field: np.concatenate([piece.data[field] for piece in pieces])
            if len(pieces) > 1
            else topic.data[field]
            for field, _ in fields
        }
        arrival_us = data["timestamp"].astype(np.uint64)
        capture_us = data.get("timestamp_sample", arrival_us).astype(np.uint64)
        capture_us = np.where(capture_us == 0, arrival_us, capture_us)  # nobody set it
        times, kept, losses = self._times(name, capture_us, arrival_us)
        yield from losses
        if kept is not None:
            data = {field: column[kept] for field, column in data.items()}
        seq = np.arange(len(arrival_us), dtype=np.int64) if kept is None else kept
        try:
            columns = columns_of(topic.name, name, fields)
        except ValueError as error:
            columns, why = [], str(error)
        else:
            why = "it has no field but its times"
        if not columns:
            yield Loss(
                kind=LossKind.SKIPPED, name="no-fields", path=self.uri, stream=name,
                count=len(seq), detail=f"its samples make no stream: {why}",
            )  # fmt: skip
        for column in columns:
            yield from chop(
                self._unique(column.spec), capture_ns=times[0], arrival_ns=times[1], seq=seq,
                values=column.values(data),
            )  # fmt: skip

    def _times(
        self, name: str, capture_us: npt.NDArray[np.uint64], arrival_us: npt.NDArray[np.uint64]
    ) -> tuple[tuple[TimesNs, TimesNs], TimesNs | None, list[Loss]]:
        """Capture and arrival, ns; which samples have them (None for all); what has none."""
        fits = (capture_us <= LATEST_US) & (arrival_us <= LATEST_US)
        losses, kept = [], None
        if not fits.all():
            kept = np.flatnonzero(fits).astype(np.int64)
            capture_us, arrival_us = capture_us[kept], arrival_us[kept]
            losses.append(
                Loss(
                    kind=LossKind.LOST,
                    name="time-unfit",
                    path=self.uri,
                    stream=name,
                    count=int((~fits).sum()),
                    detail="their timestamps are beyond 292 years",
                )
            )
        capture, arrival = (us.astype(np.int64) * NS_PER_US for us in (capture_us, arrival_us))
        return (capture, arrival), kept, losses

    def _texts(self, name: str, messages: list[Any]) -> Iterator[Item]:
        values = [f"{message.log_level_str()}: {message.message}" for message in messages]
        yield from self._text(name, [message.timestamp for message in messages], values)

    def _changes(self, changed: list[tuple[int, str, Any]]) -> Iterator[Item]:
        """Each at the time of the newest sample before it: the log has no other."""
        values = [json.dumps({"name": name, "value": _plain(value)}) for _, name, value in changed]
        yield from self._text(CHANGED, [at for at, _, _ in changed], values)

    def _text(self, name: str, at_us: list[int], values: list[str]) -> Iterator[Item]:
        us = np.array(at_us, np.uint64)
        times, kept, losses = self._times(name, us, us)
        yield from losses
        seq = np.arange(len(us), dtype=np.int64) if kept is None else kept
        spec = self._unique(StreamSpec(name=name, kind=Kind.TEXT, dtype="", topic=name))
        yield from chop(
            spec, capture_ns=times[0], arrival_ns=times[1], seq=seq,
            values=[values[i] for i in seq.tolist()],
        )  # fmt: skip

    def _unique(self, spec: StreamSpec) -> StreamSpec:
        """The stream, renamed where another topic already gave one of its name."""
        self.names[spec.name] += 1
        n = self.names[spec.name]
        return spec if n == 1 else self._unique(replace(spec, name=f"{spec.name}~{n}"))

    def _dropouts(self, ulog: Any) -> Iterator[Loss]:
        dropouts = ulog.dropouts
        if not dropouts:
            return
        longest = sorted(dropouts, key=lambda dropout: -dropout.duration)[:LONGEST_LISTED]
        places = ", ".join(f"{d.duration} ms at {d.timestamp / 1e6:.3f} s" for d in longest)
        yield Loss(
            kind=LossKind.LOST,
            name="dropout",
            path=self.uri,
            count=len(dropouts),
            at_ns=min(int(dropout.timestamp) for dropout in dropouts) * NS_PER_US,
            detail=f"the vehicle could not write for {sum(d.duration for d in dropouts)} ms in "
            f"all; the longest: {places}. Use a faster card, or log less",
        )


def _alike(pieces: list[Any]) -> list[list[Any]]:
    """The pieces of a topic, those with the same fields together."""
    groups: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for piece in pieces:
        fields = tuple((field.field_name, field.type_str) for field in piece.field_data)
        groups.setdefault(fields, []).append(piece)
    return list(groups.values())


def _statements(ulog: Any) -> Iterator[Statement]:
    info = {key: _plain(value) for key, value in ulog.msg_info_dict.items()}
    if robot := " ".join(str(info[key]) for key in ("sys_name", "ver_hw") if info.get(key)):
        yield Statement(key="robot", value=robot)
    several: dict[str, JsonValue] = {
        key: [[_plain(part) for part in parts] for parts in values]
        for key, values in ulog.msg_info_multiple_dict.items()
    }
    parameters = {key: _plain(value) for key, value in ulog.initial_parameters.items()}
    defaults: dict[str, JsonValue] = {}
    for number, name in DEFAULTS.items():
        if own := ulog.get_default_parameters(number):
            defaults[name] = {key: _plain(value) for key, value in own.items()}
    said = {
        "info": info, "info_multiple": several,
        "parameters": parameters, "default_parameters": defaults,
    }  # fmt: skip
    for key, value in said.items():
        if value:
            yield Statement(key=f"ulog.{key}", value=value)


def _plain(value: Any) -> JsonValue:
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    plain: JsonValue = value
    return plain
