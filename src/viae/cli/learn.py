"""Commands of the loop: train, evaluate, select, improve, report."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import (
    JsonOption,
    LogsOption,
    StoreOption,
    WorkersOption,
    WorldOption,
    app,
    local_folder,
    logs_folder,
    need,
)
from viae.cli.render import err, out, print_json, print_table, progress_bar, write_text
from viae.cli.train import train_app

TasksOption = Annotated[
    list[str], typer.Option("--task", help="A task; repeat for more.", show_default=False)
]
HorizonOption = Annotated[
    int | None, typer.Option(help="Steps after which an attempt has failed; default: the world's.")
]


@train_app.command("clone")
def train(
    bundle: Annotated[Path, typer.Argument(help="Folder to write the bundle to.")],
    store: StoreOption = "store",
    where: Annotated[
        str, typer.Option(help="SQL condition on episodes: what to learn from.")
    ] = "outcome IS NOT FALSE AND NOT starts_with(agent, 'bundle:')",
    steps: Annotated[int, typer.Option(help="Updates, at most.", min=1)] = 4000,
    chunk: Annotated[int, typer.Option(help="Actions predicted at once.", min=1)] = 8,
    past: Annotated[int, typer.Option(help="Samples of each vector input.", min=1)] = 1,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="A stream to show; default: every vector observation."),
    ] = None,
    action: Annotated[str, typer.Option(help="The stream to predict.")] = "",
    relative_to: Annotated[
        str, typer.Option(help="Predict the action's difference from this stream.")
    ] = "",
    images: Annotated[bool, typer.Option(help="Show picture streams, where there are any.")] = True,
    picture_size: Annotated[int, typer.Option(help="Pixels a side.", min=8)] = 96,
    held_out: Annotated[
        float, typer.Option(help="Share of episodes for early stopping.", min=0, max=0.9)
    ] = 0.1,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="Threads of the network.", min=1)] = 1,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the loss curve into this SVG file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a behaviour-cloning policy from a store's newest snapshot.

    Run it again after a kill: it goes on from the last checkpoint to the same weights.
    """
    import torch

    from viae.store import Store
    from viae.train import CloneRecipe, LoopConfig
    from viae.verbs import figures
    from viae.verbs.train import train as verb

    torch.set_num_threads(threads)
    recipe = CloneRecipe(
        inputs=tuple(inputs or ()), action=action, images=images, past=past, chunk=chunk,
        picture_size=(picture_size, picture_size), relative_to=relative_to,
        held_out_share=held_out, loop=LoopConfig(steps=steps, seed=seed),
    )  # fmt: skip
    known = (bundle / "bundle.json").exists()
    with progress_bar() as tell:
        trained = verb(Store.open(store), bundle, recipe, where=where, tell=tell)
    if known:
        err.print(
            "these options made this bundle before: nothing was trained. Remove it to train on"
        )
        err.print("what is in the store now.")
    metrics, episodes = trained.provenance.metrics, trained.provenance.episodes
    if figure:
        write_text(figure, figures.loss_curve(metrics["curve"]))
    summary = {
        "bundle": trained.bundle_id,
        "path": str(bundle),
        "episodes": {name: len(ids) for name, ids in episodes.items()},
        "tasks": list(trained.tasks),
        "windows": metrics["windows"],
        "windows_skipped": metrics["windows_skipped"],
        "episodes_skipped": metrics["episodes_skipped"],
        "parameters": metrics["parameters"],
        "curve": metrics["curve"],
    }
    if json:
        print_json(summary)
        return
    print_table(("update", "training loss", "held-out loss"), metrics["curve"])
    for name in ("bundle", "path", "episodes", "tasks", "windows", "windows_skipped", "parameters"):
        out.print(f"{name:>15}  {summary[name]}", markup=False)


@app.command()
def evaluate(
    bundles: Annotated[
        list[Path], typer.Argument(help="Bundles; each is compared with the first.")
    ],
    store: StoreOption = "store",
    n: Annotated[int, typer.Option("-n", help="Initial states per task.", min=1)] = 50,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Default: those a cloned policy knows.")
    ] = None,
    world: WorldOption = "metaworld",
    logs: LogsOption = None,
    horizon: HorizonOption = None,
    workers: WorkersOption = 2,
    json: JsonOption = False,
) -> None:
    """Roll bundles out on initial states none was trained on, the same for each.

    Success rates have 95% Wilson intervals; two bundles are compared pair by pair. Every rollout is
    recorded, ingested, and its outcome stored as a fact.
    """
    from viae.store import Store
    from viae.verbs.evaluate import evaluate as verb
    from viae.verbs.rollouts import workers as pool

    folder = logs_folder(store, logs) / "rollouts"
    with pool(workers) as executor, progress_bar() as tell:
        results = verb(
            bundles, Store.create(store), folder, executor,
            world=world, tasks=task or (), n=n, horizon=horizon, tell=tell,
        )  # fmt: skip
    differences = [result.against(results[0]) for result in results[1:]]
    if json:
        compared = [None, *(difference.to_json() for difference in differences)]
        print_json(
            [r.to_json() | {"against_first": d} for r, d in zip(results, compared, strict=True)]
        )
        return
    rates = [result.by_task() for result in results]
    rows = [(name, *(str(rate[name]) for rate in rates)) for name in rates[0]]
    rows.append(("all", *(str(result.overall) for result in results)))
    rows.append(("difference", "", *map(str, differences)))
    print_table(("task", *map(str, bundles)), rows if differences else rows[:-1])


