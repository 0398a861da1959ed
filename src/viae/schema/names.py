"""What streams are called where episodes of several robots, or of several stores, are put together.

Two robots may both have a stream ``state``, of three numbers and of seven. To one model these are
two streams, so they need two names. A name is the first of

1. ``NAME``, as recorded,
2. ``ROBOT:NAME`` (``unknown:NAME`` where the log does not say whose it is),
3. ``ROBOT:NAME:WHAT``, with what a sample is: ``g1:state:float32[7]``

that means one thing only in all episodes it was found in: one kind, role, dtype and shape. So a
name depends on which streams there are, and never on the order in which they are met.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from viae.schema.events import INSTRUCTION, OUTCOME
from viae.schema.stream import Kind, StreamSpec

RESERVED = frozenset({INSTRUCTION, OUTCOME})
"""Names of what viae itself says of an episode; a log's own stream of such a name has another."""
PICTURES = (Kind.IMAGE, Kind.VIDEO)


def nature(spec: StreamSpec) -> str:
    """What a sample is, in one word: ``"float32[7]"``, ``"picture[96,128,3]"``, ``"text"``."""
    what = "picture" if spec.kind in PICTURES else spec.dtype or str(spec.kind)
    return f"{what}[{','.join(map(str, spec.shape))}]" if spec.shape else what


@dataclass(frozen=True, slots=True)
class StreamNames:
    """How streams of some episodes are called.

    Args:
        known: per candidate name what it means (`nature` and role), or None where it means several
            things.
        reserved: names that no stream of a log may have.
    """

    known: Mapping[str, str | None]
    reserved: frozenset[str] = RESERVED

    @classmethod
    def of(
        cls, streams: Iterable[tuple[str, StreamSpec]], reserved: Iterable[str] = ()
    ) -> StreamNames:
        """The names of streams.

        Args:
            streams: of all episodes of all stores: the robot, and the spec of what is shown.
            reserved: names to keep free, beside `RESERVED`.
        """
        known: dict[str, str | None] = {}
        for robot, spec in streams:
            for name in (spec.name, _own(robot, spec)):
                meaning = _meaning(spec)
                known[name] = meaning if known.get(name, meaning) == meaning else None
        return cls(known, RESERVED | frozenset(reserved))

    def name(self, robot: str, spec: StreamSpec) -> str:
        """What a stream is called; also one that was not among those the names were made of."""
        meaning = _meaning(spec)
        for name in (spec.name, _own(robot, spec)):
            if name not in self.reserved and self.known.get(name, meaning) == meaning:
                return name
        return f"{_own(robot, spec)}:{nature(spec)}"

    def renamed(self, robot: str, spec: StreamSpec) -> StreamSpec:
        """A stream under the name that it is called by."""
        return replace(spec, name=self.name(robot, spec))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"known": dict(self.known), "reserved": sorted(self.reserved)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> StreamNames:
        """The inverse of `to_json`."""
        return cls(dict(fields["known"]), frozenset(fields["reserved"]))


def _own(robot: str, spec: StreamSpec) -> str:
    return f"{robot or 'unknown'}:{spec.name}"


def _meaning(spec: StreamSpec) -> str:
    return f"{nature(spec)} {spec.role}"
