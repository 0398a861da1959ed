"""``metadata.yaml`` of a ROS 2 bag, as far as it can be read.

Versions 1 to 9 differ in what they leave out: counts per file came with 5, custom data with 6,
hashes of types with 7, the distribution with 8. The files can be read without any of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from viae.schema import JsonValue

NAME = "metadata.yaml"
KEY = "rosbag2_bagfile_information"
MAX_BYTES = 16 << 20
MAX_VALUES = 200_000
"""Bytes of a file, and values in it with all aliases written out; more is taken for damage."""
MAX_DEPTH = 32
NOTHING_YET = 0
"""What a recorder writes as the count of a bag that it has not closed."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class BagMetadata:
    """What is said of a bag.

    Args:
        files: its files, in order.
        file_counts: messages in each, as far as that is said.
        topic_counts: messages on each topic, as far as that is said.
        count: messages in all of it.
        storage: ``"sqlite3"`` or ``"mcap"``.
        compression: what is compressed: ``"file"``, ``"message"`` or nothing.
        compression_format: how.
        distro: the ROS 2 distribution that recorded it.
        said: everything, as JSON-ready values; None where there is nothing.
        damage: why it is not to be relied on; empty where it is.
    """

    files: tuple[str, ...] = ()
    file_counts: dict[str, int] = field(default_factory=dict)
    topic_counts: dict[str, int] = field(default_factory=dict)
    count: int | None = None
    storage: str = ""
    compression: str = ""
    compression_format: str = ""
    distro: str = ""
    said: JsonValue = None
    damage: str = ""


def read_metadata(path: Path) -> BagMetadata:
    """What a file says; never raises."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return BagMetadata(damage=f"it cannot be read ({error.strerror})")
    if len(data) > MAX_BYTES:
        return BagMetadata(damage=f"it has more than {MAX_BYTES} bytes")
    try:
        return parse_metadata(data.decode())
    except UnicodeDecodeError as error:
        return BagMetadata(damage=f"it is no UTF-8: {error}")


def parse_metadata(text: str) -> BagMetadata:
    """What a text says, with or without the key around it; never raises."""
    try:
        loaded = yaml.load(text, _Loader)
        said = _plain(loaded.get(KEY, loaded) if isinstance(loaded, dict) else loaded)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        return BagMetadata(damage=f"it is no YAML: {error!s:.200}")
    if not isinstance(said, dict):
        return BagMetadata(said=said, damage=f"it has no '{KEY}'")
    files = tuple(each for each in _list(said, "relative_file_paths") if isinstance(each, str))
    known = {
        each["path"]: each["message_count"]
        for each in _dicts(said, "files")
        if isinstance(each.get("path"), str) and _is_count(each.get("message_count"))
    }
    topics: dict[str, int] = {}
    for each in _dicts(said, "topics_with_message_count"):
        topic = each.get("topic_metadata")
        name = topic.get("name") if isinstance(topic, dict) else None
        if isinstance(name, str) and _is_count(each.get("message_count")):
            topics[name] = topics.get(name, 0) + each["message_count"]
    count = said.get("message_count")
    return BagMetadata(
        files=files,
        file_counts=known,
        topic_counts=topics,
        count=count if _is_count(count) else None,
        storage=_text(said, "storage_identifier"),
        compression=_text(said, "compression_mode").lower().replace("none", ""),
        compression_format=_text(said, "compression_format").lower(),
        distro=_text(said, "ros_distro"),
        said=said,
        damage="" if files else "it names no files",
    )


def _plain(value: Any) -> JsonValue:
    """As JSON-ready values. YAML can say more: dates, keys of any type, aliases without end.

    Raises:
        ValueError: there are too many of them.
    """
    left = MAX_VALUES

    def plain(value: Any, depth: int) -> JsonValue:
        nonlocal left
        left -= 1
        if depth > MAX_DEPTH or left < 0:
            raise ValueError("it has too many values, or too deep ones")
        match value:
            case dict():
                return {str(key): plain(each, depth + 1) for key, each in value.items()}
            case list() | tuple() | set():
                return [plain(each, depth + 1) for each in value]
            case float() if not math.isfinite(value):
                return str(value)
            case None | bool() | int() | float() | str():
                return value
        return str(value)

    return plain(value, 0)


def _list(said: dict[str, Any], key: str) -> list[Any]:
    found = said.get(key)
    return found if isinstance(found, list) else []


def _dicts(said: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    return (each for each in _list(said, key) if isinstance(each, dict))


def _text(said: dict[str, Any], key: str) -> str:
    found = said.get(key)
    return found if isinstance(found, str) else ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
