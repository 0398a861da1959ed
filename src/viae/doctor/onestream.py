"""One stream of an episode under examination: what the checks of single streams share."""

from __future__ import annotations

from dataclasses import dataclass

from viae.doctor.finding import Finding, Rule
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import JsonValue


@dataclass(frozen=True, slots=True)
class OneStream:
    """A stream, and where it is, so that findings about it say so.

    Args:
        trace: the episode.
        name: the stream's name in it.
        stream: the stream.
    """

    trace: EpisodeTrace
    name: str
    stream: StreamTrace

    def found(
        self,
        which: Rule,
        evidence: str,
        values: dict[str, JsonValue],
        *,
        at: int | None = None,
        count: int | None = None,
    ) -> Finding:
        """A finding about this stream; see `Finding`."""
        return Finding(
            rule=which,
            path=self.trace.path,
            episode=self.trace.episode,
            stream=self.name,
            evidence=evidence,
            values=values,
            at_ns=at,
            count=count,
        )
