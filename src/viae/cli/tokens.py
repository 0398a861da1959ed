"""Tokens of streams: tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viae.cli.app import JsonOption, StoreOption, app, need
from viae.cli.render import check_folder, err, out, print_first, print_json, progress_bar

if TYPE_CHECKING:
    from viae.verbs.tokens import TokensReport

MOST_LINES = 100


@app.command()
def tokens(
    store: StoreOption = "store",
    where: Annotated[str, typer.Option(help="SQL condition on the table episodes.")] = "true",
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; repeatable. Default: all.")
    ] = None,
    bins: Annotated[
        int, typer.Option(help="Tokens per element of a vector, at most.", min=16)
    ] = 256,
    fine: Annotated[
        int, typer.Option(help="Values of a second token for coarse elements; 0: none.", min=0)
    ] = 0,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(help="A tokenizer, from viae train tokenizer, for its stream; repeatable."),
    ] = None,
    elements: Annotated[
        bool, typer.Option("--elements", help="One line per element instead of per stream.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--out", help="Write recorded against decoded here, as HTML.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Tokens per second of robot time of each stream, and what its samples lose by them.

    A codec is fitted on each stream; all samples are coded, decoded and compared. Errors are in
    the element's own unit. Pictures need a trained tokenizer: see --pictures. Exit code 1 if a
    stream could not be coded.
    """
    need("torch", "scipy", "tokenizers", "sklearn")
    if page:
        need("matplotlib", "jinja2")
        check_folder(page)
    from viae.store import Store
    from viae.verbs.tokens import tokens as verb
    from viae.verbs.tokens_page import tokens_page

    with progress_bar() as tell:
        report = verb(
            Store.open(store), where=where, streams=tuple(stream or ()), bins=bins, fine=fine,
            pictures=tuple(pictures or ()), tell=tell,
        )  # fmt: skip
    if page:
        tokens_page(report, page)
    if json:
        print_json(report.to_json())
    else:
        (_print_elements if elements else _print_streams)(report)
        _print_rest(report)
    raise typer.Exit(1 if report.failed else 0)


def _print_streams(report: TokensReport) -> None:
    rows = []
    for name, found in report.streams.items():
        errors = [e.mean_error for e in found.elements]
        vector = bool(errors)
        rows.append(
            (
                name, found.codec, found.samples, found.tokens_per_s, found.tokens_per_sample,
                found.bits_per_sample, found.exact,
                len(errors) if vector else None,
                found.count("constant") if vector else None,
                found.count("held", "repeats") if vector else None,
                max((e.max_error for e in found.elements), default=None), found.spec.unit,
            )
        )  # fmt: skip
    columns = (
        "stream", "codec", "samples", "tokens/s", "tokens/sample", "bits/sample", "exact",
        "elements", "dead", "repeated", "worst error", "unit",
    )  # fmt: skip
    print_first(columns, rows, most=MOST_LINES)


def _print_elements(report: TokensReport) -> None:
    rows = [
        (
            name, e.name, e.coding, e.bits, e.exact, e.mean_error, e.p99_error, e.max_error,
            found.spec.unit,
        )
        for name, found in report.streams.items()
        for e in found.elements
    ]  # fmt: skip
    columns = (
        "stream", "element", "coding", "bits", "exact", "mean error", "99% error", "worst error",
        "unit",
    )  # fmt: skip
    print_first(columns, rows, most=MOST_LINES)


def _print_rest(report: TokensReport) -> None:
    if report.pictures:
        columns = (
            "pictures", "coded", "tokens/s", "fewer than dense", "PSNR, dB", "dense PSNR, dB",
        )  # fmt: skip
        rows = [
            (name, p.samples, p.tokens_per_s, p.fewer, p.psnr, p.dense_psnr)
            for name, p in report.pictures.items()
        ]
        print_first(columns, rows, most=MOST_LINES)
    for name, why in report.without.items():
        out.print(f"{name}: {why}", markup=False, style="dim")
    for name, why in report.failed.items():
        err.print(f"{name}: {why}", markup=False, style="yellow")
    total = sum(found.tokens for found in report.streams.values())
    per_s = f", {total / report.duration_s:,.0f} a second" if report.duration_s > 0 else ""
    out.print(
        f"{total:,} tokens{per_s}, beside those of each event's stream, gap and age; "
        f"{report.episodes} episodes of {report.duration_s:,.1f} s, {report.snapshot}",
        style="bold", markup=False,
    )  # fmt: skip
