"""What an RLDS dataset says about itself: ``dataset_info.json`` and ``metadata.json``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError, LogError

SHARD = re.compile(
    r"(?P<name>.+)-(?P<split>[^-]+)\.(?P<type>tfrecord|array_record|riegeli)"
    r"-(?P<shard>\d+)-of-(?P<shards>\d+)"
)
RATES = frozenset(
    {
        "control_frequency", "control_frequency_hz", "control_freq", "control_rate", "control_hz",
        "frequency", "frequency_hz", "freq", "hz", "fps", "rate_hz", "step_hz",
    }
)  # fmt: skip
"""Names under which datasets state how many steps there are in a second."""

SLOWEST_HZ, FASTEST_HZ = 1e-3, 1e6
"""Beyond these, a number is no control frequency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of a split.

    Args:
        split: e.g. ``"train"``.
        number: its position in the split.
        path: the file, which may not be there.
        declared: how many records it should hold; None where nothing says.
    """

    split: str
    number: int
    path: Path
    declared: int | None

    @property
    def name(self) -> str:
        """The shard as an episode's range names it."""
        return f"{self.split}-{self.number:05d}"


@dataclass(slots=True, kw_only=True)
class Info:
    """The metadata of one dataset.

    Args:
        name: the dataset's name and version.
        shards: every declared shard and every one that is there, by split and number.
        stated_hz: steps per second as ``metadata.json`` states them, or None.
    """

    name: str = ""
    shards: list[Shard] = field(default_factory=list)
    stated_hz: float | None = None


def read_info(root: Path) -> Info:
    """The metadata of the dataset in a folder.

    Raises:
        DamagedLogError: ``dataset_info.json`` or ``metadata.json`` is damaged.
        LogError: the shards are no TFRecords.
    """
    fields = _json(root / "dataset_info.json")
    name = str(fields.get("name") or root.parent.name)
    info = Info(name="/".join(filter(None, (name, str(fields.get("version") or "")))))
    try:
        declared = {
            (str(split["name"]), shard): int(length)
            for split in fields.get("splits", ())
            for shard, length in enumerate(split.get("shardLengths", ()))
        }
        counts = Counter(split for split, _ in declared)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(root / "dataset_info.json", error) from error
    here: dict[tuple[str, int], Path] = {}
    for path in sorted(root.iterdir()):
        found = SHARD.fullmatch(path.name)
        if found and path.is_file():
            if found["type"] != "tfrecord":
                raise LogError(
                    path,
                    found=f"a shard of type {found['type']}",
                    expected="TFRecord",
                    todo="write the dataset with file_format='tfrecord'",
                )
            here[found["split"], int(found["shard"])] = path
    for split, number in sorted({*here, *declared}):
        expected = root / f"{name}-{split}.tfrecord-{number:05d}-of-{counts[split]:05d}"
        info.shards.append(
            Shard(
                split=split,
                number=number,
                path=here.get((split, number), expected),
                declared=declared.get((split, number)),
            )
        )
    info.stated_hz = stated_rate(_json(root / "metadata.json"))
    return info


def stated_rate(said: Mapping[str, Any]) -> float | None:
    """The control frequency that some metadata states, Hz; None where it states none."""
    for key, value in said.items():
        if key.rpartition("/")[2].lower() not in RATES:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and SLOWEST_HZ <= value <= FASTEST_HZ:
            return float(value)
    return None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_bytes())
        if not isinstance(fields, dict):
            raise TypeError(f"it is a {type(fields).__name__}, not an object")
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    return fields


def _damaged(path: Path, error: Exception) -> DamagedLogError:
    return DamagedLogError(
        path,
        found=f"it does not describe a dataset ({type(error).__name__}: {error!s:.100})",
        expected=f"the {path.name} of TensorFlow Datasets",
        todo="copy the file again",
    )
