"""Facts: what is said about a recording after, or beside, the recording itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from viae.errors import SchemaError

JsonValue = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One statement about an episode, a span of it, or a pair of episodes: added, never changed.

    A later fact with the same subject and key wins (`time_ns`, then `fact_id`).

    Args:
        episode_id: the subject.
        key: what is said, dotted lower case, e.g. ``"outcome"`` or ``"mcap.metadata.calibration"``.
        value: any JSON value.
        author: who says it: ``"log"``, a person, ``"viae evaluate"``, a bundle id.
        time_ns: when it was said, ns since 1970.
        start_ns: start of the span, log clock; None for the whole episode.
        end_ns: end of the span, exclusive.
        other_episode_id: the second episode of a pair.

    Raises:
        SchemaError: no key, or half a span.
    """

    episode_id: str
    key: str
    value: JsonValue
    author: str
    time_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    other_episode_id: str | None = None
    fact_id: str = field(init=False)

    def __post_init__(self) -> None:
        if not self.key:
            raise SchemaError(f"episode {self.episode_id}: a fact needs a key")
        if (self.start_ns is None) != (self.end_ns is None):
            raise SchemaError(f"episode {self.episode_id}: fact '{self.key}' has half a span")
        said = [
            self.episode_id, self.key, self.value, self.author, self.time_ns,
            self.start_ns, self.end_ns, self.other_episode_id,
        ]  # fmt: skip
        digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8)
        object.__setattr__(self, "fact_id", digest.hexdigest())
