"""Trust: a bundle's probe, fitted, calibrated and measured on stored rollouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from viae.errors import UsageError
from viae.evaluate import initial_states_of
from viae.schema import Episode, JsonValue, to_s
from viae.store import Store
from viae.verbs.progress import Progress, Tell, quiet

if TYPE_CHECKING:
    from viae.trust import Estimate, Source
    from viae.verbs.trust_report import RuleReport

PROBE = "trust.safetensors"
TEST_SHARE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustReport:
    """How well success is foretold.

    Args:
        bundle_id: whose view was taken.
        fraction: of the horizon at which it was asked.
        steps: the same in decisions.
        at_s: the same in seconds.
        auroc: ranking, on the test part, like the next two.
        brier_skill: improvement over the base rate.
        ece: calibration error, ten bins of equal mass.
        bins: of the reliability diagram.
        n_fit: attempts fitted and calibrated on, in alternating folds.
        n_test: attempts measured on.
        ended: attempts that had ended by then and are left out.
        sources: of a base model: each alone, and combined, on the attempts fitted on, each by
            fits on others.
        rules: of a base model: what alarms do on attempts measured on, each by thresholds that
            were calibrated on others of them.
        refused: what could not be done, in sentences.
        certain: of a base model: questions that it was taught nothing about, since all episodes
            of training had the same answer, and which.
    """

    bundle_id: str
    fraction: float
    steps: int
    at_s: float
    auroc: Estimate
    brier_skill: Estimate
    ece: Estimate
    bins: list[dict[str, JsonValue]]
    n_fit: int
    n_test: int
    ended: int
    sources: Sequence[Source] = ()
    rules: Sequence[RuleReport] = ()
    refused: Sequence[str] = ()
    certain: Mapping[str, str] = field(default_factory=dict)

    def measures(self) -> dict[str, Estimate]:
        """The three numbers, by name."""
        return {
            "AUROC": self.auroc, "Brier skill": self.brier_skill, "calibration error": self.ece,
        }  # fmt: skip

    def sentence(self) -> str:
        """What was done, in a sentence."""
        return (
            f"asked {self.at_s:.2f} s into an attempt ({self.fraction:.0%} of the horizon); fitted "
            f"and calibrated on {self.n_fit} attempts in alternating folds, measured on "
            f"{self.n_test} others from other initial states; {self.ended} had ended by then and "
            "are left out"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("auroc", "brier_skill", "ece"):
            plain[name] = plain[name].to_json()
        for name in ("sources", "rules"):
            plain[name] = [each.to_json() for each in plain[name]]
        return plain | {"refused": list(self.refused), "certain": dict(self.certain)}


def trust(
    bundle_path: Path,
    store: Store,
    *,
    fraction: float = 0.1,
    alpha: float = 0.05,
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> TrustReport:
    """Fit trust for a bundle, write it into its folder, and report on attempts left aside.

    The attempts are all stored rollouts, by this bundle or others, in tasks that it knows: seen
    through this bundle's network. They are divided by initial state, so that none is on both sides.

    Of a policy that is a probe, for one elapsed time. Of a base model it is more, see
    `viae.verbs.trust_base`: several sources, a running estimate, and alarms.

    Args:
        bundle_path: the bundle's folder.
        store: with rollouts in it; for a policy the store that it was trained from.
        fraction: of the horizon, at which to ask. Fixed, since elapsed time alone tells failures,
            which run longer, from successes.
        alpha: the share of successes that a base model's alarms may disturb.
        tell: told of progress.
        now_ns: the clock, for the run's row.

    Raises:
        UsageError: too few attempts of either outcome.
    """
    from viae.model.base_bundle import is_base

    rollouts = [
        episode
        for episode in store.episodes()
        if episode.agent.startswith("bundle:") and episode.outcome is not None
    ]
    of = _of_base if is_base(bundle_path) else _of_policy
    report = of(bundle_path, store, rollouts, fraction, alpha, tell)
    store.add_run(
        run_id=f"trust-{report.bundle_id}", kind="trust", bundle=report.bundle_id,
        config={"fraction": fraction}, metrics=report.to_json(), time_ns=now_ns(),
    )  # fmt: skip
    return report


def _of_policy(
    bundle_path: Path,
    store: Store,
    rollouts: Sequence[Episode],
    fraction: float,
    alpha: float,
    tell: Tell,
) -> TrustReport:
    from viae.model import Bundle
    from viae.trust import (
        Familiarity,
        auroc,
        brier_skill,
        calibration_error,
        describe_attempts,
        estimate,
        fit_probe,
        reliability_bins,
    )

    del alpha  # there is no alarm
    tell(Progress(phase="trust", done=0, total=2))
    bundle = Bundle.load(bundle_path)
    rollouts = [episode for episode in rollouts if episode.task in bundle.tasks]
    steps = _decisions(rollouts, fraction)
    seen = describe_attempts(
        bundle, store, rollouts, steps=steps, familiarity=Familiarity(bundle, store)
    )
    tell(Progress(phase="trust", done=1, total=2, note=f"{len(seen.episodes)} attempts"))
    outcome = np.array([bool(episode.outcome) for episode in seen.episodes])
    starts = np.array([str(initial_states_of([e])) for e in seen.episodes])
    test = left_aside(starts, share=TEST_SHARE)
    tasks = np.array([episode.task for episode in seen.episodes])
    probe = fit_probe(
        seen.features[~test], outcome[~test], tasks[~test], starts[~test], steps=steps
    )
    said = probe.probability(seen.features[test], tasks[test])
    report = TrustReport(
        bundle_id=bundle.bundle_id,
        fraction=fraction,
        steps=steps,
        at_s=_seconds(store, seen.episodes, steps, bundle.window.decision),
        auroc=estimate(auroc, outcome[test], said),
        brier_skill=estimate(brier_skill, outcome[test], said),
        ece=estimate(calibration_error, outcome[test], said),
        bins=reliability_bins(outcome[test], said),
        n_fit=int((~test).sum()),
        n_test=int(test.sum()),
        ended=seen.ended,
    )
    probe.save(bundle_path / PROBE)
    tell(Progress(phase="trust", done=2, total=2))
    return report


def _of_base(
    bundle_path: Path,
    store: Store,
    rollouts: Sequence[Episode],
    fraction: float,
    alpha: float,
    tell: Tell,
) -> TrustReport:
    from viae.foresee import Usual
    from viae.foresee.signs import stepping
    from viae.model import BaseBundle
    from viae.trust import reliability_bins
    from viae.verbs.trust_base import FRACTIONS, fit_trust, fixed_steps
    from viae.verbs.trust_watch import watch

    bundle = BaseBundle.load(bundle_path)
    steps = _decisions(rollouts, fraction)
    horizon = _horizon(rollouts[0].conditions)
    watched = watch(
        bundle, store, rollouts, steps=fixed_steps(horizon, [*FRACTIONS, fraction]),
        horizon=horizon, usual=Usual.load(bundle_path), tell=tell,
    )  # fmt: skip
    test = left_aside(watched.units, share=TEST_SHARE)
    fitted = fit_trust(
        watched.part(~test), watched.part(test), bundle_id=bundle.bundle_id, at=steps,
        alpha=alpha, path=bundle_path,
    )  # fmt: skip
    asked = [each for each in fitted.held.held if each.at == steps / horizon]
    if not asked:
        raise UsageError(
            f"{fraction:.0%} into the horizon there were not enough attempts of either outcome "
            "still going on to learn trust from: choose another --fraction"
        )
    measured = asked[0].measured
    assert measured.brier_skill is not None and measured.ece is not None
    going = watched.going[:, watched.steps.index(steps)]
    outcome, said = fitted.said(watched.part(test), steps)
    fitted.saved.save(bundle_path)
    return TrustReport(
        bundle_id=bundle.bundle_id,
        fraction=fraction,
        steps=steps,
        at_s=_seconds(store, [rollouts[int(np.argmax(going))]], steps, stepping(bundle.vocabulary)),
        auroc=measured.auroc,
        brier_skill=measured.brier_skill,
        ece=measured.ece,
        bins=reliability_bins(outcome, said),
        n_fit=int((going & ~test).sum()),
        n_test=int((going & test).sum()),
        ended=int((~going).sum()),
        sources=fitted.sources,
        rules=fitted.rules,
        refused=fitted.refused,
        certain=bundle.vocabulary.certain,
    )


def left_aside(groups: Any, *, share: float, seed: int = 0) -> Any:
    """Which cases are in the test part: whole groups, about a share of them.

    Args:
        groups: [N] strings.
        share: of the groups.
        seed: of the choice.

    Returns:
        bool [N].
    """
    names = np.unique(groups)
    chosen = np.random.default_rng(seed).permutation(len(names))[: round(share * len(names))]
    return np.isin(groups, names[chosen])


def _decisions(rollouts: Sequence[Episode], fraction: float) -> int:
    """The decision to ask at; the horizon is what the rollouts say it was."""
    horizons = {_horizon(episode.conditions) for episode in rollouts}
    if len(horizons) != 1:
        raise UsageError(
            f"the store's {len(rollouts)} rollouts have the horizons {sorted(horizons)}; trust "
            "needs rollouts of one: run  viae evaluate  with one --horizon"
        )
    return max(2, int(horizons.pop() * fraction))


def _horizon(conditions: Mapping[str, JsonValue]) -> int:
    horizon = conditions.get("horizon")
    return horizon if isinstance(horizon, int) else 0


def _seconds(store: Store, episodes: Sequence[Episode], steps: int, stream: str) -> float:
    """How long ``steps`` decisions take, from the recorded arrivals of the first attempt."""
    episode_id = episodes[0].episode_id
    arrivals = np.sort(store.samples([episode_id], [stream])[episode_id, stream].arrival_ns)
    return to_s(arrivals[steps] - arrivals[0])
