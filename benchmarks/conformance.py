"""Do the records of the MCAP conformance files equal those in their JSON, field by field?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from rows import Row
from viae.logs.mcap.attachment import Attached
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.schema import Loss

NAMES = {Attached: "Attachment"}
NOT_IN_JSON = {"blake2b", "size", "is_sound"}
"""What we say of an attachment beside its fields."""


def conformance(data: Path) -> Iterator[Row]:
    """Files that agree.

    Args:
        data: the real logs.
    """
    files = sorted((data / "mcap_conformance").rglob("*.mcap"))
    differ = [path for path in files if read_as_json(path) != expected(path)]
    yield Row(
        name="conformance", value=len(files) - len(differ), unit="files", target=">= 416",
        n=len(files), peer="the suite's JSON",
    )  # fmt: skip


def expected(path: Path) -> list[Any]:
    """What the suite says is in a file."""
    said: list[Any] = json.loads(path.with_suffix(".json").read_text())["records"]
    return said


def read_as_json(path: Path) -> list[Any]:
    """What our reader says, in the form of the suite; a loss is a record that no file has."""
    found: list[Any] = []
    with Reader(path) as reader:
        for record in reader.records():
            each = record.messages() if isinstance(record, MessageRun) else (record,)
            found.extend(map(_record, each))
    return found


def _record(record: Any) -> dict[str, Any]:
    if isinstance(record, Loss):
        return {"type": "Loss", "fields": record.to_json()}
    names = sorted(field.name for field in fields(record) if field.name not in NOT_IN_JSON)
    return {
        "type": NAMES.get(type(record), type(record).__name__),
        "fields": [[name, _value(getattr(record, name))] for name in names],
    }


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return [str(byte) for byte in value]
    if isinstance(value, dict):
        return {str(key): str(each) for key, each in value.items()}
    return value if isinstance(value, str) else str(value)
