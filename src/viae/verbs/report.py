"""Report: one HTML file about an improvement, read from the store alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viae.errors import UsageError
from viae.evaluate import paired_difference
from viae.store import Snapshot, Store
from viae.verbs import figures
from viae.verbs.page import write_page


def report(store: Store, out: Path) -> Path:
    """Write the report of the improvement that a store holds.

    Args:
        store: after `viae.verbs.improve.improve`.
        out: the HTML file; it needs nothing beside it.

    Raises:
        UsageError: the store holds no finished round, or the file cannot be written.
    """
    return write_page(out, "report.html.jinja", **facts_of(store))


def facts_of(store: Store) -> dict[str, Any]:
    """Everything the report shows, as data."""
    improvements = store.runs("improve")
    rounds = sorted(store.runs("round"), key=lambda run: run["config"]["number"])
    if not improvements or not rounds:
        raise UsageError(f"{store.uri} holds no improvement yet: run  viae improve")
    evaluations = {run["run_id"]: run for run in store.runs("evaluate")}
    trainings = {run["bundle"]: run for run in store.runs("train")}
    shown = [
        _round(run, evaluations[run["metrics"]["evaluation"]], trainings[run["bundle"]])
        for run in rounds
    ]
    outcomes = [_outcomes(store, run["metrics"]["evaluation"]) for run in rounds]
    for number in range(1, len(shown)):
        shared = sorted(outcomes[number].keys() & outcomes[number - 1].keys())
        shown[number]["change"] = paired_difference(
            [outcomes[number][s] for s in shared], [outcomes[number - 1][s] for s in shared]
        )
    trust = [run["metrics"] for run in store.runs("trust") if run["bundle"] == rounds[-1]["bundle"]]
    return {
        "plan": improvements[-1]["config"],
        "store": store.uri,
        "rounds": shown,
        "success_svg": figures.success_by_round([r["evaluation"] for r in shown]),
        "trust": trust[-1] if trust else None,
        "trust_svg": figures.reliability(trust[-1]["bins"]) if trust else "",
    }


def _round(
    run: Mapping[str, Any], evaluation: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "number": run["config"]["number"],
        "bundle": run["bundle"],
        "demonstrations": run["metrics"]["demonstrations"],
        "queue": run["metrics"]["queue"],
        "evaluation": evaluation["metrics"],
        "horizon": evaluation["config"]["horizon"],
        "training": training["metrics"],
        "where": training["config"]["where"],
        "snapshot": Snapshot.from_json(training["snapshot"]),
        "loss_svg": figures.loss_curve(training["metrics"]["curve"]),
        "change": None,
    }


def _outcomes(store: Store, run_id: str) -> dict[str, bool]:
    """Outcome per initial state of an evaluation, from its facts."""
    members = {fact.episode_id for fact in store.facts(key=run_id)}
    return {
        f"{episode.task} {episode.conditions['seed']}": bool(episode.outcome)
        for episode in store.episodes()
        if episode.episode_id in members
    }
