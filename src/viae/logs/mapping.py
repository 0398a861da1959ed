"""A mapping file: what the user knows better than the general rules about a log's streams.

::

    viae_mapping: 1
    episode: {robot: ur5, task: pick the cup, agent: human}
    streams:
      "/arm/command": {name: action, role: action, unit: rad}
      "/debug/*": {skip: true}
    topics:
      "/imu": {capture: "/imu.device_time", unit: us}    # a stream of the topic holds the time
      "/gps": {capture: arrival}                         # its own stamps cannot be believed
      "/cam": {unit: ms}                                 # stamps are milliseconds, not nanoseconds

Keys of ``streams`` and ``topics`` are names or patterns of `fnmatch`; of several that fit, the
first counts. ``viae ingest --explain LOG`` drafts the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from viae.errors import LogError, UsageError
from viae.logs.format import EPISODE_KEYS, Item, Statement
from viae.schema import Kind, Loss, LossKind, Role, Samples, StreamSpec, TimesNs, VideoGroup

VERSION = 1
UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
ARRIVAL = "arrival"
STREAM_KEYS = frozenset({"name", "role", "unit", "names", "clock", "skip"})
TOPIC_KEYS = frozenset({"capture", "unit", "clock"})


@dataclass(slots=True, kw_only=True)
class StreamMapping:
    """A mapping file, read; it remembers which of its rules ever applied.

    Args:
        path: the file.
        streams: what to change of streams, by pattern of their names.
        topics: where topics have their capture times, by pattern.
        episode: statements that replace the log's own.
    """

    path: Path
    streams: Mapping[str, Mapping[str, Any]]
    topics: Mapping[str, Mapping[str, Any]]
    episode: Mapping[str, Any]
    _used: set[str] = field(default_factory=set, init=False)

    @property
    def digest(self) -> str:
        """Hex digest of what it says: another mapping makes other episodes of the same log."""
        said = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    @property
    def unused(self) -> list[str]:
        """Patterns that have fitted nothing so far."""
        return [pattern for pattern in (*self.streams, *self.topics) if pattern not in self._used]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "streams": {key: dict(rule) for key, rule in self.streams.items()},
            "topics": {key: dict(rule) for key, rule in self.topics.items()},
            "episode": dict(self.episode),
        }

    def apply(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items of an episode as the mapping has them.

        Raises:
            LogError: two streams get one name, or a stream that should hold times does not.
            SchemaError: a stream cannot be what the mapping says.
        """
        yield from _Application(self).items(items)

    def _rule(self, rules: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
        for pattern, rule in rules.items():
            if pattern == name or fnmatchcase(name, pattern):
                self._used.add(pattern)
                return rule
        return {}

    def of_stream(self, name: str) -> Mapping[str, Any]:
        """What to change of a stream."""
        return self._rule(self.streams, name)

    def of_topic(self, topic: str) -> Mapping[str, Any]:
        """Where a topic has its capture times."""
        return self._rule(self.topics, topic)


class _Application:
    """One episode going through a mapping.

    Blocks of a topic whose times are in one of its streams wait for that stream's block: a message
    gives a sample to every stream of its topic, so blocks of one topic share their ``seq``.
    """

    def __init__(self, mapping: StreamMapping) -> None:
        self._mapping = mapping
        self._names: dict[str, str] = {}
        self._waiting: dict[tuple[str, int, int], list[Samples]] = {}
        self._times: dict[tuple[str, int, int], TimesNs] = {}

    def items(self, items: Iterator[Item]) -> Iterator[Item]:
        for key, value in self._mapping.episode.items():
            yield Statement(key=key, value=value)
        for item in items:
            if isinstance(item, Statement):
                if item.key not in self._mapping.episode:
                    yield item
            elif isinstance(item, Loss):
                yield item
            else:
                yield from self._block(item)
        yield from self._left()

    def _block(self, block: Samples | VideoGroup) -> Iterator[Item]:
        rule = self._mapping.of_topic(block.spec.topic)
        source = rule.get("capture")
        if source in (None, ARRIVAL) or isinstance(block, VideoGroup):
            if block_times := self._own_times(block, rule):
                block = replace(block, capture_ns=block_times[0])
            yield from self._named(block, rule)
            return
        key = (block.spec.topic, int(block.seq[0]), len(block))
        if block.spec.name == source:
            self._times[key] = _times(self._mapping.path, block, rule)
        self._waiting.setdefault(key, []).append(block)
        if key in self._times:
            for waiting in self._waiting.pop(key):
                yield from self._named(replace(waiting, capture_ns=self._times[key]), rule)

    def _own_times(
        self, block: Samples | VideoGroup, rule: Mapping[str, Any]
    ) -> tuple[TimesNs] | None:
        if rule.get("capture") == ARRIVAL:
            return (block.arrival_ns,)
        if "unit" in rule and "capture" not in rule:
            return (block.capture_ns * UNITS_NS[rule["unit"]],)
        return None

    def _named(self, block: Samples | VideoGroup, topic: Mapping[str, Any]) -> Iterator[Item]:
        rule = self._mapping.of_stream(block.spec.name)
        if rule.get("skip"):
            return
        changes = {key: rule[key] for key in ("name", "unit", "clock") if key in rule}
        changes = {"clock": topic["clock"]} | changes if "clock" in topic else changes
        if "role" in rule:
            changes["role"] = Role(rule["role"])
        if "names" in rule:
            changes["names"] = tuple(rule["names"])
        spec: StreamSpec = replace(block.spec, **changes)
        before = self._names.setdefault(spec.name, block.spec.name)
        if before != block.spec.name:
            raise LogError(
                self._mapping.path,
                stream=spec.name,
                found=f"both '{before}' and '{block.spec.name}' get this name",
                todo="give them two names in the mapping",
            )
        yield replace(block, spec=spec)

    def _left(self) -> Iterator[Item]:
        """Blocks whose times never came keep their own, and it is said."""
        count = 0
        for blocks in self._waiting.values():
            for block in blocks:
                count += len(block)
                yield from self._named(block, {})
        if count:
            yield Loss(
                kind=LossKind.REPAIRED,
                name="mapped-times-absent",
                path=str(self._mapping.path),
                count=count,
                detail="the stream that should hold their times has no sample beside them; they "
                "keep the times they had. Check the names under 'topics' in the mapping",
            )


def _times(path: Path, block: Samples, rule: Mapping[str, Any]) -> TimesNs:
    values = np.asarray(block.values)
    if block.spec.kind is not Kind.VECTOR or block.spec.size != 1 or values.dtype.kind not in "iuf":
        raise LogError(
            path,
            stream=block.spec.name,
            found=f"it should hold capture times, and holds {block.spec.kind} of shape "
            f"{block.spec.shape}",
            expected="one number in each sample",
            todo="name another stream as 'capture'",
        )
    scale = UNITS_NS[rule.get("unit", "ns")]
    if values.dtype.kind == "f":
        return np.rint(values.reshape(-1).astype(np.float64) * scale).astype(np.int64)
    return values.reshape(-1).astype(np.int64) * scale


def read_mapping(path: Path) -> StreamMapping:
    """Read a mapping file.

    Raises:
        UsageError: it is not there, is no YAML, or says what no mapping can.
    """
    try:
        said = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: the mapping cannot be read: {error}") from error
    if not isinstance(said, dict) or said.get("viae_mapping") != VERSION:
        raise UsageError(
            f"{path}: a mapping begins with 'viae_mapping: {VERSION}'. "
            "Draft one with  viae ingest --explain LOG"
        )
    known = {"viae_mapping", "streams", "topics", "episode"}
    _check_keys(path, "the mapping", said, known)
    parts = {key: said.get(key) or {} for key in known - {"viae_mapping"}}
    for name, keys in (("streams", STREAM_KEYS), ("topics", TOPIC_KEYS)):
        _check_keys(path, name, parts[name], None)
        for pattern, rule in parts[name].items():
            _check_keys(path, f"{name} '{pattern}'", rule, keys)
            _check_rule(path, f"{name} '{pattern}'", rule)
    _check_keys(path, "episode", parts["episode"], EPISODE_KEYS)
    return StreamMapping(
        path=path, streams=parts["streams"], topics=parts["topics"], episode=parts["episode"]
    )


def _check_keys(path: Path, where: str, said: Any, known: set[str] | frozenset[str] | None) -> None:
    if not isinstance(said, dict):
        raise UsageError(f"{path}: {where} should be 'key: value' pairs, not {said!r:.60}")
    if known is not None and (unknown := set(map(str, said)) - known):
        raise UsageError(
            f"{path}: {where} cannot say {', '.join(sorted(unknown))}; it can say "
            f"{', '.join(sorted(known))}"
        )


def _check_rule(path: Path, where: str, rule: Mapping[str, Any]) -> None:
    if "role" in rule and rule["role"] not in set(Role):
        raise UsageError(f"{path}: {where}: role is {rule['role']!r}, not one of {', '.join(Role)}")
    if where.startswith("topics") and rule.get("unit", "ns") not in UNITS_NS:
        raise UsageError(
            f"{path}: {where}: unit is {rule['unit']!r}, not one of {', '.join(UNITS_NS)}"
        )
    texts = [key for key in ("name", "unit", "clock", "capture") if key in rule]
    if wrong := [key for key in texts if not isinstance(rule[key], str) or not rule[key]]:
        raise UsageError(f"{path}: {where}: {wrong[0]} is {rule[wrong[0]]!r}, not a text")
    names = rule.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path}: {where}: names should be a list of texts, not {names!r:.60}")
    if not isinstance(rule.get("skip", False), bool):
        raise UsageError(f"{path}: {where}: skip is {rule['skip']!r}, not true or false")
