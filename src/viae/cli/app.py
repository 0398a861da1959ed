"""The command line: parse, call one verb, render. No logic."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from viae.cli.render import err
from viae.errors import MissingExtraError, ViaeError

app = typer.Typer(
    name="viae",
    help="The data engine for robot learning: from logs to a better policy, and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

StoreOption = Annotated[
    str, typer.Option("--store", help="The store: a folder, or s3://… .", envvar="VIAE_STORE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
WorkersOption = Annotated[int, typer.Option(help="Processes for rollouts.", min=1)]
WorldOption = Annotated[str, typer.Option("--world", help="The world to act in.")]
LogsOption = Annotated[
    Path | None,
    typer.Option("--logs", help="Folder for recordings; by default STORE/logs."),
]

EXTRAS = {
    "torch": "train", "safetensors": "train", "sklearn": "trust", "metaworld": "worlds",
    "gymnasium": "worlds", "mujoco": "worlds", "matplotlib": "report", "jinja2": "report",
}  # fmt: skip
"""Which extra brings a package that is imported where it is needed."""


def main() -> None:
    """Run the command line; every error on purpose is one sentence and an exit code.

    0: done. 1: part of what was asked could not be done; the report says which. 2: the request
    makes no sense. 130: interrupted.
    """
    from viae.cli import data, learn  # noqa: F401 (importing them adds their commands)

    try:
        app()
    except ViaeError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _fail(MissingExtraError(package, extra=EXTRAS[package]))
    except Exception as error:  # each library has its own class for a full disk
        if "no space left" not in str(error).lower():
            raise
        _fail(
            ViaeError(
                f"no space left on the device ({error}); what was done before is kept. Free some "
                "space and run the same command again: it goes on where it stopped"
            )
        )
    except KeyboardInterrupt:
        err.print("interrupted; run the same command again to go on", style="yellow")
        sys.exit(130)


def need(*packages: str) -> None:
    """Refuse at once what would fail for want of a package after minutes of work.

    Raises:
        MissingExtraError: the first that is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra=EXTRAS[package])


def _fail(error: ViaeError) -> None:
    err.print("[bold red]error[/]", end=" ")
    err.print(str(error), markup=False, soft_wrap=True)
    sys.exit(error.exit_code)


def logs_folder(store: str, logs: Path | None) -> Path:
    """Where recordings go."""
    return logs or Path(store) / "logs"