@app.command()
def errors(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    store: StoreOption = "store",
    where: Annotated[
        str, typer.Option(help="SQL condition on episodes: what to compare on.")
    ] = "outcome IS NOT FALSE AND NOT starts_with(agent, 'bundle:')",
    json: JsonOption = False,
) -> None:
    """Compare a bundle's actions with recorded ones, on episodes it never saw.

    For logs without a simulator: mean absolute error, and its ratio to repeating the last action
    (below 1 the policy is nearer), over the chunk and at its first step.
    """
    from viae.evaluate import mean
    from viae.store import Store
    from viae.verbs.errors import errors as verb

    found = verb(bundle, Store.open(store), where=where)
    rows = [
        (
            e.episode.episode_id, e.episode.task, e.decisions, e.policy_error, e.persistence_error,
            e.ratio, e.first_step_ratio,
        )
        for e in found
    ]  # fmt: skip
    columns = (
        "episode", "task", "decisions", "policy", "last action", "ratio", "first step's ratio",
    )  # fmt: skip
    over, first = mean([e.ratio for e in found]), mean([e.first_step_ratio for e in found])
    if json:
        episodes = [dict(zip(columns, row, strict=True)) for row in rows]
        print_json(
            {"ratio": over.to_json(), "first_step_ratio": first.to_json(), "episodes": episodes}
        )
        return
    print_table(columns, rows)
    out.print(
        f"policy ÷ last action, over episodes: {over}; at the first step: {first}", markup=False
    )


@app.command()
def select(
    budget: Annotated[int, typer.Option(help="Demonstrations to record in all.", min=0)] = 24,
    store: StoreOption = "store",
    world: WorldOption = "metaworld",
    json: JsonOption = False,
) -> None:
    """Say what to record next: where demonstrations are expected to help most, and why."""
    from viae.store import Store
    from viae.verbs.select import select as verb

    queue = verb(Store.open(store), world=world, budget=budget)
    if json:
        print_json([line.to_json() for line in queue])
        return
    print_table(
        ("task", "record", "gain, points", "reason"),
        [(x.task, x.demonstrations, round(100 * x.gain, 1), x.reason) for x in queue],
    )


@app.command()
def improve(
    task: TasksOption,
    store: StoreOption = "store",
    world: WorldOption = "metaworld",
    demonstrations: Annotated[int, typer.Option(help="Of each task, at first.", min=1)] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds with selected data.", min=0)] = 2,
    budget: Annotated[int, typer.Option(help="Demonstrations selected a round.", min=0)] = 24,
    attempts: Annotated[int, typer.Option(help="Per task and round.", min=1)] = 20,
    steps: Annotated[int, typer.Option(help="Updates a round.", min=1)] = 3000,
    horizon: HorizonOption = None,
    seed: int = 0,
    work: Annotated[
        Path | None, typer.Option(help="Folder of logs, bundles and report; default: beside STORE.")
    ] = None,
    workers: WorkersOption = 2,
    json: JsonOption = False,
) -> None:
    """Run the whole loop: record, ingest, train, evaluate, select; again with what was selected.

    Kill it whenever you like and run the same command again: it goes on where it was.
    """
    need("torch", "safetensors", "sklearn", "matplotlib", "jinja2")
    import torch

    from viae.store import Store
    from viae.train import CloneRecipe, LoopConfig
    from viae.verbs.improve import ImprovePlan
    from viae.verbs.improve import improve as verb
    from viae.verbs.report import report as write
    from viae.verbs.rollouts import workers as pool

    torch.set_num_threads(1)
    plan = ImprovePlan(
        world=world, tasks=tuple(task), demonstrations=demonstrations, rounds=rounds,
        budget=budget, attempts=attempts, horizon=horizon,
        # With an episode or two of a task held out, early stopping would choose by luck: see 0003.
        recipe=CloneRecipe(held_out_share=0.0, loop=LoopConfig(steps=steps, seed=seed)),
    )  # fmt: skip
    folder = work or local_folder(store, "--work").parent
    opened = Store.create(store)
    with pool(workers) as executor, progress_bar() as tell:
        done = verb(plan, opened, folder, executor, tell=tell)
    page = write(opened, folder / "report.html")
    if json:
        print_json(
            {
                "report": str(page),
                "rounds": [
                    r.evaluation.to_json()
                    | {
                        "demonstrations": dict(r.demonstrations),
                        "queue": [line.to_json() for line in r.queue],
                    }
                    for r in done
                ],
            }
        )
        return
    rates = [r.evaluation.by_task() for r in done]
    rows = [
        (
            name,
            *(
                f"{r.demonstrations[name]}: {rate[name]}"
                for r, rate in zip(done, rates, strict=True)
            ),
        )
        for name in rates[0]
    ]
    rows.append(
        ("all", *(f"{sum(r.demonstrations.values())}: {r.evaluation.overall}" for r in done))
    )
    changes = (str(b.evaluation.against(a.evaluation)) for a, b in pairwise(done))
    rows.append(("change", "", *changes))
    print_table(
        ("task", *(f"round {r.number}" for r in done)), rows,
        title="demonstrations: success [95% interval], unseen initial states",
    )  # fmt: skip
    out.print(f"report: {page}", style="bold")


@app.command()
def report(
    page: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    store: StoreOption = "store",
) -> None:
    """Write the report of an improvement again, from its store."""
    from viae.store import Store
    from viae.verbs.report import report as verb

    out.print(f"report: {verb(Store.open(store), page)}", style="bold")
