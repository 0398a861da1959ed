"""What an MCAP file says beside its messages: metadata records and attachments."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import count

from mcap.records import Metadata

from viae.logs.format import Statement
from viae.logs.mcap.attachment import Attached
from viae.logs.mcap.recorded import DROPPED_RECORD, dropped_losses
from viae.schema import JsonValue, Loss

EPISODE_RECORD = "viae.episode"
"""The metadata record in which the recorder states things: its values are JSON."""


class Statements:
    """Turns metadata records and attachments into statements, each with a key of its own.

    Of records of one name, the second has ``#2`` behind its key, and so on: none hides another.

    Args:
        path: the file, for what is reported.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys: set[str] = set()
        self._dropped: dict[str, str] = {}

    def metadata(self, record: Metadata) -> Iterator[Statement]:
        """What a metadata record states."""
        if record.name == EPISODE_RECORD:  # of two that state the same, the later counts
            for key, text in record.metadata.items():
                yield Statement(key=key, value=_json_or_text(text))
        elif record.name == DROPPED_RECORD:
            self._dropped = dict(record.metadata)
        else:
            key = self._unique(f"mcap.metadata.{record.name}")
            yield Statement(key=key, value=dict(record.metadata))

    def attachment(self, record: Attached) -> Statement:
        """What an attachment is, and if it is small, what is in it (base64)."""
        value: dict[str, JsonValue] = {
            "media_type": record.media_type,
            "size": record.size,
            "log_time": record.log_time,
            "create_time": record.create_time,
            "blake2b": record.blake2b,
        }
        if record.data is not None:
            value["base64"] = base64.b64encode(record.data).decode()
        return Statement(key=self._unique(f"mcap.attachment.{record.name}"), value=value)

    def losses(self) -> Iterator[Loss]:
        """What the recorder says that it lost."""
        yield from dropped_losses(self._path, self._dropped)

    def _unique(self, key: str) -> str:
        found = next(
            each for n in count(1) if (each := f"{key}#{n}" if n > 1 else key) not in self._keys
        )
        self._keys.add(found)
        return found


def _json_or_text(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
