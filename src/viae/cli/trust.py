"""Trust: of a bundle's attempts, or of the scores that any model left in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app, need
from viae.cli.render import (
    err,
    out,
    print_first,
    print_json,
    print_table,
    progress_bar,
    write_json,
    write_text,
)
from viae.errors import UsageError

if TYPE_CHECKING:
    from viae.trust import Estimate, Source
    from viae.verbs.trust_apply import Applied
    from viae.verbs.trust_cases import Columns
    from viae.verbs.trust_report import Measures, RuleReport, TableReport

UNDONE = 1
BUNDLE, TABLE = "Of a bundle", "Of a table"
MEASURES = ("AUROC", "Brier skill", "ECE")
AFTER = tuple(f"{name} after" for name in MEASURES)


@app.command()
def trust(
    bundle: Annotated[
        Path | None, typer.Argument(help="The bundle whose attempts to judge.")
    ] = None,
    store: StoreOption = "store",
    fraction: Annotated[
        list[float] | None,
        typer.Option(
            help="When to judge, as a share of the horizon; default .1, of a table also .25, .5.",
            min=0.01, max=1,
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw the reliability diagram into this SVG file.", rich_help_panel=BUNDLE
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            help="Of a base model: say how an attempt will end, at EPISODE@12.3s of the store.",
            rich_help_panel=BUNDLE,
        ),
    ] = "",
    table: Annotated[
        Path | None,
        typer.Option(
            help="Judge the scores in this .parquet, .csv or .jsonl.", rich_help_panel=TABLE
        ),
    ] = None,
    saved: Annotated[
        Path | None,
        typer.Option("--with", help="Apply what --save wrote.", rich_help_panel=TABLE),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write calibrator and thresholds as JSON.", rich_help_panel=TABLE),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Report as .html or .svg; with --with, judged rows as .parquet, .csv or .jsonl.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="Column of scores; repeat to combine.", rich_help_panel=TABLE),
    ] = None,
    score_means: Annotated[
        str, typer.Option(help="What a high score says: success or failure.", rich_help_panel=TABLE)
    ] = "",
    outcome: Annotated[
        str, typer.Option(help="Column of outcomes; default: outcome.", rich_help_panel=TABLE)
    ] = "",
    group: Annotated[
        str, typer.Option(help="Column of groups; default: group.", rich_help_panel=TABLE)
    ] = "",
    attempt: Annotated[
        str, typer.Option(help="Column of attempts; default: attempt.", rich_help_panel=TABLE)
    ] = "",
    time: Annotated[
        str,
        typer.Option(help="Column of elapsed times; default: time_s or step.",
                     rich_help_panel=TABLE),
    ] = "",
    horizon: Annotated[
        str,
        typer.Option(help="Column of horizons, or one number; default: horizon, or the longest.",
                     rich_help_panel=TABLE),
    ] = "",
    together: Annotated[
        str,
        typer.Option(help="Column, equal for cases that depend on each other.",
                     rich_help_panel=TABLE),
    ] = "",
    alpha: Annotated[
        float,
        typer.Option(help="Share of successes that alarms may disturb; not of a policy."),
    ] = 0.05,
    method: Annotated[
        str,
        typer.Option(help="venn-abers, cross-venn-abers or isotonic.", rich_help_panel=TABLE),
    ] = "venn-abers",
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Learn to tell early whether an attempt will succeed; or calibrate any model's scores.

    Of a bundle: from stored rollouts; fitted on some, calibrated on others, reported on a third
    part, always at the same time into the attempt. Of a base model also a running estimate and
    alarms, kept in its folder: --at asks them.

    Of a table (score, outcome, group; over time also attempt, time_s and horizon): calibration
    before and after, and alarm thresholds with a guaranteed rate of false alarms.
    """
    from viae.verbs.trust_cases import Columns

    if (bundle is None) == (table is None):
        raise UsageError("name either a bundle, or a table with --table")
    if bundle is not None:
        if save or saved or page:
            raise UsageError("--save, --with and --out are for a table: name one with --table")
        if fraction and len(fraction) > 1:
            raise UsageError("a bundle's attempts are judged at one --fraction")
        if at:
            if fraction or figure:
                raise UsageError("--at asks what was fitted before: leave out --fraction, --figure")
            _running(bundle, store, at, json)
        else:
            _of_bundle(bundle, store, (fraction or [0.1])[0], alpha, figure, json)
    if table is not None:
        number = _number(horizon)
        columns = Columns(
            scores=tuple(score or ()), outcome=outcome, group=group, attempt=attempt, time=time,
            horizon="" if number is not None else horizon, together=together,
            score_means=score_means,
        )  # fmt: skip
        if figure or at:
            raise UsageError(
                "--figure and --at are for a bundle: write a table's figure with --out FILE.svg"
            )
        if saved:
            if save:
                raise UsageError("--save writes new thresholds, --with applies old ones")
            _apply(table, saved, columns, number, page, json)
        else:
            _fit(table, columns, number, alpha, method, fraction, page, save, json)


