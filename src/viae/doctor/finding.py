"""What the doctor says: findings, each under a stable name from one catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from viae.schema import JsonValue


class Severity(StrEnum):
    """How bad it is for learning."""

    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """A model can learn from this, and will learn something wrong from it unless it is handled."""
    ERROR = "error"
    """Data is missing, or its times cannot be believed."""

    @property
    def exit_code(self) -> int:
        """What the command returns when this is the worst finding."""
        return {Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 4}[self]

    @property
    def rank(self) -> int:
        """0 is the mildest."""
        return tuple(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of the catalogue: what a name means, whatever the log.

    Args:
        name: stable, lower case with dashes; programs may rely on it.
        severity: how bad it is.
        title: what it is, in a few words.
        consequence: what it does to learning.
        fix: what to do, as an imperative sentence.
    """

    name: str
    severity: Severity
    title: str
    consequence: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the doctor found.

    Args:
        rule: its entry in the catalogue.
        path: the file, folder or store.
        evidence: one sentence with the numbers that show it.
        values: the same numbers, for programs; units in the names (``offset_ms``, ``drift_ppm``).
        episode: which part of the log; empty for all of it, or for the log as a whole.
        stream: the stream concerned; empty where none is.
        other: the second stream, of findings about two.
        at_ns: log time of the first occurrence, if there is one.
        count: how many samples, frames or episodes are concerned.
    """

    rule: Rule
    path: str
    evidence: str
    values: Mapping[str, JsonValue] = field(default_factory=dict)
    episode: str = ""
    stream: str = ""
    other: str = ""
    at_ns: int | None = None
    count: int | None = None

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    @property
    def severity(self) -> Severity:
        """The rule's severity."""
        return self.rule.severity

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "name": self.name, "severity": str(self.severity), "path": self.path,
            "episode": self.episode, "stream": self.stream, "other": self.other,
            "at_ns": self.at_ns, "count": self.count, "evidence": self.evidence,
            "values": dict(self.values), "consequence": self.rule.consequence,
            "fix": self.rule.fix,
        }  # fmt: skip


CATALOGUE: dict[str, Rule] = {}
"""Every rule there is, by name. The modules of the checks add theirs with `rule`."""


def rule(name: str, severity: Severity, title: str, *, consequence: str, fix: str) -> Rule:
    """Define a rule and enter it in the catalogue.

    Raises:
        ValueError: the name is taken.
    """
    if name in CATALOGUE:
        raise ValueError(f"there is a rule named '{name}' already")
    CATALOGUE[name] = Rule(
        name=name, severity=severity, title=title, consequence=consequence, fix=fix
    )
    return CATALOGUE[name]
