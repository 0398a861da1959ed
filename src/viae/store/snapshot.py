"""A snapshot: the versions of all tables at one moment. Reading it again gives the same rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Names a state of a store.

    Args:
        versions: Lance version per table.
    """

    versions: Mapping[str, int]

    @property
    def snapshot_id(self) -> str:
        """A short digest, for people."""
        digest = hashlib.blake2b(self.to_json().encode(), digest_size=4)
        return f"snap-{digest.hexdigest()}"

    def to_json(self) -> str:
        """As JSON text with sorted keys."""
        return json.dumps(dict(self.versions), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """The inverse of `to_json`."""
        return cls(versions=json.loads(text))
