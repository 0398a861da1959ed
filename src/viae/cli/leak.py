"""Commands about causality: leak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app, need
from viae.cli.render import check_folder, out, print_json, print_table, progress_bar, write_text


@app.command()
def leak(
    spec: Annotated[Path, typer.Argument(help="What to load: a YAML file, or a bundle.")],
    store: StoreOption = "store",
    where: Annotated[str, typer.Option(help="SQL condition on episodes, besides the spec's.")] = "",
    decisions: Annotated[
        int, typer.Option(help="Windows to cut again from another future.", min=0)
    ] = 16,
    seed: Annotated[int, typer.Option(help="Which those are.", min=0)] = 0,
    figure: Annotated[
        Path | None, typer.Option(help="Draw leads and slacks into this SVG file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that no window contains a sample from after its decision.

    Every sample of every window that would be loaded is looked up in the store, and some windows
    are cut again from episodes in which everything that came later is changed. Beside it stands
    what the usual alignment, by frame number and rate, would have let in.

    Exit code 1 if there is a leak; it is named.
    """
    from viae.load.spec import read_spec
    from viae.store import Store
    from viae.verbs.leak import leak as verb

    if figure:
        need("matplotlib")
        check_folder(figure)
    with progress_bar() as tell:
        report = verb(
            read_spec(spec), Store.open(store), where=where, decisions=decisions, seed=seed,
            tell=tell,
        )  # fmt: skip
    if figure:
        from viae.verbs.figures import leads

        write_text(figure, leads([each.to_json() for each in report.inputs]))
    if json:
        print_json(report.to_json())
        raise typer.Exit(0 if report.proven else 1)
    rows = []
    for each in report.inputs:
        said = each.to_json()
        usual = said["usual"]
        share = None if usual["share"] is None else f"{usual['share']:.1%}"
        rows.append((each.stream, said["windows"], said["samples"], said["leaks"],
                     said["worst_ms"], share, usual["median_lead_ms"],
                     usual["worst_lead_ms"]))  # fmt: skip
    print_table(
        ("input", "windows", "samples", "leaks", "latest ms", "by frame: leak", "median ms",
         "worst ms"),
        rows,
    )  # fmt: skip
    if bare := [each.stream for each in report.inputs if not each.stamped]:
        out.print(
            f"{', '.join(bare)}: the recording does not say how late samples were (arrivals are "
            "stamps), so by frame only what another rate lets in can show",
            markup=False, style="dim",
        )  # fmt: skip
    for each in report.inputs:
        for found in each.checked.named:
            out.print(f"leak: {found}", markup=False, style="bold red")
    for differs in report.disturbed.differ:
        out.print(f"leak: {differs}", markup=False, style="bold red")
    changed = report.disturbed
    again = f"{changed.decisions} windows cut again with {changed.samples:,} later samples changed"
    if report.proven:
        same = f"{again}: equal to the bit" if changed.decisions else "none was cut again"
        proven = f"no window of {report.windows:,} knows the future; {same}"
        out.print(proven, style="bold")
    else:
        out.print(f"windows know the future; {again}: {len(changed.differ)} differ", style="bold")
    raise typer.Exit(0 if report.proven else 1)
