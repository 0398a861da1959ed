"""The MCAP conformance suite: every record of every file, field by field, is what its JSON says."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from viae.logs.mcap.attachment import Attached
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.schema import Loss

OURS = {"blake2b", "size", "is_sound"}


def value_as_json(value):
    if isinstance(value, bytes):
        return [str(byte) for byte in value]
    if isinstance(value, dict):
        return {str(key): str(each) for key, each in value.items()}
    return value if isinstance(value, str) else str(value)


def record_as_json(record):
    assert not isinstance(record, Loss), record
    names = sorted({field.name for field in fields(record)} - OURS)
    return {
        "type": "Attachment" if isinstance(record, Attached) else type(record).__name__,
        "fields": [[name, value_as_json(getattr(record, name))] for name in names],
    }


def file_as_json(path: Path):
    with Reader(path) as reader:
        return [
            record_as_json(each)
            for record in reader.records()
            for each in (record.messages() if isinstance(record, MessageRun) else (record,))
        ]


@pytest.mark.data
def test_all_files_agree_with_their_json(data_dir: Path):
    paths = sorted((data_dir / "mcap_conformance").rglob("*.mcap"))
    assert len(paths) == 416
    differ = [
        path.name
        for path in paths
        if file_as_json(path) != json.loads(path.with_suffix(".json").read_text())["records"]
    ]
    assert differ == []