def _fit(
    table: Path,
    columns: Columns,
    horizon: float | None,
    alpha: float,
    method: str,
    fractions: list[float] | None,
    page: Path | None,
    save: Path | None,
    json: bool,
) -> None:
    need("sklearn", "venn_abers", *(("matplotlib", "jinja2") if page else ()))
    from viae.verbs.trust_page import check_page, write_page
    from viae.verbs.trust_table import FRACTIONS, trust_table

    if page:
        check_page(page)
    with progress_bar() as tell:
        report, file = trust_table(
            table, columns, alpha=alpha, method=method, fractions=fractions or FRACTIONS,
            horizon=horizon, tell=tell,
        )  # fmt: skip
    if page:
        write_page(report, page)
    if save:
        write_json(save, file.to_json())
    if json:
        print_json(report.to_json())
    else:
        _print_table_report(report)
        for path in filter(None, (page, save)):
            out.print(f"written: {path}", style="bold")
    for sentence in report.refused:
        err.print(f"not done: {sentence}", markup=False)
    if report.refused:
        raise typer.Exit(UNDONE)


def _running(bundle: Path, store: str, at: str, json: bool) -> None:
    need("torch", "safetensors")
    from viae.store import Store
    from viae.verbs.trust_at import trust_at

    said = trust_at(bundle, Store.open(store), at)
    if json:
        print_json(said.to_json())
        return
    for blame in said.blame:
        err.print(str(blame), markup=False, style="yellow", soft_wrap=True)
    if said.why:
        err.print(said.why, markup=False, style="yellow", soft_wrap=True)
    if said.probability is not None:
        out.print(
            f"success {said.probability:.3f}, between {said.low:.3f} and {said.high:.3f}, by what "
            f"was seen until step {said.after} of {said.steps}",
            style="bold", markup=False, soft_wrap=True,
        )  # fmt: skip
    print_table(("source", "raw"), list(said.sources.items()))
    for kind, raised in said.alarm.items():
        out.print(f"{kind} alarm: {'raised' if raised else 'silent'}", markup=False)


def _of_bundle(
    bundle: Path, store: str, fraction: float, alpha: float, figure: Path | None, json: bool
) -> None:
    from viae.store import Store
    from viae.verbs import figures
    from viae.verbs.trust import trust as verb

    with progress_bar() as tell:
        report = verb(bundle, Store.open(store), fraction=fraction, alpha=alpha, tell=tell)
    if figure:
        write_text(figure, figures.reliability(report.bins))
    if json:
        print_json(report.to_json())
        return
    out.print(report.sentence(), markup=False)
    print_table(
        ("measure", "value", "95% low", "95% high", "n"),
        [(name, e.value, e.low, e.high, e.n) for name, e in report.measures().items()],
    )
    print_table(
        ("predicted", "observed", "95% low", "95% high", "n"),
        [(b["predicted"], b["observed"], b["low"], b["high"], b["n"]) for b in report.bins],
        title="Reliability",
    )
    if report.sources:
        _print_sources(report.sources)
    title = f"Alarms at {alpha:.1%} false alarms, on cases left aside"
    _print_alarms(report.rules, title, timed=True)
    for name, answer in report.certain.items():
        err.print(f"{name}: certain: {answer} in training; it is no source", markup=False)
    for sentence in report.refused:
        err.print(f"not done: {sentence}", markup=False)


def _apply(
    table: Path,
    saved: Path,
    columns: Columns,
    horizon: float | None,
    page: Path | None,
    json: bool,
) -> None:
    from viae.verbs.trust_apply import trust_apply, write_rows
    from viae.verbs.trust_file import TrustFile

    applied = trust_apply(table, TrustFile.load(saved), columns, horizon=horizon)
    if page:
        write_rows(applied, page)
    if json:
        print_json(applied.to_json())
        return
    _print_applied(applied)
    if page:
        out.print(f"written: {page}", style="bold")


