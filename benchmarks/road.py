"""The figures of the road from logs to a better policy.

``python benchmarks/road.py --json`` prints one object a line; ``--only NAME`` prints some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from driver import DATA, main
from rows import Row
from viae.evaluate import mean, success_rate
from viae.verbs.rollouts import workers

SEEDS = (0, 1, 2)
KILLS = 20


def counts_equal(work: Path) -> Iterator[Row]:
    """Messages per topic, ours against independent readers'."""
    from counts import compare

    counts = compare(DATA, work)
    yield Row(
        name="counts_equal", value=counts.equal / counts.topics, unit="share", target=">= 1",
        n=counts.topics, peer="mcap NonSeekingReader, pyarrow",
    )  # fmt: skip
    yield Row(
        name="second_ingest", value=counts.second_run, unit="episodes", target="<= 0", peer="itself"
    )


def g1_action_error_ratio(work: Path) -> Iterator[Row]:
    """Action error on real data, policy ÷ persistence."""
    from g1 import leave_one_out

    names = {"relative": "g1_action_error_ratio"}
    for result in leave_one_out(DATA, work):
        name = names.get(result["recipe"], f"g1_action_error_ratio_{result['recipe']}")
        for suffix, part, over in (
            ("", "8 steps", "ratio"),
            ("_first_step", "1 step", "first_step"),
        ):
            found = result[over]
            yield Row(
                name=f"{name}{suffix}", value=found.value, unit="ratio", low=found.low,
                high=found.high, n=found.n, peer=f"repeat the last action, {part}",
            )  # fmt: skip


def kill_recovered(work: Path) -> Iterator[Row]:
    """Kills at random moments after which a rerun ended with the same result."""
    from kill import kill_improve, kill_ingest

    for what, kill in (("ingest", kill_ingest), ("improve", kill_improve)):
        counts = kill(KILLS, seed=0, work=work / what)
        rate = success_rate([True] * counts.recovered + [False] * (counts.kills - counts.recovered))
        yield Row(
            name="kill_recovered" if what == "improve" else "kill_recovered_ingest",
            value=rate.mean, unit="share", target=">= 1", n=rate.n, low=rate.low, high=rate.high,
            peer=f"uninterrupted {what}",
        )  # fmt: skip


def clone_success(work: Path) -> Iterator[Row]:
    """Success on unseen initial states, 25 demonstrations a task."""
    from baseline import clone

    with workers(2) as executor:
        results = [clone(seed, work / f"seed-{seed}", executor) for seed in SEEDS]
    for task in sorted(results[0].by_task()):
        outcomes = [ok for r in results for state, ok in r.outcomes.items() if state.task == task]
        rate = success_rate(outcomes)
        yield Row(
            name=f"clone_success_{task}", value=rate.mean, unit="share", n=rate.n, low=rate.low,
            high=rate.high, peer="scripted expert's demonstrations",
        )  # fmt: skip
    over = mean([result.overall.mean for result in results])
    attempts = sum(result.overall.n for result in results)
    yield Row(
        name="clone_success", value=over.value, unit="share", target=">= 0.85", n=attempts,
        low=over.low, high=min(over.high, 1.0), peer="scripted expert",
    )  # fmt: skip


def trust_auroc(work: Path) -> Iterator[Row]:
    """Success foretold at 10% of the horizon, on 600 rollouts of each of three policies."""
    from baseline import trust

    with workers(2) as executor:
        results = [trust(seed, work / f"seed-{seed}", executor) for seed in SEEDS]
    names = {"auroc": "trust_auroc", "calibration_error": "trust_ece"}
    targets = {"auroc": ">= 0.92", "calibration_error": "<= 0.06"}
    for labels in results[0]:
        for measure in results[0][labels]:
            name = names.get(measure, f"trust_{measure}")
            name += "" if labels == "200" else f"_{labels}"
            each = [result[labels][measure] for result in results]
            for seed, one in zip(SEEDS, each, strict=True):
                yield Row(
                    name=f"{name}_seed{seed}", value=one.value, n=one.n, low=one.low,
                    high=one.high,
                )  # fmt: skip
            over = mean([one.value for one in each])
            yield Row(
                name=name, value=over.value, target=targets.get(measure, ""),
                n=sum(one.n for one in each), low=over.low, high=over.high,
                peer="always the base rate",
            )  # fmt: skip


FIGURES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "counts_equal": counts_equal,
    "g1_action_error_ratio": g1_action_error_ratio,
    "kill_recovered": kill_recovered,
    "clone_success": clone_success,
    "trust_auroc": trust_auroc,
}
NEED_DATA = {"counts_equal", "g1_action_error_ratio"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Trust trains on demonstrations that the baseline recorded.
    main(
        FIGURES, description=__doc__, need_data=NEED_DATA,
        folders={"trust_auroc": "clone_success"},
    )  # fmt: skip
