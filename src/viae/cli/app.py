"""What all commands share: the application they belong to, and the options they have alike."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from viae.errors import MissingExtraError, UsageError

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
    "torch": "train", "safetensors": "train", "sklearn": "trust", "venn_abers": "trust",
    "metaworld": "worlds", "gymnasium": "worlds", "mujoco": "worlds", "matplotlib": "report",
    "jinja2": "report", "scipy": "train", "tokenizers": "train", "transformers": "train",
    "tensorboard": "train", "accelerate": "train", "wandb": "wandb",
}  # fmt: skip
"""Which extra brings a package that is imported where it is needed."""


def need(*packages: str) -> None:
    """Refuse at once what would fail for want of a package after minutes of work.

    Raises:
        MissingExtraError: the first that is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra=EXTRAS[package])


def logs_folder(store: str, logs: Path | None) -> Path:
    """Where recordings go."""
    return logs or local_folder(store, "--logs") / "logs"


def local_folder(store: str, option: str) -> Path:
    """The store as a folder.

    Raises:
        UsageError: it is an object store, so that ``option`` must say where files go.
    """
    if "://" in store:
        raise UsageError(f"{store} is no folder: say where files go, with {option}")
    return Path(store)
