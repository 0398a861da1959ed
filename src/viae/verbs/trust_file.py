"""A calibrator and alarm thresholds as a JSON file: plain numbers, applied without fitting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.trust import Calibrator, Combiner, Rule

KIND, VERSION = "viae.trust", 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixed:
    """The calibrator for one elapsed time.

    Args:
        at: share of the horizon; None without times.
        calibrator: fitted on attempts still going on then.
    """

    at: float | None
    calibrator: Calibrator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrustFile:
    """All that is needed to judge new scores.

    Args:
        sources: columns of scores.
        score_means: ``success`` or ``failure``.
        timed: whether attempts are followed over time.
        horizon: of all attempts, in the table's unit; None where they differ, or without times.
        combiner: of several sources; None of one.
        fixed: calibrators, by elapsed time.
        rules: ways to alarm.
    """

    sources: tuple[str, ...]
    score_means: str
    timed: bool
    horizon: float | None
    combiner: Combiner | None
    fixed: tuple[Fixed, ...]
    rules: tuple[Rule, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": KIND,
            "version": VERSION,
            "sources": list(self.sources),
            "score_means": self.score_means,
            "timed": self.timed,
            "horizon": self.horizon,
            "combiner": self.combiner.to_json() if self.combiner else None,
            "fixed": [{"at": f.at, "calibrator": f.calibrator.to_json()} for f in self.fixed],
            "rules": [rule.to_json() for rule in self.rules],
        }

    @classmethod
    def load(cls, path: Path) -> TrustFile:
        """Read a file that  viae trust --table … --save  wrote.

        Raises:
            UsageError: there is none, it is another kind of file, or damaged.
        """
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"{path}: there is no such file") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: this is no JSON: {error}") from error
        if not isinstance(plain, dict) or plain.get("kind") != KIND:
            raise UsageError(
                f"{path}: these are no alarm thresholds. Write some with  viae trust --table TABLE "
                f"--save {path.name}"
            )
        if plain.get("version") != VERSION:
            raise UsageError(
                f"{path}: written in version {plain.get('version')} of this format; this viae "
                f"reads version {VERSION}. Write it again, or upgrade viae"
            )
        try:
            return _from_json(plain)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: the file is damaged ({error!r}); write it again") from error


def _from_json(plain: Mapping[str, Any]) -> TrustFile:
    from viae.trust import Calibrator, Combiner, Rule

    return TrustFile(
        sources=tuple(plain["sources"]),
        score_means=plain["score_means"],
        timed=bool(plain["timed"]),
        horizon=plain["horizon"],
        combiner=Combiner.from_json(plain["combiner"]) if plain["combiner"] else None,
        fixed=tuple(
            Fixed(at=f["at"], calibrator=Calibrator.from_json(f["calibrator"]))
            for f in plain["fixed"]
        ),
        rules=tuple(Rule.from_json(rule) for rule in plain["rules"]),
    )
