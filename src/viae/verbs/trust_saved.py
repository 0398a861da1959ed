"""Trust of a base model, fitted on labelled attempts and kept in the bundle's folder.

What it says of a history is a running estimate: that of the newest fixed number of steps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from viae.errors import BundleError, UsageError
from viae.schema import JsonValue
from viae.verbs.trust_file import TrustFile
from viae.verbs.trust_watch import Floats, Watched

if TYPE_CHECKING:
    from viae.foresee import Blame, History, Usual
    from viae.model import BaseBundle
    from viae.trust import Unfamiliar
    from viae.trust.scorer import Scorer

FOLDER, CARD, THRESHOLDS, VERSION = "trust", "scorers.json", "thresholds.json", 1
UNKNOWN = 0.05
"""Share of familiar moments of which it may be said that they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What is said of an attempt at a moment.

    Args:
        probability: of success, calibrated; None before the first fixed number of steps.
        low: lower of the two that Venn-Abers gives, likewise.
        high: upper, likewise.
        after: the number of steps that it rests on.
        steps: taken so far.
        alarm: by kind of threshold, whether an alarm has risen by now.
        known: whether the moment is like those that trust was fitted on; if not, the probability
            is not to be relied on: "I do not know this".
        familiar: p-value of that; None where too few attempts were there to tell.
        sources: what each source says, raw.
        why: what is not known or not said, in words; empty where there is nothing.
        blame: what is wrong with the history.
    """

    probability: float | None
    low: float | None
    high: float | None
    after: int | None
    steps: int
    alarm: Mapping[str, bool]
    known: bool
    familiar: float | None
    sources: Mapping[str, float]
    why: str
    blame: Sequence[Blame] = field(default_factory=tuple)

    def to_json(self) -> dict[str, JsonValue]:
        """As JSON-ready values."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["blame"] = [blame.to_json() for blame in self.blame]
        return plain | {"alarm": dict(self.alarm), "sources": dict(self.sources)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedTrust:
    """All that is needed to judge attempts.

    Args:
        bundle_id: the model whose signs it was fitted on.
        horizon: steps after which an attempt has failed.
        scorers: by number of steps, rising.
        familiar: tests of familiarity, by number of steps; where there were attempts enough.
        file: calibrators and alarm thresholds, of what the scorers say.
    """

    bundle_id: str
    horizon: int
    scorers: tuple[Scorer, ...]
    familiar: Mapping[int, Unfamiliar]
    file: TrustFile

    @property
    def steps(self) -> tuple[int, ...]:
        """Fixed numbers of steps."""
        return tuple(scorer.steps for scorer in self.scorers)

    def aligned(self, watched: Watched) -> Watched:
        """Attempts at the K fixed numbers of steps only, which must be among theirs."""
        return watched.at(np.flatnonzero(np.isin(watched.steps, self.steps)))

    def scores(self, watched: Watched) -> Floats:
        """Raw probabilities: float64 [N, K]; NaN where an attempt had ended.

        Args:
            watched: N attempts, see `aligned`.
        """
        out = np.full(watched.going.shape, np.nan)
        for k, scorer in enumerate(self.scorers):
            on = watched.labelled(k)
            if len(on.outcome):
                out[watched.going[:, k], k] = scorer.apply(on.features, on.given, on.tasks)
        return out

    def judge(self, history: History, task: str, usual: Usual | None = None) -> Trusted:
        """Say how an attempt will end.

        Args:
            history: up to a moment, of the model that this was fitted for.
            task: that is attempted.
            usual: of the model's training, as when trust was fitted.

        Raises:
            UsageError: a source that trust was fitted with is not there.
        """
        from viae.foresee import signs
        from viae.foresee.signs import sources_of, steps_of
        from viae.trust import Runs

        vocabulary = history.bundle.vocabulary
        sources = self.scorers[0].sources
        if missing := sorted(set(sources) - set(sources_of(vocabulary, usual))):
            raise UsageError(f"trust was fitted with {missing}, and the bundle's folder lacks it")
        taken = len(steps_of(history.events, vocabulary))
        seen = signs(history.bundle, history.events, self.steps, usual=usual, going=True)
        if not len(seen.steps):
            why = f"nothing is said before step {self.steps[0]}"
            return Trusted(probability=None, low=None, high=None, after=None, steps=taken,
                           alarm={}, known=False, familiar=None, sources={}, why=why,
                           blame=history.blame)  # fmt: skip
        given = np.stack([seen.sources[name] for name in sources], 1)
        count, who = len(seen.steps), np.array([task])
        said = np.array(
            [
                self.scorers[k].apply(seen.features[[k]], given[[k]], who)[0]
                for k in range(count)
            ]
        )  # fmt: skip
        elapsed = seen.steps / self.horizon
        runs = Runs(danger=-said, elapsed=elapsed, attempt=np.zeros(count, np.int64), count=1)
        alarm = {rule.kind: bool(np.isfinite(rule.times(runs, who)[0])) for rule in self.file.rules}
        last = count - 1
        names = self.scorers[last].names
        spoken = self.scorers[last].scores(seen.features[[last]], given[[last]], who)[0]
        p, low, high = self._calibrated(float(elapsed[last]), said[[last]], who)
        test = self.familiar.get(int(seen.steps[last]))
        familiar = float(test.p_value(seen.embedding[[last]])[0]) if test else None
        why = self._unknown(task, familiar)
        return Trusted(
            probability=p, low=low, high=high, after=int(seen.steps[last]), steps=taken,
            alarm=alarm, known=not why, familiar=familiar, why=why, blame=history.blame,
            sources=dict(zip(names, spoken.tolist(), strict=True)),
        )  # fmt: skip

    def save(self, bundle: Path) -> None:
        """Write into a bundle's folder; the trust that was there goes."""
        folder = bundle / FOLDER
        partial = bundle / f"{FOLDER}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        card = {
            "version": VERSION, "bundle_id": self.bundle_id, "horizon": self.horizon,
            "scorers": [scorer.to_json() for scorer in self.scorers],
            "familiar": sorted(self.familiar),
        }  # fmt: skip
        (partial / CARD).write_text(json.dumps(card) + "\n")
        (partial / THRESHOLDS).write_text(json.dumps(self.file.to_json()) + "\n")
        for scorer in self.scorers:
            if scorer.probe is not None:
                scorer.probe.save(_probe(partial, scorer.steps))
        for steps, test in self.familiar.items():
            test.save(_familiar(partial, steps))
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)

    @classmethod
    def load(cls, bundle: Path, model: BaseBundle | None = None) -> SavedTrust:
        """Read from a bundle's folder.

        Args:
            bundle: the folder.
            model: that it must have been fitted for; None does not check.

        Raises:
            BundleError: it was never fitted, or for another model, or is damaged.
        """
        from viae.trust import Probe, Unfamiliar
        from viae.trust.scorer import Scorer

        folder = bundle / FOLDER
        try:
            card = json.loads((folder / CARD).read_text())
            if model is not None and model.bundle_id != card["bundle_id"]:
                raise BundleError(
                    f"{folder}: this trust was fitted for bundle {card['bundle_id']}, not for "
                    f"{model.bundle_id}: run  viae trust  again"
                )
            scorers = tuple(
                Scorer.from_json(
                    each, Probe.load(_probe(folder, each["steps"])) if each["probe"] else None
                )
                for each in card["scorers"]
            )
            return cls(
                bundle_id=card["bundle_id"], horizon=card["horizon"], scorers=scorers,
                familiar={s: Unfamiliar.load(_familiar(folder, s)) for s in card["familiar"]},
                file=TrustFile.load(folder / THRESHOLDS),
            )  # fmt: skip
        except FileNotFoundError:
            raise BundleError(
                f"{bundle}: nobody has fitted trust yet: run  viae trust {bundle}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{folder}: this trust cannot be read: {error!r}. Run  viae trust  again"
            ) from error

    def _calibrated(
        self, elapsed: float, said: Floats, who: Any
    ) -> tuple[float | None, float | None, float | None]:
        from viae.verbs.trust_cases import EARLY

        newest = None
        for fixed in self.file.fixed:  # in order of time
            if fixed.at is not None and fixed.at <= elapsed + EARLY:
                newest = fixed
        if newest is None:
            return None, None, None
        found = newest.calibrator.apply(said, who)
        return float(found.probability[0]), float(found.low[0]), float(found.high[0])

    def _unknown(self, task: str, familiar: float | None) -> str:
        known = sorted(set(self.scorers[0].rates) - {""})
        if task not in known:
            return f"I do not know this: no attempt at '{task}' was labelled, only at {known}"
        if familiar is not None and familiar <= UNKNOWN:
            return (
                f"I do not know this: {familiar:.1%} of the attempts that trust knows were as "
                "strange at this time"
            )
        return ""


def _probe(folder: Path, steps: int) -> Path:
    return folder / f"probe-{steps}.safetensors"


def _familiar(folder: Path, steps: int) -> Path:
    return folder / f"familiar-{steps}.safetensors"
