"""An episode: one attempt, from a reset to an outcome; the unit in which data is committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from viae.errors import SchemaError
from viae.schema.fact import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One row of the table ``episodes``.

    Args:
        episode_id: hex digest of the log's content and the episode's range in it.
        log_uri: where the log was when it was ingested.
        log_hash: hex digest of the bytes that make up the episode.
        log_range: which part of the log it is; empty for all of it.
        log_format: the format's name, e.g. ``"mcap"``.
        robot: the robot's name; empty where unknown.
        task: the instruction, in words; empty where unknown.
        agent: who acted: ``"human"``, ``"scripted:…"``, ``"bundle:…"``; empty where unknown.
        start_ns: first arrival.
        end_ns: last arrival.
        outcome: whether it succeeded; None where nobody said.
        conditions: the initial condition and anything else the log says of itself.

    Raises:
        SchemaError: the episode ends before it starts.
    """

    episode_id: str
    log_uri: str
    log_hash: str
    log_range: str
    log_format: str
    robot: str = ""
    task: str = ""
    agent: str = ""
    start_ns: int = 0
    end_ns: int = 0
    outcome: bool | None = None
    conditions: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.end_ns < self.start_ns:
            raise SchemaError(
                f"episode {self.episode_id}: ends at {self.end_ns} before it starts at "
                f"{self.start_ns}"
            )