def _print_table_report(report: TableReport) -> None:
    out.print(report.sentence(), markup=False)
    if report.elapsed_alone:
        out.print(
            f"elapsed time alone, over whole attempts: AUROC {_cell(report.elapsed_alone)}; hence "
            "fixed elapsed times only",
            markup=False,
        )
    for moment in report.moments:
        title = "All cases"
        if moment.at is not None:
            title = (
                f"At {moment.at:.0%} of the horizon ({moment.ended} ended, {moment.unsaid} without "
                f"a score yet; elapsed time alone: AUROC {_cell(moment.elapsed_alone)})"
            )
        print_table(
            ("group", "n", "base rate", *MEASURES, *AFTER),
            [
                (j.name, j.base_rate.n, _cell(j.base_rate), *_three(j.given), *_three(j.calibrated))
                for j in moment.judged
            ],
            title=title.replace("[", "\\["),
        )
        print_table(
            ("predicted", "observed", "95% low", "95% high", "n"),
            [(b["predicted"], b["observed"], b["low"], b["high"], b["n"]) for b in moment.bins],
            title="Reliability after calibration",
        )
        if report.method != "isotonic":
            out.print(f"Venn-Abers leaves {moment.open_by:.3f} open on average")
    if report.sources:
        _print_sources(report.sources)
    title = f"Alarms at {report.alpha:.1%} false alarms, on cases left aside"
    _print_alarms(report.rules, title, timed=report.timed)
    for note in report.notes:
        out.print(note, markup=False)


def _print_applied(applied: Applied) -> None:
    raised = "; ".join(f"{n} with an alarm ({kind})" for kind, n in applied.alarmed.items())
    out.print(f"{applied.table}: {applied.cases} cases; {raised}", markup=False)
    kinds = list(applied.alarmed)
    print_first(
        ("row", "attempt", "probability", "low", "high", *(f"alarm, {kind}" for kind in kinds)),
        [
            (
                row["row"], row["attempt"], row["probability"], row["low"], row["high"],
                *(row["alarm"][kind] for kind in kinds),
            )
            for row in applied.rows
        ],
        what="rows",
    )  # fmt: skip
    if applied.held:
        print_table(
            ("at", "n", "base rate", *MEASURES, "elapsed time alone"),
            [
                (
                    "—" if h.at is None else f"{h.at:.0%}", h.base_rate.n, _cell(h.base_rate),
                    *_three(h.measured), _cell(h.elapsed_alone),
                )
                for h in applied.held
            ],
            title="Held against the outcomes; nothing was fitted on them",
        )  # fmt: skip
    timed = any(held.at is not None for held in applied.held)
    _print_alarms(applied.rules, "Alarms, held against the outcomes", timed=timed)
    for note in applied.notes:
        out.print(note, markup=False)


def _print_sources(sources: Sequence[Source]) -> None:
    print_table(
        ("source", *MEASURES),
        [(s.name, _cell(s.auroc), _cell(s.brier_skill), _cell(s.ece)) for s in sources],
        title="Sources",
    )


def _print_alarms(rules: Sequence[RuleReport], title: str, *, timed: bool) -> None:
    rows: list[tuple[object, ...]] = []
    for rule in rules:
        m = rule.measured
        earned = (_cell(m.twa), _cell(m.twa_of_attempts), m.detected_at) if timed else ()
        own = ", ".join(rule.own) or "—"
        rows.append((rule.kind, _cell(m.false_alarms), _cell(m.detected), *earned, own))
    if rows:
        over_time = ("TWA", "TWA, attempts alike", "median alarm at") if timed else ()
        columns = ("alarm", "false alarms", "failures detected", *over_time, "own thresholds")
        print_table(columns, rows, title=title)


def _three(measures: Measures | None) -> tuple[str, str, str]:
    if measures is None:
        return "—", "—", "—"
    return _cell(measures.auroc), _cell(measures.brier_skill), _cell(measures.ece)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value != estimate.value:
        return "—"
    ends = f" [{_short(estimate.low)}, {_short(estimate.high)}]"
    return _short(estimate.value) + (ends if estimate.low == estimate.low else "")


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def _number(horizon: str) -> float | None:
    try:
        return float(horizon)
    except ValueError:
        return None
